"""The page's first screen: complete without scripts, and every number as in the CSV."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from benchharness.report.cells import names
from benchharness.report.collect import collect
from benchharness.report.formats import frame, page
from benchharness.report.page import opening
from benchharness.report.page.payload import script_json
from benchharness.report.parts import Section
from tests.factories import Made, small_matrix, store_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.report.cells.findings import Findings

HOSTILE = "</script><b>\"'&"


def written(findings: Findings) -> str:
    sections = [Section(title="Tables")]
    return page.document("Robustness report", ("caveat",), sections, opening(findings, {}))


def data(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="bench-data">(.*?)</script>', text)
    assert found is not None
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text of the screen's matrix by place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.fields: dict[int, str] = {}
        self._place: int | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            place = dict(attrs).get("data-cell")
            self._place = None if place is None else int(place)

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._place = None

    def handle_data(self, data: str) -> None:
        if self._place is not None:
            self.fields[self._place] = self.fields.get(self._place, "") + data


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    cells = [
        *small_matrix(),
        *small_matrix(model="other", weights="b", correct=0.4),
        Made(
            model="third",
            dataset="sample",
            digest="md5:data",
            n=300,
            of=300,
            correct=0.2,
            perturbation="pgd",
            severity=8 / 255,
            failed_check="gradients vanish",
        ),
    ]
    return collect(store_of(tmp_path_factory.mktemp("page") / "store", cells).directory)


@pytest.fixture(scope="module")
def text(findings: Findings) -> str:
    return written(findings)


def test_every_number_of_the_matrix_is_that_of_the_csv(findings: Findings, text: str) -> None:
    csv = pd.read_csv(io.StringIO(frame.frame(findings).to_csv())).set_index("identity")
    fields, cells = Tags(text).fields, data(text)["cells"]
    assert len(fields) == len(cells) == len(findings.rows)
    for place, cell in enumerate(cells):
        row = csv.loc[cell["identity"]]
        assert fields[place].split("†")[0] == f"{row['accuracy']:.3f}"
        for number, metric in enumerate(("accuracy", "auc", "balanced_accuracy")):
            ends = row[[metric, f"{metric}_low", f"{metric}_high"]]
            assert cell["scores"][number] == pytest.approx(list(ends), abs=1e-6)


def test_a_suspect_cell_is_marked_in_text_and_said_in_the_verdict(
    findings: Findings, text: str
) -> None:
    suspect = [row for row in findings.rows if row.suspicion]
    marked = [field for field in Tags(text).fields.values() if "†" in field]
    assert len(suspect) == 1
    assert suspect[0].correct is not None
    assert marked == [f"{suspect[0].correct.mean():.3f}† suspect"]
    assert "† suspect: a check failed" in text
    verdict = opening(findings, {}).verdict[0]
    assert (verdict.value, verdict.tone) == (f"1 of {len(findings.rows)}", "bad")


def test_a_suspect_cell_is_never_in_the_best_group(findings: Findings) -> None:
    matrix = opening(findings, {}).matrix
    shown = [cell for line in matrix.lines for cell in line.cells if cell is not None]
    assert any(cell.best for cell in shown)
    assert not any(cell.best and cell.suspect for cell in shown)
    clean = next(c.place for c in matrix.columns if c.clean)
    best = [line.model for line in matrix.lines if (c := line.cells[clean]) and c.best]
    assert best == ["tiny"]


def test_the_sentence_and_the_verdict_say_what_was_run_and_which_model_is_best(
    findings: Findings,
) -> None:
    first = opening(findings, {})
    assert first.sentence.startswith("3 models (other, third, tiny) with recipe ")
    assert "on sample (300 volumes), measured under 2 attacks and 1 artefact: " in first.sentence
    assert first.sentence.endswith("none failed.")
    worst = next(finding for finding in first.verdict if "artefact" in finding.label)
    assert worst.value == "tiny"
    assert "is told apart from the next, other" in worst.text
    assert "1 model left out" in worst.text


def test_headings_descend_one_by_one_and_headers_have_a_scope(text: str) -> None:
    tags = Tags(text[: text.index("<dialog")]).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    assert dict(tags)["html"] == {"lang": "en"}
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_control_has_a_name(text: str) -> None:
    tags = Tags(text).tags
    form = text[text.index('<form class="tools"') : text.index("</form>")]
    labelled = re.sub(r"<label.*?</label>", "", form, flags=re.DOTALL)
    assert "<select" not in labelled
    assert "<input" not in labelled
    buttons = [attributes for tag, attributes in tags if tag == "button"]
    assert all("aria-label" in a or a.get("type") == "reset" for a in buttons)


def test_names_from_outside_end_no_element(tmp_path: Path) -> None:
    cells = [
        Made(model=HOSTILE, n=8),
        Made(model=HOSTILE, n=8, perturbation="pgd", severity=0.5, error=HOSTILE),
    ]
    text = written(collect(store_of(tmp_path / "store", cells).directory))
    assert "</script><b>" not in text
    loaded = data(text)
    assert loaded["lines"][0]["model"] == HOSTILE
    assert HOSTILE in loaded["cells"][1]["error"]


def test_script_json_is_json_without_what_html_reads() -> None:
    value = {"a": HOSTILE + "<!--\u2028", "b": [float("nan"), None, 1.5], "c": "\x1b"}
    text = script_json(value)
    assert not set("<>&") & set(text)
    assert json.loads(text)["b"] == [None, None, 1.5]
    assert json.loads(text)["a"].startswith(HOSTILE)
    assert "\x1b" not in json.loads(text)["c"]


def test_certificates_are_in_words_and_shared_texts_are_kept_once(
    findings: Findings, text: str
) -> None:
    loaded = data(text)
    cell = next(cell for cell in loaded["cells"] if "suspect" in cell)
    checks = loaded["shared"][cell["certificate"]]
    assert ["gradient is not zero", "failed", "gradients vanish"] in checks
    shared = [json.dumps(value) for value in loaded["shared"]]
    assert len(shared) == len(set(shared)) < len(findings.rows) * 4


def test_names_are_readable(make_store: Callable[..., Path]) -> None:
    assert names.perturbation("bias_field") == "Bias field"
    assert names.perturbation("pgd (steps=20)") == "PGD (steps=20)"
    assert names.perturbation("clean") == "Clean"
    attack = Made(perturbation="pgd", severity=8 / 255).cell().perturbation
    assert names.severity(attack, "8/255") == "ε = 8/255"
    assert names.severity(replace(attack, name="voxel_flip", severity=12), "12") == "12 voxels"
    assert names.family("attack", "linf") == "L∞ attacks"
    assert names.family("none", "clean") == "Clean"


def shade(css: str, part: str) -> dict[str, str]:
    return dict(re.findall(rf"--({part}\d): (#[0-9a-f]{{3,6}})", css))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * sign for sign in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_numbers_are_legible_on_every_colour_of_both_schemes(text: str) -> None:
    """WCAG's 4.5:1."""
    blocks = [block for block in re.findall(r":root \{.*?\}", text, re.DOTALL) if "--h0" in block]
    assert len(blocks) == 3
    for block in blocks:
        grounds, inks = shade(block, "h"), shade(block, "i")
        assert len(grounds) == len(inks) == 9
        for place in range(9):
            pair = sorted(luminance(c) for c in (grounds[f"h{place}"], inks[f"i{place}"]))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (block[:60], place)
