"""Each matrix check fails for its own reason, and for no other."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.store import matrix_checks, suspicion
from benchharness.store.cells import CONTROL_FAMILY, SourceKey
from benchharness.store.predictions import Predictions
from tests.factories import CHECKPOINT, MODEL, cell, record

if TYPE_CHECKING:
    from benchharness.store.matrix_checks import MatrixCheck
    from benchharness.store.records import Record

COUNT = 100


class Matrix:
    """Records of one checkpoint, each with the number of volumes that stay correct."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.predictions: dict[str, Predictions] = {}

    def add(
        self,
        name: str,
        severity: float,
        right: int,
        *,
        access: str = "white box",
        family: str = "linf",
        settings: dict[str, Any] | None = None,
        iterative: bool = True,
        parts: dict[str, tuple[str, int]] | None = None,
        first: int = 0,
        extra: dict[str, Any] | None = None,
        **key: Any,
    ) -> str:
        """Add a cell.

        `parts` gives each part by name: its access, how many volumes it broke. Its volumes are
        those from number `first` on; of all 100, the first `right` stay correct.
        """
        settings = {"steps": 10} if settings is None else settings
        made = cell(
            dataset={"count": COUNT - first, "volumes": f"from {first}"},
            perturbation={
                "name": name,
                "severity": severity,
                "family": family,
                "parameters": tuple(sorted({**settings, "step": severity}.items())),
                **key,
            },
        )
        labels = np.arange(COUNT) % 2
        answers = np.where(np.arange(COUNT) < right, labels, 1 - labels)
        logits = np.eye(2, dtype=np.float32)[answers]
        ids = np.asarray([str(index) for index in range(COUNT)])
        facts = {"access": access, "iterative": iterative, "settings": settings}
        extra = dict(extra or {})
        if parts is not None:
            facts["parts"] = [{"name": part, "access": seen} for part, (seen, _) in parts.items()]
            counts = [0, *(caught for _, caught in parts.values())]
            counts[0] = COUNT - right - sum(counts)
            broken_by = np.repeat([*range(len(counts)), -1], [*counts, right])
            extra["broken_by"] = broken_by.astype(np.float32)[::-1]
        self.records.append(
            record(made, facts=facts, metrics={"accuracy": right / COUNT}, undefined={})
        )
        extra = {name: np.asarray(values, np.float32)[first:] for name, values in extra.items()}
        self.predictions[made.identity] = Predictions(
            ids=ids[first:], labels=labels[first:], logits=logits[first:], extra=extra
        )
        return made.identity

    def checks(self) -> dict[str, MatrixCheck]:
        found = matrix_checks.matrix_checks(self.records, self.predictions)
        assert len({check.of for check in found}) == 1
        return {check.check.name: check for check in found}

    def failed(self) -> dict[str, tuple[str, ...]]:
        return {
            name: found.cells
            for name, found in self.checks().items()
            if found.check.verdict == "failed"
        }


@pytest.fixture
def matrix() -> Matrix:
    """An honest matrix."""
    return honest()


def honest() -> Matrix:
    """Records of which every check applies and passes."""
    made = Matrix()
    for severity, noise, fgsm, pgd, more, square in (
        (2 / 255, 88, 70, 50, 48, 60),
        (8 / 255, 85, 40, 10, 9, 30),
    ):
        made.add("noise_sign", severity, noise, access="none", iterative=False)
        made.add("fgsm", severity, fgsm, iterative=False, settings={})
        made.add("pgd", severity, pgd)
        made.add("pgd", severity, more, settings={"steps": 50})
        made.add("square3d", severity, square, access="black box", settings={"queries": 300})
        made.add("pgd_l2", severity, more - 5, family="l2")
        probe(made, severity, {"one step": 100 - fgsm - 5, "climb": fgsm - more, "square3d": 0})
    control(made, 0)
    return made


def control(made: Matrix, right: int, worse: int = 0) -> None:
    """The control at ε = 1; for `worse` volumes its first step leads no further than chance."""
    gain = np.where(np.arange(COUNT) < worse, 0.1, 2.0)
    extra = {"gain": gain, "gain_by_noise": np.full(COUNT, 0.1)}
    settings = {"steps": 100}
    made.add("full_range", 1.0, right, family=CONTROL_FAMILY, settings=settings, extra=extra)


def probe(made: Matrix, severity: float, broke: dict[str, int], first: int = 0) -> str:
    """The probe, with what each of its parts broke of 95 volumes that are right when clean."""
    access = {"square3d": "black box"}
    parts = {name: (access.get(name, "another network"), count) for name, count in broke.items()}
    return made.add(
        "probe",
        severity,
        95 - sum(broke.values()),
        access="another network",
        family=CONTROL_FAMILY,
        settings={},
        parts=parts,
        first=first,
    )


def test_an_honest_matrix_passes_every_check(matrix: Matrix) -> None:
    verdicts = {name: found.check.verdict for name, found in matrix.checks().items()}
    assert verdicts == dict.fromkeys(
        [
            matrix_checks.BLACK_BOX,
            matrix_checks.BUDGET,
            matrix_checks.STEPS,
            matrix_checks.NOISE,
            matrix_checks.OTHERS,
            matrix_checks.CONTAINED,
            matrix_checks.CONTROL,
            matrix_checks.RISE,
        ],
        "passed",
    )
    assert suspicion.by_cell(matrix.checks().values()) == {}


def test_a_passed_check_says_how_far_it_was_from_failing(matrix: Matrix) -> None:
    values = {name: found.check.value for name, found in matrix.checks().items()}
    assert values == {
        matrix_checks.BLACK_BOX: 50 - 60,
        matrix_checks.BUDGET: 30 - 60,
        matrix_checks.STEPS: 9 - 10,
        matrix_checks.NOISE: 70 - 88,
        matrix_checks.OTHERS: 2 - 5,
        matrix_checks.CONTAINED: 43 - 48,
        matrix_checks.CONTROL: 0,
        matrix_checks.RISE: 0,
    }


def test_square_ahead_of_every_white_box_attack_makes_them_suspect(matrix: Matrix) -> None:
    white = [
        record.identity
        for record in matrix.records
        if record.cell.perturbation.severity == 2 / 255
        and record.cell.perturbation.family == "linf"
        and record.facts["access"] == "white box"
    ]
    matrix.add("square3d", 2 / 255, 44, access="black box", settings={"queries": 5000})
    assert set(matrix.failed()[matrix_checks.BLACK_BOX]) == set(white)
    reason = matrix.checks()[matrix_checks.BLACK_BOX].check.reason
    assert "square3d 2/255 leaves 44 volumes, pgd 2/255 48" in reason


def test_an_attack_behind_square_is_suspect_beside_a_better_one(matrix: Matrix) -> None:
    """A strong attack must not hide that another one fails."""
    worse = matrix.add("mifgsm", 2 / 255, 64)
    assert matrix.failed()[matrix_checks.BLACK_BOX] == (worse,)


def test_square_ahead_of_a_single_step_says_nothing(matrix: Matrix) -> None:
    matrix.add("fgsm", 8 / 255, 45, iterative=False, settings={"slow": True})
    assert matrix.failed() == {}


def test_square_ahead_by_less_than_four_volumes_of_a_hundred_is_chance(matrix: Matrix) -> None:
    matrix.add("square3d", 2 / 255, 47, access="black box", settings={"queries": 5000})
    assert matrix.failed() == {}


def test_an_excess_fails_that_one_volume_in_a_hundred_would_rarely_give() -> None:
    """By adding up the binomial distribution, with its share of 1 % and its 5 % written out."""

    def at_least(least: int, count: int) -> float:
        terms = (comb(count, k) * 0.01**k * 0.99 ** (count - k) for k in range(least))
        return 1 - sum(terms)

    for count in range(1, 400):
        found = matrix_checks.excess(count)
        assert at_least(found, count) <= 0.05
        assert found == 2 or at_least(found - 1, count) > 0.05
    assert [matrix_checks.excess(count) for count in (8, 32, 64, 128, 1000)] == [2, 2, 3, 4, 16]


@pytest.mark.parametrize(("caught", "suspect"), [(3, False), (4, True)])
def test_square_breaking_what_the_rest_of_a_cascade_left_is_suspect(
    caught: int, suspect: bool
) -> None:
    made = Matrix()
    parts = {
        "pgd": ("white box", 40),
        "fab": ("white box", 3),
        "square3d": ("black box", caught),
    }
    whole = made.add("autoattack3d", 8 / 255, 30, access="both", parts=parts)
    check = made.checks()[matrix_checks.BLACK_BOX].check
    assert check.verdict == ("failed" if suspect else "passed")
    assert made.failed() == ({matrix_checks.BLACK_BOX: (whole,)} if suspect else {})
    if suspect:
        reason = "in autoattack3d 8/255 square3d breaks 4 volumes that pgd, fab left"
        assert check.reason == reason


def test_a_cascade_without_random_search_compares_nothing() -> None:
    made = Matrix()
    parts = {"apgd_ce": ("white box", 40), "apgd_dlr": ("white box", 9)}
    made.add("autoattack3d", 8 / 255, 30, access="both", parts=parts)
    assert made.checks()[matrix_checks.BLACK_BOX].check.verdict == "not applicable"


@pytest.mark.parametrize("changes", [{"family": "l0"}, {"seed": 1}])
def test_only_cells_of_one_threat_and_seed_are_compared(
    matrix: Matrix, changes: dict[str, Any]
) -> None:
    other = Matrix()
    other.add("square3d", 2 / 255, 5, access="black box", settings={"queries": 5000}, **changes)
    found = matrix_checks.matrix_checks(
        [*matrix.records, *other.records], matrix.predictions | other.predictions
    )
    failed = {check.check.name for check in found if check.check.verdict == "failed"}
    # What random search breaks with any seed must not be left, though it is no series with it.
    assert failed == ({matrix_checks.OTHERS} if "seed" in changes else set())


def test_an_iterative_attack_weaker_with_a_larger_budget_is_suspect(matrix: Matrix) -> None:
    worse = matrix.add("pgd", 16 / 255, 14)
    assert matrix.failed() == {matrix_checks.BUDGET: (worse,)}


def test_gradients_of_another_precision_make_another_attack(matrix: Matrix) -> None:
    settings = {"steps": 10, "step": 16 / 255, "precision": "bf16"}
    matrix.add("pgd", 16 / 255, 12, parameters=tuple(sorted(settings.items())))
    assert matrix.failed() == {}


def test_a_single_step_may_overshoot(matrix: Matrix) -> None:
    matrix.add("fgsm", 16 / 255, 60, iterative=False, settings={})
    assert matrix.failed() == {}


def test_an_iterative_attack_weaker_with_more_steps_is_suspect(matrix: Matrix) -> None:
    worse = matrix.add("pgd", 8 / 255, 13, settings={"steps": 100})
    assert matrix.failed() == {matrix_checks.STEPS: (worse,)}
    reason = matrix.checks()[matrix_checks.STEPS].check.reason
    assert reason == "pgd 8/255 (100 steps) leaves 13 volumes, pgd 8/255 (50 steps) 9"


@pytest.mark.parametrize("family", ["linf", "l2"])
def test_an_attack_weaker_than_noise_is_suspect(matrix: Matrix, family: str) -> None:
    worse = matrix.add("mifgsm", 8 / 255, 89, family=family)
    assert matrix.failed()[matrix_checks.NOISE] == (worse,)


def test_counts_are_not_compared_with_noise(matrix: Matrix) -> None:
    matrix.add("noise_sign", 1.0, 3, access="none", iterative=False)
    matrix.add("voxel_flip", 1, 99, family="l0")
    assert matrix.failed() == {}


ATTACK = {"access": "white box", "family": "linf", "iterative": True}


@pytest.mark.parametrize(
    ("changes", "suspect"),
    [
        ({}, True),
        ({"access": "both"}, True),
        ({"family": "l2"}, True),
        ({"iterative": False}, False),
        ({"access": "black box"}, False),
        ({"family": "l0"}, False),
        ({"severity": 4 / 255}, False),
    ],
)
def test_volumes_that_the_probe_breaks_must_not_be_left(
    changes: dict[str, Any], suspect: bool
) -> None:
    """A single step is not held against the probe's climb; a smaller ε not against a larger."""
    made = Matrix()
    wanted = {"severity": 8 / 255} | ATTACK | changes
    attack = made.add("own", right=60, **wanted)  # type: ignore[arg-type]
    probe(made, 8 / 255, {"one step": 0, "climb": 55, "square3d": 0})
    assert made.failed() == ({matrix_checks.OTHERS: (attack,)} if suspect else {})


@pytest.mark.parametrize("part", ["one step", "square3d"])
def test_a_single_step_must_not_leave_what_one_on_the_copy_or_a_search_breaks(part: str) -> None:
    made = Matrix()
    attack = made.add("fgsm", 8 / 255, 60, iterative=False)
    probe(made, 8 / 255, {"one step": 0, "climb": 0, "square3d": 0} | {part: 55})
    assert made.failed() == {matrix_checks.OTHERS: (attack,)}


@pytest.mark.parametrize(("left", "suspect"), [(62, False), (63, True)])
def test_the_probe_and_an_attack_are_compared_on_the_volumes_of_both(
    left: int, suspect: bool
) -> None:
    """Of the 40 from number 60 on, the probe breaks all: two may be left by chance."""
    made = Matrix()
    attack = made.add("pgd", 8 / 255, left)
    probe(made, 8 / 255, {"one step": 95, "climb": 0, "square3d": 0}, first=60)
    found = made.checks()[matrix_checks.OTHERS]
    assert found.check.value == left - 60 - 2
    assert found.cells == ((attack,) if suspect else ())
    if suspect:
        expected = "pgd 8/255 leaves 3 of 40 volumes that probe 8/255 (3) break"
        assert found.check.reason == expected


def test_a_smaller_budget_of_another_attack_counts(matrix: Matrix) -> None:
    matrix.records.pop()
    worse = matrix.add("mifgsm", 16 / 255, 20)
    assert matrix.failed() == {matrix_checks.OTHERS: (worse,)}


def test_transferred_volumes_must_not_break_what_an_attack_left() -> None:
    made = Matrix()
    attack = made.add("pgd", 8 / 255, 60)
    source = SourceKey(model=MODEL, checkpoint=CHECKPOINT)
    made.add("transfer", 8 / 255, 20, access="another network", family="transfer", source=source)
    assert made.failed() == {matrix_checks.OTHERS: (attack,)}


def test_an_attack_far_behind_another_is_suspect_beside_it() -> None:
    made = Matrix()
    weak = made.add("pgd", 8 / 255, 52)
    made.add("apgd_ce", 8 / 255, 3)
    assert made.failed() == {matrix_checks.OTHERS: (weak,)}


CONTAINED = [
    (("l2", 8 / 255), ("linf", 8 / 255), True),
    (("l2", 2 / 255), ("linf", 8 / 255), False),
    (("linf", 8 / 255), ("l2", 8 / 255), False),
    (("l0", 1), ("cube", 1), True),
    (("l0", 8), ("cube", 2), True),
    (("l0", 7), ("cube", 2), False),
    (("slab", 2), ("cube", 2), True),
    (("slab", 1), ("l0", 1), True),
    (("cube", 3), ("l0", 1), True),
    (("cube", 3), ("l0", 2), False),
]


@pytest.mark.parametrize(("outer", "inner", "suspect"), CONTAINED)
def test_a_threat_must_break_what_a_contained_one_breaks(
    outer: tuple[str, float], inner: tuple[str, float], suspect: bool
) -> None:
    made = Matrix()
    first = made.add("outer", outer[1], 34, family=outer[0])
    made.add("inner", inner[1], 30, family=inner[0], access="black box")
    found = made.checks()[matrix_checks.CONTAINED]
    assert found.cells == ((first,) if suspect else ())
    if suspect:
        assert found.check.reason.startswith("outer ")


@pytest.mark.parametrize(("worse", "suspect"), [(25, False), (26, True)])
def test_a_gradient_that_leads_no_further_than_chance_is_suspect(
    matrix: Matrix, worse: int, suspect: bool
) -> None:
    matrix.records.pop()
    control(matrix, 0, worse)
    assert set(matrix.failed()) == ({matrix_checks.RISE} if suspect else set())


def test_a_control_that_did_not_look_at_the_loss_is_as_good_as_it_was(matrix: Matrix) -> None:
    matrix.records.pop()
    settings = {"steps": 100}
    matrix.add("full_range", 1.0, 0, family=CONTROL_FAMILY, settings=settings)
    assert matrix.failed() == {}
    checks = {name: found.check for name, found in matrix.checks().items()}
    assert checks[matrix_checks.CONTROL].verdict == "passed"
    assert checks[matrix_checks.RISE].verdict == "not applicable"


def test_of_several_controls_each_counts(matrix: Matrix) -> None:
    settings = {"steps": 50}
    matrix.add("full_range", 1.0, 9, family=CONTROL_FAMILY, settings=settings, version=0)
    assert set(matrix.failed()) == {matrix_checks.CONTROL}


def test_volumes_left_at_epsilon_one_make_every_gradient_attack_suspect(matrix: Matrix) -> None:
    matrix.records.pop()
    ensemble = matrix.add("autoattack3d", 8 / 255, 8, access="both", iterative=True)
    control(matrix, 6)
    by_gradient = {
        record.identity
        for record in matrix.records
        if record.facts["access"] in ("white box", "both")
        and record.cell.perturbation.family != CONTROL_FAMILY
    }
    failed = matrix.failed()
    assert failed.keys() == {matrix_checks.CONTROL}
    assert set(failed[matrix_checks.CONTROL]) == by_gradient
    assert ensemble in by_gradient
    control_check = matrix.checks()[matrix_checks.CONTROL].check
    assert (control_check.value, control_check.bound) == (0.06, 0.05)


def test_five_of_a_hundred_at_epsilon_one_are_within_bounds(matrix: Matrix) -> None:
    matrix.records.pop()
    control(matrix, 5)
    assert matrix.failed() == {}


def test_what_was_not_run_is_not_applicable_and_named() -> None:
    made = Matrix()
    made.add("pgd", 8 / 255, 10)
    reasons = {name: found.check for name, found in made.checks().items()}
    assert {check.verdict for check in reasons.values()} == {"not applicable"}
    assert "square3d" in reasons[matrix_checks.BLACK_BOX].reason
    assert "two budgets" in reasons[matrix_checks.BUDGET].reason
    assert "two numbers of steps" in reasons[matrix_checks.STEPS].reason
    assert "noise_sign" in reasons[matrix_checks.NOISE].reason
    assert "was not run" in reasons[matrix_checks.CONTROL].reason


def test_a_failed_control_says_why() -> None:
    made = Matrix()
    made.add("pgd", 8 / 255, 10)
    control(made, 0)
    failed = record(made.records[-1].cell, status="error", metrics={}, error="no gradient")
    made.records[-1] = failed
    del made.predictions[failed.identity]
    check = made.checks()[matrix_checks.CONTROL].check
    assert (check.verdict, check.reason) == (
        "not applicable",
        "the control at ε = 1 failed: no gradient",
    )


def test_records_of_before_the_facts_pass_in_silence(matrix: Matrix) -> None:
    old = [record(r.cell, facts={}, metrics=r.metrics) for r in matrix.records]
    found = matrix_checks.matrix_checks(old, matrix.predictions)
    assert not suspicion.by_cell(found)


def test_transferred_volumes_are_no_white_box_attack(matrix: Matrix) -> None:
    source = SourceKey(model=MODEL, checkpoint=CHECKPOINT)
    matrix.add("transfer", 8 / 255, 99, access="another network", family="transfer", source=source)
    assert matrix.failed() == {}
