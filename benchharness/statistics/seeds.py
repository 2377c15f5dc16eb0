"""The mean of a metric over training seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from benchharness.statistics.basis import LEVEL, Interval, check_shares
from benchharness.statistics.resampling import contributions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.statistics.basis import Floats, Predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class OverSeeds:
    """A metric of one model over its training seeds."""

    mean: float
    deviation: float | None
    """Standard deviation over seeds of the metric; None for a single seed."""
    interval: Interval | None
    """Of the mean, over other seeds and other volumes; None below three seeds."""
    missing: str
    """What an interval would need; empty where there is one."""


def over_seeds(metric: str, runs: Sequence[Predicted], level: float = LEVEL) -> OverSeeds:
    """The mean over training seeds, with an interval for other seeds and other volumes.

    Args:
        metric: `accuracy`, `auc` or `balanced_accuracy`.
        runs: Labels (N,) and logits (N, K) of each seed, of the same volumes in the same order.
        level: Nominal coverage, in (0, 1).

    Raises:
        BenchError: When the runs' labels differ, or the metric is undefined on them.
    """
    check_shares(metric, runs)
    return grand_mean(np.stack([contributions(metric, *run) for run in runs]), level)


def grand_mean(values: Floats, level: float = LEVEL) -> OverSeeds:
    """The mean over seeds and volumes, with an interval for others of both.

    Seeds and volumes are crossed random effects (Searle, Casella & McCulloch, Variance Components,
    1992, chapter 4). The variance of the grand mean of S seeds and N volumes is
    (MS_seeds + MS_volumes − MS_rest) / (S·N), and at least MS_seeds / (S·N) and MS_volumes / (S·N).
    Student's t has S − 1 degrees of freedom, since seeds are scarcer than volumes.

    Args:
        values: (S, N), what each volume contributes under each seed.
        level: Nominal coverage, in (0, 1).
    """
    seeds, volumes = values.shape
    grand, by_seed = values.mean(), values.mean(axis=1)
    deviation = float(by_seed.std(ddof=1)) if seeds > 1 else None
    if seeds < 3 or volumes < 2:
        lacking = (
            f"{seeds} training seed{'s' if seeds > 1 else ''}: an interval over seeds needs at "
            "least 3, so train with --seeds 0,1,2"
            if seeds < 3
            else "1 volume: an interval needs at least 2"
        )
        return OverSeeds(mean=float(grand), deviation=deviation, interval=None, missing=lacking)
    spread = crossed_spread(values, seeds - 1, level)
    found = Interval(
        low=max(0.0, float(grand) - spread),
        high=min(1.0, float(grand) + spread),
        level=level,
        method=f"seeds × volumes, t with {seeds - 1} degrees of freedom",
    )
    return OverSeeds(mean=float(grand), deviation=deviation, interval=found, missing="")


def crossed_spread(values: Floats, freedom: int, level: float) -> float:
    """Half the width of the interval of a grand mean over two crossed random effects.

    Args:
        values: (S, N): what each volume or patient contributes under each seed; S and N are at
            least 2.
        freedom: Degrees of freedom of Student's t.
        level: Nominal coverage, in (0, 1).
    """
    seeds, count = values.shape
    grand, by_seed, by_volume = values.mean(), values.mean(axis=1), values.mean(axis=0)
    of_seeds = count * by_seed.var(ddof=1)
    of_volumes = seeds * by_volume.var(ddof=1)
    rest = np.square(values - by_seed[:, None] - by_volume + grand).sum()
    rest /= (seeds - 1) * (count - 1)
    variance = max(of_seeds + of_volumes - rest, of_seeds, of_volumes) / (seeds * count)
    return float(stats.t.ppf((1 + level) / 2, freedom) * math.sqrt(variance))
