"""Tables of numbers as CSV, in which no text is a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.outside import escaping

if TYPE_CHECKING:
    import pandas as pd


def document(frame: pd.DataFrame) -> str:
    """Write a frame as CSV; see `benchharness.outside.escaping.spreadsheet` for its texts."""
    safe = frame.copy()
    for name in frame.select_dtypes(exclude=["number", "bool"]):
        safe[name] = frame[name].map(escaping.spreadsheet)
    return safe.rename(columns=lambda name: str(escaping.spreadsheet(name))).to_csv(index=False)
