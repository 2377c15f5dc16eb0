"""Networks that hide their gradient are caught on the way from `bench run` to the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchharness import report
from benchharness.report.collect import collect
from tests import attacked

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
