"""Records → tables, figures and a page. Derives everything, writes no record, imports no torch.

`collect` reads a store into findings (`cells`), `scoring` computes the numbers, `tables` and
`plots` lay them out, `sections` puts them in order (`dataset`, `explanations`, `introduction`, each
made of `parts`), `formats` renders them, and `writing` writes the files. `leaderboard` joins
several stores, and `quick` says in seconds what a store of any size holds.
"""

from benchharness.report import quick
from benchharness.report.choice import Choice
from benchharness.report.formats.terminal import overview
from benchharness.report.page.runtime import MISSING
from benchharness.report.page.runtime import available as interactive
from benchharness.report.writing import Report, write

__all__ = ["MISSING", "Choice", "Report", "interactive", "overview", "quick", "write"]
