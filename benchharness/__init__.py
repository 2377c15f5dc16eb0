"""Robustness benchmarks for 3-D medical image classifiers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__version__ = "0.1.0"
__all__ = ["__version__", "load_records"]


def load_records(directory: str | Path) -> pd.DataFrame:
    """One row a cell of a store or a baseline, for one's own analysis.

    See `benchharness.store.frames` for the columns. pandas is imported only when called.

    Args:
        directory: Folder of a run, or file of a baseline.

    Raises:
        BenchError: When there are no records, or one cannot be read.
    """
    # By name: every module imports this one for its version, and none of those may import frames.
    records: pd.DataFrame = import_module("benchharness.store.frames").load_records(directory)
    return records
