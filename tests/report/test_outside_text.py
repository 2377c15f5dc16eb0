"""Names and errors from outside are data in every file that a report writes."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchharness import report
from benchharness.report.joining import join
from benchharness.report.leaderboard import leaderboard
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "=HYPERLINK(1)",
    "@SUM(A1)",
    "<img src=x onerror=alert(1)>",
    "[click](http://x)",
    "$\\frac$ _hidden_ \x1b[31mred\x07",
    "\u202eevil | pipe \\input{x}",
)
ERROR = "=cmd|' /C calc'!A0 \x1b]0;owned\x07\r\n# heading <b>x</b>"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = [Made(model=name, n=8) for name in NAMES]
    cells.append(Made(model=NAMES[0], n=8, perturbation="pgd", severity=8 / 255, error=ERROR))
    cells.append(Made(model="plain", dataset="-1+1 <i>", n=8))
    return store_of(tmp_path_factory.mktemp("outside") / "store", cells).directory


@pytest.fixture(scope="module")
def written(store: Path) -> report.Report:
    return report.write(store)


def test_no_file_holds_control_characters_and_all_can_be_read(written: report.Report) -> None:
    for path in (written.html, written.markdown, written.csv, written.latex):
        text = path.read_bytes().decode()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), path
        assert r"\x1b[31mred" in text.replace(r"\textbackslash{}", "\\").replace(
            "{[}", "["
        ).replace("\\\\", "\\")


def test_csv_files_hold_no_formula(store: Path, written: report.Report) -> None:
    for text in (written.csv.read_text(encoding="utf-8"), leaderboard(join([store])).csv):
        for row in csv.reader(io.StringIO(text)):
            for field in row:
                number = re.fullmatch(r"-?[\d.]+(e-?\d+)?", field)
                assert number or not field.startswith(tuple("=+-@\t\r")), field
    names = {
        row["model"] for row in csv.DictReader(io.StringIO(written.csv.read_text(encoding="utf-8")))
    }
    assert {"'=HYPERLINK(1)", "'@SUM(A1)", "plain"} <= names


def test_markdown_holds_no_html_and_no_link(store: Path, written: report.Report) -> None:
    for text in (written.markdown.read_text(encoding="utf-8"), leaderboard(join([store])).markdown):
        assert "<img" not in text
        assert "<i>" not in text
        assert "[click](" not in text
        assert not re.search(r"(?<!\\)_hidden", text)
        rows = [line for line in text.splitlines() if line.startswith("|") and "pipe" in line]
        assert rows
        assert all(r"\| pipe" in row or r"\u202eevil \| pipe" in row for row in rows)
    assert "<b>" not in written.markdown.read_text(encoding="utf-8")
    assert not re.search(r"^# heading", written.markdown.read_text(encoding="utf-8"), re.MULTILINE)


def test_latex_runs_nothing(written: report.Report) -> None:
    text = written.latex.read_text(encoding="utf-8").split("\\providecommand{\\resizebox}")[1]
    assert r"\input" not in text
    assert r"\frac$" not in text


def test_a_terminal_gets_no_escape_sequence(store: Path) -> None:
    for width in (200, 40):
        stream = io.StringIO()
        Console(file=stream, width=width, force_terminal=True, color_system=None).print(
            report.overview(store)
        )
        shown = re.sub(r"\x1b\[\?25[lh]", "", stream.getvalue())
        assert "\x1b" not in shown
        assert "\x07" not in shown


def test_figures_draw_names_as_they_are(written: report.Report) -> None:
    figures = [path for path in written.plots if path.suffix != ".csv"]
    assert all(path.stat().st_size > 1000 for path in figures)
    for path in figures:
        if path.suffix == ".svg":
            assert not re.search("[\x00-\x08\x0b-\x1f]", path.read_text(encoding="utf-8"))
