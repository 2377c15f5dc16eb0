"""Which device, and how many volumes at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchharness import attacks
from benchharness.errors import BenchError
from benchharness.networks import devices
from benchharness.networks.classifier import Classifier
from tests import samples


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with two CUDA devices, as far as torch tells."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return monkeypatch


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.usefixtures("no_cuda")
def test_without_cuda() -> None:
    assert devices.resolve("auto") == devices.resolve("cpu") == "cpu"
    for name in ("cuda", "cuda:1"):
        with pytest.raises(BenchError) as caught:
            devices.resolve(name)
        assert str(caught.value) == (
            f"device {name!r} is not available: torch sees no CUDA device. Type --device auto."
        )


@pytest.mark.usefixtures("cuda")
def test_with_cuda() -> None:
    assert devices.resolve("auto") == devices.resolve("cuda") == "cuda:0"
    assert devices.resolve("cuda:1") == "cuda:1"
    assert devices.resolve("cpu") == "cpu"
    message = r"'cuda:2' is not available: torch sees cuda:0 to cuda:1\."
    with pytest.raises(BenchError, match=message):
        devices.resolve("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CUDA", "mps", "", "cpu:0", "cuda:0 "])
def test_another_name(name: str) -> None:
    with pytest.raises(BenchError) as caught:
        devices.resolve(name)
    assert str(caught.value) == f"unknown device {name!r}. Type auto, cpu, cuda or cuda:1."


def test_batches_shrink_with_the_volume_and_are_powers_of_two() -> None:
    grids = [(size, size, size) for size in (1, 16, 28, 29, 56, 64, 128, 512)]
    on_cpu = [devices.batch_size("cpu", grid) for grid in grids]
    on_cuda = [devices.batch_size("cuda:0", grid) for grid in grids]
    assert on_cpu == [32, 32, 32, 16, 4, 2, 1, 1]
    assert on_cuda == [256, 256, 256, 128, 32, 16, 2, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_network_answers_as_it_did_and_can_be_attacked() -> None:
    devices.check_compiler("cpu")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(samples.tiny(2), num_classes=2)
    compiled = classifier.for_evaluation(compiled=True)
    volumes, labels = torch.rand(3, 1, 8, 8, 8), torch.tensor([0, 1, 0])
    answers = [one.predict(volumes, 3) for one in (compiled, classifier)]
    np.testing.assert_allclose(*answers, atol=1e-5)
    attack, ids = attacks.build("pgd", {}), ["a", "b", "c"]
    found = [
        attack(one, volumes, labels, severity=8 / 255, ids=ids, seed=0).logits
        for one in (compiled, classifier)
    ]
    np.testing.assert_allclose(*found, atol=1e-3)


def test_a_machine_without_a_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(network: object) -> object:
        raise RuntimeError("no\ncompiler")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(BenchError, match=r"RuntimeError: no compiler.*Leave out --compile"):
        devices.check_compiler("cpu")
