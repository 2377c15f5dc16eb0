"""The tables of a report, laid out before any format."""
