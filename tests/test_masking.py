"""Networks that hide their gradient are caught on the way from `bench run` to the report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchharness import report
from benchharness.report.collect import collect
from tests import attacked
from tests.attacks.attack_networks import Tiny
from tests.attacks.test_straight_through import Flipped

if TYPE_CHECKING:
    from collections.abc import Callable

    Bench = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("whole_controls")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("masking")
    return attacked.save_task(folder, {"train": 8, "val": 8, "test": 48})


def run(trained: tuple[Path, Path], out: Path, network: str) -> None:
    # Probabilities are refused before anything runs, unless somebody says that they are logits.
    said = {"outputs": "logits"} if network == "softmax_head" else {}
    attacked.run(
        trained,
        out,
        (network,),
        {"square3d": {"queries": 200}},
        attacks="pgd,noise_sign,square3d",
        eps="16/255",
        **said,
    )


def suspicion(out: Path) -> str:
    rows = {row.perturbation: row for row in collect(out).rows}
    return rows["pgd"].suspicion


def test_an_honest_network_is_not_suspect(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run(trained, tmp_path, "honest")
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
    run(trained, tmp_path, network)
    assert reason in suspicion(tmp_path)
    written = report.write(tmp_path)
    markdown = written.markdown.read_text(encoding="utf-8")
    assert "Suspect, not ranked" in markdown
    assert reason in markdown


class Waves(Tiny):
    """Adds waves of 2e-5 to the intensities, whose slope is three times that of the volume."""

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        return super().forward(volumes + 2e-5 * torch.sin(1e5 * volumes))


class FlippedSlices(Tiny):
    """Turns the gradient round in every other slice."""

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        return super().forward(Flipped.apply(volumes))


def waves(num_classes: int, in_channels: int = 1) -> Waves:
    return Waves(num_classes, in_channels)


def flipped(num_classes: int, in_channels: int = 1) -> FlippedSlices:
    return FlippedSlices(num_classes, in_channels)


def command(trained: tuple[Path, Path], network: str) -> tuple[Any, ...]:
    data, weights = trained
    own = ("--models", f"tests.test_masking:{network}", "--checkpoint", f"{network}={weights}")
    return ("run", *own, "--datasets", data, "--eps", "16/255", "--device", "cpu", "--out", "out")


@pytest.mark.parametrize("network", ["waves", "flipped"])
def test_pgd_alone_is_held_against_the_probe_and_the_terminal_says_so(
    trained: tuple[Path, Path], bench: Bench, network: str
) -> None:
    """Nobody asked for another attack, and the gradient is neither zero nor without effect."""
    code, said, _ = bench(*command(trained, network), "--attacks", "pgd")
    assert code == 0
    assert re.search(r"^of that, 2 control cells: \d+ s of \d+ s$", said, re.MULTILINE)
    assert "1 suspect, not to be trusted or ranked:" in said
    (line,) = [line for line in said.splitlines() if line.startswith(f"  {network} · ")]
    found = re.search(r"pgd 16/255 leaves (\d+) of 32 volumes that probe 16/255 \(", line)
    assert found is not None, line
    assert int(found[1]) >= 20
    (row,) = (row for row in collect(Path("out")).rows if row.perturbation == "pgd")
    assert row.suspicion in line
    # The worst case is what is known of the network, not what its gradient shows.
    text = report.write(Path("out")).markdown.read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if re.match(rf"\| {network} +\|", line)]
    (worst,) = [row for row in rows if row[2].strip() == "worst case"]
    (alone,) = [row for row in rows if row[2].strip() == "pgd"][:1]
    assert float(worst[3].split()[0].strip("†")) + 0.4 < float(alone[3].split()[0].strip("†"))
    # A second run of the same finds nothing to do and still says what is wrong.
    code, said, _ = bench(*command(trained, network), "--attacks", "pgd")
    assert (code, "0 cells run" in said, "control cells" in said) == (0, True, False)
    assert "1 suspect, not to be trusted or ranked:" in said


def test_many_suspect_cells_are_counted(trained: tuple[Path, Path], bench: Bench) -> None:
    budgets = ",".join(f"{number}/255" for number in range(16, 28))
    run = command(trained, "flipped")
    _, said, _ = bench(*run, "--attacks", "pgd", "--eps", budgets, "--limit", "8")
    assert "12 suspect, not to be trusted or ranked:" in said
    assert len([line for line in said.splitlines() if line.startswith("  flipped · ")]) == 10
    assert "  and 2 more: see 'bench report'" in said


@pytest.mark.parametrize(("store", "controls"), [("quickstart", 2), ("attacks", 6)])
def test_no_trained_network_of_a_committed_store_is_suspect(store: str, controls: int) -> None:
    findings = collect(ROOT / "results" / store)
    assert [row.suspicion for row in (*findings.rows, *findings.controls) if row.suspicion] == []
    verdicts = [c.check.verdict for c in findings.checks if c.check.name == "breaks at ε = 1"]
    assert verdicts == ["passed"] * controls


def test_in_the_committed_attacks_the_cascade_is_never_weaker_than_a_part() -> None:
    findings = collect(ROOT / "results" / "attacks")
    places = {(row.dataset, row.model, row.severity) for row in findings.rows if row.severity}
    assert len(places) == 3 * 2 * 2
    for place in places:
        left = {
            row.record.cell.perturbation.name: row.record.metrics["accuracy"]
            for row in findings.rows
            if (row.dataset, row.model, row.severity) == place and row.family == "linf"
        }
        cascade = left.pop("autoattack3d")
        assert cascade <= min(left.values())
        assert {"pgd", "square3d"} <= set(left)
