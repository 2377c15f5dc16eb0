"""The site of several stores: worst cases first, certificates, commands for the same cells."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchharness.cli import app
from benchharness.report.joining import join
from benchharness.report.site import INDEX, site
from benchharness.report.tables.standings import command, standings
from tests.factories import Made, store_of, whole_matrix
from tests.report.conftest import without_drawing

if TYPE_CHECKING:
    from pathlib import Path

DATA = "adrenalmnist3d"


def matrix(model: str, shift: float = 0.0, doubt: str | None = None) -> list[Made]:
    """Every cell of a model, `shift` better than usual; its PGD suspect where there is a doubt."""
    return [
        replace(
            made,
            correct=made.correct + shift,
            failed_check=doubt if made.perturbation == "pgd" else None,
        )
        for made in whole_matrix(models=(model,), n=40)
        if isinstance(made.correct, float)
    ]


@pytest.fixture
def stores(tmp_path: Path) -> list[Path]:
    cells = {
        "anna": matrix("worse"),
        "ben": matrix("better", 0.15),
        "cleo": matrix("masked", 0.15, "gradients vanish"),
        "d/ben": matrix("half", 0.1)[:3],
    }
    return [store_of(tmp_path / name, made).directory for name, made in cells.items()]


def test_worst_cases_decide_and_the_suspect_and_incomplete_stand_last(stores: list[Path]) -> None:
    joined = join(stores)
    pages = {name: f"{name}.html" for name in joined.stores}
    table, commands = standings(joined.findings, DATA, joined.sources, pages)
    models = [row[0].text for row in table.rows]
    assert models[:2] == ["better", "worse"]
    assert set(models[2:]) == {"masked", "half"}
    assert [row[0].text for row in commands.rows] == models
    column = table.header.index("L∞ attacks ≤ 8/255")
    values = {row[0].text: row[column] for row in table.rows}
    better, worse = values["better"].order, values["worse"].order
    assert better is not None
    assert worse is not None
    assert better > worse
    assert "†" in values["masked"].marks
    assert values["half"].order is None
    certificates = {row[0].text: row[-1].text for row in table.rows}
    assert certificates["better"] == "unchecked"
    assert certificates["masked"].startswith("2 of 20 cells suspect: ")
    assert {row[-2].href for row in table.rows} == set(pages.values())


def test_a_command_names_every_cell_of_its_model(stores: list[Path]) -> None:
    rows = [row for row in join(stores).findings.rows if row.model == "better"]
    words = shlex.split(command(rows))
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert words[:2] == ["bench", "run"]
    assert given == {
        "--models": "models:better",
        "--recipes": "quick",
        "--seeds": "0",
        "--datasets": DATA,
        "--attacks": "fgsm,pgd",
        "--eps": "2/255,8/255",
        "--artefacts": "motion,ghosting,bias_field",
        "--severities": "1,2,3,4,5",
    }


def test_own_weights_and_a_part_of_the_volumes_are_said(tmp_path: Path) -> None:
    made = Made(model="it's", recipe=None, seed=None, n=20, of=60)
    store = store_of(tmp_path / "own", [made, replace(made, perturbation="pgd", severity=0.25)])
    words = shlex.split(command(join([store.directory]).findings.rows))
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given["--checkpoint"] == "it's=FILE"
    assert given["--limit"] == "20"
    assert "--recipes" not in given


def test_the_site_has_a_page_for_each_store_and_its_links_lead_there(
    stores: list[Path], tmp_path: Path
) -> None:
    with without_drawing():
        files = site(join(stores))
        assert site(join(stores)) == files
    assert len(files) == 1 + len(stores)
    index = files[INDEX].decode()
    links = set(re.findall(r'<a href="(stores/[^"]+)"', index))
    assert links == set(files) - {INDEX}
    assert "gradients vanish" in index
    assert "cells are not drawn: type bench report" in files["stores/anna.html"].decode()
    assert index.index("Worst cases on") < index.index("Ranks on")


def test_the_command_line_writes_it(stores: list[Path], tmp_path: Path) -> None:
    with without_drawing():
        done = CliRunner().invoke(
            app, ["leaderboard", *map(str, stores[:2]), "--html", str(tmp_path / "site")]
        )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "site" / "index.html").is_file()
    assert (tmp_path / "site" / "stores" / "ben.html").is_file()
