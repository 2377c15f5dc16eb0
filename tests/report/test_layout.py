from benchharness.report.cells.score import Score
from benchharness.report.formats import latex, markdown
from benchharness.report.tables.layout import Line, number, score_table, text_table


def test_number():
    assert number(Score(value=0.8421, low=0.7651, high=0.9)) == "0.842 [0.77, 0.90]"
    assert number(Score(value=0.8421)) == "0.842"
    assert number(Score(gap="not run")) == "–"


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
