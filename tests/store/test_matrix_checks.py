"""Each matrix check fails for its own reason, and for no other."""

from __future__ import annotations

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
        **key: Any,
    ) -> str:
        """Add a cell; `parts` gives each part by name: its access, how many volumes it broke."""
        settings = {"steps": 10} if settings is None else settings
        made = cell(
            dataset={"count": COUNT},
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
        extra = {}
        if parts is not None:
            facts["parts"] = [{"name": part, "access": seen} for part, (seen, _) in parts.items()]
            counts = [0, *(caught for _, caught in parts.values())]
            counts[0] = COUNT - right - sum(counts)
            broken_by = np.repeat([*range(len(counts)), -1], [*counts, right])
            extra["broken_by"] = broken_by.astype(np.float32)
        self.records.append(
            record(made, facts=facts, metrics={"accuracy": right / COUNT}, undefined={})
        )
        self.predictions[made.identity] = Predictions(
            ids=ids, labels=labels, logits=logits, extra=extra
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
    """An honest matrix: every check applies and passes."""
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
    control(made, 0)
    return made


def control(made: Matrix, right: int) -> None:
    made.add("full_range", 1.0, right, family=CONTROL_FAMILY, settings={"steps": 100})


def test_an_honest_matrix_passes_every_check(matrix: Matrix) -> None:
    verdicts = {name: found.check.verdict for name, found in matrix.checks().items()}
    assert verdicts == dict.fromkeys(
        [
            matrix_checks.BLACK_BOX,
            matrix_checks.BUDGET,
            matrix_checks.STEPS,
            matrix_checks.NOISE,
            matrix_checks.CONTROL,
        ],
        "passed",
    )
    assert suspicion.by_cell(matrix.checks().values()) == {}


def test_a_passed_check_says_how_far_it_was_from_failing(matrix: Matrix) -> None:
    values = {name: found.check.value for name, found in matrix.checks().items()}
    assert values == {
        matrix_checks.BLACK_BOX: 48 - 60,
        matrix_checks.BUDGET: 30 - 60,
        matrix_checks.STEPS: 9 - 10,
        matrix_checks.NOISE: 70 - 88,
        matrix_checks.CONTROL: 0,
    }


def test_square_ahead_of_every_white_box_attack_makes_them_suspect(matrix: Matrix) -> None:
    white = [
        record.identity
        for record in matrix.records
        if record.cell.perturbation.severity == 2 / 255 and record.facts["access"] == "white box"
    ]
    matrix.add("square3d", 2 / 255, 46, access="black box", settings={"queries": 5000})
    assert matrix.failed() == {matrix_checks.BLACK_BOX: tuple(white)}
    reason = matrix.checks()[matrix_checks.BLACK_BOX].check.reason
    assert "square3d 2/255 leaves 46 volumes, the best white-box attack (pgd 2/255) 48" in reason


def test_square_ahead_by_less_than_two_volumes_is_chance(matrix: Matrix) -> None:
    matrix.add("square3d", 2 / 255, 47, access="black box", settings={"queries": 5000})
    assert matrix.failed() == {}


@pytest.mark.parametrize(("caught", "suspect"), [(1, False), (2, True)])
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
        reason = "in autoattack3d 8/255 square3d breaks 2 volumes that pgd, fab left"
        assert check.reason == reason


def test_a_cascade_without_random_search_compares_nothing() -> None:
    made = Matrix()
    parts = {"apgd_ce": ("white box", 40), "apgd_dlr": ("white box", 9)}
    made.add("autoattack3d", 8 / 255, 30, access="both", parts=parts)
    assert made.checks()[matrix_checks.BLACK_BOX].check.verdict == "not applicable"


@pytest.mark.parametrize("changes", [{"family": "l2"}, {"seed": 1}])
def test_only_cells_of_one_threat_and_seed_are_compared(
    matrix: Matrix, changes: dict[str, Any]
) -> None:
    other = Matrix()
    other.add("square3d", 2 / 255, 5, access="black box", settings={"queries": 5000}, **changes)
    found = matrix_checks.matrix_checks(
        [*matrix.records, *other.records], matrix.predictions | other.predictions
    )
    assert not [check for check in found if check.check.verdict == "failed"]


def test_an_iterative_attack_weaker_with_a_larger_budget_is_suspect(matrix: Matrix) -> None:
    worse = matrix.add("pgd", 16 / 255, 12)
    assert matrix.failed() == {matrix_checks.BUDGET: (worse,)}


def test_a_single_step_may_overshoot(matrix: Matrix) -> None:
    matrix.add("fgsm", 16 / 255, 60, iterative=False, settings={})
    assert matrix.failed() == {}


def test_an_iterative_attack_weaker_with_more_steps_is_suspect(matrix: Matrix) -> None:
    worse = matrix.add("pgd", 8 / 255, 12, settings={"steps": 100})
    assert matrix.failed() == {matrix_checks.STEPS: (worse,)}
    reason = matrix.checks()[matrix_checks.STEPS].check.reason
    assert reason == "pgd 8/255 (100 steps) leaves 12 volumes, pgd 8/255 (50 steps) 9"


@pytest.mark.parametrize("family", ["linf", "l2"])
def test_an_attack_weaker_than_noise_is_suspect(matrix: Matrix, family: str) -> None:
    worse = matrix.add("mifgsm", 8 / 255, 87, family=family)
    assert matrix.failed() == {matrix_checks.NOISE: (worse,)}


def test_counts_are_not_compared_with_noise(matrix: Matrix) -> None:
    matrix.add("noise_sign", 1.0, 3, access="none", iterative=False)
    matrix.add("voxel_flip", 1, 99, family="l0")
    assert matrix.failed() == {}


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
