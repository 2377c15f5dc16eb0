"""What BASE has and NEW lacks fails, whichever way it was lost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from benchharness.comparison import Settings, StoreComparison, render, words
from tests.factories import Made, small_matrix, tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    Compare = Callable[..., StoreComparison]


def without(*names: str | None) -> list[Made]:
    return [made for made in small_matrix() if made.perturbation not in names]


def both_models() -> list[Made]:
    return [*small_matrix(), *small_matrix(model="second", weights="c")]


LOST = {
    "attacks": (small_matrix(), without("fgsm", "pgd"), ["L∞ attacks"]),
    "artefacts": (small_matrix(), without("motion"), ["MR artefacts"]),
    "clean": (small_matrix(), without(None), ["clean"]),
    "all but clean": (small_matrix(), [tiny()], ["L∞ attacks", "MR artefacts"]),
    "a model": (both_models(), small_matrix(), ["clean", "L∞ attacks", "MR artefacts"]),
    "a dataset": (
        [*small_matrix(), *small_matrix(dataset="second", digest="md5:second")],
        small_matrix(),
        ["clean", "L∞ attacks", "MR artefacts"],
    ),
    "cells that failed": (
        small_matrix(),
        [
            replace(m, error="it fell" if m.perturbation == "motion" else None)
            for m in small_matrix()
        ],
        ["MR artefacts"],
    ),
    "attacks in place of which a control was run": (
        small_matrix(),
        [*without("fgsm", "pgd"), tiny(perturbation="noise_sign", severity=2 / 255, access="none")],
        ["L∞ attacks"],
    ),
}


@pytest.mark.parametrize("case", LOST)
def test_what_new_lacks_fails_by_default_and_is_named(against: Compare, case: str) -> None:
    base, new, families = LOST[case]
    result = against(base, new)
    assert [endpoint.family for endpoint in result.lost] == families
    assert (result.verdict, result.exit_code) == ("indistinguishable", 1)
    markdown = render.markdown(result)
    plural = "" if len(families) == 1 else "s"
    assert markdown.startswith(
        f"### Robustness: failed, NEW lacks {len(families)} endpoint{plural} of BASE\n"
    )
    assert "--allow-missing" in render.headline(result)
    assert families[0] in render.headline(result)
    suite = ET.fromstring(render.junit(result)).find("testsuite")
    assert suite is not None
    assert int(suite.attrib["failures"]) == len(families)


@pytest.mark.parametrize("case", LOST)
def test_it_passes_for_those_who_mean_it(against: Compare, case: str) -> None:
    base, new, families = LOST[case]
    result = against(base, new, allow_missing=True)
    assert (result.lost, result.exit_code) == ((), 0)
    assert sum(e.verdict == "not comparable" for e in result.endpoints) == len(families)
    suite = ET.fromstring(render.junit(result)).find("testsuite")
    assert suite is not None
    assert (suite.attrib["failures"], suite.attrib["skipped"]) == ("0", str(len(families)))


def test_a_part_of_a_family_fails_only_strictly(against: Compare) -> None:
    result = against(small_matrix(), without("pgd"))
    assert (result.lost, result.exit_code) == ((), 0)
    assert replace(result, settings=Settings(strict=True)).exit_code == 1


def test_what_base_has_no_number_of_cannot_be_lost(against: Compare) -> None:
    failed = [
        replace(m, error="it fell" if m.perturbation == "motion" else None) for m in small_matrix()
    ]
    control = tiny(perturbation="noise_sign", severity=2 / 255, access="none")
    result = against([*failed, control], without("motion"))
    assert (result.lost, result.exit_code) == ((), 0)


def test_a_regression_and_a_refusal_keep_their_exit_codes(against: Compare) -> None:
    worse = [tiny(correct=0.3, weights="b")]
    assert against(small_matrix(), worse).exit_code == 1
    assert against(small_matrix(), [tiny(digest="md5:other")]).exit_code == 2


def test_many_cells_that_lack_alike_are_counted_and_a_few_are_named(against: Compare) -> None:
    motion = [tiny(perturbation="motion", severity=level) for level in (1, 2, 3, 4, 5)]
    attacked = [tiny(perturbation="pgd", severity=steps / 255) for steps in (2, 8)]
    result = against([tiny(), *motion, *attacked], [tiny()])
    (lines,) = (words.gap_lines(gaps) for _, gaps in words.by_kind(result))
    (line,) = lines
    place = "tiny · sample · "
    assert line.startswith(place)
    assert set(line.removeprefix(place).removesuffix(": not in NEW").split(", ")) == {
        "pgd 2/255",
        "pgd 8/255",
        "5 cells of MR artefacts",
    }
    of_motion = next(e for e in result.endpoints if e.family == "MR artefacts")
    assert of_motion.reason == "motion level 1 and 4 more: not in NEW"
    gaps = json.loads(render.as_json(result))["gaps"]
    assert [gap["place"]["condition"] for gap in gaps].count("motion level 4") == 1
