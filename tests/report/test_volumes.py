"""Volumes that perturbations broke: which are chosen, what fits, what a page refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness import report
from benchharness.errors import BenchError
from benchharness.explanation import strips
from benchharness.report.collect import collect
from benchharness.report.page import opening, volumes
from benchharness.store import volumes as stored
from benchharness.store.volumes import Drawn, Pictures
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchharness.report.cells.findings import Findings

PICTURE = strips.data_uri(np.arange(400, dtype=np.uint8).reshape(20, 20))


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    right = [True] * 20
    cells = [
        Made(n=20, of=20, correct=right),
        Made(n=20, of=20, perturbation="pgd", severity=2 / 255, correct=[False] * 5 + right[5:]),
        Made(n=20, of=20, perturbation="pgd", severity=8 / 255, correct=[False] * 20),
        Made(n=20, of=20, perturbation="motion", severity=3, correct=right),
        Made(n=20, of=20, perturbation="motion", severity=5, correct=[False, *right[1:]]),
    ]
    return collect(store_of(tmp_path / "store", cells).directory)


def draw(directory: Path, wanted: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    for identity, ids in wanted.items():
        drawn = [
            Drawn(
                volume=name,
                label="cyst",
                answer="ring",
                clean=PICTURE,
                perturbed=PICTURE,
                difference=strips.data_uri(np.full((20, 20), number, np.uint8)),
                peak=0.03,
            )
            for number, name in enumerate(ids)
        ]
        stored.write(directory, Pictures(identity=identity, asked=ids, drawn=tuple(drawn)))
    return ()


def chosen(findings: Findings, most: int) -> dict[str, int]:
    found = volumes.wanted(findings, most)
    rows = {row.record.identity: row.condition for row in findings.rows}
    return {rows[identity]: len(ids) for identity, ids in found.items()}


def test_cells_of_a_family_take_turns_and_the_strongest_begins(findings: Findings) -> None:
    assert chosen(findings, 1) == {"pgd 8/255": 1, "motion level 5": 1}
    assert chosen(findings, 3) == {"pgd 8/255": 2, "pgd 2/255": 1, "motion level 5": 1}
    assert chosen(findings, 100) == {"pgd 8/255": 20, "pgd 2/255": 5, "motion level 5": 1}
    assert chosen(findings, 0) == {}


def test_only_volumes_that_were_right_when_clean_are_broken(findings: Findings) -> None:
    row = next(row for row in findings.rows if row.condition == "pgd 2/255")
    found = volumes.broke(findings, row)
    assert found is not None
    assert sorted(found.ids) == [f"adrenalmnist3d/test/{n}" for n in range(5)]
    margins = [found.margins[name][0] for name in found.ids]
    assert margins == sorted(margins)
    assert max(margins) < 0 < min(before for _, before in found.margins.values())


def test_what_the_store_holds_is_drawn_once(findings: Findings) -> None:
    wanted = volumes.wanted(findings, 12)
    assert volumes.missing(findings, wanted) == wanted
    draw(findings.directory, wanted)
    assert volumes.missing(findings, wanted) == {}


def test_the_budget_leaves_volumes_out_and_says_so(findings: Findings) -> None:
    wanted = volumes.wanted(findings, 12)
    draw(findings.directory, wanted)
    show = opening(findings, wanted).volumes
    everything = show(10**6)
    shown = sum(map(len, everything["cells"].values()))
    assert (shown, everything["note"]) == (sum(map(len, wanted.values())), "")
    assert everything["images"].count(PICTURE) == 1
    room = len(json.dumps(everything)) // 2
    part = show(room)
    assert 0 < sum(map(len, part["cells"].values())) < shown
    assert "left out: the page stays under 5 MB" in part["note"]
    assert len(json.dumps(part)) < room + 1000
    assert show(-1)["cells"] == {}


def test_a_report_draws_what_it_lacks_and_none_when_none_is_asked(
    findings: Findings, undrawn: None
) -> None:
    asked = []

    def drawing(directory: Path, wanted: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        asked.append(wanted)
        return draw(directory, wanted)

    none = report.write(findings.directory, choice=report.Choice(volumes=0), draw=drawing)
    assert asked == []
    assert PICTURE not in none.html.read_text(encoding="utf-8")
    some = report.write(findings.directory, choice=report.Choice(volumes=2), draw=drawing)
    assert [sum(map(len, one.values())) for one in asked] == [3]
    assert some.html.read_text(encoding="utf-8").count(PICTURE) == 1


def test_pictures_that_a_page_would_load_are_refused(findings: Findings) -> None:
    wanted = volumes.wanted(findings, 1)
    draw(findings.directory, wanted)
    identity = next(iter(wanted))
    path = findings.directory / stored.FOLDER / f"{identity}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["drawn"][0]["clean"] = "https://example.org/x.png"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BenchError, match=r"a picture of .* is none"):
        stored.read(findings.directory, identity)


def test_a_difference_is_grey_where_nothing_changed_and_scaled_to_its_peak() -> None:
    clean = strips.strip(np.full((1, 9, 8, 7), 0.5))
    assert clean.shape == (9, 7 + 2 + 7 + 2 + 8)
    volume = np.full((1, 9, 8, 7), 0.5)
    volume[0, 4, 4, 3] += 0.02
    picture, peak = strips.difference(clean, strips.strip(volume))
    assert peak == pytest.approx(0.02)
    shown = picture[~np.isnan(clean)]
    assert set(shown.tolist()) == {128, 255}
    assert (shown == 255).sum() == 3


def test_a_flat_volume_has_one_slice() -> None:
    assert strips.strip(np.zeros((3, 1, 28, 28))).shape == (28, 28)
