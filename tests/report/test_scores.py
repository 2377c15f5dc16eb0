from dataclasses import replace

import numpy as np
import pytest

from benchharness import statistics
from benchharness.report.collect import collect
from benchharness.report.scoring import conditions, scores, subjects
from tests.factories import Made

T, F = True, False
CLEAN = Made(n=6, correct=[T, T, T, T, T, F])
FGSM = replace(CLEAN, perturbation="fgsm")
PGD = replace(CLEAN, perturbation="pgd")
SWEEP = (
    CLEAN,
    # Volume 5, wrong when clean, and volume 0, broken at 2/255, come back at 8/255 by accident.
    replace(FGSM, severity=2 / 255, correct=[F, T, T, T, T, F]),
    replace(FGSM, severity=8 / 255, correct=[T, F, T, T, T, T]),
    replace(PGD, severity=2 / 255, correct=[T, T, F, T, T, F]),
    replace(PGD, severity=8 / 255, correct=[T, T, F, F, T, F]),
)


def subject(findings, model="resnet3d_18"):
    return subjects.together(findings, "adrenalmnist3d", model)


def test_envelope_and_worst_case_by_hand(make_store):
    findings = collect(make_store(*SWEEP))
    wanted = conditions.conditions(findings, "adrenalmnist3d", "linf")
    fgsm = conditions.by_perturbation(wanted)["fgsm"]

    def worst(own, steps):
        return scores.worst_case(findings, subject(findings), own, steps / 255)

    assert worst(fgsm, 2).value == pytest.approx(4 / 6)
    assert worst(fgsm, 8).value == pytest.approx(3 / 6)
    assert worst(wanted, 2).value == pytest.approx(3 / 6)
    assert worst(wanted, 8).value == pytest.approx(1 / 6)
    wilson = statistics.wilson(1, 6)
    assert (worst(wanted, 8).low, worst(wanted, 8).high) == (wilson.low, wilson.high)


def test_worst_case_needs_every_attack(make_store):
    other = [replace(made, model="medvit3d_n") for made in SWEEP[:-1]]
    findings = collect(make_store(*SWEEP, *other))
    wanted = conditions.conditions(findings, "adrenalmnist3d", "linf")
    lacking = subject(findings, "medvit3d_n")
    assert scores.worst_case(findings, lacking, wanted, 2 / 255).value is not None
    gap = scores.worst_case(findings, lacking, wanted, 8 / 255)
    assert gap.value is None
    assert gap.gap == "pgd 8/255 not run"


def test_mean_is_over_cells_and_gaps_name_what_failed(make_store):
    levels = [Made(perturbation="motion", severity=level, correct=0.7) for level in range(1, 6)]
    broken = replace(levels[4], perturbation="ghosting", error="the volume became constant")
    findings = collect(make_store(Made(), *levels, broken))
    groups = conditions.by_perturbation(conditions.conditions(findings, "adrenalmnist3d", "mr"))
    mean = scores.mean(findings, subject(findings), groups["motion"], "accuracy")
    points = [findings.cell_scores.single(row, "accuracy").value for row in findings.rows[1:6]]
    assert mean.value == pytest.approx(np.mean(points))
    assert mean.low < mean.value < mean.high
    family = scores.family_mean(findings, subject(findings), "mr", "accuracy")
    assert family.gap == "ghosting level 5 failed"


def test_seeds_are_averaged_and_never_pooled(make_store):
    shares = (0.2, 0.5, 0.9)
    seeds = [Made(seed=seed, correct=share) for seed, share in enumerate(shares)]
    findings = collect(make_store(*seeds))
    mean, *each = subjects.subjects(findings, "adrenalmnist3d")
    assert mean.label == "resnet3d_18 (3 seeds)"
    assert [one.label for one in each] == [f"resnet3d_18, seed {seed}" for seed in range(3)]
    values = [scores.single(findings, one, "clean", "accuracy").value for one in each]
    found = scores.single(findings, mean, "clean", "accuracy")
    assert found.value == pytest.approx(np.mean(values))
    # Three seeds so far apart leave next to nothing certain; pooled, 180 volumes would.
    assert found.high - found.low > 0.8


def test_means_and_worst_cases_over_three_seeds_have_an_interval(make_store):
    cells = [
        replace(made, seed=seed, weights=str(seed), n=40, correct=share - 0.1 * (made != CLEAN))
        for made in (CLEAN, replace(PGD, severity=2 / 255), replace(FGSM, severity=2 / 255))
        for seed, share in enumerate((0.6, 0.65, 0.7))
    ]
    findings = collect(make_store(*cells))
    wanted = conditions.conditions(findings, "adrenalmnist3d", "linf")
    mean = scores.mean(findings, subject(findings), wanted, "accuracy")
    worst = scores.worst_case(findings, subject(findings), wanted, 8 / 255)
    for found in (mean, worst):
        assert found.low < found.value < found.high
        assert found.method == "seeds × volumes, t with 2 degrees of freedom"
    left = [
        np.logical_and.reduce([row.correct for row in findings.rows if row.seed == seed])
        for seed in range(3)
    ]
    assert worst.value == pytest.approx(np.mean(left))
    runs = [(np.zeros(40, int), np.stack([own, ~own], axis=1).astype(float)) for own in left]
    expected = statistics.over_seeds("accuracy", runs).interval
    assert (worst.low, worst.high) == pytest.approx((expected.low, expected.high))


def test_two_seeds_have_a_mean_without_an_interval(make_store):
    findings = collect(make_store(Made(seed=0), Made(seed=1)))
    mean, *_ = subjects.subjects(findings, "adrenalmnist3d")
    found = scores.single(findings, mean, "clean", "accuracy")
    assert found.value is not None
    assert (found.low, found.high) == (None, None)


def test_average_over_datasets_takes_the_whole_set_and_shows_gaps(make_store):
    findings = collect(
        make_store(
            Made(n=20, of=60, correct=0.1),
            Made(n=60, correct=0.9),
            Made(dataset="vesselmnist3d", correct=0.5),
            Made(dataset="vesselmnist3d", model="medvit3d_n"),
        )
    )
    assert scores.averaged(findings) == ("adrenalmnist3d", "vesselmnist3d")
    points = [findings.cell_scores.single(row, "accuracy").value for row in findings.rows[1:3]]
    found = scores.over_datasets(findings, "resnet3d_18", "clean", "accuracy")
    assert found.value == pytest.approx(np.mean(points))
    gap = scores.over_datasets(findings, "medvit3d_n", "clean", "accuracy")
    assert gap.gap == "adrenalmnist3d: not run"
