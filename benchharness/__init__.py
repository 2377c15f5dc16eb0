"""Robustness benchmarks for 3-D medical image classifiers."""

__version__ = "0.1.0"
