"""What a user chooses: tables by kind or perturbation, metrics, and figures as PDF."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchharness.cli import app
from benchharness.errors import BenchError
from benchharness.report import Choice, write
from benchharness.report.collect import collect
from benchharness.report.parts import LONGEST_SLUG, slug
from benchharness.report.sections import sections
from tests.factories import Made, store_of, whole_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.cells.findings import Findings
    from benchharness.report.tables.layout import Table


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on few volumes: clean, two attacks, two artefacts."""
    cells = [made for made in whole_matrix(n=20) if made.severity in (None, 1, 2, 2 / 255, 8 / 255)]
    return store_of(tmp_path_factory.mktemp("small") / "store", cells).directory


@pytest.fixture(scope="module")
def findings(small: Path) -> Findings:
    """Read once, as it keeps the scores that were computed."""
    return collect(small)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    cells = [Made(n=8), Made(n=8, perturbation="pgd", severity=8 / 255)]
    return collect(store_of(tmp_path_factory.mktemp("tiny") / "store", cells).directory)


def shown(findings: Findings, **choice: list[str]) -> dict[str, Table]:
    found = sections(findings, Choice.of(**choice))
    return {table.title: table for one in found for table in (*one.lead, *one.tables)}


@pytest.mark.usefixtures("undrawn")
def test_overview_and_one_attack(findings: Findings) -> None:
    found = shown(findings, tables=["overview", "pgd"])
    assert set(found) == {
        "Overview of adrenalmnist3d",
        "Robust accuracy under L∞ attacks on adrenalmnist3d",
        "Accuracy under L∞ attacks on adrenalmnist3d",
        "AUC under L∞ attacks on adrenalmnist3d",
        "Calibration and flips on adrenalmnist3d",
        "Sensitivity and specificity on adrenalmnist3d",
    }
    for title, table in found.items():
        if not title.startswith("Overview"):
            assert {row[1].text.partition(" ")[0] for row in table.rows} == {"pgd"}


@pytest.mark.usefixtures("undrawn")
def test_a_kind_and_a_family_choose_whole_tables(findings: Findings) -> None:
    every = shown(findings)
    ranks = shown(findings, tables=["ranks"])
    assert ranks == {title: every[title] for title in ranks}
    assert all(title.startswith("Ranks on ") for title in ranks)
    assert {title.partition(" on ")[0] for title in shown(findings, tables=["linf"])} == {
        "Robust accuracy under L∞ attacks",
        "Accuracy under L∞ attacks",
        "AUC under L∞ attacks",
    }


@pytest.mark.usefixtures("undrawn")
def test_every_table_can_be_chosen_by_a_kind(findings: Findings) -> None:
    assert all(table.kinds for table in shown(findings).values())


@pytest.mark.usefixtures("undrawn")
def test_metrics_choose_columns_tables_and_curves(findings: Findings) -> None:
    found = shown(findings, metrics=["auc"])
    overview = found["Overview of adrenalmnist3d"]
    assert overview.header[2:] == tuple(h for h in overview.header if h.endswith("AUC"))
    assert found["Clean volumes of adrenalmnist3d"].header == ("Model", "AUC")
    assert not any(title.startswith("Accuracy under") for title in found)
    charts = [c.name for s in sections(findings, Choice.of(metrics=["auc"])) for c in s.charts]
    assert [name for name in charts if name.startswith("curves")] == [
        "curves_adrenalmnist3d_linf_auc",
        "curves_adrenalmnist3d_mr_auc",
    ]
    both = shown(findings, metrics=["balanced-accuracy", "accuracy"])
    assert "Balanced accuracy under MR artefacts on adrenalmnist3d" in both
    assert both["Clean volumes of adrenalmnist3d"].header[1:] == ("Balanced accuracy", "Accuracy")


@pytest.mark.usefixtures("undrawn")
def test_the_default_shows_what_it_always_did(findings: Findings) -> None:
    found = shown(findings)
    assert found["Overview of adrenalmnist3d"].header[:4] == (
        *("Model", "Params (M)", "Clean", "Clean AUC"),
    )
    assert len(found["Clean volumes of adrenalmnist3d"].header) == 4


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"tables": ["overveiw"]}, r"unknown table 'overveiw'. Did you mean 'overview'"),
        ({"tables": ["pdg"]}, "Did you mean 'pgd'"),
        ({"metrics": ["acuracy"]}, r"unknown metric 'acuracy'. Did you mean 'accuracy'"),
        ({"formats": ["pfd"]}, "unknown format of figures 'pfd'. Did you mean 'pdf'"),
        ({"tables": [""]}, "--tables got an empty name"),
    ],
)
def test_what_is_not_known_is_one_line(
    tiny: Findings, choice: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        shown(tiny, **choice)
    assert "\n" not in str(caught.value)


def test_figures_as_pdf_are_the_same_twice(tiny: Findings, tmp_path: Path) -> None:
    found = [
        write(tiny.directory, tmp_path / name, choice=Choice.of(formats=["pdf"]))
        for name in ("a", "b")
    ]
    figures = [
        {path.name: path.read_bytes() for path in one.plots if path.suffix == ".pdf"}
        for one in found
    ]
    assert {name.partition("_")[0] for name in figures[0]} == {
        *("parameters", "flops", "latency", "curves", "reliability"),
    }
    assert {path.suffix for path in found[0].plots} == {".pdf", ".csv"}
    assert figures[0] == figures[1]
    assert all(content.startswith(b"%PDF") for content in figures[0].values())
    links = re.findall(r"\]\((plots/[^)]+)\)", found[0].markdown.read_text(encoding="utf-8"))
    assert all((tmp_path / "a" / link).exists() for link in links)


def test_the_command_takes_them(make_store: object) -> None:
    store = make_store(Made(n=8), Made(n=8, perturbation="pgd", severity=8 / 255))  # type: ignore[operator]
    arguments = ["report", str(store), "--tables", "pgd", "--metrics", "auc", "--format", "pdf"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    text = (store / "report" / "summary.tex").read_text(encoding="utf-8")
    assert "AUC under" in text
    assert "Overview" not in text
    assert list((store / "report" / "plots").glob("*.pdf"))


def test_names_of_files_stay_apart_and_short() -> None:
    assert slug("adrenalmnist3d (20 of 60)") == "adrenalmnist3d_20_of_60"
    names = ["数据", "图像", "é", "e", "x" * 300, "x" * 301, "\ud800", "∞ ", "", "Ω"]
    found = [slug(name) for name in names]
    assert len(set(found[:7])) == 7
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in found)
    assert max(map(len, found)) <= LONGEST_SLUG + 9
