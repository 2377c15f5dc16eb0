"""Where patients are known, every interval of a report and a comparison resamples them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness import statistics
from benchharness.comparison import Settings, compare, render
from benchharness.comparison.contributions import METRICS
from benchharness.explanation import measures
from benchharness.report.cells.score import Score
from benchharness.report.collect import collect
from benchharness.report.formats.frame import frame
from benchharness.report.joining import join
from benchharness.report.leaderboard import leaderboard
from benchharness.report.scoring import clinical
from benchharness.report.sections import sections
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchharness.store.folder import Store


def cells(patients: int | None = 8, classes: int = 2, seeds: int = 1) -> list[Made]:
    """Two models, clean, attacked and corrupted; eight volumes a patient, in every class."""
    made = []
    for model, share in (("medvit3d_n", 0.8), ("resnet3d_18", 0.7)):
        for seed in range(seeds):
            clean = Made(
                model=model,
                seed=seed,
                weights=f"{model} {seed}",
                correct=share,
                noise=0.1,
                n=96,
                classes=classes,
                labels=np.arange(96) // 8 % classes if classes == 3 else np.arange(96) % 2,
                patients=patients,
                thresholds=[0.3] * classes,
            )
            made.append(clean)
            made += [
                replace(clean, perturbation="fgsm", severity=steps / 255, correct=share - 0.1)
                for steps in (2, 8)
            ]
            made += [
                replace(clean, perturbation="motion", severity=level, correct=share - 0.05)
                for level in (1, 5)
            ]
            made.append(replace(clean, perturbation="noise_sign", severity=8 / 255, access="none"))
    return made


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("classes", "seeds"), [(2, 1), (3, 1), (2, 3)])
def test_every_interval_of_a_report_names_patients(
    tmp_path: Path, classes: int, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Score] = []
    real = Score.__init__

    def noted(self: Score, **given: Any) -> None:
        real(self, **given)
        made.append(self)

    monkeypatch.setattr(Score, "__init__", noted)
    findings = collect(store_of(tmp_path / "store", cells(classes=classes, seeds=seeds)).directory)
    texts = [section.text for section in sections(findings)]
    assert any("resamples 12 patients with all their volumes" in text for text in texts)
    frame(findings)
    leaderboard(join([findings.directory]))
    intervals = [score for score in made if score.low is not None]
    assert len(intervals) > 50
    assert {score.method for score in intervals if "patients" not in score.method} == set()


def intervals(found: object, path: str = "") -> Iterator[tuple[str, statistics.Interval]]:
    """Every interval inside a dataclass or a sequence, however deep."""
    if isinstance(found, statistics.Interval):
        yield path, found
    elif isinstance(found, tuple | list):
        for part in found:
            yield from intervals(part, path)
    elif is_dataclass(found) and not isinstance(found, type):
        for one in fields(found):
            yield from intervals(getattr(found, one.name), f"{path}.{one.name}")


def compared(tmp_path: Path, base: list[Made], new: list[Made], **settings: Any) -> Any:
    sources: list[Store] = [
        store_of(tmp_path / name, made) for name, made in (("base", base), ("new", new))
    ]
    return compare(*sources, Settings(**settings))


@pytest.mark.parametrize(("classes", "seeds"), [(2, 1), (3, 1), (2, 3)])
def test_every_interval_of_a_comparison_names_patients(
    tmp_path: Path, classes: int, seeds: int
) -> None:
    made = cells(classes=classes, seeds=seeds)
    other = [replace(one, weights=f"new {one.weights}", noise=0.4) for one in made]
    result = compared(tmp_path, made, other, metrics=tuple(METRICS))
    found = list(intervals(result))
    assert {path for path, _ in found} == {
        ".endpoints.judgement.interval",
        ".cells.accuracy.interval",
        ".cells.auc.interval",
    }
    assert {one.method for _, one in found if "patients" not in one.method} == set()
    assert "over patients with all their volumes" in render.markdown(result)
    assert all(e.judgement.unit == "patients" for e in result.endpoints)


def test_a_comparison_without_patients_says_that_volumes_were_resampled(tmp_path: Path) -> None:
    result = compared(tmp_path, cells(None), cells(None))
    assert "bootstrap over volumes" in render.markdown(result)
    assert "patients" not in render.markdown(result)


@pytest.mark.parametrize("who_knows", ["BASE", "NEW"])
def test_one_side_that_knows_the_patients_is_enough(tmp_path: Path, who_knows: str) -> None:
    both = [cells(8 if who_knows == side else None) for side in ("BASE", "NEW")]
    result = compared(tmp_path, *both)
    assert all("patients" in one.method for _, one in intervals(result))


def test_sides_that_disagree_on_the_patients_are_refused(tmp_path: Path) -> None:
    result = compared(tmp_path, cells(8), cells(4))
    assert {gap.reason for gap in result.gaps} == {"patients of the same volumes differ"}
    assert result.exit_code == 2


def test_five_patients_of_eight_volumes_a_class_are_not_forty_volumes(tmp_path: Path) -> None:
    """Ten patients, five a class, all of whose volumes are right or wrong together."""
    right = np.repeat([True] * 4 + [False] + [True] * 5, 8)
    labels = np.repeat([0] * 5 + [1] * 5, 8)
    made = Made(n=80, labels=labels, correct=right.tolist(), patients=8, thresholds=[0.5, 0.5])
    findings = collect(store_of(tmp_path / "store", [made]).directory)
    (row,) = findings.rows
    (found,) = clinical.by_class(findings, row)
    five = statistics.wilson(5, 5)
    assert (found.sensitivity.value, found.specificity.value) == (1.0, 0.8)
    assert found.sensitivity.low == pytest.approx(five.low)
    assert found.specificity.low is not None
    assert found.specificity.low < 0.3
    confident = statistics.confident_and_wrong(labels, row.predictions.logits, 0.5)  # type: ignore[union-attr]
    known = statistics.confident_and_wrong(
        labels,
        row.predictions.logits,  # type: ignore[union-attr]
        0.5,
        patients=row.predictions.patients,  # type: ignore[union-attr]
    )
    assert known.value == confident.value == 0.1
    assert known.interval.high - known.interval.low > 2 * (
        confident.interval.high - confident.interval.low
    )


def test_heat_maps_are_measured_over_patients() -> None:
    patients = np.repeat([f"p{number}" for number in range(6)], 5)
    hits = np.repeat([True, True, False, True, False, True], 5)
    values = np.where(hits, 0.7, 0.2)
    values[3] = np.nan
    for measure, of in ((measures.share, hits), (measures.mean, values)):
        over, alone = measure(of, patients), measure(of)
        assert over.value == alone.value
        assert "6 patients" in over.method
        assert over.high - over.low > 1.5 * (alone.high - alone.low)  # type: ignore[operator]
    one = measures.mean(values, np.repeat(["p"], 30))
    assert (one.low, one.method) == (None, "too few patients")
