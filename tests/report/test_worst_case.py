"""The worst case counts what the probe and transferred volumes broke; nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchharness.report.collect import collect
from benchharness.report.page.summary import verdict
from benchharness.report.plots.tradeoff import tradeoffs
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import conditions
from benchharness.report.scoring.subjects import together
from benchharness.report.tables import results
from benchharness.report.tables.standings import standings
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.cells.findings import Findings

CLEAN = Made(n=40, correct=[True] * 40)
PGD = replace(CLEAN, perturbation="pgd", severity=8 / 255, correct=[True] * 30 + [False] * 10)
L2 = replace(PGD, perturbation="pgd_l2")
PROBE = Made(n=20, of=40, perturbation="probe", severity=8 / 255, correct=[False] * 5 + [True] * 15)
"""It broke 5 of the first 20 volumes; PGD broke the last 10 of 40."""


def found(folder: Path, *cells: Made) -> Findings:
    return collect(store_of(folder, cells).directory)


def worst(findings: Findings, family: str = "linf", *, witnessed: bool = True) -> float | None:
    dataset, model = findings.datasets[0], findings.models[0]
    wanted = conditions(findings, dataset, family)
    subject = together(findings, dataset, model)
    return scores.worst_case(findings, subject, wanted, 8 / 255, witnessed=witnessed).value


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (PROBE, 25 / 40),
        (replace(PROBE, severity=2 / 255), 25 / 40),
        (replace(PROBE, severity=16 / 255), 30 / 40),
        (replace(PROBE, weights="other"), 30 / 40),
        (replace(PROBE, perturbation="full_range", severity=8 / 255), 30 / 40),
        (replace(PROBE, perturbation="noise_sign", severity=8 / 255, access="none"), 30 / 40),
        (replace(PROBE, error="it fell"), 30 / 40),
    ],
)
def test_what_the_probe_broke_within_the_budget_counts(
    tmp_path: Path, probe: Made, expected: float
) -> None:
    findings = found(tmp_path, CLEAN, PGD, probe)
    assert worst(findings) == expected
    assert worst(findings, witnessed=False) == 30 / 40


def test_changes_within_epsilon_everywhere_count_for_l2_as_well(tmp_path: Path) -> None:
    assert worst(found(tmp_path, CLEAN, L2, PROBE), "l2") == 25 / 40


def table(findings: Findings) -> dict[str, str]:
    shown = results.attacks(findings, findings.datasets[0], "linf")
    return {row[1].text: row[2].text.split()[0] for row in shown.rows}


def test_the_table_has_the_worst_case_beside_a_single_attack(tmp_path: Path) -> None:
    assert table(found(tmp_path / "a", CLEAN, PGD, PROBE)) == {
        "pgd": "0.750",
        "worst case": "0.625",
    }
    assert table(found(tmp_path / "b", CLEAN, PGD)) == {"pgd": "0.750"}


def test_every_place_shows_the_same_worst_case(tmp_path: Path) -> None:
    others = [replace(made, model="zz") for made in (CLEAN, PGD)]
    findings = found(tmp_path, CLEAN, PGD, PROBE, *others)
    dataset, (model, other) = findings.datasets[0], findings.models
    (chart,) = tradeoffs(findings, dataset)
    assert {mark.model: mark.score.value for mark in chart.panels[0].marks} == {
        model: 25 / 40,
        other: 30 / 40,
    }
    stores = dict.fromkeys(findings.models, "store")
    ranked, _ = standings(findings, dataset, stores, {"store": "store.html"})
    assert [(row[0].text, row[2].text.split()[0]) for row in ranked.rows] == [
        (other, "0.750"),
        (model, "0.625"),
    ]
    (line,) = (one for one in verdict(findings) if one.label.startswith("L∞"))
    assert line.value == other
    assert f"{model} (0.625)" in line.text
