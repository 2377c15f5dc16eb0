"""Matrix checks: comparisons of a checkpoint's attack cells that reveal untrustworthy numbers.

Record checks concern one cell and are stored with it. Matrix checks compare cells and are derived
when reading. They follow the flags of AutoAttack (Croce & Hein, ICML 2020, `checks.py` of its code)
and the advice of Carlini et al. (arXiv 1902.06705) on the signs of gradient masking: a black-box
attack beats a white-box one, a larger budget or more steps break fewer volumes, noise beats an
attack, or an unlimited budget does not break every volume. `cross_checks` has those that look at
volumes one by one and at the controls.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from scipy.stats import binom

from benchharness.canonical import canonical_json
from benchharness.statistics import metrics
from benchharness.store import cross_checks, evidence
from benchharness.store.attacked import AttackedCell, comparison
from benchharness.store.cells import ACCURACY_ONLY, CONTROL_FAMILY, TRANSFER_FAMILY, precision
from benchharness.store.cross_checks import CONTROL_ACCURACY, OTHERS_BOUND, RISE_SHARE, Control
from benchharness.store.predictions import BROKEN_BY
from benchharness.store.records import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from benchharness.store.attacked import Comparison, Found
    from benchharness.store.evidence import Evidence
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record

    Group = Callable[[AttackedCell], tuple[str, float] | None]
    """The series that a cell belongs to and its place there; None if it belongs to none."""

CHANCE = 0.01
"""Share of the volumes that a sound attack may leave although the other breaks them: few steps, a
start at random, rounding."""
RARELY = 0.05
"""How probable an excess of volumes may be under `CHANCE` that makes a comparison fail."""

BLACK_BOX = "white box not behind black box"
BUDGET = "not weaker with a larger budget"
STEPS = "not weaker with more steps"
NOISE = "not weaker than noise"
OTHERS = "not behind all others"
CONTAINED = "not weaker than a contained threat"
CONTROL = "breaks at ε = 1"
RISE = "first step leads further than chance"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCheck:
    """A check of one checkpoint on one set of volumes."""

    check: Check
    of: str
    """Identity of one of the cells that were compared."""
    cells: tuple[str, ...]
    """Identities of the cells that a failure makes suspect; empty unless it failed."""


def matrix_checks(
    records: Iterable[Record], predictions: Mapping[str, Predictions]
) -> tuple[MatrixCheck, ...]:
    """Compare the attack cells of every checkpoint on the same volumes.

    Args:
        records: Any records; those of other perturbations are ignored.
        predictions: By identity, for all records that did not fail.

    Returns:
        Eight checks for each checkpoint, set of volumes and perturbation seed that was attacked. A
        check whose cells were not run is *not applicable* and says which are missing.
    """
    groups: dict[tuple[object, ...], list[AttackedCell]] = defaultdict(list)
    around: dict[tuple[object, ...], _Around] = defaultdict(_Around)
    for record in records:
        key = record.cell.perturbation
        if key.kind != "attack":
            continue
        checkpoint = evidence.checkpoint_of(record.cell)
        found = predictions.get(record.identity)
        broke = None if found is None else evidence.of_record(record, found)
        if broke is not None:
            around[checkpoint].evidence.append(broke)
        if key.family == CONTROL_FAMILY:
            around[checkpoint].controls.append(Control(record=record, predictions=found))
        elif found is not None and key.family != TRANSFER_FAMILY:
            right = int(metrics.correct(found.labels, found.logits).sum())
            place = (*checkpoint, record.cell.dataset.volumes, key.seed)
            groups[place].append(
                AttackedCell(
                    record=record,
                    right=right,
                    broken_by=found.extra.get(BROKEN_BY),
                    evidence=broke,
                )
            )
    return tuple(
        check for place, cells in groups.items() for check in _of_group(cells, around[place[:-2]])
    )


@dataclass(frozen=True, slots=True)
class _Around:
    """What is known of a checkpoint whatever the volumes and the seed."""

    controls: list[Control] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)


def _of_group(cells: Sequence[AttackedCell], around: _Around) -> Iterator[MatrixCheck]:
    count = cells[0].record.cell.dataset.count
    margin = excess(count)
    for name, bound, missing, made in (
        (BLACK_BOX, margin, *_behind_black_box(cells, margin)),
        (BUDGET, margin, *_along(cells, margin, _by_budget, "budgets")),
        (STEPS, margin, *_along(cells, margin, _by_steps, "numbers of steps")),
        (NOISE, margin, *_behind_noise(cells, margin)),
        (OTHERS, OTHERS_BOUND, *cross_checks.behind_others(cells, around.evidence)),
        (CONTAINED, margin, *cross_checks.behind_contained(cells, margin)),
        (CONTROL, CONTROL_ACCURACY, *cross_checks.withstands(cells, around.controls)),
        (RISE, RISE_SHARE, *cross_checks.leads_nowhere(cells, around.controls)),
    ):
        yield MatrixCheck(
            check=_check(name, bound, missing, made),
            of=cells[0].record.identity,
            cells=tuple(dict.fromkeys(cell for one in made if one.failed for cell in one.cells)),
        )


@cache
def excess(count: int) -> int:
    """The fewest of `count` volumes, at least 2, that are too many to be chance.

    The smallest m with P(X ≥ m) ≤ `RARELY` for X ~ Bin(count, `CHANCE`): an exact one-sided test of
    a cell's own share. Volumes that only the weaker attack breaks lower the excess, so that an
    honest cell fails even less often.
    """
    return max(2, int(binom.isf(RARELY, count, CHANCE)) + 1)


def _check(name: str, bound: float, missing: str, made: Sequence[Comparison]) -> Check:
    if not made:
        return Check(name=name, verdict="not applicable", reason=missing)
    failed = [one for one in made if one.failed]
    return Check(
        name=name,
        verdict="failed" if failed else "passed",
        value=float(max(one.excess for one in made)),
        bound=bound,
        reason="; ".join(one.reason for one in failed),
    )


def _behind_black_box(cells: Sequence[AttackedCell], margin: float) -> Found:
    """Whether random search breaks more than gradients do, in separate cells or in a cascade.

    A single step may be weaker than a search, unless no other attack does better.
    """
    needs = (
        "needs square3d and a white-box attack of the same norm and budget, or both in a cascade"
    )
    made = []
    for searcher in (cell for cell in cells if cell.fact("access") == "black box"):
        rivals = [
            cell
            for cell in cells
            if cell.fact("access") == "white box" and cell.threat == searcher.threat
        ]
        least = min((cell.right for cell in rivals), default=0)
        for rival in rivals:
            if rival.fact("iterative") or least - searcher.right >= margin:
                reason = (
                    f"{searcher.name} leaves {searcher.right} volumes, {rival.name} {rival.right}"
                )
                made.append(comparison(rival.right - searcher.right, margin, reason, rival))
    for cell in cells:
        for name, before, caught in _late_breaks(cell):
            reason = f"in {cell.name} {name} breaks {caught} volumes that {before} left"
            made.append(comparison(caught, margin, reason, cell))
    return needs, made


def _late_breaks(cell: AttackedCell) -> Iterator[tuple[str, str, int]]:
    """Name of each black-box part of a cascade, the white-box parts before it, what it breaks."""
    parts = cell.fact("parts") or []
    if cell.broken_by is None:
        return
    for number, part in enumerate(parts, start=1):
        before = [p["name"] for p in parts[: number - 1] if p["access"] == "white box"]
        if part["access"] == "black box" and before:
            yield part["name"], ", ".join(before), int((cell.broken_by == number).sum())


def _along(cells: Sequence[AttackedCell], margin: float, group: Group, what: str) -> Found:
    """Whether an iterative attack breaks fewer volumes further along a series."""
    series: dict[str, list[tuple[float, AttackedCell]]] = defaultdict(list)
    for cell in cells:
        place = group(cell) if cell.fact("iterative") else None
        if place is not None:
            series[place[0]].append((place[1], cell))
    made = []
    for members in series.values():
        members.sort(key=lambda member: member[0])
        for number, (_, cell) in enumerate(members[1:], start=1):
            strongest = min((before for _, before in members[:number]), key=lambda one: one.right)
            reason = (
                f"{cell.name}{_steps(cell)} leaves {cell.right} volumes, "
                f"{strongest.name}{_steps(strongest)} {strongest.right}"
            )
            made.append(comparison(cell.right - strongest.right, margin, reason, cell))
    return f"needs an iterative attack at two {what}", made


def _by_budget(cell: AttackedCell) -> tuple[str, float] | None:
    return _series(cell, settings=cell.fact("settings")), cell.severity


def _by_steps(cell: AttackedCell) -> tuple[str, float] | None:
    settings = dict(cell.fact("settings") or {})
    steps = settings.pop("steps", None)
    if steps is None:
        return None
    return _series(cell, settings=settings, severity=cell.severity), float(steps)


def _series(cell: AttackedCell, **settings: object) -> str:
    key = cell.record.cell.perturbation
    only = ACCURACY_ONLY in dict(key.parameters)
    return canonical_json([key.name, key.version, only, precision(key), settings])


def _steps(cell: AttackedCell) -> str:
    steps = (cell.fact("settings") or {}).get("steps")
    return "" if steps is None else f" ({steps} steps)"


def _behind_noise(cells: Sequence[AttackedCell], margin: float) -> Found:
    """Whether random signs break more than an attack.

    Signs of size ε also have root mean square ε, so they are a control for L2 attacks as well.
    """
    noise = {cell.severity: cell for cell in cells if cell.fact("access") == "none"}
    made = []
    for cell in cells:
        family = cell.record.cell.perturbation.family
        control = noise.get(cell.severity) if family in ("linf", "l2") else None
        if control is not None and cell is not control:
            reason = f"{cell.name} leaves {cell.right} volumes, {control.name} {control.right}"
            made.append(comparison(cell.right - control.right, margin, reason, cell))
    return "needs noise_sign at the budgets of the attacks", made
