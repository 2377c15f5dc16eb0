"""Every attack elsewhere: the CPU's bits, and a stated number of crossings in every step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchharness.attacks import Probe, Surrogate, build
from benchharness.attacks.full_range import FullRange
from tests.attacks.attack_networks import linear, names, tiny, volumes_like
from tests.attacks.test_attack_contract import ATTACKS, QUICK, SEVERITY, TARGETS, applicable
from tests.placement.elsewhere import DEVICE, READ, SELECT, UP, Elsewhere
from tests.placement.worlds import assert_same_bits, moved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from benchharness.attacks import Attack, Outcome
    from benchharness.networks.classifier import Classifier

CONTROLS: dict[str, Attack] = {
    "probe": Probe(steps=3, queries=10),
    "surrogate": Surrogate(steps=4),
    "full_range": FullRange(steps=8),
}
"""Attacks that no user asks for by name."""

SHORT: dict[str, dict[str, Any]] = QUICK | {
    **{name: {"steps": 5} for name in ("apgd_ce", "apgd_dlr", "apgd_margin")},
    **{name: {"steps": 5} for name in ("apgd_ce_l2", "apgd_margin_l2")},
    **{name: {"rounds": 1} for name in ("cube", "slab", "voxel_flip")},
    "apgd_t": {"steps": 4, "targets": 2},
    "pgd": {"steps": 4, "restarts": 2, "samples": 2},
    "cw": {"steps": 4, "search_steps": 2},
    "square3d": {"queries": 12},
    "square3d_l2": {"queries": 12},
}

COUNT, SHAPE = 5, (1, 6, 6, 6)


def attack_named(name: str, parameters: Mapping[str, Any] | None = None) -> Attack:
    if name in CONTROLS:
        return CONTROLS[name]
    return build(TARGETS[name], SHORT.get(name, {}) if parameters is None else parameters)


@cache
def task(num_classes: int, right: int = COUNT - 1) -> tuple[Classifier, Classifier, Tensor, Tensor]:
    """A network, another one to transfer from, volumes, and labels of which `right` are right."""
    judged, source = tiny(num_classes), tiny(num_classes, seed=1)
    volumes = volumes_like(COUNT, SHAPE)
    labels = torch.from_numpy(judged.predict(volumes, COUNT)).argmax(1)
    labels[right:] = (labels[right:] + 1) % num_classes
    return judged, source, volumes, labels


def standing(attack: Attack) -> int:
    """Volumes to attack: a sparse search passes more candidates at once where fewer stand."""
    return 2 if attack.norm in ("l0", "slab", "cube") else COUNT - 1


def outcome(
    attack: Attack,
    judged: Classifier,
    source: Classifier,
    volumes: Tensor,
    labels: Tensor,
    severity: float | None = None,
    watched: tuple[str, ...] = (),
) -> Outcome:
    return attack(
        judged,
        volumes,
        labels,
        severity=SEVERITY[attack.norm] if severity is None else severity,
        ids=names(len(volumes)),
        seed=0,
        source=source if attack.needs_source else None,
        watched=watched,
    )


def there(
    attack: Attack, num_classes: int, right: int | None = None, **options: Any
) -> tuple[Outcome, Elsewhere]:
    """Attack elsewhere; networks and volumes are there before anything is counted."""
    right = standing(attack) if right is None else right
    judged, source, volumes, labels = task(num_classes, right)
    with Elsewhere() as world:
        given = moved(judged), moved(source), volumes.to(DEVICE), labels.to(DEVICE)
        world.crossings.clear()
        return outcome(attack, *given, **options), world


@pytest.mark.parametrize("name", [*ATTACKS, *CONTROLS])
def test_every_attack_gives_the_bits_of_the_cpu(name: str) -> None:
    attack = attack_named(name)
    num_classes = 4 if applicable(attack, 4) else 2
    assert applicable(attack, num_classes)
    # One attack's gradient is checked in the same way as another's.
    watched = tuple(names(2)) if name in ("pgd", "apgd_margin_l2", "slab") else ()
    expected = outcome(attack, *task(num_classes, standing(attack)), watched=watched)
    found, _ = there(attack, num_classes, watched=watched)
    assert_same_bits(found.volumes, expected.volumes)
    np.testing.assert_array_equal(found.logits, expected.logits)
    assert found.findings.keys() == expected.findings.keys()
    for one, values in expected.findings.items():
        np.testing.assert_array_equal(found.findings[one], values)
    assert (found.slopes is None) == (expected.slopes is None)
    if found.slopes is not None and expected.slopes is not None:
        np.testing.assert_array_equal(found.slopes.errors, expected.slopes.errors)
        np.testing.assert_array_equal(found.slopes.shortfall, expected.slopes.shortfall)


def test_volumes_on_the_host_are_taken_to_the_network() -> None:
    judged, _, volumes, labels = task(2)
    attack = attack_named("fgsm")
    expected = attack(judged, volumes, labels, severity=8 / 255, ids=names(COUNT))
    with Elsewhere():
        found = attack(moved(judged), volumes, labels.numpy(), severity=8 / 255, ids=names(COUNT))
    assert_same_bits(found.volumes, expected.volumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What may cross in the loop of an attack, counted for every batch that the network gets."""

    short: dict[str, Any]
    long: dict[str, Any]
    allowed: dict[str, float] = field(default_factory=dict)
    why: str = ""


_STEPS = {"short": {"steps": 2}, "long": {"steps": 4}}
_DRAWS = "what is drawn is drawn on the host, so that every device gets the same bits"
_NEWTON = "Newton's method asks after every round of a projection whether it is done"
_STANDING = "volumes that broke leave, so the host must know which"

LOOPS: dict[str, Steps] = {
    # No step of these waits for the device: it has the next ones queued.
    **{name: Steps(**_STEPS) for name in ("pgd", "pgd_l2", "mifgsm", "transfer")},
    **{name: Steps(**_STEPS) for name in ("apgd_ce", "apgd_dlr", "apgd_margin")},
    **{name: Steps(**_STEPS) for name in ("apgd_ce_l2", "apgd_margin_l2")},
    "apgd_t": Steps(short={"steps": 2, "targets": 2}, long={"steps": 4, "targets": 2}),
    "cw": Steps(short={"steps": 2, "search_steps": 2}, long={"steps": 4, "search_steps": 2}),
    "deepfool": Steps(
        short={"steps": 1},
        long={"steps": 2},
        allowed={READ: 7},
        why=f"it ends once every volume is misclassified; {_NEWTON}",
    ),
    **{
        name: Steps(
            **_STEPS,
            allowed={READ: 6},
            why=_NEWTON,
        )
        for name in ("fab", "fab_l2")
    },
    "square3d": Steps(
        short={"queries": 3},
        long={"queries": 9},
        allowed={READ: 1, UP: 4},
        why=f"whether any volume broke; {_DRAWS}: a corner's three places and the signs",
    ),
    "square3d_l2": Steps(
        short={"queries": 3},
        long={"queries": 9},
        allowed={READ: 1, UP: 8},
        why=f"whether any volume broke; {_DRAWS}: two corners, the signs and an axis",
    ),
    "autoattack3d": Steps(
        short={"steps": 1, "targets": 1, "queries": 3},
        long={"steps": 1, "targets": 1, "queries": 9},
        allowed={READ: 1, UP: 4},
        why="its loop that crosses is that of square3d",
    ),
    **{
        name: Steps(
            short={"rounds": 1}, long={"rounds": 2}, allowed={SELECT: 4, UP: 1}, why=_STANDING
        )
        for name in ("cube", "slab")
    },
    "voxel_flip": Steps(
        short={"rounds": 1},
        long={"rounds": 2},
        allowed={SELECT: 3, READ: 1, UP: 2},
        why=f"{_STANDING}, for whom the next swaps are drawn; {_DRAWS}",
    ),
}
ONCE = {"fgsm", "noise_sign"}
"""These have no loop."""


def test_every_attack_states_what_crosses() -> None:
    assert LOOPS.keys() | ONCE == set(ATTACKS)
    assert all(loop.why for loop in LOOPS.values() if loop.allowed)


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_no_attack_copies_more_in_a_step_than_it_says(name: str) -> None:
    loop = LOOPS[name]
    runs = []
    for parameters in (loop.short, loop.long):
        attack = attack_named(name, parameters)
        sparse = attack.norm in ("l0", "slab", "cube")
        severity = 2 if sparse else 1e-5
        right = 1 if sparse else COUNT - 1
        batches = 0

        def counted(*_: object) -> None:
            nonlocal batches
            batches += 1

        handle = torch.nn.modules.module.register_module_forward_pre_hook(
            lambda module, _: counted() if type(module).__name__ == "Tiny" else None
        )
        try:
            _, world = there(attack, 4, right, severity=severity)
        finally:
            handle.remove()
        runs.append((world, batches))
    (short, few), (long, many) = runs
    assert many > few
    crossings = Counter(long.crossings)
    crossings.subtract(short.crossings)
    for kind in (READ, UP, SELECT, "down"):
        each = sum(n for (one, _), n in crossings.items() if one == kind) / (many - few)
        bound = loop.allowed.get(kind, 0)
        assert each <= bound, f"{each:g} {kind} a batch, {bound} stated:\n{long.report()}"


def test_attacking_a_batch_crosses_as_often_whatever_its_size() -> None:
    judged, source, volumes, labels = task(4)
    found = []
    for count in (2, COUNT):
        with Elsewhere() as world:
            given = volumes[:count].to(DEVICE), labels[:count].to(DEVICE)
            networks = moved(judged), moved(source)
            world.crossings.clear()
            outcome(attack_named("pgd"), *networks, *given)
        found.append(world.total())
    assert found[1] <= found[0] + 1  # A batch of two volumes needs no further pass of its own.


@pytest.mark.parametrize("name", ["square3d", "square3d_l2"])
def test_a_search_that_drops_what_broke_crosses_some_times_for_every_drop(name: str) -> None:
    attack = build(name, {"queries": 20})
    volumes, judged = volumes_like(6, SHAPE), linear(2, 216)
    labels = torch.from_numpy(judged.predict(volumes, 6)).argmax(1)
    with Elsewhere() as world:
        network, *given = moved(judged), volumes.to(DEVICE), labels.to(DEVICE)
        world.crossings.clear()
        found = outcome(attack, network, network, *given, severity=0.6)
    broken = int(found.findings["broken"].sum())
    assert broken > 1
    assert world.total(SELECT) <= 10 * broken + 5, world.report()
