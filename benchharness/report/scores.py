"""What concerns several cells: means over a family, the envelope over ε, the worst case.

Every score of a model is over the same conditions as that of its neighbours in the table. Where a
model lacks one of them it gets a gap that names what is missing, never a mean of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchharness.report.collect import CLEAN, Score, patients
from benchharness.statistics import uncertainty
from benchharness.store.cells import format_severity
from benchharness.store.records import NOT_APPLICABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchharness.report.collect import Findings, Metric, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model on a dataset: one training seed, or several of which the mean is shown."""

    dataset: str
    model: str
    seeds: tuple[int | None, ...]
    label: str


def subjects(findings: Findings, dataset: str, *, each: bool = True) -> tuple[Subject, ...]:
    """Whom a dataset's table speaks of: every model and, if asked, each seed below their mean."""
    models = (model for model in findings.models if findings.seeds(dataset, model))
    found = tuple(together(findings, dataset, model) for model in models)
    if not each:
        return found
    return tuple(part for subject in found for part in (subject, *each_seed(subject)))


def each_seed(subject: Subject) -> tuple[Subject, ...]:
    """A subject's training seeds one by one; none where it is a single one already."""
    if len(subject.seeds) < 2:
        return ()
    return tuple(
        replace(subject, seeds=(seed,), label=f"{subject.model}, seed {seed}")
        for seed in subject.seeds
    )


def together(findings: Findings, dataset: str, model: str) -> Subject:
    """A model with all its training seeds on a dataset."""
    seeds = findings.seeds(dataset, model)
    label = model if len(seeds) == 1 else f"{model} ({len(seeds)} seeds)"
    return Subject(dataset=dataset, model=model, seeds=seeds, label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A perturbation at a severity, as some model of a dataset met it."""

    label: str
    """Both in words: `pgd 8/255`, `motion level 3`, `clean`."""
    perturbation: str
    attack: bool
    severity: float | None
    severity_text: str
    plausible: bool | None = None
    """Of an artefact, whether the dataset's acquisition can produce it; None where unknown."""
    inapplicable: bool = False
    """Whether it changes no voxel of the dataset."""


UNPERTURBED = Condition(
    label=CLEAN, perturbation=CLEAN, attack=False, severity=0.0, severity_text=""
)


def conditions(findings: Findings, dataset: str, family: str) -> tuple[Condition, ...]:
    """What some model of a dataset met of a family, by perturbation and severity."""
    rows = [row for row in findings.of(dataset) if row.family == family]
    plausible = {row.perturbation: row.plausible for row in rows if row.plausible is not None}
    found = {
        Condition(
            label=row.condition,
            perturbation=row.perturbation,
            attack=row.record.cell.perturbation.kind == "attack",
            severity=row.severity,
            severity_text=format_severity(row.record.cell.perturbation),
            plausible=plausible.get(row.perturbation),
            inapplicable=bool(row.record.inapplicable),
        )
        for row in rows
    }
    return tuple(sorted(found, key=lambda c: (c.perturbation, c.severity is None, c.severity or 0)))


def marked(name: str, *, plausible: bool | None) -> str:
    """An artefact's name, with a mark where the dataset's acquisition cannot produce it."""
    return f"{name} (stress test)" if plausible is False else name


def by_perturbation(conditions: Iterable[Condition]) -> dict[str, tuple[Condition, ...]]:
    """Conditions of each perturbation, in the order given."""
    groups: dict[str, tuple[Condition, ...]] = {}
    for condition in conditions:
        groups[condition.perturbation] = (*groups.get(condition.perturbation, ()), condition)
    return groups


def single(findings: Findings, subject: Subject, condition: str, metric: Metric) -> Score:
    """The score of a subject under one condition."""

    def of(seed: int | None) -> Score:
        row = findings.find(subject.dataset, subject.model, seed, condition)
        return Score(gap=f"{condition} not run") if row is None else findings.score(row, metric)

    average = _over_seeds(subject, of)
    if len(subject.seeds) < 2 or average.value is None:
        return average
    rows = (findings.find(subject.dataset, subject.model, s, condition) for s in subject.seeds)
    found = findings.over_seeds([row for row in rows if row is not None], metric)
    return replace(average, low=found.low, high=found.high)


def mean(
    findings: Findings, subject: Subject, wanted: Sequence[Condition], metric: Metric
) -> Score:
    """The unweighted mean over conditions, its interval from volumes resampled once for all.

    Where an attack says that a metric would mislead, the mean is over the others.
    """
    wanted = _telling(findings, subject.dataset, wanted, metric)

    def of(seed: int | None) -> Score:
        rows = gather(findings, subject, seed, wanted)
        if isinstance(rows, Score):
            return rows
        return findings.score(rows[0], metric) if len(rows) == 1 else findings.mean(rows, metric)

    return _over_seeds(subject, of)


def _telling(
    findings: Findings, dataset: str, wanted: Sequence[Condition], metric: Metric
) -> Sequence[Condition]:
    """All conditions but those of which every record says that the metric is undefined."""
    rows = [row for row in findings.of(dataset) if row.predictions is not None]
    silent = {row.condition for row in rows if metric in row.record.undefined}
    silent -= {row.condition for row in rows if metric not in row.record.undefined}
    return [condition for condition in wanted if condition.label not in silent] or wanted


def worst_case(
    findings: Findings, subject: Subject, wanted: Sequence[Condition], limit: float
) -> Score:
    """Accuracy when a volume counts as correct only if it is so under every attack up to a limit.

    A volume that one of the attacks broke at some ε up to the limit, or that was wrong before any
    attack, is broken. Over a single attack this is its monotone envelope.

    Args:
        findings: The store.
        subject: Whose score.
        wanted: Conditions of the attacks; those without a severity do not count.
        limit: The largest severity taken into account.
    """
    inside = [c for c in wanted if c.severity is not None and c.severity <= limit]

    def of(seed: int | None) -> Score:
        rows = gather(findings, subject, seed, [UNPERTURBED, *inside])
        if isinstance(rows, Score):
            return rows
        survived = np.logical_and.reduce([row.correct for row in rows if row.correct is not None])
        interval = uncertainty.share(survived, patients(rows))
        return Score(
            value=float(survived.mean()),
            low=interval.low,
            high=interval.high,
            suspect=_suspicions(rows),
        )

    return _over_seeds(subject, of)


def averaged(findings: Findings) -> tuple[str, ...]:
    """Labels of the datasets that an average is over: of each name the one with most volumes."""
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

    It carries no interval: the datasets are no sample of a population of datasets.
    """
    found = []
    for dataset in averaged(findings):
        if family != CLEAN and family not in findings.families(dataset):
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

    What does not apply to the dataset is left out, for every model alike.
    """
    if wanted and all(condition.inapplicable for condition in wanted):
        names = dict.fromkeys(condition.perturbation for condition in wanted)
        return Score(gap=f"{NOT_APPLICABLE}: {', '.join(names)} changes no voxel here")
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


def _over_seeds(subject: Subject, of: Callable[[int | None], Score]) -> Score:
    """One seed's score as it is; of several the mean, which has no interval of its own yet.

    The same volumes judge every seed, so that pooling them would count each volume several times.
    """
    scores = [(f"seed {seed}", of(seed)) for seed in subject.seeds]
    return scores[0][1] if len(scores) == 1 else _plain_mean(scores)


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
