"""Networks: how they are built, the classifier around them, their weights, costs and devices."""
