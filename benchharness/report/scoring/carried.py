"""Models whose weights were carried from a source to a target, and those that bound them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.report.scoring.subjects import together
from benchharness.store import carried
from benchharness.store.carried import NO_CORRESPONDENCE, SCRATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.scoring.subjects import Subject
    from benchharness.store.carried import Carried

FROM_SCRATCH = "scratch"
"""In place of a source: nothing but labels of the target."""
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
    last: str = ""
    """What trained it last, in words."""
    variant: str = ""
    """What tells it from a namesake, such as ` · finetune (learning_rate=0.001)`."""

    @property
    def arm(self) -> str:
        """Where it comes from, whatever the shots: `phantom3d_ct by coral`, `scratch`."""
        if self.carried is None:
            return OWN_LABELS + self.variant
        by = "" if self.carried.adapt == "none" else f" by {self.carried.adapt}"
        return f"{self.source}{by}{self.variant}"

    @property
    def source(self) -> str:
        """The dataset that it learned from first, `scratch`, or the target's own labels."""
        if self.carried is None:
            return OWN_LABELS
        return FROM_SCRATCH if self.carried.source == SCRATCH else self.carried.source

    @property
    def shots(self) -> int | str:
        """Labelled volumes of the target that it learned from; its own labels are all of them."""
        return "all" if self.carried is None else self.carried.shots

    @property
    def chosen(self) -> str:
        """What its weights were chosen by."""
        if self.carried is None:
            return "its val"
        if self.carried.select == "target_val":
            return "target val"
        return "last epoch" if self.carried.shots else "source val"

    @property
    def way(self) -> tuple[str, str, str]:
        """What a row of a table is about: arm, the source's recipe, and what chose the weights."""
        return (self.arm, self.recipe, self.chosen)


def stands(findings: Findings, dataset: str) -> tuple[Stand, ...]:
    """Every trained model of a dataset; namesakes say how they differ."""
    found = tuple(_stands(findings, dataset))
    taken = Counter((one.name, *one.way, one.shots, one.carried is None) for one in found)
    doubled = {key[:4] for key, count in taken.items() if count > 1}
    return tuple(
        replace(one, variant=_suffix(one)) if (one.name, *one.way) in doubled else one
        for one in found
    )


def _suffix(stand: Stand) -> str:
    """What the label of its model adds to what it is called."""
    found = stand.carried
    called = stand.name if found is None else f"{stand.name} {found.words}"
    return stand.subject.model.removeprefix(called)


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
            last=_said(dict(key.recipe)),
        )


def _said(recipe: dict[str, object]) -> str:
    """`finetune (learning rate 0.0003)`."""
    rate = recipe.get("learning_rate")
    return f"{recipe.get('name')}{'' if rate is None else f' (learning rate {rate:g})'}"


def any_carried(findings: Findings) -> bool:
    """Whether a store has such cells at all."""
    return any(carried.of(row.record.cell.checkpoint.recipe) for row in findings.rows)


def clean(findings: Findings, subject: Subject) -> list[Row]:
    """The clean row of every training seed that has predictions."""
    rows = (findings.find(subject.dataset, subject.model, seed, "clean") for seed in subject.seeds)
    return [row for row in rows if row is not None and row.predictions is not None]


def arms(stands: Sequence[Stand]) -> dict[tuple[str, str, str], dict[int | str, Stand]]:
    """The stands of every way by their shots."""
    found: dict[tuple[str, str, str], dict[int | str, Stand]] = {}
    for stand in stands:
        found.setdefault(stand.way, {})[stand.shots] = stand
    return found


def counts(stands: Sequence[Stand]) -> list[int | str]:
    """The numbers of shots, ascending, all last."""
    found = {stand.shots for stand in stands if stand.carried is not None}
    return sorted(found, key=lambda shots: (isinstance(shots, str), shots))


def fine_tuned(stands: Sequence[Stand]) -> list[Stand]:
    """Those with few labels or all of them; with all, also those that its own labels trained."""
    few = [one for one in stands if one.carried is not None and one.shots]
    names = {one.name for one in few if one.shots == "all"}
    return [*few, *(one for one in stands if one.carried is None and one.name in names)]


def differing(stands: Sequence[Stand]) -> str:
    """What must be said where labels of a source and the target differ, with a space before it."""
    names = {one.source for one in stands if one.carried is not None and one.carried.differ}
    return f" {', '.join(sorted(names))}: {NO_CORRESPONDENCE}." if names else ""
