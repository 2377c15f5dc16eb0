"""Names and messages from outside are data in every format of a comparison; origins are shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from benchharness.comparison import Settings, StoreComparison, compare, render
from benchharness.outside import escaping
from tests.factories import small_matrix, store_of, tiny

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = {
    "a link": "[free](https://evil.example)",
    "a bare link": "https://evil.example and WWW.evil.example",
    "an image": "![x](https://evil.example/p.png)",
    "HTML": "<img src=x onerror=alert(1)><!-- </details> -->",
    "an entity": "&lt;script&gt;",
    "emphasis": "**bold** _it_ ~~gone~~ `code` $x^2$ a|b",
    "mentions": "@everyone see #1",
    "lines": "one\n# two\r\n- three\u2028four",
    "escapes": "\x1b[31mred\x1b]8;;https://evil.example\x07 \x9b31m",
    "other controls": "a\x00b\x08c\x7fd\x85e",
    "turned text": "abc\u202egpj.exe\u2066",
    "not a character": "\ufffe\uffff",
}


def result_of(tmp_path: Path, text: str) -> StoreComparison:
    """A comparison with this text in a model, a dataset, an error, a suspicion and both names."""
    base = [*small_matrix(model=text), *small_matrix(dataset=text, digest="md5:other")]
    new = [
        replace(
            made,
            weights="b",
            error=text if made.severity == 3 else None,
            failed_check=text if made.severity == 5 else None,
        )
        for made in base
    ]
    sources = (store_of(tmp_path / "base", base), store_of(tmp_path / "new", new))
    return compare(*sources, Settings(strict=True), names=(f"base {text}", f"new {text}"))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_text_from_outside_stays_text_in_every_format(tmp_path: Path, text: str) -> None:
    result = result_of(tmp_path, text)
    shown = escaping.one_line(text)
    held = json.loads(render.as_json(result))
    assert held["base"] == f"base {text}"
    suite = ET.fromstring(render.junit(result).encode()).find("testsuite")
    assert suite is not None
    assert suite.attrib["name"] == f"new {shown} against base {shown}"
    console = Console(width=400, record=True, file=None)
    with console.capture() as captured:
        console.print(render.table(result))
    for written in (render.as_json(result), render.markdown(result), captured.get()):
        written.encode()
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", written)
    markdown = render.markdown(result)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\ufffe\uffff]", markdown)
    unescaped = re.sub(r"\\.", "", markdown)
    tags = {"<details>", "</details>", "<summary>", "</summary>"}
    assert set(re.findall("<[^>]*>?", unescaped)) == tags
    assert not re.search(r"https://|www\.|@\w|#\d|\[.*\]\(|&\w+;", unescaped, re.IGNORECASE)
    for line in markdown.splitlines():
        assert re.match(r"(### |\*\*\w|\| |\|:|- |<|new |BASE|Differences|Model|$|tiny|\w)", line)


def test_a_lone_surrogate_breaks_no_format() -> None:
    assert escaping.one_line("a\ud800b") == "a\\ud800b"
    assert json.loads(escaping.json(json.dumps("a\ud800\x9b", ensure_ascii=False))) == "a\ud800\x9b"
    escaping.json(json.dumps("a\ud800", ensure_ascii=False)).encode()


def test_ordinary_text_is_left_as_it_is() -> None:
    for text in ("medvit3d_n · phantom3d · L∞ attacks", "results/ci", "−0.148 at 98.8 %", "Ünï 数"):
        assert escaping.one_line(text) == text


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_weights_and_versions_of_both_sides_are_shown(
    tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    base = [replace(m, seed=seed) for seed in seeds for m in small_matrix()]
    new = [replace(m, weights="b", versions={"torch": "2.14.0", "monai": "1.6"}) for m in base]
    sources = (store_of(tmp_path / "base", base), store_of(tmp_path / "new", new))
    result = compare(*sources, Settings())
    held = json.loads(render.as_json(result))["origins"]
    text = render.markdown(result)
    for side, source in zip(("base", "new"), sources, strict=True):
        expected = {record.cell.checkpoint.sha256 for record in source.records().values()}
        assert {one["sha256"] for one in held[side]["weights"]} == expected
        assert [one["seed"] for one in held[side]["weights"]] == list(seeds)
        assert all(str(digest) in text for digest in expected)
    assert held["base"]["versions"] == {"torch": ["2.13.0"]}
    assert held["new"]["versions"] == {"monai": ["1.6"], "torch": ["2.14.0"]}
    assert "- torch: 2.13.0 → 2.14.0\n" in text
    assert "- monai: unknown → 1.6\n" in text


def test_brought_weights_are_named_as_such(tmp_path: Path) -> None:
    cell = [tiny(seed=None, recipe=None)]
    sources = (store_of(tmp_path / "base", cell), store_of(tmp_path / "new", cell))
    assert "tiny · sample · own weights: weights " in render.markdown(compare(*sources, Settings()))
