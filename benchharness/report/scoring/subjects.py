"""Subjects: what a row of a table is about, a model with one training seed or with several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model on a dataset: one training seed, or several of which the mean is shown."""

    dataset: str
    model: str
    seeds: tuple[int | None, ...]
    label: str

    def named(self, seed: int | None) -> str:
        """The label of one of its training seeds."""
        return self.label if len(self.seeds) < 2 else f"{self.model}, seed {seed}"


def subjects(findings: Findings, dataset: str, *, each: bool = True) -> tuple[Subject, ...]:
    """The subjects of a dataset's table: every model and, if asked, each seed below their mean."""
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
        replace(subject, seeds=(seed,), label=subject.named(seed)) for seed in subject.seeds
    )


def together(findings: Findings, dataset: str, model: str) -> Subject:
    """A model with all its training seeds on a dataset."""
    seeds = findings.seeds(dataset, model)
    label = model if len(seeds) == 1 else f"{model} ({len(seeds)} seeds)"
    return Subject(dataset=dataset, model=model, seeds=seeds, label=label)
