"""Intervals, paired tests and rankings on stored predictions; pure NumPy and SciPy.

These functions take the volumes as independent and random, and say how far a number can be trusted
for other volumes. Where the data names patients, use the module `uncertainty`, whose functions
resample whole patients. `docs/statistics.md` derives each method, says where it stops being valid
and shows its simulated coverage. An undefined result is None, never NaN.
"""

from benchharness.statistics.basis import BY_CLASS, LEVEL, SHARES, Interval
from benchharness.statistics.clinical import (
    Rate,
    confident_and_wrong,
    frozen_threshold,
    rate,
    sensitivity_and_specificity,
)
from benchharness.statistics.endpoints import (
    ENDPOINT_RESAMPLES,
    Judgement,
    Outcome,
    Sample,
    judge,
)
from benchharness.statistics.intervals import (
    delong,
    interval,
    mean_over_cells,
    stratified_bootstrap,
    wilson,
)
from benchharness.statistics.paired import (
    Comparison,
    delong_paired,
    holm,
    mcnemar_exact,
    minimum_detectable_difference,
    paired_bootstrap,
    recovered,
)
from benchharness.statistics.ranks import indistinguishable_groups, rank_groups
from benchharness.statistics.resampling import RESAMPLES
from benchharness.statistics.seeds import OverSeeds, over_seeds

__all__ = [
    "BY_CLASS",
    "ENDPOINT_RESAMPLES",
    "LEVEL",
    "RESAMPLES",
    "SHARES",
    "Comparison",
    "Interval",
    "Judgement",
    "Outcome",
    "OverSeeds",
    "Rate",
    "Sample",
    "confident_and_wrong",
    "delong",
    "delong_paired",
    "frozen_threshold",
    "holm",
    "indistinguishable_groups",
    "interval",
    "judge",
    "mcnemar_exact",
    "mean_over_cells",
    "minimum_detectable_difference",
    "over_seeds",
    "paired_bootstrap",
    "rank_groups",
    "rate",
    "recovered",
    "sensitivity_and_specificity",
    "stratified_bootstrap",
    "wilson",
]
