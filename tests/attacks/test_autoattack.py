"""AutoAttack for volumes: the protocol, the cascade and what it reports."""

from __future__ import annotations

import numpy as np
import pytest

from benchharness.attacks import AutoAttack3D
from benchharness.canonical import canonical_json
from tests.attacks.attack_networks import names, task, trained

QUICK = AutoAttack3D(steps=8, queries=40)
EPS = 12 / 255


def test_standard_protocol_has_its_true_iteration_counts() -> None:
    attack = AutoAttack3D()
    parts = {part.name: part.parameters() for part in attack.parts(11)}
    assert list(parts) == ["apgd_ce", "apgd_t", "fab", "square3d"]
    assert parts["apgd_ce"]["steps"] == 100
    assert parts["apgd_ce"]["restarts"] == 1
    assert (parts["apgd_t"]["steps"], parts["apgd_t"]["targets"]) == (100, 9)
    assert (parts["fab"]["steps"], parts["fab"]["targets"]) == (100, 9)
    assert parts["square3d"]["queries"] == 5000
    assert not parts["square3d"]["rescaled"]
    assert dict(attack.resolved(11, EPS))["protocol"] == "standard"


@pytest.mark.parametrize("num_classes", [2, 3])
def test_few_classes_have_a_protocol_of_their_own(num_classes: int) -> None:
    attack = AutoAttack3D()
    names_ = [part.name for part in attack.parts(num_classes)]
    assert names_ == ["pgd", "apgd_ce", "apgd_margin", "fab", "square3d"]
    assert dict(attack.resolved(num_classes, EPS))["protocol"] == "few-classes-1"
    for part in attack.parts(num_classes):
        part.check(num_classes)


def test_stochastic_networks_have_autoattacks_rand() -> None:
    attack = AutoAttack3D(samples=20)
    parts = [(part.name, part.parameters()) for part in attack.parts(3)]
    assert [name for name, _ in parts] == ["apgd_ce", "apgd_dlr"]
    for _, parameters in parts:
        assert (parameters["steps"], parameters["restarts"], parameters["samples"]) == (100, 1, 20)
    assert attack.protocol(3) == attack.protocol(11) == "rand"
    assert AutoAttack3D(samples=5).protocol(4) == "rand (altered)"


def test_two_classes_have_a_rand_of_their_own() -> None:
    attack = AutoAttack3D(samples=20)
    parts = attack.parts(2)
    assert [part.name for part in parts] == ["pgd", "apgd_ce", "apgd_margin"]
    assert {part.expectation for part in parts} == {20}
    assert attack.protocol(2) == "few-classes-rand-1"
    for part in parts:
        part.check(2)


def test_facts_tell_what_each_part_sees() -> None:
    parts = QUICK.facts(2)["parts"]
    assert [part["access"] for part in parts] == ["white box"] * 4 + ["black box"]
    assert "parts" not in QUICK.parts(2)[0].facts(2)


def test_altered_counts_are_not_called_standard() -> None:
    assert AutoAttack3D(queries=300).protocol(4) == "standard (altered)"
    assert AutoAttack3D(pgd_steps=20).protocol(2) == "few-classes-1 (altered)"


@pytest.mark.parametrize("num_classes", [2, 4])
def test_few_queries_go_through_the_whole_schedule(num_classes: int) -> None:
    square = AutoAttack3D(queries=300).parts(num_classes)[-1].parameters()
    assert (square["queries"], square["rescaled"]) == (300, True)


def test_what_no_part_uses_alters_nothing() -> None:
    assert AutoAttack3D(pgd_steps=20).protocol(4) == "standard"
    assert AutoAttack3D(targets=3).protocol(2) == "few-classes-1"
    assert AutoAttack3D(samples=20, queries=300).protocol(4) == "rand"


def test_resolved_parameters_tell_every_part() -> None:
    resolved = dict(AutoAttack3D().resolved(4, EPS))
    text = canonical_json(resolved)
    assert '["effective_targets",3]' in text
    assert hash(tuple(resolved.values()))


@pytest.mark.parametrize("num_classes", [2, 4])
def test_never_weaker_than_any_of_its_parts(num_classes: int) -> None:
    classifier, (volumes, labels) = trained(num_classes), task(24, num_classes, seed=11)
    whole = QUICK(classifier, volumes, labels, severity=EPS, ids=names(24), seed=0)
    standing = whole.findings["broken"] == 0
    clear = np.ptp(np.sort(whole.logits, axis=1)[:, -2:], axis=1) > 0.01
    for part in QUICK.parts(num_classes):
        alone = part(classifier, volumes, labels, severity=EPS, ids=names(24), seed=0)
        margins = np.ptp(np.sort(alone.logits, axis=1)[:, -2:], axis=1)
        beaten = (alone.findings["broken"] == 1) & standing & clear & (margins > 0.01)
        assert not beaten.any(), part.name
    assert 0 < standing.sum() < 24, "the budget shows nothing"


def test_reports_who_broke_what() -> None:
    classifier, (volumes, labels) = trained(4), task(24, 4, seed=11)
    labels[0] = (labels[0] + 1) % 4
    outcome = QUICK(classifier, volumes, labels, severity=EPS, ids=names(24), seed=0)
    broken_by = outcome.findings["broken_by"]
    assert broken_by[0] == 0
    assert (broken_by[1:] != 0).all()
    assert np.array_equal(outcome.findings["broken"] == 1, broken_by >= 0)
    untouched = broken_by <= 0
    assert (outcome.norms[untouched] == 0).all()
    assert (outcome.norms[~untouched] > 0).all()
