"""Robustness benchmarks for 3-D medical image classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store.provenance import package_version

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__version__ = package_version()
__all__ = ["__version__", "load_records"]


def load_records(directory: str | Path) -> pd.DataFrame:
    """The records of a store or a baseline for your own analysis, one row per cell.

    See `benchharness.store.frames` for the columns. pandas is imported only when called.

    Args:
        directory: Folder of a run, or file of a baseline.

    Raises:
        BenchError: When there are no records, or one cannot be read.
    """
    from benchharness.store import frames

    return frames.load_records(directory)
