"""Models whose weights were carried from a source to a target, and those that bound them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.report.scoring.subjects import together
from benchharness.store import carried
from benchharness.store.carried import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.scoring.subjects import Subject
    from benchharness.store.carried import Carried

OWN_LABELS = "its own labels"
"""In place of a source: the network that the target's train split has trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A model on a target, and where its weights came from."""

    subject: Subject
    name: str
    """Of the model, without its source."""
    recipe: str
    """The source's; empty from scratch."""
    carried: Carried | None
    """None where the target's own labels have trained it."""

    @property
    def arm(self) -> str:
        """Where it comes from, whatever the shots: `phantom3d_ct by coral`, `scratch`."""
        if self.carried is None:
            return OWN_LABELS
        if self.carried.source == SCRATCH:
            return "scratch"
        by = "" if self.carried.adapt == "none" else f" by {self.carried.adapt}"
        return f"{self.carried.source}{by}"


def stands(findings: Findings, dataset: str) -> tuple[Stand, ...]:
    """Every trained model of a dataset."""
    return tuple(_stands(findings, dataset))


def _stands(findings: Findings, dataset: str) -> Iterator[Stand]:
    seen: set[str] = set()
    for row in findings.of(dataset):
        key = row.record.cell.checkpoint
        if row.model in seen or key.recipe is None:
            continue
        seen.add(row.model)
        found = carried.of(key.recipe)
        yield Stand(
            subject=together(findings, dataset, row.model),
            name=row.record.cell.model.name,
            recipe=str(key.recipe_name) if found is None else found.recipe,
            carried=found,
        )


def any_carried(findings: Findings) -> bool:
    """Whether a store has such cells at all."""
    return any(carried.of(row.record.cell.checkpoint.recipe) for row in findings.rows)


def clean(findings: Findings, subject: Subject) -> list[Row]:
    """The clean row of every training seed that has predictions."""
    rows = (findings.find(subject.dataset, subject.model, seed, "clean") for seed in subject.seeds)
    return [row for row in rows if row is not None and row.predictions is not None]


def arms(stands: Sequence[Stand]) -> dict[tuple[str, str, str], dict[int | str, Stand]]:
    """The stands of every (arm, recipe, selection) by shots; its own labels count as all."""
    found: dict[tuple[str, str, str], dict[int | str, Stand]] = {}
    for stand in stands:
        how = stand.carried
        select, shots = ("its_val", "all") if how is None else (how.select, how.shots)
        found.setdefault((stand.arm, stand.recipe, select), {})[shots] = stand
    return found


def counts(stands: Sequence[Stand]) -> list[int | str]:
    """The numbers of shots, ascending, all last."""
    found = {stand.carried.shots for stand in stands if stand.carried is not None}
    return sorted(found, key=lambda shots: (isinstance(shots, str), shots))


def fine_tuned(stands: Sequence[Stand]) -> list[Stand]:
    """Those with few labels or all of them; with all, also those that its own labels trained."""
    few = [one for one in stands if one.carried is not None and one.carried.shots]
    names = {one.name for one in few if one.carried is not None and one.carried.shots == "all"}
    return [*few, *(one for one in stands if one.carried is None and one.name in names)]
