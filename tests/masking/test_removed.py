"""No check can go unnoticed: where one always passes, the test that is there for it fails."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from benchharness.networks import behaviour, outputs
from benchharness.store import matrix_checks
from benchharness.store.matrix_checks import MatrixCheck
from benchharness.store.records import Check
from tests.attacks import maskings, test_certificates
from tests.networks import test_behaviour, test_outputs
from tests.store import test_matrix_checks
from tests.store.test_matrix_checks import Matrix, honest

if TYPE_CHECKING:
    from collections.abc import Callable


def _fault(changed: dict[str, Any], name: str, reason: str) -> None:
    test_certificates.test_each_check_fails_on_its_own_fault(changed, name, reason)


def _habit(network: str, name: str) -> None:
    test_behaviour.test_each_habit_fails_its_own_check(network, {name: "failed"})


def _of_matrix(test: Callable[[Matrix], None]) -> Callable[[], None]:
    return lambda: test(honest())


OF_CELLS = {
    name: partial(_fault, changed, name, reason)
    for changed, name, reason in test_certificates.FAULTS
}
OF_NETWORKS = {
    behaviour.DRAWS: partial(_habit, "dropout_on", behaviour.DRAWS),
    behaviour.BATCH: partial(_habit, "by_position", behaviour.BATCH),
    behaviour.INPUT: partial(_habit, "writes_to_its_input", behaviour.INPUT),
    behaviour.STATE: partial(_habit, "counts", behaviour.STATE),
    outputs.SQUASHED: partial(
        test_outputs.test_squashed_outputs_fail_with_a_margin, next(iter(maskings.SQUASHED))
    ),
    outputs.STEADY: test_outputs.test_noise_that_the_input_seeds_is_no_answer,
}
ALL = test_matrix_checks
OF_MATRICES: dict[str, Callable[[], None]] = {
    matrix_checks.BLACK_BOX: _of_matrix(
        ALL.test_an_attack_behind_square_is_suspect_beside_a_better_one
    ),
    matrix_checks.BUDGET: _of_matrix(
        ALL.test_an_iterative_attack_weaker_with_a_larger_budget_is_suspect
    ),
    matrix_checks.STEPS: _of_matrix(ALL.test_an_iterative_attack_weaker_with_more_steps_is_suspect),
    matrix_checks.NOISE: lambda: ALL.test_an_attack_weaker_than_noise_is_suspect(honest(), "linf"),
    matrix_checks.OTHERS: _of_matrix(ALL.test_a_smaller_budget_of_another_attack_counts),
    matrix_checks.CONTAINED: lambda: ALL.test_a_threat_must_break_what_a_contained_one_breaks(
        *ALL.CONTAINED[0]
    ),
    matrix_checks.CONTROL: _of_matrix(
        ALL.test_volumes_left_at_epsilon_one_make_every_gradient_attack_suspect
    ),
    matrix_checks.RISE: lambda: ALL.test_a_gradient_that_leads_no_further_than_chance_is_suspect(
        honest(), 26, suspect=True
    ),
}
TESTS: dict[str, Callable[[], None]] = {**OF_CELLS, **OF_NETWORKS, **OF_MATRICES}


def test_every_check_has_a_test_of_its_own() -> None:
    assert set(OF_CELLS) == {check.name for check in test_certificates.judged()}
    assert set(OF_NETWORKS) == {*test_behaviour.PASSED, outputs.SQUASHED, outputs.STEADY}
    assert set(OF_MATRICES) == set(honest().checks())


@pytest.mark.parametrize("name", TESTS)
def test_without_a_check_its_test_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    TESTS[name]()
    monkeypatch.setattr(Check, "__init__", _passing(name, Check.__init__))
    monkeypatch.setattr(MatrixCheck, "__init__", _harmless(name, MatrixCheck.__init__))
    with pytest.raises((AssertionError, KeyError)):
        TESTS[name]()


def _passing(name: str, before: Callable[..., None]) -> Callable[..., None]:
    """Make a check that passes, as if there were none."""

    def made(self: Check, **fields: Any) -> None:
        if fields["name"] == name and fields["verdict"] == "failed":
            fields |= {"verdict": "passed", "reason": ""}
        before(self, **fields)

    return made


def _harmless(name: str, before: Callable[..., None]) -> Callable[..., None]:
    """Make a matrix check that makes no cell suspect."""

    def made(self: MatrixCheck, **fields: Any) -> None:
        if fields["check"].name == name:
            fields["cells"] = ()
        before(self, **fields)

    return made
