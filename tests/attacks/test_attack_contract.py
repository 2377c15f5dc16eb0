"""What every registered attack keeps to, on every tiny network."""

from __future__ import annotations

import dataclasses
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchharness import registry
from benchharness.attacks import Attack, Outcome, build
from benchharness.attacks.core.norms import norm_named
from benchharness.errors import BenchError, CellError
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import (
    BlackBox,
    accuracy,
    linear,
    names,
    task,
    tiny,
    trained,
    volumes_like,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_MODULE = "benchharness.attacks"
SUITE = {
    "noise_sign": f"{_MODULE}.noise_sign:NoiseSign",
    "fgsm": f"{_MODULE}.fgsm:FGSM",
    "pgd": f"{_MODULE}.pgd:PGD",
    "mifgsm": f"{_MODULE}.mifgsm:MIFGSM",
    "apgd_ce": f"{_MODULE}.apgd:APGDCE",
    "apgd_dlr": f"{_MODULE}.apgd:APGDDLR",
    "apgd_margin": f"{_MODULE}.apgd:APGDMargin",
    "apgd_t": f"{_MODULE}.apgd:APGDT",
    "fab": f"{_MODULE}.fab:FAB",
    "square3d": f"{_MODULE}.square:Square3D",
    "autoattack3d": f"{_MODULE}.autoattack:AutoAttack3D",
    "pgd_l2": f"{_MODULE}.pgd:PGDL2",
    "apgd_ce_l2": f"{_MODULE}.apgd:APGDCEL2",
    "apgd_margin_l2": f"{_MODULE}.apgd:APGDMarginL2",
    "fab_l2": f"{_MODULE}.fab:FABL2",
    "square3d_l2": f"{_MODULE}.square:Square3DL2",
    "cw": f"{_MODULE}.cw:CarliniWagner",
    "deepfool": f"{_MODULE}.deepfool:DeepFool",
    "voxel_flip": f"{_MODULE}.voxel_flip:VoxelFlip",
    "slab": f"{_MODULE}.slab:Slab",
    "cube": f"{_MODULE}.cube:Cube",
}
"""The suite that the project promises."""

TARGETS = SUITE | {name: entry.target for name, entry in registry.entries("attacks").items()}
"""Every attack that there is, plug-ins included."""

QUICK: dict[str, dict[str, Any]] = {
    "apgd_ce": {"steps": 10},
    "apgd_dlr": {"steps": 10},
    "apgd_margin": {"steps": 10},
    "apgd_t": {"steps": 10, "targets": 2},
    "fab": {"steps": 5},
    "square3d": {"queries": 30},
    "autoattack3d": {"steps": 5, "targets": 2, "queries": 10},
    "apgd_ce_l2": {"steps": 10},
    "apgd_margin_l2": {"steps": 10},
    "fab_l2": {"steps": 5},
    "square3d_l2": {"queries": 30},
    "cw": {"steps": 20, "search_steps": 3},
}
"""Parameters that make a slow attack quick enough to run on every network."""

SEVERITY = {"linf": 8 / 255, "l2": 0.05, "l0": 5, "slab": 2, "cube": 3}

STRONG = [
    "pgd",
    "mifgsm",
    "apgd_ce",
    "apgd_dlr",
    "apgd_margin",
    "apgd_t",
    "fab",
    "autoattack3d",
    "pgd_l2",
    "apgd_ce_l2",
    "apgd_margin_l2",
    "fab_l2",
    "cw",
    "deepfool",
]
"""Attacks that no network withstands at the largest budget, even with `QUICK` parameters."""

NETWORKS: dict[str, tuple[Callable[[], Classifier], tuple[int, ...]]] = {
    "linear, 2 classes": (lambda: linear(2, 6 * 7 * 8), (1, 6, 7, 8)),
    "convolutional, 2 classes": (lambda: tiny(2), (1, 6, 7, 8)),
    "convolutional, 3 classes": (lambda: tiny(3), (1, 8, 8, 8)),
    "convolutional, 4 classes, 2 channels": (lambda: tiny(4, 2), (2, 5, 8, 6)),
    "convolutional, 11 classes, flat": (lambda: tiny(11), (1, 1, 9, 9)),
}

ATTACKS = sorted(TARGETS)


def attack_named(name: str) -> Attack:
    return build(TARGETS[name], QUICK.get(name, {}))


def applicable(attack: Attack, num_classes: int) -> bool:
    try:
        attack.check(num_classes)
    except BenchError:
        return False
    return True


def attacked(
    attack: Attack,
    classifier: Classifier,
    volumes: Tensor,
    labels: Tensor,
    *,
    severity: float | None = None,
    ids: list[str] | None = None,
) -> Outcome:
    severity = SEVERITY[attack.norm] if severity is None else severity
    ids = names(len(volumes)) if ids is None else ids
    return attack(classifier, volumes, labels, severity=severity, ids=ids, seed=0)


@pytest.mark.parametrize("name", ATTACKS)
class TestEveryAttack:
    @pytest.mark.parametrize("network", NETWORKS)
    def test_keeps_the_contract(self, name: str, network: str) -> None:
        make, shape = NETWORKS[network]
        attack, classifier = attack_named(name), make()
        if not applicable(attack, classifier.num_classes):
            pytest.skip(f"{name} does not apply to {classifier.num_classes} classes")
        volumes = volumes_like(4, shape)
        labels = torch.arange(4) % classifier.num_classes
        kept = volumes.clone()
        outcome = attacked(attack, classifier, volumes, labels)
        assert torch.equal(volumes, kept), "the clean volumes were changed in place"
        assert outcome.volumes.shape == volumes.shape
        assert outcome.volumes.dtype == torch.float32
        assert outcome.volumes.min() >= 0
        assert outcome.volumes.max() <= 1
        recomputed = norm_named(attack.norm).size(outcome.volumes - volumes).numpy()
        assert np.array_equal(outcome.norms, recomputed)
        assert outcome.norms.max() <= SEVERITY[attack.norm] + 1e-6
        logits = classifier.predict(outcome.volumes, 4)
        np.testing.assert_allclose(outcome.logits, logits, rtol=1e-5, atol=1e-5)
        for values in outcome.findings.values():
            assert values.shape == (4,)
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
        certificate = attack.certificate(
            [outcome], severity=SEVERITY[attack.norm], num_classes=classifier.num_classes
        )
        failed = [check.reason for check in certificate if check.verdict == "failed"]
        assert not failed

    def test_leaves_everything_as_it_was(self, name: str) -> None:
        attack, classifier = attack_named(name), tiny(4)
        classifier.train()
        bn = classifier.network.features[1]
        bn.eval()  # a frozen BatchNorm
        bn.weight.requires_grad_(requires_grad=False)
        state = {key: value.clone() for key, value in classifier.state_dict().items()}
        modes = [module.training for module in classifier.modules()]
        wanted = [parameter.requires_grad for parameter in classifier.parameters()]
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
        attacked(attack, classifier, volumes_like(2), torch.tensor([0, 1]))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002
        assert [module.training for module in classifier.modules()] == modes
        assert [parameter.requires_grad for parameter in classifier.parameters()] == wanted
        assert all(parameter.grad is None for parameter in classifier.parameters())
        for key, value in classifier.state_dict().items():
            assert torch.equal(value, state[key]), key
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()

    def test_severity_zero_is_clean_bit_for_bit(self, name: str) -> None:
        volumes = volumes_like(3)
        outcome = attacked(
            attack_named(name), tiny(4), volumes, torch.tensor([0, 1, 2]), severity=0
        )
        assert torch.equal(outcome.volumes, volumes)
        assert outcome.volumes.data_ptr() != volumes.data_ptr()
        assert outcome.norms.max() == 0

    def test_depends_on_neither_batch_size_nor_order(self, name: str) -> None:
        attack, classifier = attack_named(name), trained(4)
        volumes, labels = task(6, 4, seed=7)
        ids = names(6)
        whole = attacked(attack, classifier, volumes, labels, ids=ids)
        order = [4, 0, 5, 2, 1, 3]
        shuffled = attacked(
            attack, classifier, volumes[order], labels[order], ids=[ids[i] for i in order]
        )
        single = [
            attacked(attack, classifier, volumes[i : i + 1], labels[i : i + 1], ids=[ids[i]])
            for i in range(6)
        ]
        verdicts = whole.logits.argmax(1)
        top = np.sort(whole.logits, axis=1)
        clear = top[:, -1] - top[:, -2] > 0.01
        assert clear.sum() >= 4
        assert np.array_equal(shuffled.logits.argmax(1)[np.argsort(order)][clear], verdicts[clear])
        alone = np.concatenate([outcome.logits.argmax(1) for outcome in single])
        assert np.array_equal(alone[clear], verdicts[clear])

    def test_the_same_call_gives_the_same_volumes(self, name: str) -> None:
        attack, classifier = attack_named(name), tiny(4)
        volumes, labels = volumes_like(3), torch.tensor([0, 1, 2])
        first = attacked(attack, classifier, volumes, labels)
        torch.rand(3)  # the global generator plays no part
        second = attacked(attack, classifier, volumes, labels)
        assert torch.equal(first.volumes, second.volumes)

    def test_a_network_of_nan_is_an_error(self, name: str) -> None:
        classifier = tiny(4)
        classifier.network.head.bias.data.fill_(float("nan"))
        with pytest.raises(CellError, match="the logits of 2 of 2 volumes are not finite"):
            attacked(attack_named(name), classifier, volumes_like(2), torch.tensor([0, 1]))

    def test_runs_where_backward_raises_unless_it_uses_gradients(self, name: str) -> None:
        attack, classifier = attack_named(name), Classifier(BlackBox(trained(4)), num_classes=4)
        volumes, labels = task(2, 4)
        if attack.uses_gradient:
            with pytest.raises(RuntimeError, match="no way back"):
                attacked(attack, classifier, volumes, labels)
        else:
            attacked(attack, classifier, volumes, labels)

    def test_says_what_it_is(self, name: str) -> None:
        attack = attack_named(name)
        if name in SUITE:
            assert attack.name == name
        assert attack.summary.endswith(".")
        assert "through torchattacks" in attack.source or "own implementation" in attack.source
        assert attack.version >= 1
        norm_named(attack.norm)
        for num_classes in (2, 3, 4, 11):
            cost = attack.cost(num_classes)
            assert cost.forward >= 0
            assert (cost.backward > 0) == attack.uses_gradient
            resolved = dict(attack.resolved(num_classes, SEVERITY[attack.norm]))
            assert set(attack.parameters()) <= set(resolved)


@pytest.mark.parametrize("name", STRONG)
def test_the_largest_budget_breaks_a_trained_network(name: str) -> None:
    classifier = trained(4)
    volumes, labels = task(64, 4, seed=9)
    assert accuracy(classifier, volumes, labels) > 0.9
    outcome = attacked(attack_named(name), classifier, volumes, labels, severity=1.0)
    assert (outcome.logits.argmax(1) == labels.numpy()).mean() <= 0.05


class Returns(Attack):
    """An attack whose result the test gives."""

    name, version, norm, source, summary = "returns", 1, "linf", "own implementation", "A test."
    result: Any = None

    def cost(self, num_classes: int) -> Any:
        return None

    def perturb(self, batch: Any) -> Tensor:
        return type(self).result(batch)


def returning(result: Callable[[Any], Tensor]) -> Attack:
    Kind = dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(  # noqa: N806
        type("Kind", (Returns,), {"result": staticmethod(result), "__annotations__": {}})
    )
    return Kind()


def test_what_leaves_the_ball_is_projected() -> None:
    volumes = volumes_like(2)
    outcome = attacked(
        returning(lambda batch: batch.volumes + 5), tiny(2), volumes, torch.tensor([0, 1])
    )
    assert torch.allclose(outcome.volumes, (volumes + 8 / 255).clamp(0, 1), atol=1e-7)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda batch: batch.volumes / 0, "attack 'returns' returned NaN or infinity in 2 of 2"),
        (lambda batch: batch.volumes[:1], r"returned torch.float32 of shape \(1, 1, 6, 7, 8\) for"),
        (lambda batch: batch.volumes > 0, "returned torch.bool of shape"),
        (lambda batch: batch.volumes + torch.randperm(8) / 8, "the attack calls randperm"),
        (lambda batch: batch.volumes + torch.rand(7, 8), r"calls rand for shape \(7, 8\) in a ba"),
        (lambda batch: batch.volumes + np.random.rand(), "global generator of NumPy or Python"),  # noqa: NPY002
        (lambda batch: batch.volumes + random.random(), "global generator of NumPy or Python"),
    ],
)
def test_a_broken_attack_is_an_error(result: Callable[[Any], Tensor], message: str) -> None:
    with pytest.raises(CellError, match=message):
        attacked(returning(result), tiny(2), volumes_like(2), torch.tensor([0, 1]))


def test_library_draws_belong_to_volumes() -> None:
    attack = returning(lambda batch: batch.volumes + (torch.rand_like(batch.volumes) - 0.5) / 50)
    volumes, labels = volumes_like(3), torch.tensor([0, 1, 0])
    whole = attacked(attack, tiny(2), volumes, labels)
    alone = attack(tiny(2), volumes[2:], labels[2:], severity=8 / 255, ids=names(3)[2:], seed=0)
    assert torch.equal(alone.volumes, whole.volumes[2:])
    assert not torch.equal(alone.volumes, volumes[2:])


def test_a_network_that_draws_for_itself_is_no_fault_of_the_attack() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tiny(2)

        def forward(self, volumes: Tensor) -> Tensor:
            return self.inner(volumes) + torch.rand(2) + float(np.random.rand())  # noqa: NPY002

    classifier = Classifier(Noisy(), num_classes=2)
    attack = build("pgd", {})
    outcome = attacked(attack, classifier, volumes_like(3), torch.tensor([0, 1, 0]))
    certificate = attack.certificate([outcome], severity=8 / 255, num_classes=2)
    failed = {check.name for check in certificate if check.verdict == "failed"}
    assert "two forward passes agree" in failed


GOOD: dict[str, Any] = {
    "volumes": volumes_like(2),
    "labels": torch.tensor([0, 1]),
    "severity": 0.1,
    "ids": names(2),
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"severity": 8},
            "a budget is an intensity from 0 to 1, received 8. For a budget of",
        ),
        ({"severity": -0.1}, "received -0.1"),
        ({"severity": float("nan")}, "received nan"),
        ({"volumes": GOOD["volumes"] * 2 - 1}, r"intensities go from -1 to 1; .* Divide uint8 by"),
        ({"volumes": GOOD["volumes"] / 0}, "the volumes hold NaN or infinity"),
        ({"volumes": GOOD["volumes"][:, 0]}, r"shape \(B, C, D, H, W\), received float32 of shape"),
        ({"volumes": GOOD["volumes"].double()}, "received float64 of shape"),
        ({"volumes": GOOD["volumes"][:0]}, r"received float32 of shape \(0, 1, 6, 7, 8\)"),
        ({"labels": torch.tensor([[0], [1]])}, r"shape \(2, 1\), expected \(2,\). .* labels\[:, 0"),
        ({"labels": torch.tensor([0.0, 1.0])}, "labels are float32, expected integers"),
        ({"labels": torch.tensor([0, 2])}, "labels go from 0 to 2, expected 0 to 1"),
        ({"ids": names(3)}, "received 3 ids for 2 volumes"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        build("fgsm", {})(tiny(2), **(GOOD | wrong), seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("pdg", {}, "unknown attack 'pdg'. Did you mean 'pgd'"),
        ("pgd", {"step": 3}, "unknown parameter of attack 'pgd': 'step'. Did you mean 'steps'"),
        ("pgd", {"steps": 0}, "parameter 'steps' of attack 'pgd' must be at least 1, received 0"),
        ("pgd", {"steps": 2.5}, "must be a whole number, received 2.5"),
        ("pgd", {"steps": True}, "must be a whole number, received True"),
        ("pgd", {"relative_step": "a"}, "must be a number, received 'a'"),
        ("pgd", {"relative_step": float("nan")}, "must be at least 0, received nan"),
        ("pgd", {"random_start": 1}, "must be true or false, received 1"),
        ("pgd", {"restarts": 2, "random_start": False}, "2 restarts of 'pgd' without a random sta"),
        ("builtins:int", {}, "stands for <class 'int'>; expected a subclass of"),
    ],
)
def test_wrong_parameters_are_named(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        build(name, parameters)
    assert "\n" not in str(caught.value)


def test_whole_numbers_serve_as_floats() -> None:
    assert build("pgd", {"relative_step": 2}) == build("pgd", {"relative_step": 2.0})


def test_the_documentation_names_every_attack_and_its_example_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")
    missing = [name for name in SUITE if f"`{name}`" not in page]
    assert not missing
    example = page.split("```python\n")[1].split("```")[0]
    module = ModuleType("documented_example")
    sys.modules[module.__name__] = module
    try:
        exec(compile(example, "docs/attacks.md", "exec"), module.__dict__)
        attack = module.Shift(share=-0.5)
    finally:
        del sys.modules[module.__name__]
    volumes = volumes_like(2)
    outcome = attacked(attack, tiny(2), volumes, torch.tensor([0, 1]))
    assert torch.allclose(outcome.volumes, (volumes - 4 / 255).clamp(0, 1), atol=1e-6)
