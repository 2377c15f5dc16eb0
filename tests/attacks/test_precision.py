"""Gradients in bfloat16: another cell, a verdict in float32, and a certificate that knows of it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchharness import attacks
from benchharness.attacks.core.certificates import GRADIENT, WITHIN
from benchharness.networks import devices
from benchharness.networks.classifier import Classifier
from benchharness.report.cells import labels as naming
from benchharness.run import config, planning, runner
from benchharness.run.progress import Display
from benchharness.store.cells import condition
from benchharness.store.folder import Store
from tests import samples
from tests.attacks.attack_networks import names, task, trained
from tests.attacks.test_attack_contract import ATTACKS, QUICK, SEVERITY, TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor, nn

QUICKER = QUICK | {name: {"rounds": 1} for name in ("cube", "slab", "voxel_flip")}
GRADIENTS = [name for name in ATTACKS if attacks.build(TARGETS[name], {}).uses_gradient]
COUNT = 6


def outcome(name: str, classifier: Classifier, precision: str, **options: Any) -> attacks.Outcome:
    attack = attacks.build(TARGETS[name], QUICKER.get(name, {}))
    volumes, labels = task(COUNT, 4)
    return attack(
        classifier,
        volumes,
        labels,
        severity=options.pop("severity", SEVERITY[attack.norm]),
        ids=names(COUNT),
        source=classifier if attack.needs_source else None,
        precision=precision,
        **options,
    )


@pytest.mark.parametrize("name", GRADIENTS)
def test_only_what_needs_a_gradient_is_narrow_and_float32_decides(name: str) -> None:
    classifier = trained(4)
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}

    def note(module: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        seen[given[0].requires_grad and torch.is_grad_enabled()].add(found.dtype)

    handle = classifier.network.features[0].register_forward_hook(note)
    try:
        found = outcome(name, classifier, "bf16", watched=())
    finally:
        handle.remove()
    assert seen == {True: {torch.bfloat16}, False: {torch.float32}}
    labels = task(COUNT, 4)[1].numpy()
    logits = classifier.predict(found.volumes, COUNT)
    np.testing.assert_array_equal(found.logits, logits)
    np.testing.assert_array_equal(found.findings["broken"], logits.argmax(1) != labels)


@pytest.mark.parametrize("name", ["cw", "deepfool", "fab", "fab_l2"])
def test_a_minimal_norm_is_that_of_a_volume_that_float32_gets_wrong(name: str) -> None:
    found = outcome(name, trained(4), "bf16", severity=0.9)
    claimed = found.findings["found"] > 0
    assert claimed.any()
    assert (found.findings["broken"][claimed] == 1).all()


def test_volumes_differ_from_those_of_float32_and_draws_do_not() -> None:
    narrow, wide = (outcome("pgd", trained(4), one, severity=0.02) for one in ("bf16", "float32"))
    assert not torch.equal(narrow.volumes, wide.volumes)
    share = float((narrow.volumes == wide.volumes).double().mean())
    assert share > 0.7  # the sign of most voxels' gradient is the same


class Wrong(torch.autograd.Function):
    """The identity, with the gradient of every other slice turned round."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        turned = gradient.clone()
        turned[:, :, ::2] *= -1
        return turned


class Masked(torch.nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.inner(Wrong.apply(volumes))  # type: ignore[no-untyped-call]
        return logits


@pytest.mark.parametrize(
    ("wrap", "verdict"), [(lambda network: network, "passed"), (Masked, "failed")]
)
def test_a_narrow_gradient_is_held_to_what_float32_changes(
    wrap: Callable[[nn.Module], nn.Module], verdict: str
) -> None:
    classifier = Classifier(wrap(trained(4).network), num_classes=4)
    attack = attacks.build("pgd", {})
    found = outcome("pgd", classifier, "bf16", severity=4 / 255)
    checks = {
        check.name: check for check in attack.certificate([found], severity=4 / 255, num_classes=4)
    }
    assert [checks[name].verdict for name in (GRADIENT, WITHIN)] == [verdict, verdict]


def load(folder: Path, **flags: Any) -> config.RunConfig:
    torch.manual_seed(0)
    weights = folder / "tiny.pth"
    if not weights.exists():
        torch.save(samples.tiny(2).state_dict(), weights)
    given = {
        "models": "tests.samples:tiny",
        "datasets": str(samples.write_archive(folder / "data.npz")),
        "checkpoint": [f"tiny={weights}"],
        "attacks": "fgsm,square3d",
        "eps": "8/255",
        "limit": 6,
        "device": "cpu",
        "out": folder / "out",
    }
    parameters = "[attack.square3d]\nqueries = 5\n"
    (folder / "few.toml").write_text(parameters)
    return config.load(folder / "few.toml", given | flags)


def test_narrow_cells_stand_beside_those_of_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "check_precision", lambda *_: None)
    display = Display(Console(file=io.StringIO()))
    wide = runner.run(load(tmp_path), display)
    narrow = runner.run(load(tmp_path, precision="bf16"), display)
    # Nothing but the gradient is another: clean, controls and black boxes are measured already.
    assert (narrow.evaluated, narrow.recorded) == (1, wide.evaluated - 1)
    again = runner.run(load(tmp_path, precision="bf16"), display)
    assert again.evaluated == 0
    records = list(Store(tmp_path / "out").records().values())
    keys = [r.cell.perturbation for r in records if r.cell.perturbation.name == "fgsm"]
    assert [dict(key.parameters).get("precision") for key in keys] == [None, "bf16"]
    assert [condition(key) for key in keys] == ["fgsm 8/255", "fgsm 8/255 bf16"]
    # Even where a store holds nothing else, the label says it.
    only = [r for r in records if dict(r.cell.perturbation.parameters).get("precision")]
    assert set(naming.perturbations(only).values()) == {"fgsm bf16"}
    assert len(set(naming.perturbations(records).values())) == len(records)


def test_float32_is_named_in_no_identity(tmp_path: Path) -> None:
    planned = [planning.plan(load(tmp_path, precision=one)) for one in ("float32", None)]
    first, second = ([cell.identity for cell in one.cells] for one in planned)
    assert first == second
    assert "precision" not in str(planned[0].cells)


def test_a_cpu_is_refused_in_one_line(
    bench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, _, error = bench(
        "run",
        "--models",
        "tests.samples:tiny",
        "--attacks",
        "pgd",
        "--precision",
        "bf16",
        "--device",
        "cpu",
        "--out",
        tmp_path / "out",
    )
    assert code == 2
    assert "--precision bf16 gains nothing on a CPU" in error
    assert not (tmp_path / "out").exists()
    code, _, error = bench("run", "--models", "tests.samples:tiny", "--precision", "fp16")
    assert code == 2
    assert "unknown precision 'fp16'. Type float32 or bf16." in error
