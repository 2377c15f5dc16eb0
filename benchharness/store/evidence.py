"""What other cells of a checkpoint broke, volume by volume, within the budget of an attack.

Volumes made without the network's own gradient (on a copy of it, on other networks, by random
search, by chance) show what a masked gradient hides. Cells on different volumes are compared on
those that both evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.statistics import metrics
from benchharness.store.cells import CONTROL_FAMILY, TRANSFER_FAMILY, condition
from benchharness.store.predictions import BROKEN_BY

if TYPE_CHECKING:
    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record

BALLS = ("linf", "l2")
"""The norms in which L∞ volumes of the same ε count."""
PROBE = "probe"
"""The control that looks for what gradients leave."""
_ONE_STEP = 1
"""The part of the probe that is a single step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one cell broke, by the ids of volumes."""

    identity: str
    name: str
    """The perturbation in words."""
    norm: str
    severity: float
    access: str
    volumes: frozenset[str]
    """All that it was tried on."""
    broken: frozenset[str]
    single: frozenset[str]
    """Of `broken`, what a single step on the network's copy does not owe to further ones."""

    def within(self, norm: str, severity: float) -> bool:
        """Whether its volumes lie in a ball.

        A change of at most ε everywhere also has a root mean square of at most ε.
        """
        inside = norm == self.norm or (self.norm == "linf" and norm in BALLS)
        return inside and self.severity <= severity


def of_record(record: Record, predictions: Predictions) -> Evidence | None:
    """What an attack's cell broke; None for attacks without a budget ε."""
    key = record.cell.perturbation
    norm = norm_of(record)
    if key.kind != "attack" or norm not in BALLS or not key.severity:
        return None
    wrong = ~metrics.correct(predictions.labels, predictions.logits)
    single = wrong
    if key.name == PROBE and (broken_by := predictions.extra.get(BROKEN_BY)) is not None:
        climbs = [
            number
            for number, part in enumerate(record.facts.get("parts", ()), start=1)
            if part["access"] == "another network" and number > _ONE_STEP
        ]
        for number in climbs:
            single = single & (broken_by != number)
    return Evidence(
        identity=record.identity,
        name=condition(key),
        norm=norm,
        severity=float(key.severity),
        access=str(record.facts.get("access", "")),
        volumes=frozenset(predictions.ids.tolist()),
        broken=frozenset(predictions.ids[wrong].tolist()),
        single=frozenset(predictions.ids[single].tolist()),
    )


def norm_of(record: Record) -> str:
    """The norm of an attack's cell; empty where its volumes are in no known ball."""
    key = record.cell.perturbation
    if key.family == CONTROL_FAMILY:
        return "linf" if key.name == PROBE else ""
    if key.family == TRANSFER_FAMILY:
        # The volumes of other people's transfer attacks may be in any ball.
        return "linf" if key.name == "transfer" else ""
    return key.family


def adds_to_worst_case(record: Record) -> bool:
    """Whether what a cell breaks counts in the worst case, though it is no attack of the family."""
    key = record.cell.perturbation
    return key.family in (CONTROL_FAMILY, TRANSFER_FAMILY) and bool(norm_of(record))


def checkpoint_of(cell: Cell) -> tuple[object, ...]:
    """What cells of one network with one set of weights on one dataset share."""
    checkpoint = cell.checkpoint
    weights = (checkpoint.sha256, checkpoint.part, *([checkpoint.twin] if checkpoint.twin else ()))
    return (*cell.model.numbers().values(), *weights, cell.dataset.digest)
