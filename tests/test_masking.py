"""Networks that hide their gradient are caught on the way from `bench run` to the report."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from benchharness import config, report, runner
from benchharness.progress import Display
from benchharness.report.collect import collect
from tests.attacks import attack_networks as networks
from tests.attacks.attack_networks import task

ROOT = Path(__file__).parents[1]
EPS = "16/255"


CLASSES = 4


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A task that cubes of noise disturb, and the weights of a network that solves it."""
    folder = tmp_path_factory.mktemp("masking")
    arrays = {}
    for seed, (split, count) in enumerate({"train": 8, "val": 8, "test": 48}.items()):
        volumes, labels = task(count, CLASSES, seed=seed)
        arrays[f"{split}_images"] = (volumes[:, 0] * 255).round().to(torch.uint8).numpy()
        arrays[f"{split}_labels"] = labels[:, None].to(torch.uint8).numpy()
    np.savez(folder / "data.npz", **arrays)
    torch.save(networks.trained(CLASSES).network.state_dict(), folder / "weights.pth")
    return folder / "data.npz", folder / "weights.pth"


def run(trained: tuple[Path, Path], out: Path, network: str) -> None:
    data, weights = trained
    flags = {
        "models": network,
        "datasets": str(data),
        "attacks": "pgd,noise_sign,square3d",
        "eps": EPS,
        "checkpoints": [f"{network.partition(':')[2]}={weights}"],
        "out": out,
        "device": "cpu",
    }
    settings = config.load(None, flags)
    settings = dataclasses.replace(settings, attack_parameters=(("square3d", (("queries", 200),)),))
    summary = runner.run(settings, Display(Console(file=io.StringIO())))
    assert summary.failures == ()


def suspicion(out: Path) -> str:
    rows = {row.perturbation: row for row in collect(out).rows}
    return rows["pgd"].suspicion


def test_an_honest_network_is_not_suspect(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run(trained, tmp_path, "tests.masked:honest")
    findings = collect(tmp_path)
    assert [row.suspicion for row in findings.rows if row.suspicion] == []
    verdicts = {found.check.name: found.check.verdict for found in findings.checks}
    assert verdicts["white box not behind black box"] == "passed"
    assert verdicts["breaks at ε = 1"] == "passed"


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("softmax_head", "output is logits, not probabilities"),
        ("quantised_input", "gradients not zero"),
        ("noisy_forward", "two forward passes agree"),
        ("huge_logits", "gradients not zero"),
        ("detached_branch", "white box not behind black box"),
        ("detached_branch", "breaks at ε = 1"),
    ],
)
def test_a_network_that_hides_its_gradient_is_suspect_and_not_ranked(
    trained: tuple[Path, Path], tmp_path: Path, network: str, reason: str
) -> None:
    run(trained, tmp_path, f"tests.masked:{network}")
    assert reason in suspicion(tmp_path)
    written = report.write(tmp_path)
    markdown = written.markdown.read_text(encoding="utf-8")
    assert "Suspect, not ranked" in markdown
    assert reason in markdown


def test_no_network_of_the_committed_quickstart_is_suspect() -> None:
    findings = collect(ROOT / "results" / "quickstart")
    assert [row.suspicion for row in (*findings.rows, *findings.controls) if row.suspicion] == []
    verdicts = [c.check.verdict for c in findings.checks if c.check.name == "breaks at ε = 1"]
    assert verdicts == ["passed", "passed"]
