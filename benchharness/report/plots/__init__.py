"""Figures of a store, as matplotlib figures that you can restyle and save.

`against_cost`, `against_parameters`, `over_severities`, `norms_needed` and `reliabilities` draw the
figures of the report. Each takes the folder of a run, the file of a baseline, or what
`benchharness.benchmark` returned.
Neither pyplot nor any setting of matplotlib is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from benchharness.report.plots.figures import (
        against_cost,
        against_parameters,
        norms_needed,
        over_severities,
        reliabilities,
    )

__all__ = [
    "against_cost",
    "against_parameters",
    "norms_needed",
    "over_severities",
    "reliabilities",
]

__getattr__, __dir__, _ = lazy_loader.attach(__name__, submod_attrs={"figures": __all__})
