"""Scores: a number with its interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchharness.statistics import Interval

Metric = Literal["accuracy", "auc", "balanced_accuracy"]

METRICS: dict[Metric, str] = {
    "accuracy": "Accuracy",
    "auc": "AUC",
    "balanced_accuracy": "Balanced accuracy",
}
"""Every metric of a report, as a heading."""

INTERVALS = "Brackets give 95 % confidence intervals."
"""Ends the caption of every table that shows intervals."""
NO_INTERVALS = "No intervals: the datasets are not a sample from a population."
"""Ends the caption of every average over datasets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number with its uncertainty, or the reason why there is none."""

    value: float | None = None
    """Mostly in [0, 1]; None where undefined or not run."""
    low: float | None = None
    """Lower end of the 95 % interval; None where the number carries none."""
    high: float | None = None
    """Upper end of the 95 % interval."""
    method: str = ""
    """How the interval was found, in words; empty where there is none."""
    gap: str = ""
    """Why there is no value; empty where there is one."""
    suspect: str = ""
    """Why the number must not be trusted; empty where it may be."""
    remark: str = ""
    """What else a reader has to know of the number, such as what a mean leaves out."""

    @classmethod
    def of(cls, value: float | None, interval: Interval | None, *, suspect: str = "") -> Score:
        """A value with its interval, where it has one."""
        if interval is None:
            return cls(value=value, suspect=suspect)
        return cls(
            value=value,
            low=interval.low,
            high=interval.high,
            method=interval.method,
            suspect=suspect,
        )
