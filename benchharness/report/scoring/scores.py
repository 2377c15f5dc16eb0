"""What concerns several cells: means over a family, the envelope over ε, the worst case.

All models in a table are scored over the same conditions. A model that lacks one of them gets a gap
that names what is missing, never a mean of the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchharness.report.cells.rows import patients
from benchharness.report.cells.score import Score
from benchharness.report.scoring.conditions import UNPERTURBED, conditions, inapplicable
from benchharness.report.scoring.subjects import together
from benchharness.statistics import uncertainty
from benchharness.store import evidence
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.cells.score import Metric
    from benchharness.report.scoring.conditions import Condition
    from benchharness.report.scoring.subjects import Subject


def single(findings: Findings, subject: Subject, condition: str, metric: Metric) -> Score:
    """The score of a subject under one condition.

    From three training seeds on, its interval is for other seeds and other volumes.
    """

    def of(seed: int | None) -> Score:
        row = findings.find(subject.dataset, subject.model, seed, condition)
        if row is None:
            return Score(gap=f"{condition} not run")
        return findings.cell_scores.single(row, metric)

    rows = (findings.find(subject.dataset, subject.model, s, condition) for s in subject.seeds)
    runs = [[row] for row in rows if row is not None]
    return _over_seeds(subject, of, lambda: findings.cell_scores.over_seeds(runs, metric))


def mean(
    findings: Findings, subject: Subject, wanted: Sequence[Condition], metric: Metric
) -> Score:
    """The unweighted mean over conditions, its interval from volumes resampled jointly.

    Over several training seeds the interval is that of `single`.

    Conditions of which every record says that the metric would mislead are left out.
    """
    wanted = _telling(findings, subject.dataset, wanted, metric)

    def of(seed: int | None) -> Score:
        rows = gather(findings, subject, seed, wanted)
        if isinstance(rows, Score):
            return rows
        if len(rows) == 1:
            return findings.cell_scores.single(rows[0], metric)
        return findings.cell_scores.mean(rows, metric)

    found = (gather(findings, subject, seed, wanted) for seed in subject.seeds)
    runs = [rows for rows in found if not isinstance(rows, Score)]
    return _over_seeds(subject, of, lambda: findings.cell_scores.over_seeds(runs, metric))


def _telling(
    findings: Findings, dataset: str, wanted: Sequence[Condition], metric: Metric
) -> Sequence[Condition]:
    """All conditions but those for which every record says that the metric is undefined."""
    silent = findings.once(("silent", dataset, metric), lambda: _silent(findings, dataset, metric))
    return [condition for condition in wanted if condition.label not in silent] or wanted


def worst_case(
    findings: Findings,
    subject: Subject,
    wanted: Sequence[Condition],
    limit: float,
    *,
    witnessed: bool = False,
) -> Score:
    """Accuracy when a volume counts as correct only if no attack up to a limit breaks it.

    A volume is broken if one of the attacks broke it at some ε up to the limit, or if it was
    misclassified when clean. For a single attack this is its monotone envelope.

    Args:
        findings: The store.
        subject: The model.
        wanted: Conditions of the attacks; those without a severity do not count.
        limit: The largest severity taken into account.
        witnessed: Whether volumes count as broken, too, that the probe or transferred volumes broke
            within the limit. They were not tried on every volume.
    """
    inside = [c for c in wanted if c.severity is not None and c.severity <= limit]

    def rows_of(seed: int | None) -> list[Row] | Score:
        return gather(findings, subject, seed, [UNPERTURBED, *inside])

    def of(seed: int | None) -> Score:
        rows = rows_of(seed)
        if isinstance(rows, Score):
            return rows
        survived = survivors(findings, rows, limit, witnessed=witnessed)
        interval = uncertainty.share(survived, patients(rows))
        return Score.of(float(survived.mean()), interval, suspect=_suspicions(rows))

    def crossed() -> Score:
        runs = [rows for seed in subject.seeds if not isinstance(rows := rows_of(seed), Score)]
        left = [survivors(findings, rows, limit, witnessed=witnessed) for rows in runs]
        found = uncertainty.share_over_seeds(left, patients(runs[0]))
        return Score.of(found.mean, found.interval)

    return _over_seeds(subject, of, crossed)


def survivors(
    findings: Findings, rows: Sequence[Row], limit: float, *, witnessed: bool
) -> NDArray[np.bool_]:
    """Which volumes are classified correctly in all cells of a checkpoint (clean first), (N,)."""
    found: NDArray[np.bool_] = np.logical_and.reduce(
        [row.correct for row in rows if row.correct is not None]
    )
    return found & ~_broken_elsewhere(findings, rows, limit) if witnessed else found


def _broken_elsewhere(findings: Findings, rows: Sequence[Row], limit: float) -> NDArray[np.bool_]:
    """Which volumes of a checkpoint's rows (clean first) controls and transfer broke, (N,)."""
    predictions = rows[0].predictions
    assert predictions is not None
    norm = next((row.key.family for row in rows if row.key.kind == "attack"), "")
    broken: set[str] = set()
    for row in findings.witnesses(rows[0]):
        assert row.predictions is not None
        found = evidence.of_record(row.record, row.predictions)
        if found is not None and found.within(norm, limit):
            broken |= found.broken
    return np.isin(predictions.ids, sorted(broken))


def _silent(findings: Findings, dataset: str, metric: Metric) -> set[str]:
    rows = [row for row in findings.of(dataset) if row.predictions is not None]
    silent = {row.condition for row in rows if metric in row.record.undefined}
    return silent - {row.condition for row in rows if metric not in row.record.undefined}


def averaged(findings: Findings) -> tuple[str, ...]:
    """Labels of the datasets that an average is over: for each name the one with most volumes."""
    return findings.once(("averaged",), lambda: _averaged(findings))


def _averaged(findings: Findings) -> tuple[str, ...]:
    largest: dict[str, Row] = {}
    for row in findings.rows:
        key = row.record.cell.dataset
        if key.name not in largest or key.count > largest[key.name].record.cell.dataset.count:
            largest[key.name] = row
    return tuple(row.dataset for row in largest.values())


def family_mean(findings: Findings, subject: Subject, family: str, metric: Metric) -> Score:
    """The mean over all conditions of a family on one dataset; clean volumes are a family too."""
    return mean(findings, subject, conditions(findings, subject.dataset, family), metric)


def over_datasets(findings: Findings, model: str, family: str, metric: Metric) -> Score:
    """A family's mean, averaged over the datasets on which any model met the family.

    It carries no interval: the datasets are not a sample from a population.
    """
    found = []
    for dataset in averaged(findings):
        if family != CLEAN_FAMILY and family not in findings.families(dataset):
            continue
        subject = together(findings, dataset, model)
        known = bool(subject.seeds)
        score = family_mean(findings, subject, family, metric) if known else Score(gap="not run")
        found.append((dataset, score))
    return _plain_mean(found)


def gather(
    findings: Findings, subject: Subject, seed: int | None, wanted: Sequence[Condition]
) -> list[Row] | Score:
    """The rows of all conditions, or a gap that names those that are missing or failed.

    Conditions that do not apply to the dataset are left out, for every model alike.
    """
    if wanted and all(condition.inapplicable for condition in wanted):
        return inapplicable(condition.perturbation for condition in wanted)
    wanted = [condition for condition in wanted if not condition.inapplicable]
    rows = [findings.find(subject.dataset, subject.model, seed, c.label) for c in wanted]
    ready = [row for row in rows if row is not None and row.predictions is not None]
    if len(ready) == len(wanted):
        return ready
    missing = [
        f"{condition.label} {'not run' if row is None else 'failed'}"
        for condition, row in zip(wanted, rows, strict=True)
        if row is None or row.predictions is None
    ]
    shown = ", ".join(missing[:3])
    return Score(gap=shown if len(missing) <= 3 else f"{shown} and {len(missing) - 3} more")


def _suspicions(rows: Iterable[Row]) -> str:
    return "; ".join(f"{row.condition}: {row.suspicion}" for row in rows if row.suspicion)


def _over_seeds(
    subject: Subject, of: Callable[[int | None], Score], crossed: Callable[[], Score]
) -> Score:
    """One seed's score as it is; for several the mean, with the interval that `crossed` has.

    Every seed is measured on the same volumes, so pooling would count each volume several times.
    """
    scores = [(f"seed {seed}", of(seed)) for seed in subject.seeds]
    if len(scores) == 1:
        return scores[0][1]
    average = _plain_mean(scores)
    if average.value is None:
        return average
    found = crossed()
    return replace(average, low=found.low, high=found.high, method=found.method)


def _plain_mean(named: Sequence[tuple[str, Score]]) -> Score:
    gaps = [f"{name}: {score.gap}" for name, score in named if score.value is None]
    reasons = {score.gap for _, score in named if score.value is None}
    if len(gaps) == len(named) and len(reasons) == 1:
        return Score(gap=reasons.pop())
    if gaps:
        return Score(gap="; ".join(gaps))
    suspicions = [f"{name}: {score.suspect}" for name, score in named if score.suspect]
    values = [score.value for _, score in named if score.value is not None]
    return Score(value=sum(values) / len(values), suspect="; ".join(suspicions))
