"""The gate end to end: it catches real damage, but not other batch sizes or thread counts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from benchharness import attacks, comparison
from benchharness.comparison import Settings
from benchharness.networks import checkpoints
from benchharness.run import runner
from benchharness.run.config import load
from benchharness.run.progress import Display
from benchharness.store.cells import ModelKey
from benchharness.store.folder import Store
from benchharness.training import recipes

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.networks.classifier import Classifier
    from benchharness.store.source import Source

pytestmark = pytest.mark.slow

EPS = 2 / 255
STEPS = 3
"""Steps of PGD; on this small network more steps break no more volumes."""
MODEL = ModelKey(name="tiny", factory="tests.samples:tiny")


@dataclasses.dataclass(frozen=True)
class Bench:
    folder: Path

    def run(self, name: str, weights: Path | None = None, batch_size: int = 64) -> Store:
        """Clean, PGD and a bias field on 300 test volumes, with given weights or trained ones."""
        settings = self.folder / "bench.toml"
        settings.write_text(f"[attack.pgd]\nsteps = {STEPS}\n")
        config = load(
            settings,
            {
                "models": "tests.samples:tiny",
                "datasets": str(self.folder / "data.npz"),
                "attacks": "pgd",
                "eps": str(EPS),
                "artefacts": "bias_field",
                "severities": "3",
                "recipes": "quick",
                "device": "cpu",
                "batch_size": batch_size,
                "out": str(self.folder / name),
                "checkpoint": None if weights is None else f"tiny={weights}",
            },
        )
        assert runner.run(config, Display(Console(quiet=True))).failures == ()
        return Store(config.out)

    @property
    def weights(self) -> Path:
        return next(self.folder.glob("first/checkpoints/*/*/model.safetensors"))


def write_archive(path: Path) -> None:
    """Checkerboards whose contrast hints at the class: the best accuracy is about 0.85."""
    arrays = {}
    for seed, (name, count) in enumerate({"train": 200, "val": 300, "test": 300}.items()):
        draws = np.random.default_rng(seed)
        labels = np.arange(count) % 2
        contrast = draws.normal(15 + 20 * labels, 10)
        board = np.indices((12, 12, 12)).sum(0) % 2 * 2 - 1
        images = draws.uniform(80, 150, (count, 12, 12, 12)) + board * contrast[:, None, None, None]
        arrays |= {f"{name}_images": images.astype(np.uint8), f"{name}_labels": labels[:, None]}
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A network trained on the sample data, whose accuracy under PGD is far from 0 and from 1."""
    folder = tmp_path_factory.mktemp("gate")
    write_archive(folder / "data.npz")
    with pytest.MonkeyPatch.context() as patch:
        quick = dataclasses.replace(
            recipes.find("quick"), epochs=8, batch_size=20, learning_rate=0.01, flips=False
        )
        patch.setitem(recipes.RECIPES, "quick", quick)
        made = Bench(folder)
        made.run("first")
    return made


def judge(base: Source, new: Source) -> comparison.StoreComparison:
    return comparison.compare(base, new, Settings())


def accuracy_under_pgd(classifier: Classifier, folder: Path) -> float:
    """On the val volumes, which the gate does not see."""
    from benchharness import datasets

    split = datasets.load(str(folder / "data.npz"), None).val
    attack = attacks.build("pgd", {"steps": STEPS})
    volumes = torch.from_numpy(split.volumes).float() / 255
    found = attack(
        classifier, volumes, torch.from_numpy(split.labels), severity=EPS, ids=split.ids, seed=0
    )
    right = found.logits.argmax(axis=1) == split.labels
    return float(right.mean())


def damaged(bench: Bench) -> tuple[Path, float]:
    """Weights with just enough noise to lose 15 points under PGD, and the loss."""
    weights = load_file(bench.weights)
    path = bench.folder / "damaged.safetensors"
    before = None
    for step in range(12):
        scale = 0.0 if step == 0 else 0.02 * 1.5**step
        draws = torch.Generator().manual_seed(1)
        noisy = {
            name: tensor + scale * tensor.abs().mean() * torch.randn(tensor.shape, generator=draws)
            if tensor.is_floating_point() and "running" not in name
            else tensor
            for name, tensor in weights.items()
        }
        save_file(noisy, path)
        classifier = checkpoints.load_classifier(
            MODEL, path, num_classes=2, in_channels=1, device="cpu"
        )
        share = accuracy_under_pgd(classifier, bench.folder)
        before = share if before is None else before
        if before - share >= 0.15:
            return path, before - share
    raise AssertionError("no noise damaged the network by 15 points")


def test_weights_that_lost_15_points_under_pgd_are_caught(bench: Bench) -> None:
    path, lost = damaged(bench)
    assert 0.15 <= lost <= 0.5
    base = bench.run("base", bench.weights)
    result = judge(base, bench.run("damaged", path))
    attacked = next(e for e in result.endpoints if e.family == "L∞ attacks")
    assert (attacked.n, attacked.verdict) == (300, "worse")
    assert (result.verdict, result.exit_code) == ("worse", 1)


def test_another_batch_size_and_thread_count_are_not_flagged(bench: Bench) -> None:
    base = bench.run("base", bench.weights)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        again = bench.run("again", bench.weights, batch_size=7)
    finally:
        torch.set_num_threads(threads)
    for record in again.records().values():
        assert record.provenance["batch_size"] == 7
    result = judge(base, again)
    assert {endpoint.verdict for endpoint in result.endpoints} == {"indistinguishable"}
    assert result.exit_code == 0
    for endpoint in result.endpoints:
        assert endpoint.judgement is not None
        assert abs(endpoint.judgement.difference) <= 1 / 300


def test_the_same_weights_trained_again_are_paired_with_those_that_were_brought(
    bench: Bench,
) -> None:
    result = judge(Store(bench.folder / "first"), bench.run("base", bench.weights))
    assert result.exit_code == 0
    assert all(endpoint.cells == endpoint.of for endpoint in result.endpoints)
