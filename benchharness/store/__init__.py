"""The store: cells, records and predictions, what reads them, and what keeps them whole."""
