from dataclasses import replace

from benchharness.report.collect import collect
from benchharness.report.tables.ranking import groups, ranking
from tests.factories import Made

RECIPES = ("adv_pgd", "quick")
CLEAR = Made(n=64, severity=4 / 255, noise=0.2)

GOOD = Made(model="good", n=100, correct=0.95)
ALIKE = Made(model="alike", n=100, correct=0.93)
POOR = Made(model="poor", n=100, correct=0.4)


def levels(made: Made, **changes) -> list[Made]:
    attacked = replace(made, perturbation="motion", **changes)
    return [replace(attacked, severity=level) for level in (1, 2)]


def test_only_what_differs_is_ranked_apart(make_store):
    cells = [cell for made in (GOOD, ALIKE, POOR) for cell in (made, *levels(made))]
    findings = collect(make_store(*cells))
    expected = {"good": 1, "alike": 1, "poor": 2}
    assert groups(findings, "adrenalmnist3d", "clean") == expected
    assert groups(findings, "adrenalmnist3d", "mr") == expected


def test_suspect_and_incomplete_models_are_not_ranked(make_store):
    findings = collect(
        make_store(
            *(GOOD, *levels(GOOD, failed_check="gradients vanish")),
            *(ALIKE, *levels(ALIKE)),
            *(POOR, *levels(POOR)[:1]),
        )
    )
    assert groups(findings, "adrenalmnist3d", "mr") == {"alike": 1}
    rows = [[entry.text for entry in row] for row in ranking(findings, "adrenalmnist3d").rows]
    assert rows == [["alike", "1", "1"], ["good", "1", "–"], ["poor", "2", "–"]]


def test_seeds_are_ranked_one_by_one(make_store):
    findings = collect(make_store(GOOD, replace(GOOD, seed=1, correct=0.3)))
    assert groups(findings, "adrenalmnist3d", "clean") == {"good, seed 0": 1, "good, seed 1": 2}


def test_many_rows_are_told_apart_where_the_volumes_do(make_store):
    cells = [
        replace(CLEAR, seed=seed, weights=f"{recipe}{seed}", recipe=recipe, correct=right, **attack)
        for recipe, right in (("quick", 0.05), ("adv_pgd", 0.8))
        for seed in range(9)
        for attack in ({"perturbation": "fgsm"}, {"perturbation": "pgd"})
    ]
    found = groups(collect(make_store(*cells)), "adrenalmnist3d", "linf")
    ranks = {recipe: {g for name, g in found.items() if recipe in name} for recipe in RECIPES}
    assert len(found) == 18
    assert ranks["adv_pgd"] == {1}
    assert ranks["quick"] == {2}
