"""Each attack leaves no more volumes than those of independent packages, at equal effort."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from benchharness import attacks
from tests.attacks import references
from tests.attacks.references import cascade, left_by, once, ta
from tests.attacks.targets import CLASSES, cubes, phantoms

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.attacks import Attack
    from tests.attacks.references import Reference
    from tests.attacks.targets import Target

pytestmark = pytest.mark.slow

STEPS, QUERIES, RESTARTS = 20, 400, 3
SEEDS = (0, 1, 2)
"""Of both sides, where an attack draws; the mean counts."""
SLACK = 1
"""Volumes, of 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An attack, and the references that it must match."""

    ours: Attack
    references: dict[str, Reference]
    logits: bool = False
    """Whether it sees logits alone, and so needs larger budgets."""
    drawn: bool = True
    """Whether either side draws random numbers."""


def fixed(ours: Attack, **references_: Reference) -> Row:
    """A row without random draws."""
    return Row(ours=ours, references=references_, drawn=False)


def drawn(ours: Attack, **references_: Reference) -> Row:
    """A row whose attack starts at random."""
    return Row(ours=ours, references=references_)


def queried(ours: Attack, **references_: Reference) -> Row:
    """A row of random search."""
    return Row(ours=ours, references=references_, logits=True)


art = partial(references.art, classes=CLASSES)
art_pgd = partial(art, "ProjectedGradientDescent", step=2.5 / STEPS, max_iter=STEPS)
art_apgd = partial(art, "AutoProjectedGradientDescent", step=2, max_iter=STEPS, nb_random_init=1)
art_ce = partial(art_apgd, loss_type="cross_entropy")
art_square = partial(art, "SquareAttack", max_iter=QUERIES)
ta_apgd = partial(ta, "APGD", steps=STEPS)
ta_square = partial(ta, "Square", n_queries=QUERIES)
# torchattacks' FAB keeps only what lies within its ε, so that it is given a large one.
ta_fab = partial(ta, "FAB", eps=100.0, steps=STEPS, n_classes=CLASSES)
L2: dict[str, Any] = {"norm": 2}
TA_L2: dict[str, Any] = {"norm": "L2"}

ROWS: dict[str, Row] = {
    "fgsm": fixed(attacks.FGSM(), art=art("FastGradientMethod"), ta=ta("FGSM")),
    "pgd": drawn(
        attacks.PGD(steps=STEPS),
        art=art_pgd(num_random_init=1),
        ta=ta("PGD", step=2.5 / STEPS, steps=STEPS),
    ),
    "pgd, restarts": drawn(
        attacks.PGD(steps=STEPS, restarts=RESTARTS), art=art_pgd(num_random_init=RESTARTS)
    ),
    "mifgsm": fixed(
        attacks.MIFGSM(steps=STEPS),
        art=art("MomentumIterativeMethod", step=1 / STEPS, max_iter=STEPS, decay=1.0),
        ta=ta("MIFGSM", step=1 / STEPS, steps=STEPS, decay=1.0),
    ),
    "apgd_ce": drawn(attacks.APGDCE(steps=STEPS), art=art_ce(), ta=ta_apgd(loss="ce")),
    "apgd_ce, restarts": drawn(
        attacks.APGDCE(steps=STEPS, restarts=RESTARTS),
        art=art_ce(nb_random_init=RESTARTS),
        ta=ta_apgd(loss="ce", n_restarts=RESTARTS),
    ),
    "apgd_dlr": drawn(
        attacks.APGDDLR(steps=STEPS),
        art=art_apgd(loss_type="difference_logits_ratio"),
        ta=ta_apgd(loss="dlr"),
    ),
    "apgd_t": drawn(attacks.APGDT(steps=STEPS), ta=ta("APGDT", steps=STEPS, n_classes=CLASSES)),
    "fab": fixed(attacks.FAB(steps=STEPS), ta=ta_fab()),
    "fab, targeted": fixed(
        attacks.FAB(steps=STEPS, targets=CLASSES - 1), ta=ta_fab(multi_targeted=True)
    ),
    "square3d": queried(attacks.Square3D(queries=QUERIES), art=art_square(), ta=ta_square()),
    "square3d, as in AutoAttack": queried(
        attacks.Square3D(queries=QUERIES, rescaled=False), ta=ta_square(resc_schedule=False)
    ),
    "autoattack3d": drawn(
        attacks.AutoAttack3D(steps=STEPS, queries=QUERIES),
        ta=cascade(
            ta_apgd(loss="ce"),
            ta("APGDT", steps=STEPS, n_classes=CLASSES),
            ta("FAB", steps=STEPS, n_classes=CLASSES, multi_targeted=True),
            ta_square(resc_schedule=False),
        ),
    ),
    "pgd_l2": drawn(
        attacks.PGDL2(steps=STEPS),
        art=art_pgd(num_random_init=1, **L2),
        ta=ta("PGDL2", step=2.5 / STEPS, steps=STEPS),
    ),
    "apgd_ce_l2": drawn(
        attacks.APGDCEL2(steps=STEPS), art=art_ce(**L2), ta=ta_apgd(loss="ce", **TA_L2)
    ),
    "fab_l2": fixed(attacks.FABL2(steps=STEPS), ta=ta_fab(**TA_L2)),
    "square3d_l2": queried(
        # ART's squares of height 1 are NaN in L2, and the images of 8³ need them.
        attacks.Square3DL2(queries=QUERIES),
        ta=ta_square(**TA_L2),
    ),
    "deepfool": fixed(
        attacks.DeepFool(),
        art=once(art("DeepFool", max_iter=50, epsilon=0.02)),
        ta=once(ta("DeepFool", steps=50, overshoot=0.02)),
    ),
    "cw": fixed(
        attacks.CarliniWagner(),
        art=once(art("CarliniL2Method", binary_search_steps=6, max_iter=100, initial_const=1.0)),
        ta=once(ta("CW", c=1.0, steps=600, lr=0.01)),
    ),
}


def left(name: str, given: Target, eps: float) -> dict[str, float]:
    """Volumes left by ours (under "ours") and by each reference, the mean over seeds."""
    row = ROWS[name]
    seeds = SEEDS if row.drawn else SEEDS[:1]
    numbers = {"ours": mean(given.left_by(row.ours, eps, seed) for seed in seeds)}
    for package, reference in row.references.items():
        numbers[package] = mean(
            left_by(
                reference,
                given.classifier,
                given.volumes,
                given.labels,
                norm=row.ours.norm,
                severity=eps,
                seed=seed,
            )
            for seed in seeds
        )
    return numbers


# ART hands tensors to NumPy, which wants more of their __array__ than torch has.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("target_of", [cubes, phantoms])
@pytest.mark.parametrize("name", ROWS)
def test_leaves_no_more_volumes_than_an_independent_package(
    name: str, target_of: Callable[[], Target]
) -> None:
    row, given = ROWS[name], target_of()
    for number in given.budgets["logits" if row.logits else row.ours.norm]:
        numbers = left(name, given, number / 255)
        assert numbers["ours"] <= min(numbers.values()) + SLACK, f"{number}/255: {numbers}"
