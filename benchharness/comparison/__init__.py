"""Records × records → verdicts. Derives everything, writes no record, imports no torch.

`sides` reads BASE and NEW, `pairing` finds the cells of one that belong to cells of the other (a
cell has its place in the matrix, `places`), and `alignment` brings their predictions to common
volumes. `groups` gathers cells by endpoint, `endpoints` judges these, `cells` tests single cells,
and `result.compare` does all of it under `settings`. `words` and `notes` put the result into
sentences; `terminal`, `markdown`, `junit` and `render` show it.
"""

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
