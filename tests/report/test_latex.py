"""LaTeX compiles whatever its tables say, and no table is wider or taller than a page's text."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from benchharness import report
from benchharness.report.cells.score import Score
from benchharness.report.formats import latex
from benchharness.report.formats.latex_text import breakable, escape
from benchharness.report.parts import Section
from benchharness.report.tables.layout import Line, score_table, text_table

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.tables.layout import Table

HOSTILE = (
    r"\input{/etc/passwd}",
    r"\\end{document} \catcode`\%=12 \write18{ls}",
    "\ud800 half a sign",
    "\x1b[31mred\x00\x07",
    "$x_1^2$ & % # ~ ^ _ { } \\",
    "中文 é ß Ω α − ∞ ½ ǽ ŝ ñ ỗ İ 🎉 ² √ ≤",
    "--- -- - <<>> ?` !` “q” „d“ …",
    "a" * 300,
    "_" * 60,
    "/a/long/path" * 12,
    "[x] [0.1, -0.2]",
    "line\nfeed\ttab\r\u202eturned",
    "",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("α − ∞", r"$\alpha$ $-$ $\infty$"),
        ("-0.150 [-0.17, 1-2]", r"$-$0.150 {[}$-$0.17, 1-2{]}"),
        ("medvit-3d 1e-05", "medvit-3d 1e-05"),
        ("é ß Å", r"\'{e} {\ss} {\AA}"),
        ("a--b", "a-{}-b"),
        ("中", r"\texttt{U+4E2D}\allowbreak{}"),
        ("\ud800", r"\textbackslash{}ud800"),
        ("a\x1bb\nc", r"a\textbackslash{}x1bb c"),
        ("50 % of $5 & #1_2^3~", r"50 \% of \$5 \& \#1\_2\textasciicircum{}3\textasciitilde{}"),
    ],
)
def test_every_sign_has_its_code(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_long_words_may_break_and_nothing_is_lost() -> None:
    text = "x " + "0123456789abcdef" * 4
    assert breakable(text).replace(r"\allowbreak{}", "") == text
    assert breakable(text).count(r"\allowbreak{}") == 7
    assert breakable("short words") == "short words"


def test_many_columns_are_split_and_every_part_names_its_rows() -> None:
    scores = tuple(Score(value=0.5, low=0.25, high=0.75) for _ in range(9))
    lines = [Line(names=(name, "pgd"), fields=scores) for name in ("one", "other")]
    text = latex.table(score_table("T", ("Model", "Attack", *map(str, range(9))), lines))
    parts = text.count(r"\begin{tabular}")
    assert parts > 1
    assert text.count("one & pgd") == text.count("other & pgd") == parts
    assert text.count("0.500 {[}0.250, 0.750{]}") == 18


def test_many_rows_are_split_over_floats_that_keep_their_number() -> None:
    lines = [Line(names=(f"m{i}",), fields=(float(i),)) for i in range(100)]
    text = latex.table(score_table("T", ("Model", "x"), lines))
    floats = text.count(r"\begin{table}")
    assert floats >= 3
    assert text.count("T (continued).") == text.count(r"\addtocounter{table}{-1}") == floats - 1
    assert all(rf"m{i} & {i}.00 \\" in text for i in range(100))


def hostile_tables() -> tuple[Table, ...]:
    def score(value: float) -> Score:
        return Score(
            value=value, low=value - 0.1, high=value + 0.1, suspect="why " * 30, remark="r"
        )

    several = [Line(names=(n,), fields=tuple(map(score, range(8)))) for n in HOSTILE]
    gaps = [Line(names=(f"m{i}",), fields=(Score(gap=f"reason {i} " * 4),)) for i in range(120)]
    return (
        score_table(
            HOSTILE[0],
            ("Model", *(f"{i} {n}" for i, n in enumerate(HOSTILE[:8]))),
            several,
            caption=" ".join(HOSTILE),
        ),
        text_table("Words", HOSTILE[:4], [(n, n * 5, n * 20, 7) for n in HOSTILE]),
        text_table("Nothing", ("a", "b"), []),
        score_table("Tall", ("Model", "x"), gaps),
        *(
            text_table(f"Many {i}", ("Model", "x"), [(str(j), j) for j in range(25)])
            for i in range(60)
        ),
    )


def compiled(source: Path) -> str:
    """What pdflatex says of a file; the test is skipped where there is none."""
    engine = shutil.which("pdflatex")
    if engine is None:
        pytest.skip("no pdflatex on PATH")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
    done = subprocess.run(
        [*command, source.name], cwd=source.parent, capture_output=True, timeout=300, check=False
    )
    log = source.with_suffix(".log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert source.with_suffix(".pdf").stat().st_size > 5000
    return log


def assert_fits(log: str) -> None:
    found = re.findall(r"^Overfull \\hbox.*|.*Float too large.*|.*undefined.*", log, re.MULTILINE)
    assert not found


def test_hostile_text_compiles_within_the_page(tmp_path: Path) -> None:
    source = tmp_path / "summary.tex"
    source.write_text(latex.document([Section(title="t", tables=hostile_tables())]))
    assert_fits(compiled(source))


def test_a_report_compiles_alone_and_inside_a_paper(full_store: Path, tmp_path: Path) -> None:
    source = report.write(full_store, tmp_path / "report").latex
    assert_fits(compiled(source))
    paper = source.with_name("paper.tex")
    paper.write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
        "Before.\\input{summary.tex}After.\\end{document}\n"
    )
    log = compiled(paper)
    assert_fits(log)
    pages = int(re.findall(r"Output written on \S+ \((\d+) page", log)[0])
    assert 3 <= pages <= 40
