"""Benchmarks: ratios within one process, printed and never asserted."""
