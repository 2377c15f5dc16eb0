"""The record checks: each catches what it is for, and honest networks pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchharness.attacks import (
    APGDCE,
    FAB,
    PGD,
    APGDMargin,
    AutoAttack3D,
    NoiseSign,
    Square3D,
    build,
)
from benchharness.attacks.core import certificates
from benchharness.attacks.core.gradient_check import Slopes
from benchharness.attacks.core.observation import ended, progress
from benchharness.errors import CellError
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import names, task, trained

if TYPE_CHECKING:
    from benchharness.attacks import Attack
    from benchharness.store.records import Check

EPS = 8 / 255


class Masked(nn.Module):
    """A trained network behind something that hides its gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained(4).network


class SoftmaxHead(Masked):
    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner(volumes).softmax(1)


class QuantisedInput(Masked):
    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner((volumes * 255).round() / 255)


class Noisy(Masked):
    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner(volumes + 0.1 * torch.randn_like(volumes))


class Loud(Masked):
    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner(volumes) * 1e4


class Detached(Masked):
    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner(volumes.detach()) + 0 * volumes.mean((1, 2, 3, 4))[:, None]


CAUGHT = {
    SoftmaxHead: "output is logits, not probabilities",
    QuantisedInput: "gradients not zero",
    Noisy: "two forward passes agree",
    Loud: "gradients not zero",
    Detached: "gradients not zero",
}


def certificate_of(attack: Attack, network: nn.Module, severity: float = EPS) -> tuple[Check, ...]:
    volumes, labels = task(24, 4, seed=5)
    classifier = Classifier(network, num_classes=4)
    outcomes = [
        attack(
            classifier,
            volumes[half],
            labels[half],
            severity=severity,
            ids=names(24)[half],
            seed=0,
        )
        for half in (slice(0, 12), slice(12, 24))
    ]
    return attack.certificate(outcomes, severity=severity, num_classes=4)


def failed(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if check.verdict == "failed"]


@pytest.mark.parametrize("attack", [PGD(), APGDCE(steps=10)], ids=lambda attack: attack.name)
@pytest.mark.parametrize("kind", CAUGHT)
def test_masked_gradients_are_caught(kind: type[Masked], attack: Attack) -> None:
    checks = certificate_of(attack, kind())
    assert CAUGHT[kind] in failed(checks)
    (check,) = (check for check in checks if check.name == CAUGHT[kind])
    assert check.reason
    assert check.value is not None
    assert check.bound is not None


@pytest.mark.parametrize(
    "attack",
    [
        PGD(),
        PGD(steps=50),
        APGDCE(),
        APGDMargin(),
        FAB(steps=10),
        Square3D(queries=50),
        NoiseSign(),
    ],
    ids=str,
)
def test_an_honest_network_passes(attack: Attack) -> None:
    assert failed(certificate_of(attack, trained(4).network)) == []


@pytest.mark.parametrize(
    ("attack", "suspect"),
    [
        (APGDCE(steps=4, samples=19), True),
        (APGDCE(steps=4, samples=20), False),
        (AutoAttack3D(steps=2, samples=20), False),
        (Square3D(queries=5), True),
    ],
    ids=str,
)
def test_a_stochastic_network_is_judged_by_its_expectation(attack: Attack, suspect: bool) -> None:
    name = "two forward passes agree"
    (check,) = (check for check in certificate_of(attack, Noisy()) if check.name == name)
    assert check.verdict == ("failed" if suspect else "not applicable")
    assert "two forward passes of the same volumes differ by" in check.reason


def test_enough_draws_change_nothing_for_a_network_that_draws_nothing() -> None:
    checks = certificate_of(APGDCE(steps=2, samples=20), trained(4).network)
    assert {check.verdict for check in checks if "two forward" in check.name} == {"passed"}


def test_a_cut_graph_is_an_error() -> None:
    class Cut(Masked):
        def forward(self, volumes: Tensor) -> Tensor:
            return self.inner(volumes.detach())

    with pytest.raises(CellError, match="no gradient reaches the volumes: the network cuts the g"):
        certificate_of(PGD(), Cut())
    assert failed(certificate_of(Square3D(queries=5), Cut())) == []


def test_verdicts_of_a_black_box() -> None:
    verdicts = {c.name: c.verdict for c in certificate_of(NoiseSign(), trained(4).network)}
    assert verdicts == {
        "norm within its bound": "passed",
        "intensities in [0, 1]": "passed",
        "volumes and losses finite": "passed",
        "gradients not zero": "not applicable",
        "gradient agrees with finite differences": "not applicable",
        "gradient holds within the budget": "not applicable",
        "gradient large enough to follow": "not applicable",
        "two forward passes agree": "passed",
        "output is logits, not probabilities": "passed",
        "iterations and restarts run": "not applicable",
        "loss not below its start": "not applicable",
        "converged": "not applicable",
    }


def test_severity_zero_has_a_certificate() -> None:
    checks = certificate_of(PGD(), trained(4).network, severity=0.0)
    assert failed(checks) == []
    assert {c.name for c in checks if c.verdict == "not applicable"} >= {"gradients not zero"}


GOOD: dict[str, Any] = {
    "norm": [0.1, 0.1],
    "lowest": [0.0, 0.2],
    "highest": [0.9, 1.0],
    "loss_start": [0.1, 0.1],
    "loss_end": [1.0, 0.2],
    "broken": [1.0, 0.0],
    "disagreement": [0.0, 1e-6],
    "probabilities": [0.0, 1.0],
    "zero_gradient": [0.0, 0.0],
    "iterations": [100.0, 100.0],
    "objective_start": [0.1, 0.1],
    "objective_late": [0.5, 0.199],
    "objective_end": [1.0, 0.2],
}


SLOPES = {"errors": [[0.1, 0.2], [0.9, 0.9]], "shortfall": [0.1, np.nan], "followed": [0.9, 0.8]}


def judged(
    *,
    samples: int = 1,
    by_batch: bool = False,
    by_loss: bool = True,
    alike: bool = False,
    **changed: Any,
) -> tuple[Check, ...]:
    slopes = {name: np.asarray(changed.pop(name, values)) for name, values in SLOPES.items()}
    findings = {name: np.asarray(values) for name, values in (GOOD | changed).items()}
    return certificates.judge(
        findings,
        bound=0.1,
        tolerance=1e-6,
        planned_iterations=100,
        uses_gradient=True,
        ascends=True,
        expectation=samples,
        by_loss=by_loss,
        by_batch=by_batch,
        alike=alike,
        slopes=Slopes(**slopes),
    )


def test_good_findings_pass_every_check() -> None:
    assert [check.verdict for check in judged()] == ["passed"] * 12
    assert all(not check.reason for check in judged())


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"norm": [0.1, 0.11]}, "norm within its bound", "norm 0.11, above the budget of 0.1"),
    ({"lowest": [-0.2, 0]}, "intensities in [0, 1]", "intensities leave [0, 1] by 0.2"),
    ({"highest": [1.5, 1]}, "intensities in [0, 1]", "intensities leave [0, 1] by 0.5"),
    ({"loss_end": [np.nan, 1]}, "volumes and losses finite", "only 50.0% of the volumes"),
    ({"zero_gradient": [0, 1]}, "gradients not zero", "exactly zero for 50.0% of the volumes"),
    ({"zero_gradient": [0, 1], "alike": True}, "gradients not zero", "may have collapsed"),
    ({"disagreement": [0, 0.5]}, "two forward passes agree", "differ by 0.5 of the largest"),
    ({"probabilities": [1, 1]}, "output is logits, not probabilities", "end in a softmax"),
    ({"disagreement": [0, 0.5], "by_batch": True}, "two forward passes agree", "on the batch"),
    (
        {"disagreement": [0, 0.5], "by_batch": True, "samples": 20, "iterations": [2000, 2000]},
        "two forward passes agree",
        "answers depend on the batch, use BatchNorm's running statistics",
    ),
    ({"errors": [[0.6, 0.6], [0.7, 0.5]]}, certificates.GRADIENT, "by 60% of the change"),
    ({"shortfall": [0.9, 0.3]}, certificates.WITHIN, "predicted change differ by 60%"),
    ({"followed": [0.2, 0.9]}, certificates.FOLLOWS, "for 50% of the volumes that withstood"),
    ({"iterations": [100, 99]}, "iterations and restarts run", "had 99 of 100 iterations"),
    ({"loss_end": [0.05, 0.1]}, "loss not below its start", "fell from 0.1 to 0.075 under"),
    ({"objective_late": [0.5, 0.19]}, "converged", "brought 7.6% of the gain on the volumes"),
]


@pytest.mark.parametrize(("changed", "name", "reason"), FAULTS)
def test_each_check_fails_on_its_own_fault(changed: dict[str, Any], name: str, reason: str) -> None:
    checks = {check.name: check for check in judged(**changed)}
    assert checks[name].verdict == "failed"
    assert reason in checks[name].reason
    if "nan" not in str(changed):
        assert [other for other in checks if checks[other].verdict == "failed"] == [name]


@pytest.mark.parametrize(("left", "verdict"), [(1, "not applicable"), (2, "failed")])
def test_curvature_does_not_matter_where_an_attack_left_next_to_nothing(
    left: int, verdict: str
) -> None:
    """Of 20 volumes, one is the 5 % by which a number may be wrong. A wrong gradient stays one."""
    wrong = {"shortfall": [0.9, 0.9], "errors": [[0.9, 0.9], [0.9, 0.9]]}
    repeated = {name: np.repeat(values, 10) for name, values in GOOD.items()}
    broken = np.arange(20) >= left
    checks = {c.name: c.verdict for c in judged(**wrong, **repeated | {"broken": broken})}
    assert checks[certificates.WITHIN] == verdict
    assert checks[certificates.GRADIENT] == "failed"


class Collapsed(Masked):
    def forward(self, volumes: Tensor) -> Tensor:
        return self.inner(volumes) * 0 + torch.tensor([2.0, 0.0, 0.0, -1.0])


def test_a_network_that_answers_all_volumes_alike_is_told_from_a_masked_one() -> None:
    for kind, reason in ((Collapsed, "may have collapsed"), (Detached, "may be masked")):
        checks = {check.name: check for check in certificate_of(PGD(steps=2), kind())}
        assert reason in checks["gradients not zero"].reason


def test_errors_count_at_the_length_of_step_where_margins_change_enough() -> None:
    few = {"errors": [[0.1] + [np.nan] * 4, [0.9] * 5]}
    assert {c.name: c.verdict for c in judged(**few)}[certificates.GRADIENT] == "failed"
    none = {"errors": [[np.nan], [np.nan]], "shortfall": [np.nan], "followed": [np.nan]}
    verdicts = {c.name: c.verdict for c in judged(**none)}
    for name in (certificates.GRADIENT, certificates.WITHIN, certificates.FOLLOWS):
        assert verdicts[name] == "not applicable"


def test_several_passes_for_a_gradient_are_one_iteration() -> None:
    late = {"iterations": [200, 200], "objective_late": [0.5, 0.1]}
    assert {c.name: c.verdict for c in judged(**late)}["converged"] == "failed"
    checks = {c.name: c.verdict for c in judged(samples=20, **late)}
    assert checks["converged"] == "not applicable"


@pytest.mark.parametrize("scale", [1, 3, 10])
@pytest.mark.parametrize(("late", "verdict"), [(-0.54, "passed"), (-0.56, "failed")])
def test_the_scale_of_the_logits_does_not_decide_whether_an_attack_converged(
    scale: float, late: float, verdict: str
) -> None:
    """From −1.5 to −0.5 times the scale, the last tenth brings just less or more than 5 %."""
    named = zip(("start", "late", "end"), (-1.5, late, -0.5), strict=True)
    losses = {f"objective_{when}": [9.0, np.log1p(np.exp(scale * gap))] for when, gap in named}
    checks = {check.name: check.verdict for check in judged(**losses)}
    assert checks["converged"] == verdict


def test_an_objective_of_its_own_is_judged_as_it_is() -> None:
    gaps = {"objective_start": [0, -3.0], "objective_late": [0, -1.2], "objective_end": [0, -1.0]}
    checks = {check.name: check for check in judged(by_loss=False, **gaps)}
    assert checks["converged"].verdict == "failed"
    assert checks["converged"].value == pytest.approx(0.1)


def test_a_loss_of_zero_has_a_margin() -> None:
    confident = {"objective_start": [1, 0.0], "objective_late": [1, 0.0], "objective_end": [1, 0.0]}
    assert {c.name: c.verdict for c in judged(**confident)}["converged"] == "passed"


def test_convergence_needs_fifty_iterations() -> None:
    checks = {c.name: c for c in judged(iterations=[49, 49], objective_late=[0.5, 0.1])}
    assert checks["converged"].verdict == "not applicable"


def test_an_attack_cut_short_has_not_converged() -> None:
    """Steps so small that the loss still climbs steadily at the end."""
    checks = certificate_of(PGD(steps=50, relative_step=0.2), trained(4).network)
    assert "converged" in failed(checks)


def test_progress() -> None:
    values = [torch.tensor([float(value)]) for value in [0, 5, 3, *range(4, 12)]]
    found = {name: value.item() for name, value in progress(values).items()}
    assert found == {"objective_start": 0, "objective_late": 10, "objective_end": 11}


def test_passes_for_one_gradient_are_averaged_before_progress_is_judged() -> None:
    losses = [torch.tensor([float(value)]) for value in [0, 4, 1, 5, 9, 1]]
    assert [float(v) for v in ended(losses, torch.tensor([99.0]), 2)] == [2, 3, 5]
    assert len(ended(losses, torch.tensor([99.0]), 1)) == 7


@pytest.mark.parametrize(
    ("steps", "verdict"),
    [(10, "not applicable"), pytest.param(60, "passed", marks=pytest.mark.slow)],
)
def test_the_cure_for_noise_cures(steps: int, verdict: str) -> None:
    """With 20 passes each, ten steps are too few to tell, and enough of them have converged."""
    attack = PGD(steps=steps, samples=20)
    volumes, labels = task(4, 4, seed=5)
    outcome = attack(
        Classifier(Noisy(), num_classes=4),
        volumes,
        labels,
        severity=EPS,
        ids=names(4),
        seed=0,
    )
    checks = attack.certificate([outcome], severity=EPS, num_classes=4)
    assert failed(checks) == []
    assert {check.name: check.verdict for check in checks}["converged"] == verdict


class ByBatch(Masked):
    """BatchNorm that is left in training mode."""

    def forward(self, volumes: Tensor) -> Tensor:
        logits = self.inner(volumes)
        return logits - logits.mean(0)


@pytest.mark.parametrize("samples", [1, 20])
def test_a_network_that_looks_at_the_batch_is_not_called_stochastic(samples: int) -> None:
    checks = certificate_of(APGDCE(steps=1, samples=samples), ByBatch())
    (check,) = (check for check in checks if check.name == "two forward passes agree")
    assert check.verdict == "failed"
    assert "answers depend on the batch" in check.reason
    assert "stochastic" not in check.reason


def test_restarts_count_and_convergence_is_that_of_the_first() -> None:
    volumes, labels = task(6, 4, seed=5)
    classifier = trained(4)
    attack = build("pgd", {"restarts": 3, "steps": 5})
    outcome = attack(classifier, volumes, labels, severity=EPS, ids=names(6), seed=0)
    single = build("pgd", {"steps": 5})(
        classifier, volumes, labels, severity=EPS, ids=names(6), seed=0
    )
    assert (outcome.findings["iterations"] == 15).all()
    for name in ("objective_start", "objective_late", "objective_end"):
        np.testing.assert_allclose(outcome.findings[name], single.findings[name], rtol=1e-4)
    assert (outcome.findings["loss_end"] >= single.findings["loss_end"] - 1e-6).all()
    assert (outcome.findings["loss_end"] > single.findings["loss_end"] + 1e-6).any()


def test_every_pass_of_an_averaged_gradient_counts_once() -> None:
    (volumes, labels), classifier = task(4, 4, seed=5), trained(4)
    for name in ("pgd", "pgd_l2", "mifgsm"):
        attack = build(name, {"steps": 4, "samples": 3})
        outcome = attack(classifier, volumes, labels, severity=EPS, ids=names(4), seed=0)
        assert (outcome.findings["iterations"] == attack.planned_iterations(4)).all()
