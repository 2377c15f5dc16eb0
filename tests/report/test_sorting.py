"""Columns of the page sort by value: what cells carry, what the script does, and a real browser."""

from __future__ import annotations

import html
import json
import math
import random
import re
import shutil
import subprocess
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from benchharness import report
from benchharness.report.cells.score import Score
from benchharness.report.formats import page
from benchharness.report.parts import Section
from benchharness.report.tables.layout import Entry, Line, Table, score_table, text_table
from tests.report.conftest import without_drawing

if TYPE_CHECKING:
    from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

NUMBER = re.compile(r"[-−]?[\d,]+(?:\.\d+)?(?:e[-+]\d+)?(?=$| \[| \(batch|[a-z†]+\d*$)")

VALUES = (0.9, 0.1, 0.05, 0.5, -0.2, -0.15, 12.0, 9.0, 1234.5, 0.00007, 0.0, None, 1e-7, math.inf)

CLICKS = """<script>
  const found = [...document.querySelectorAll("table:not(.matrix)")].map(table =>
    [...table.tHead.rows[0].cells].map((heading, column) => {
      const read = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
      heading.click();
      const up = read();
      heading.click();
      return { up, down: read(), sorted: heading.getAttribute("aria-sort") };
    }));
  document.body.innerHTML = "<pre id=found></pre>";
  document.querySelector("#found").textContent = JSON.stringify(found);
</script>"""


def made_up() -> Table:
    """Every kind of number, in an order that is not theirs."""
    scores = [Line(names=(f"m{i}", i), fields=(_score(v), v)) for i, v in enumerate(VALUES)]
    random.Random(0).shuffle(scores)
    return score_table("Made up", ("Model", "Class", "Score", "Quantity"), scores)


def words() -> Table:
    conditions = ["pgd 16/255", "pgd 2/255", "fgsm 0.5", "motion level 10", "motion level 9"]
    volumes = ["20 of 60", "100 of 200", "9 of 60", "–", "128 of 128"]
    rows = list(zip(conditions, volumes, (10, 9, 100, None, 8), strict=True))
    return text_table("Words", ("Condition", "Volumes", "Cells"), rows)


def _score(value: float | None) -> Score:
    if value is None or math.isinf(value):
        return Score(value=value, gap="" if value else "not run")
    return Score(value=value, low=value - 0.1, high=value + 0.1)


@pytest.fixture(scope="module")
def content(full_store: Path) -> str:
    with without_drawing():
        written = report.write(full_store, full_store.parent / "sorting")
    return written.html.read_text(encoding="utf-8")


def cells(content: str) -> list[tuple[str | None, str]]:
    """What each cell sorts by, None where by its text, and the text."""
    content = re.sub(r'<section id="matrix">.*?</section>', "", content, flags=re.DOTALL)
    content = re.sub(r"<script.*?</script>", "", content, flags=re.DOTALL)
    found = re.findall(r'<td(?: data-order="([^"]*)")?>(.*?)</td>', content)
    flags = re.findall(r"<td( data-order)?", content)
    return [
        (order if flag else None, html.unescape(re.sub(r"<sup>.*?</sup>", "", text)))
        for flag, (order, text) in zip(flags, found, strict=True)
    ]


def test_every_number_carries_the_value_it_sorts_by(content: str) -> None:
    found = cells(content + page.document("", (), [Section(title="t", tables=(made_up(),))]))
    numbers = [(order, text) for order, text in found if NUMBER.match(text)]
    assert len(numbers) > 300
    for order, text in numbers:
        match = NUMBER.match(text)
        assert match is not None
        shown = float(match[0].replace(",", "").replace("−", "-"))
        assert order is not None, f"{text} sorts by its text"
        assert float(order) == pytest.approx(shown, rel=0.06, abs=6e-4), text
    assert {order for order, text in found if text in ("–", "n/a")} == {""}


def test_missing_values_and_infinite_ones_are_told_apart() -> None:
    table = Table(
        title="t", header=("a",), rows=((Entry(text="–"),), (Entry(text="∞", order=math.inf),))
    )
    text = page.document("", (), [Section(title="t", tables=(table,))])
    assert '<td data-order="">–</td>' in text
    assert '<td data-order="Infinity">∞</td>' in text


def test_the_page_sorts_by_the_values_that_its_cells_carry(content: str) -> None:
    script = "".join(re.findall(r"<script>(.*?)</script>", content, flags=re.DOTALL))
    assert "rank(Number(left.order), Number(right.order))" in script
    assert "order: row.cells[column].dataset.order" in script


def test_the_script_compares_by_value(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on PATH")
    script = resources.files(report).joinpath("templates/sorting.js").read_text(encoding="utf-8")
    orders = ["0.9", "1e-05", "", "0.05", "0.1", "-0.2", "Infinity", "12.0", "9.0", "-0.15"]
    texts = ["pgd 16/255", "pgd 2/255", "fgsm 0.5", "fgsm 0.25", "fgsm 8/255", "m 10", "m 9", "pgd"]
    given = [{"order": order, "text": "t"} for order in orders] + [{"text": t} for t in texts]
    (tmp_path / "sort.js").write_text(
        f"{script}\nconst given = {json.dumps(given)};"
        "const both = [false, true].map(down => [...given].sort((a, b) => compareCells(a, b, down))"
        ".map(cell => cell.order ?? cell.text));"
        "console.log(JSON.stringify(both));"
    )
    done = subprocess.run([node, tmp_path / "sort.js"], capture_output=True, text=True, check=True)
    up, down = json.loads(done.stdout)
    by_value = ["-0.2", "-0.15", "1e-05", "0.05", "0.1", "0.9", "9.0", "12.0", "Infinity"]
    by_words = [
        *("fgsm 8/255", "fgsm 0.25", "fgsm 0.5", "m 9", "m 10", "pgd", "pgd 2/255", "pgd 16/255"),
    ]
    assert up == [*by_value, *by_words, ""]
    assert down == [*reversed([*by_value, *by_words]), ""]


def clicked(content: str, folder: Path) -> list[list[dict[str, Any]]]:
    """Every column of every table after one click on its heading, and after two, in Chromium."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no Chromium on PATH: none of {', '.join(BROWSERS)}")
    (folder / "page.html").write_text(content.replace("</body>", f"{CLICKS}</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=20000", (folder / "page.html").as_uri()]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r'<pre id="found">(.*?)</pre>', dumped, re.DOTALL)
    assert found is not None, dumped[-2000:]
    return json.loads(html.unescape(found[1]))  # type: ignore[no-any-return]


def values(texts: list[str]) -> list[float]:
    """The numbers of a column as they are printed; words and gaps are left out."""
    matches = (NUMBER.match(text) for text in texts)
    numbers = [float(m[0].replace(",", "").replace("−", "-")) if m else None for m in matches]
    return [number for number in numbers if number is not None]


@pytest.mark.browser
def test_a_click_on_any_heading_sorts_its_column_by_value(content: str, tmp_path: Path) -> None:
    extra = page.document("", (), [Section(title="t", tables=(made_up(), words()))])
    tables = re.findall(r"<table.*?</table>", extra, flags=re.DOTALL)
    whole = content.replace("</main>", "".join(tables) + "</main>")
    found = clicked(whole, tmp_path)
    page_alone = re.sub(r"<script.*?</script>", "", content, flags=re.DOTALL)
    assert len(found) == len(re.findall(r'<table(?! class="matrix")', page_alone)) + 2
    checked = 0
    for table in found:
        for column in table:
            assert column["sorted"] == "descending"
            for texts in (column["up"], column["down"]):
                gaps = [text.startswith(("–", "n/a")) for text in texts]
                assert gaps == sorted(gaps), texts
            up, down = values(column["up"]), values(column["down"])
            assert up == sorted(up), column["up"]
            assert down == sorted(down, reverse=True), column["down"]
            checked += len(set(up)) > 1
    assert checked > 30
    conditions, volumes, counts = (column["up"] for column in found[-1])
    assert conditions == [
        "fgsm 0.5",
        "motion level 9",
        "motion level 10",
        "pgd 2/255",
        "pgd 16/255",
    ]
    assert volumes == ["9 of 60", "20 of 60", "100 of 200", "128 of 128", "–"]
    assert counts == ["8", "9", "10", "100", "–"]
    # The gap's note is a superscript.
    assert [column["up"][-2:] for column in found[-2][2:]] == [["∞", "–a"], ["∞", "–"]]
