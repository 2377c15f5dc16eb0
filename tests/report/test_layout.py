import pytest

from benchharness.report.cells.score import Score
from benchharness.report.formats import latex, markdown
from benchharness.report.tables.layout import Line, number, score_table, text_table
from benchharness.report.tables.numbers import quantity


def test_number():
    assert number(Score(value=0.8421, low=0.7651, high=0.9)) == "0.842 [0.765, 0.900]"
    assert number(Score(value=0.8421)) == "0.842"
    assert number(Score(gap="not run")) == "–"


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.999, 0.998, 1.0, "0.999 [0.998, 1.000]"),
        (0.99962, 0.9987, 1.0, "0.9996 [0.9987, 1.0000]"),
        (1.0, 0.964, 1.0, "1.000 [0.964, 1.000]"),
        (0.0, 0.0, 0.03, "0.000 [0.000, 0.030]"),
        (0.0003, 0.00004, 0.0011, "0.0003 [0.0000, 0.0011]"),
        (0.00004, 0.0, 0.0002, "0.00004 [0.00000, 0.00020]"),
        (2e-8, 0.0, 1e-7, "2.0e-08 [0.0e+00, 1.0e-07]"),
        (-0.0002, -0.01, 0.01, "-0.0002 [-0.0100, 0.0100]"),
        (-1e-17, -0.0001, 0.0001, "0.000 [0.000, 0.000]"),
        (1 - 2e-16, 0.9, 1.0, "1.000 [0.900, 1.000]"),
        (-0.15, -0.17, -0.13, "-0.150 [-0.170, -0.130]"),
        (1.0004, 0.98, 1.02, "1.0004 [0.9800, 1.0200]"),
    ],
)
def test_an_interval_has_the_decimals_of_its_number(value, low, high, text):
    assert number(Score(value=value, low=low, high=high)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7e-5, "0.000070"),
        (0.99997, "0.999970"),
        (1e-9, "1.0e-09"),
        (1 - 1e-9, "1 − 1.0e-09"),
        (0.004, "0.0040"),
        (0.05, "0.050"),
        (0.35, "0.35"),
        (0.0, "0.00"),
        (1.0, "1.00"),
        (-0.0, "0.00"),
        (-0.003, "-0.0030"),
        (1234.567, "1,234.57"),
        (float("inf"), "∞"),
    ],
)
def test_a_small_quantity_is_never_printed_as_zero_nor_one_below_1_as_1(value, text):
    assert quantity(value) == text


def test_thresholds_and_the_cost_of_small_networks_keep_their_digits():
    lines = [Line(names=("a",), fields=(7e-5,)), Line(names=("b",), fields=(0.99996,))]
    table = score_table("t", ("Model", "Threshold"), lines)
    assert [row[1].text for row in table.rows] == ["0.000070", "0.999960"]
    table = text_table("t", ("Params (M)",), [(0.000412,), (3,), (None,)])
    assert [(e.text, e.order) for (e,) in table.rows] == [
        ("0.00041", 0.000412),
        ("3", 3.0),
        ("–", None),
    ]


def test_notes_share_signs_and_explain_suspicion():
    table = score_table(
        "Title",
        ("Model", "A", "B", "C"),
        [
            Line(names=("a",), fields=(Score(gap="not run"), Score(gap="failed"), None)),
            Line(names=("b",), fields=(Score(gap="not run"), Score(value=0.5, suspect="why"), 3.0)),
        ],
    )
    assert [[entry.plain for entry in row] for row in table.rows] == [
        ["a", "– a", "– b", "–"],
        ["b", "– a", "0.500 †", "3.00"],
    ]
    assert [(note.sign, note.text) for note in table.notes] == [
        ("†", "Suspect, not ranked: b: why."),
        ("a", "not run."),
        ("b", "failed."),
    ]
    assert "- a not run." in markdown.table(table)


def test_latex_escapes_and_balances():
    table = text_table("R&D_1", ("a_b", "50 %"), [("x_y", "[0.1, 0.2]"), ("ε", None)])
    text = latex.table(table)
    assert r"\caption{R\&D\_1.}" in text
    assert r"a\_b & 50 \% \\" in text
    assert r"x\_y & {[}0.1, 0.2{]} \\" in text
    assert r"$\varepsilon$ & -- \\" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert r"\begin{tabular}{ll}" in text


def test_markdown_keeps_bars_inside_their_field():
    text = markdown.table(text_table("T", ("a",), [("x|y",)]))
    assert r"x\|y" in text
