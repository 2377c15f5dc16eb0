"""Figures of a store, as matplotlib figures that you can restyle and save.

`against_parameters`, `over_severities` and `norms_needed` draw the figures of the report. Each
takes the folder of a run, the file of a baseline, or what `benchharness.benchmark` returned.
Neither pyplot nor any setting of matplotlib is touched.
"""

from benchharness.report.plots.figures import against_parameters, norms_needed, over_severities

__all__ = ["against_parameters", "norms_needed", "over_severities"]
