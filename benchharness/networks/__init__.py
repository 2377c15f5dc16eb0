"""Networks: a classifier around them, their weights, their costs, the devices they run on."""
