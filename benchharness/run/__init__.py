"""From a config to records: plan the cells, make their volumes, evaluate, append."""
