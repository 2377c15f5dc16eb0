"""Records × records → verdicts. Derives everything, writes no record, imports no torch."""

from benchharness.comparison.cells import ComparedCell
from benchharness.comparison.endpoints import Endpoint, Verdict
from benchharness.comparison.places import Gap, Place
from benchharness.comparison.result import StoreComparison, compare
from benchharness.comparison.settings import Settings

__all__ = [
    "ComparedCell",
    "Endpoint",
    "Gap",
    "Place",
    "Settings",
    "StoreComparison",
    "Verdict",
    "compare",
]
