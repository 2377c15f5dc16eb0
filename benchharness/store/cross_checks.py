"""Matrix checks that hold an attack against everything else that is known of its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.store.attacked import Comparison, comparison
from benchharness.store.evidence import PROBE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.store.attacked import AttackedCell, Found
    from benchharness.store.evidence import Evidence
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record

OTHERS_VOLUMES = 2
"""Volumes that an attack may leave though others break them: they may be chance."""
OTHERS_SHARE = 0.05
"""The same as a share of the volumes; the larger of the two applies."""
OTHERS_BOUND = 1
"""From this number of volumes above them on the comparison fails."""
CONTROL_ACCURACY = 0.05
"""The most accuracy that PGD with 100 steps at ε = 1 may leave."""
RISE_SHARE = 0.25
"""Share of the volumes for which the first step of the control may lead no further than chance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Control:
    """A control cell of a checkpoint."""

    record: Record
    predictions: Predictions | None
    """None when it failed."""


def behind_others(cells: Sequence[AttackedCell], found: Sequence[Evidence]) -> Found:
    """Whether an attack leaves volumes that anything else breaks within its budget.

    An iterative attack is held against everything: it must not be further than this from the worst
    case. A single step is honestly weaker than many, and may be weaker than one at a smaller ε, so
    it is held against what is no stronger at its own: noise, other networks' volumes, and a single
    step on the network's copy.
    """
    made = []
    for cell in cells:
        own = cell.evidence
        if own is None or not cell.follows_gradient:
            continue
        rivals = [one for one in found if one.identity != own.identity]
        rivals = [one for one in rivals if one.within(own.norm, own.severity)]
        if not cell.fact("iterative"):
            rivals = [
                one
                for one in rivals
                if one.access in ("none", "another network") and one.severity == own.severity
            ]
        made += [
            _left(cell, own, rivals, volumes)
            for volumes in dict.fromkeys(one.volumes & own.volumes for one in rivals)
            if volumes
        ]
    return "needs a gradient attack and another attack, or the probe, within its budget", made


def _left(
    cell: AttackedCell, own: Evidence, rivals: Sequence[Evidence], volumes: frozenset[str]
) -> Comparison:
    """What an attack leaves of some volumes though its rivals break it."""
    left = volumes - own.broken
    caught = {
        one.name: left & (one.broken if cell.fact("iterative") else one.single) for one in rivals
    }
    every = frozenset().union(*caught.values())
    ranked = sorted(caught.items(), key=lambda item: -len(item[1]))
    names = ", ".join(f"{name} ({len(broken)})" for name, broken in ranked[:3] if broken)
    allowed = max(OTHERS_VOLUMES, int(OTHERS_SHARE * len(volumes)))
    reason = f"{cell.name} leaves {len(every)} of {len(volumes)} volumes that {names} break"
    return comparison(len(every) - allowed, OTHERS_BOUND, reason, cell)


def behind_contained(cells: Sequence[AttackedCell], margin: float) -> Found:
    """Whether an iterative attack breaks fewer volumes than one that may do no more than it.

    A change of at most ε everywhere has a root mean square of at most ε; a cube of side s has s³
    voxels and lies in a slab of s slices; a voxel is a cube and a slab of size 1.
    """
    made = []
    for cell in (cell for cell in cells if cell.fact("iterative") and cell.follows_gradient):
        for other in cells:
            if _holds(cell.threat, other.threat):
                reason = f"{cell.name} leaves {cell.right} volumes, {other.name} {other.right}"
                made.append(comparison(cell.right - other.right, margin, reason, cell))
    return "needs attacks in two norms of which one contains the other", made


def _holds(outer: tuple[str, float], inner: tuple[str, float]) -> bool:
    """Whether every change that one norm and budget allows is allowed by another norm's."""
    (outer_norm, most), (inner_norm, budget) = outer, inner
    if budget <= 0:
        return False
    match outer_norm, inner_norm:
        case "l2", "linf":
            return budget <= most
        case "l0", "cube":
            return budget**3 <= most
        case "slab", "cube":
            return budget <= most
        case (("slab" | "cube"), "l0"):
            return budget == 1 <= most
    return False


def withstands(cells: Sequence[AttackedCell], controls: Sequence[Control]) -> Found:
    """Whether volumes withstand an attack that may change every voxel to anything."""
    made = []
    for control in _measured(controls):
        accuracy = control.record.metrics["accuracy"] or 0.0
        key = control.record.cell.perturbation
        reason = (
            f"PGD with {dict(key.parameters)['steps']} steps at ε = 1 leaves accuracy "
            f"{accuracy:.2f} on {control.record.cell.dataset.count} volumes: the gradient seems to "
            "be masked"
        )
        made.append(_of_control(cells, accuracy, CONTROL_ACCURACY, reason))
    return _missing(controls), made


def leads_nowhere(cells: Sequence[AttackedCell], controls: Sequence[Control]) -> Found:
    """Whether the gradient leads no further uphill than random signs, in one step of the control.

    Versions of the control that did not look are left out.
    """
    made = []
    for control in _measured(controls):
        assert control.predictions is not None
        extra = control.predictions.extra
        if not {"gain", "gain_by_noise"} <= extra.keys():
            continue
        share = float(np.mean(extra["gain"] <= extra["gain_by_noise"]))
        reason = (
            f"for {share:.0%} of {len(control.predictions.ids)} volumes a step along the gradient "
            "raises the margin no more than one along random signs: the gradient seems to be masked"
        )
        made.append(_of_control(cells, share, RISE_SHARE, reason))
    return _missing(controls) or "this version of the control did not look", made


def _of_control(
    cells: Sequence[AttackedCell], value: float, bound: float, reason: str
) -> Comparison:
    """What a control says of every attack that follows the gradient."""
    by_gradient = tuple(cell.record.identity for cell in cells if cell.follows_gradient)
    return Comparison(
        excess=value, failed=value > bound and bool(by_gradient), reason=reason, cells=by_gradient
    )


def _measured(controls: Sequence[Control]) -> Iterator[Control]:
    """The controls at ε = 1 that did not fail."""
    for control in _at_full_range(controls):
        if control.record.metrics.get("accuracy") is not None and control.predictions is not None:
            yield control


def _missing(controls: Sequence[Control]) -> str:
    """Why there is no control at ε = 1; empty where there is one."""
    every = list(_at_full_range(controls))
    if not every:
        return "the control at ε = 1 was not run"
    failures = [control.record.error for control in every if control.predictions is None]
    return f"the control at ε = 1 failed: {failures[-1]}" if failures else ""


def _at_full_range(controls: Sequence[Control]) -> Iterator[Control]:
    return (c for c in controls if c.record.cell.perturbation.name != PROBE)
