"""Matrix checks: comparisons of a checkpoint's attack cells that reveal untrustworthy numbers.

Record checks concern one cell and are stored with it. Matrix checks compare cells and are derived
when reading. They follow the flags of AutoAttack (Croce & Hein, ICML 2020, `checks.py` of its code)
and the advice of Carlini et al. (arXiv 1902.06705) on the signs of gradient masking: a black-box
attack beats a white-box one, a larger budget or more steps break fewer volumes, noise beats an
attack, or an unlimited budget does not break every volume.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchharness.canonical import canonical_json
from benchharness.statistics import metrics
from benchharness.store.cells import ACCURACY_ONLY, CONTROL_FAMILY, TRANSFER_FAMILY, condition
from benchharness.store.predictions import BROKEN_BY
from benchharness.store.records import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record

    Group = Callable[["AttackedCell"], tuple[str, float] | None]
    """The series that a cell belongs to and its place there; None if it belongs to none."""

MARGIN_VOLUMES = 2
"""From this excess of volumes on a comparison fails; fewer may differ by rounding and chance."""
MARGIN_SHARE = 0.01
"""The same margin as a share of the volumes; the larger of the two applies."""
CONTROL_ACCURACY = 0.05
"""The most accuracy that PGD with 100 steps at ε = 1 may leave."""

BLACK_BOX = "white box not behind black box"
BUDGET = "not weaker with a larger budget"
STEPS = "not weaker with more steps"
NOISE = "not weaker than noise"
CONTROL = "breaks at ε = 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackedCell:
    """An attack's cell that did not fail, as the checks see it."""

    record: Record
    right: int
    """Volumes still classified correctly."""
    broken_by: NDArray[np.float32] | None = None
    """(N,), as `predictions.BROKEN_BY` says; None where the attack has no parts."""

    @property
    def name(self) -> str:
        """Attack and severity in words."""
        return condition(self.record.cell.perturbation)

    @property
    def severity(self) -> float:
        """The attack's budget; 0 where it has none."""
        return float(self.record.cell.perturbation.severity or 0)

    def fact(self, name: str) -> Any:
        """What the attack reported about itself; None in records that lack it."""
        return self.record.facts.get(name)


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
        Five checks for each checkpoint, set of volumes and perturbation seed that was attacked. A
        check whose cells were not run is *not applicable* and says which are missing.
    """
    groups: dict[tuple[object, ...], list[AttackedCell]] = defaultdict(list)
    controls: dict[tuple[object, ...], Record] = {}
    for record in records:
        key = record.cell.perturbation
        if key.kind != "attack" or key.family == TRANSFER_FAMILY:
            continue
        checkpoint = _checkpoint(record)
        if key.family == CONTROL_FAMILY:
            controls[checkpoint] = record
        elif record.identity in predictions:
            found = predictions[record.identity]
            right = int(metrics.correct(found.labels, found.logits).sum())
            place = (*checkpoint, record.cell.dataset.volumes, key.seed)
            cell = AttackedCell(record=record, right=right, broken_by=found.extra.get(BROKEN_BY))
            groups[place].append(cell)
    return tuple(
        check
        for place, cells in groups.items()
        for check in _of_group(cells, controls.get(place[:-2]))
    )


def _checkpoint(record: Record) -> tuple[object, ...]:
    return (
        *record.cell.model.numbers().values(),
        record.cell.checkpoint.sha256,
        record.cell.dataset.digest,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """One comparison of cells."""

    excess: float
    """The number that the bound is for: volumes, negative where all is well, or accuracy."""
    failed: bool
    reason: str
    """What was found, in words; shown when the comparison failed."""
    cells: tuple[str, ...]
    """Identities of the cells that a failure makes suspect."""


def _of_group(cells: Sequence[AttackedCell], control: Record | None) -> Iterator[MatrixCheck]:
    count = cells[0].record.cell.dataset.count
    margin = max(MARGIN_VOLUMES, MARGIN_SHARE * count)
    white = [cell for cell in cells if cell.fact("access") == "white box"]
    for name, bound, missing, made in (
        (BLACK_BOX, margin, *_behind_black_box(cells, white, margin)),
        (BUDGET, margin, *_along(cells, margin, _by_budget, "budgets")),
        (STEPS, margin, *_along(cells, margin, _by_steps, "numbers of steps")),
        (NOISE, margin, *_behind_noise(cells, margin)),
        (CONTROL, CONTROL_ACCURACY, *_withstands_control(cells, control)),
    ):
        yield MatrixCheck(
            check=_check(name, bound, missing, made),
            of=cells[0].record.identity,
            cells=tuple(dict.fromkeys(cell for one in made if one.failed for cell in one.cells)),
        )


def _check(name: str, bound: float, missing: str, made: Sequence[_Comparison]) -> Check:
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


_Found = tuple[str, list[_Comparison]]
"""What a check needs, in words, and the comparisons that could be made."""


def _behind_black_box(
    cells: Sequence[AttackedCell], white: Sequence[AttackedCell], margin: float
) -> _Found:
    """Whether random search breaks more than gradients do, in separate cells or in a cascade."""
    needs = (
        "needs square3d and a white-box attack of the same norm and budget, or both in a cascade"
    )
    made = []
    for searcher in (cell for cell in cells if cell.fact("access") == "black box"):
        rivals = [cell for cell in white if _threat(cell) == _threat(searcher)]
        if rivals:
            best = min(rivals, key=lambda cell: cell.right)
            reason = (
                f"{searcher.name} leaves {searcher.right} volumes, the best white-box attack "
                f"({best.name}) {best.right}"
            )
            made.append(_comparison(best.right - searcher.right, margin, reason, *rivals))
    for cell in cells:
        for name, before, caught in _late_breaks(cell):
            reason = f"in {cell.name} {name} breaks {caught} volumes that {before} left"
            made.append(_comparison(caught, margin, reason, cell))
    return needs, made


def _comparison(excess: float, margin: float, reason: str, *cells: AttackedCell) -> _Comparison:
    """A comparison of volumes, which fails at the margin or above."""
    return _Comparison(
        excess=excess,
        failed=excess >= margin,
        reason=reason,
        cells=tuple(cell.record.identity for cell in cells),
    )


def _late_breaks(cell: AttackedCell) -> Iterator[tuple[str, str, int]]:
    """Name of each black-box part of a cascade, the white-box parts before it, what it breaks."""
    parts = cell.fact("parts") or []
    if cell.broken_by is None:
        return
    for number, part in enumerate(parts, start=1):
        before = [p["name"] for p in parts[: number - 1] if p["access"] == "white box"]
        if part["access"] == "black box" and before:
            yield part["name"], ", ".join(before), int((cell.broken_by == number).sum())


def _along(cells: Sequence[AttackedCell], margin: float, group: Group, what: str) -> _Found:
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
            made.append(_comparison(cell.right - strongest.right, margin, reason, cell))
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
    return canonical_json([key.name, key.version, only, settings])


def _steps(cell: AttackedCell) -> str:
    steps = (cell.fact("settings") or {}).get("steps")
    return "" if steps is None else f" ({steps} steps)"


def _behind_noise(cells: Sequence[AttackedCell], margin: float) -> _Found:
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
            made.append(_comparison(cell.right - control.right, margin, reason, cell))
    return "needs noise_sign at the budgets of the attacks", made


def _withstands_control(cells: Sequence[AttackedCell], control: Record | None) -> _Found:
    """Whether volumes withstand an attack that may change every voxel to anything."""
    if control is None:
        return "the control at ε = 1 was not run", []
    accuracy = control.metrics.get("accuracy")
    if accuracy is None:
        return f"the control at ε = 1 failed: {control.error}", []
    reason = (
        f"PGD with {dict(control.cell.perturbation.parameters)['steps']} steps at ε = 1 leaves "
        f"accuracy {accuracy:.2f} on {control.cell.dataset.count} volumes: the gradient seems to "
        "be masked"
    )
    by_gradient = [cell for cell in cells if cell.fact("access") in ("white box", "both")]
    return "", [
        _Comparison(
            excess=accuracy,
            failed=accuracy > CONTROL_ACCURACY and bool(by_gradient),
            reason=reason,
            cells=tuple(cell.record.identity for cell in by_gradient),
        )
    ]


def _threat(cell: AttackedCell) -> tuple[str, float]:
    """Norm and budget."""
    return cell.record.cell.perturbation.family, cell.severity
