"""Records → tables, figures and a page. Derives everything, writes no record, imports no torch.

`collect` reads a store into findings (`cells`), `scoring` computes the numbers, `tables` and
`plots` lay them out, `sections` puts them in order (`dataset`, `explanations`, `introduction`, each
made of `parts`), `formats` renders them, and `writing` writes the files. `joining` makes
several stores one, for `leaderboard` and its `site`; `serving` follows a run, and `quick` says in
seconds what a store of any size holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from benchharness.report import plots, quick
    from benchharness.report.choice import Choice
    from benchharness.report.formats.terminal import overview
    from benchharness.report.writing import Report, write

__all__ = ["Choice", "Report", "overview", "plots", "quick", "write"]

# A process that draws figures needs little of the rest.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submodules={"plots", "quick"},
    submod_attrs={
        "choice": ["Choice"],
        "formats.terminal": ["overview"],
        "writing": ["Report", "write"],
    },
)
