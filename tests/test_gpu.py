"""What only a GPU can show: placement, halving on out of memory, agreement with the CPU."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchharness import artefacts, attacks, registry, training
from benchharness.artefacts import batched
from benchharness.attacks.core.norms import norm_named
from benchharness.errors import BenchError
from benchharness.explanation.gradcam import GradCAM
from benchharness.networks import behaviour, costs, devices
from benchharness.networks.batches import as_float, in_batches
from benchharness.networks.classifier import Classifier
from benchharness.statistics import metrics
from benchharness.store.cells import ModelKey
from benchharness.training import loop, recipes
from medvit3d.variants import medvit3d_n
from tests import samples
from tests.placement.test_networks import Noisy

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


def classifier(device: str) -> Classifier:
    torch.manual_seed(0)
    return Classifier(medvit3d_n(2).eval(), num_classes=2, device=device)


def test_auto_is_the_first_gpu_and_a_missing_one_is_refused() -> None:
    assert devices.resolve("auto") == "cuda:0"
    assert devices.resolve("cuda") == "cuda:0"
    assert devices.batch_size("cuda:0", (28, 28, 28)) > devices.batch_size("cpu", (28, 28, 28))


def test_everything_is_on_the_device_that_was_asked_for() -> None:
    model = classifier("cuda:0")
    assert {parameter.device for parameter in model.parameters()} == {torch.device("cuda:0")}
    split = samples.dataset().test
    outcome = attacks.build("pgd", {})(
        model,
        as_float(split.volumes[:4], "cuda:0"),
        split.labels[:4],
        severity=2 / 255,
        ids=split.ids[:4],
        seed=0,
    )
    assert outcome.volumes.device == torch.device("cuda:0")


def test_logits_agree_with_those_of_the_cpu() -> None:
    volumes = samples.dataset().test.volumes
    on_cpu, on_gpu = (classifier(device).predict(volumes, 8) for device in ("cpu", "cuda:0"))
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-2, atol=1e-2)


def test_verdicts_under_attack_agree_except_near_the_boundary() -> None:
    split = samples.dataset().test
    found = []
    for device in ("cpu", "cuda:0"):
        outcome = attacks.build("pgd", {})(
            classifier(device),
            as_float(split.volumes, device),
            split.labels,
            severity=2 / 255,
            ids=split.ids,
            seed=0,
        )
        found.append(outcome.logits)
    close = np.abs(metrics.margins(split.labels, found[0])) <= 0.01
    verdicts = [metrics.correct(split.labels, logits) for logits in found]
    assert np.array_equal(verdicts[0][~close], verdicts[1][~close])


FEW: dict[str, dict[str, int]] = {
    "square3d": {"queries": 20},
    "square3d_l2": {"queries": 20},
    "autoattack3d": {"steps": 5, "queries": 10},
    "cw": {"steps": 10, "search_steps": 2},
    **{name: {"steps": 10} for name in ("apgd_ce", "apgd_margin", "apgd_ce_l2", "fab", "fab_l2")},
    "apgd_margin_l2": {"steps": 10},
}
"""Parameters that make a slow attack quick."""


@pytest.mark.parametrize("name", sorted(registry.entries("attacks")))
def test_every_attack_runs_on_the_device(name: str) -> None:
    attack = attacks.build(name, FEW.get(name, {}))
    split = samples.dataset().test
    try:
        attack.check(2)
    except BenchError:
        pytest.skip(f"{name} does not apply to two classes")
    severity = 2 if norm_named(attack.norm).counts else 8 / 255
    outcome = attack(
        classifier("cuda:0"),
        as_float(split.volumes[:4], "cuda:0"),
        split.labels[:4],
        severity=severity,
        ids=split.ids[:4],
        seed=0,
    )
    assert outcome.volumes.device == torch.device("cuda:0")
    certificate = attack.certificate([outcome], severity=severity, num_classes=2)
    by_rule = ("norm within its bound", "intensities in [0, 1]", "volumes and losses finite")
    assert {c.verdict for c in certificate if c.name in by_rule} == {"passed"}


@pytest.mark.parametrize("name", ["fgsm", "pgd", "apgd_margin", "fab", "voxel_flip"])
def test_gradients_in_bfloat16_leave_the_verdict_to_float32(name: str) -> None:
    devices.check_precision("bf16", "cuda:0")
    attack = attacks.build(name, FEW.get(name, {}))
    split = samples.dataset().test
    model = classifier("cuda:0")
    seen = {True: set(), False: set()}  # type: ignore[var-annotated]

    def note(_: object, given: tuple[torch.Tensor, ...], found: torch.Tensor) -> None:
        seen[given[0].requires_grad and torch.is_grad_enabled()].add(found.dtype)

    model.network.head.register_forward_hook(note)
    severity = 2 if norm_named(attack.norm).counts else 8 / 255
    outcome = attack(
        model,
        as_float(split.volumes[:4], "cuda:0"),
        split.labels[:4],
        severity=severity,
        ids=split.ids[:4],
        seed=0,
        precision="bf16",
    )
    assert seen == {True: {torch.bfloat16}, False: {torch.float32}}
    logits = model.predict(outcome.volumes, 4)
    np.testing.assert_allclose(outcome.logits, logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["bias_field", "spike", "ghosting", "motion"])
def test_batched_artefacts_agree_with_those_of_the_cpu(name: str) -> None:
    artefact = artefacts.build(name)
    volumes = as_float(samples.dataset().test.volumes[:4], "cpu")
    ids = tuple("abcd")
    made, _ = batched.corrupt(artefact, volumes.cuda(), severity=3, ids=ids, seed=0)
    expected, _ = batched.corrupt(artefact, volumes, severity=3, ids=ids, seed=0)
    assert made.device == torch.device("cuda:0")
    torch.testing.assert_close(made.cpu(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("recipe", sorted(recipes.RECIPES))
def test_every_recipe_trains_on_the_device(recipe: str, tmp_path: Path) -> None:
    job = training.Job(
        model=ModelKey(name="tiny", factory="tests.samples:tiny"),
        dataset=samples.dataset(),
        recipe=dataclasses.replace(recipes.find(recipe), epochs=2, batch_size=8),
        seed=0,
        directory=tmp_path,
    )
    assert loop.train(job, device="cuda:0").test_metrics["accuracy"] is not None


def test_heat_maps_agree_with_those_of_the_cpu() -> None:
    volumes = as_float(samples.dataset().test.volumes[:4], "cpu")
    found = []
    for device in ("cpu", "cuda:0"):
        torch.manual_seed(0)
        model = Classifier(samples.tiny(2), num_classes=2, device=device)
        found.append(GradCAM(model, "features.4")(volumes).maps)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-2, atol=1e-4)


def test_a_network_that_draws_is_seen_and_the_generators_stay() -> None:
    model = Classifier(Noisy(), num_classes=2, device="cuda:0")
    before = torch.cuda.get_rng_state()
    check, *_ = behaviour.checks(model, samples.dataset().test.volumes)
    assert torch.equal(before, torch.cuda.get_rng_state())
    assert (check.name, check.verdict) == (behaviour.DRAWS, "failed")


@pytest.mark.slow
def test_cuda_graphs_change_no_answer() -> None:
    split = samples.dataset().test
    found = [
        attacks.build("pgd", {})(
            classifier("cuda:0").for_evaluation(compiled=compiled),
            as_float(split.volumes, "cuda:0"),
            split.labels,
            severity=2 / 255,
            ids=split.ids,
            seed=0,
        ).logits
        for compiled in (False, True)
    ]
    close = np.abs(metrics.margins(split.labels, found[0])) <= 0.01
    verdicts = [metrics.correct(split.labels, logits) for logits in found]
    assert np.array_equal(verdicts[0][~close], verdicts[1][~close])


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    free, _ = torch.cuda.mem_get_info()
    sizes: list[int] = []

    def hungry(batch: slice) -> int:
        count = batch.stop - batch.start
        sizes.append(count)
        # A batch of eight asks for twice of what is free, a batch of two for half of it.
        torch.empty(count * free // 4, dtype=torch.uint8, device="cuda:0")
        return count

    assert sum(in_batches(hungry, 8, 8)) == 8
    assert sizes[0] == 8
    assert max(sizes[2:]) <= 4


def test_latency_is_measured_on_the_device() -> None:
    assert costs.measure(classifier("cuda:0"), (1, 16, 16, 16)).latency_ms > 0
