"""Controls are no results: they have a table of their own and change no other number."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchharness.comparison import Settings, compare
from benchharness.report.collect import collect
from benchharness.report.formats.frame import frame
from benchharness.report.joining import join
from benchharness.report.leaderboard import leaderboard
from benchharness.report.sections import sections
from benchharness.store.frames import load_records
from tests.factories import Made, store_of, whole_matrix

if TYPE_CHECKING:
    from benchharness.report.cells.findings import Findings
    from benchharness.report.parts import Section
    from benchharness.store.folder import Store

CONTROLS = {
    "noise_sign": Made(perturbation="noise_sign", severity=8 / 255, correct=0.95, access="none"),
    "noise_sign that failed": Made(perturbation="noise_sign", severity=8 / 255, error="it fell"),
    "noise_sign at a budget of its own": Made(
        perturbation="noise_sign", severity=64 / 255, correct=0.95, access="none"
    ),
    "a plug-in that never asks": Made(
        perturbation="own_noise", severity=8 / 255, correct=0.95, access="none"
    ),
    "full_range": Made(
        perturbation="full_range", severity=1.0, correct=0.9, access="white box", n=20, of=60
    ),
}


def results() -> list[Made]:
    """Two models, clean, under two attacks at two budgets and one artefact at two levels."""
    wanted = (None, "fgsm", "pgd", "motion")
    return [
        made
        for made in whole_matrix()
        if made.perturbation in wanted and made.severity not in (2, 3, 4)
    ]


def with_controls(control: Made) -> list[Made]:
    """The same, and the control for each model."""
    return results() + [replace(control, model=model) for model in ("medvit3d_n", "resnet3d_18")]


@pytest.fixture(params=CONTROLS, scope="module")
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, Store]:
    """A store without and one with a control."""
    folder = tmp_path_factory.mktemp("controls")
    control = CONTROLS[request.param]
    return store_of(folder / "a", results()), store_of(folder / "b", with_controls(control))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, ...]]:
    """What is shown of a store without controls."""
    findings = collect(store_of(tmp_path_factory.mktemp("results") / "a", results()).directory)
    return shown(findings, sections(findings))


@pytest.fixture(scope="module")
def having(pair: tuple[Store, Store]) -> tuple[Findings, tuple[Section, ...]]:
    """What is found in, and reported of, the store with a control."""
    findings = collect(pair[1].directory)
    return findings, sections(findings)


def shown(findings: Findings, found: tuple[Section, ...]) -> dict[str, tuple[object, ...]]:
    """Everything in a report's datasets and averages but what counts or lists all cells."""
    kept = [s for s in found if s.title in ("Average over datasets", *findings.datasets)]
    parts: dict[str, tuple[object, ...]] = {}
    for section in kept:
        tables = (*section.lead, *section.tables)
        parts |= {table.title: (table.header, table.rows) for table in tables}
        parts |= {chart.name: (chart.title, chart) for chart in section.charts}
    return parts


def test_no_table_and_no_plot_of_results_changes(
    having: tuple[Findings, tuple[Section, ...]], expected: dict[str, tuple[object, ...]]
) -> None:
    findings, found = having
    assert len(findings.controls) == 2
    assert findings.families("adrenalmnist3d") == ("linf", "mr")
    assert shown(findings, found) == expected


def test_the_leaderboard_does_not_change(pair: tuple[Store, Store]) -> None:
    first, second = (leaderboard(join([store.directory])) for store in pair)
    swapped = second.csv.replace(",b\n", ",a\n")
    assert swapped == first.csv


def test_no_endpoint_and_no_cell_of_a_comparison_changes(pair: tuple[Store, Store]) -> None:
    without, having = pair
    expected = compare(without, without, Settings(strict=True))
    for base, new in ((having, having), (having, without), (without, having)):
        found = compare(base, new, Settings(strict=True))
        assert (found.endpoints, found.cells) == (expected.endpoints, expected.cells)
        assert (found.gaps, found.exit_code) == ((), 0)


def test_controls_have_a_table_of_their_own(having: tuple[Findings, tuple[Section, ...]]) -> None:
    (section,) = (s for s in having[1] if s.title == "Certificates")
    table = section.tables[-1]
    assert table.title == "Controls"
    assert [row[0].text for row in table.rows] == ["medvit3d_n", "resnet3d_18"]


def test_summary_csv_and_load_records_mark_them(pair: tuple[Store, Store]) -> None:
    csv = frame(collect(pair[1].directory))
    assert list(csv.family[-2:]) == ["control", "control"]
    assert "control" not in set(csv.family[:-2])
    assert load_records(pair[1].directory).control.sum() == 2
    assert load_records(pair[0].directory).control.sum() == 0
