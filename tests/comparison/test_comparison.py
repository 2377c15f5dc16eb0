"""What a comparison pairs, refuses and decides."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from rich.console import Console

from benchharness import statistics
from benchharness.comparison import Settings, StoreComparison, compare, render
from benchharness.errors import BenchError
from benchharness.statistics import metrics
from benchharness.store import carried
from tests.factories import Made, small_matrix, store_of, tiny

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Compare = Callable[..., StoreComparison]


def comparing(tmp_path: Path) -> Compare:
    """Compare two lists of cells, written to stores in this folder."""

    def held(
        base: Sequence[Made],
        new: Sequence[Made],
        suspicions: dict[str, tuple[str, ...]] | None = None,
        **settings: Any,
    ) -> StoreComparison:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        sources = (store_of(folder / "base", base), store_of(folder / "new", new))
        return compare(*sources, Settings(**settings), suspicions=suspicions)

    return held


@pytest.fixture
def against(tmp_path: Path) -> Compare:
    return comparing(tmp_path)


def swap(cells: list[Made], name: str, **changes: Any) -> list[Made]:
    return [replace(one, **changes) if one.perturbation == name else one for one in cells]


def gaps(result: StoreComparison) -> dict[str, tuple[str, str]]:
    return {gap.place.condition: (gap.kind, gap.reason) for gap in result.gaps}


# Verdicts.


def test_the_same_checkpoint_is_indistinguishable_from_itself(against: Compare) -> None:
    result = against(small_matrix(), small_matrix())
    assert (result.verdict, result.exit_code, result.gaps) == ("indistinguishable", 0, ())
    families = [(e.family, e.cells, e.of, e.n) for e in result.endpoints]
    assert families == [
        ("clean", 1, 1, 300),
        ("L∞ attacks", 4, 4, 300),
        ("MR artefacts", 3, 3, 300),
    ]
    for endpoint in result.endpoints:
        assert endpoint.judgement is not None
        assert endpoint.judgement.difference == 0
        assert 0.02 < endpoint.judgement.detectable < 0.05
        assert endpoint.complete == pytest.approx(endpoint.judgement.detectable)
    assert all((cell.lost, cell.won) == (0, 0) for cell in result.cells)


def test_seed_weights_and_recipe_are_what_is_compared(against: Compare) -> None:
    result = against(small_matrix(), small_matrix(seed=7, weights="b", recipe="other", noise=0.1))
    assert result.exit_code == 0
    assert len(result.cells) == 8
    assert result.notes == (
        "tiny on sample: the models differ in recipe (quick → other).",
        "tiny on sample: training seeds 0 in BASE, 7 in NEW.",
    )


def test_a_family_that_fell_is_worse_and_the_rest_is_not(against: Compare) -> None:
    fallen = [
        replace(one, correct=one.correct - 0.2 * (one.perturbation == "motion"))
        for one in small_matrix(weights="b", noise=0.02)
    ]
    result = against(small_matrix(), fallen)
    verdicts = {endpoint.family: endpoint.verdict for endpoint in result.endpoints}
    assert verdicts == {
        "clean": "indistinguishable",
        "L∞ attacks": "indistinguishable",
        "MR artefacts": "worse",
    }
    assert (result.verdict, result.exit_code) == ("worse", 1)


def test_better_is_no_failure(against: Compare) -> None:
    result = against(small_matrix(correct=0.6), small_matrix(correct=0.8, weights="b"))
    assert {endpoint.verdict for endpoint in result.endpoints} == {"better"}
    assert (result.verdict, result.exit_code) == ("better", 0)


@pytest.mark.parametrize(("tolerance", "verdict"), [(0.0, "worse"), (0.15, "indistinguishable")])
def test_only_what_lies_wholly_beyond_the_tolerance_fails(
    against: Compare, tolerance: float, verdict: str
) -> None:
    result = against([tiny()], [tiny(correct=0.6, weights="b")], tolerance=tolerance)
    endpoint = result.endpoints[0]
    assert endpoint.judgement is not None
    interval = endpoint.judgement.interval
    assert interval.high < 0
    assert (interval.high < -tolerance) == (verdict == "worse")
    assert endpoint.verdict == verdict


# Pairing.


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "version 1 → 2"),
        ({"parameters": {"steps": 20}}, "steps 10 → 20"),
        ({"parameters": {"steps": 10, "restarts": 2}}, "restarts absent → 2"),
        ({"digest": "md5:other"}, "dataset digest md5:data → md5:other"),
        ({"digest": "md5:other", "version": 3}, "dataset digest md5:data → md5:other, version"),
    ],
)
def test_another_measurement_is_refused_and_says_what_differs(
    against: Compare, changes: dict[str, Any], reason: str
) -> None:
    result = against(small_matrix(), swap(small_matrix(weights="b"), "motion", **changes))
    found = gaps(result)
    assert set(found) == {"motion level 1", "motion level 3", "motion level 5"}
    assert all(kind == "refused" and text.startswith(reason) for kind, text in found.values())
    assert result.endpoints[-1].verdict == "not comparable"
    assert reason in result.endpoints[-1].reason
    assert (result.verdict, result.exit_code) == ("not comparable", 2)


def test_of_several_ways_to_measure_the_nearest_are_held_against_each_other(
    against: Compare,
) -> None:
    cell = tiny(perturbation="pgd", severity=0.1)
    far = replace(cell, version=2, parameters={"steps": 50})
    near, alike = replace(cell, parameters={"steps": 20}), replace(far, digest="md5:other")
    result = against([cell, far], [alike, near])
    assert sorted(gap.reason for gap in result.gaps) == [
        "dataset digest md5:data → md5:other",
        "steps 10 → 20",
    ]


def test_a_regression_counts_even_where_other_cells_are_refused(against: Compare) -> None:
    result = against(
        small_matrix(), swap(small_matrix(correct=0.4, weights="b"), "motion", version=2)
    )
    assert (result.verdict, result.exit_code) == ("worse", 1)


def test_a_subset_is_compared_on_the_common_volumes(against: Compare) -> None:
    result = against(small_matrix(), small_matrix(n=60, first=30))
    assert {(e.n, e.total) for e in result.endpoints} == {(60, 300)}
    assert result.exit_code == 0
    for endpoint in result.endpoints:
        assert endpoint.judgement is not None
        assert endpoint.complete is not None
        assert endpoint.complete < endpoint.judgement.detectable
    whole = tiny().predictions()
    right = metrics.correct(whole.labels, whole.logits)[30:90]
    assert result.endpoints[0].base == pytest.approx(right.mean())


def test_two_sets_of_volumes_in_one_store_are_two_endpoints(against: Compare) -> None:
    base = [tiny(), tiny(n=100), tiny(perturbation="pgd", severity=0.1)]
    new = [tiny(weights="b", noise=0.02), tiny(n=100, weights="b", correct=0.3)]
    result = against(base, new)
    assert [(e.name, e.n, e.cells, e.of, e.verdict) for e in result.endpoints] == [
        ("tiny · sample (300 of 300) · clean", 300, 1, 1, "indistinguishable"),
        ("tiny · sample (100 of 300) · clean", 100, 1, 1, "worse"),
        ("tiny · sample · L∞ attacks", 0, 0, 1, "not comparable"),
    ]
    assert result.exit_code == 1


def test_volumes_that_overlap_in_part_are_refused(against: Compare) -> None:
    result = against([tiny(n=100)], [tiny(n=100, first=40)])
    reason = "volumes: only 60 of 100 and 100 are the same"
    assert gaps(result) == {"clean": ("refused", reason)}


def test_other_classes_are_refused(against: Compare) -> None:
    result = against([tiny()], [tiny(classes=3)])
    assert gaps(result) == {"clean": ("refused", "classes 2 → 3")}


def test_missing_and_failed_cells_are_named_and_fail_only_strictly(against: Compare) -> None:
    new = [one for one in small_matrix() if one.severity != 5]
    new = swap(new, "pgd", error="the network answered NaN")
    result = against(small_matrix(), new)
    assert gaps(result) == {
        "motion level 5": ("missing", "not in NEW"),
        "pgd 2/255": ("missing", "NEW: failed: the network answered NaN"),
        "pgd 8/255": ("missing", "NEW: failed: the network answered NaN"),
    }
    assert [(e.cells, e.of) for e in result.endpoints] == [(1, 1), (2, 4), (2, 3)]
    assert (result.verdict, result.exit_code) == ("indistinguishable", 0)
    assert replace(result, settings=Settings(strict=True)).exit_code == 1


def test_suspect_cells_are_left_out_and_fail_only_strictly(
    against: Compare, tmp_path: Path
) -> None:
    fallen = swap(small_matrix(weights="b"), "pgd", correct=0.0, failed_check="the loss fell")
    identity = tiny(perturbation="fgsm", severity=2 / 255, weights="b")
    extra = store_of(tmp_path / "one", [identity]).records()
    result = against(small_matrix(), fallen, dict.fromkeys(extra, ("another attack beats it",)))
    found = gaps(result)
    assert found["pgd 8/255"] == ("suspect", "NEW: gradient is not zero: the loss fell")
    assert found["fgsm 2/255"] == ("suspect", "NEW: another attack beats it")
    assert (result.verdict, result.exit_code) == ("indistinguishable", 0)
    assert replace(result, settings=Settings(strict=True)).exit_code == 1


def test_cells_that_only_new_has_are_no_fault(against: Compare) -> None:
    result = against(small_matrix()[:5], small_matrix(), strict=True)
    assert {kind for kind, _ in gaps(result).values()} == {"unreferenced"}
    assert result.exit_code == 0
    assert [e.family for e in result.endpoints] == ["clean", "L∞ attacks"]


def test_two_models_of_one_store(against: Compare) -> None:
    cells = [*small_matrix(model="small"), *small_matrix(model="large", correct=0.9, weights="b")]
    result = against(cells, cells, base_model="small", new_model="large")
    assert result.endpoints[0].name == "large against small · sample · clean"
    assert result.verdict == "better"
    assert against(cells, cells).verdict == "indistinguishable"


def test_no_model_in_common_says_how_to_go_on(against: Compare) -> None:
    with pytest.raises(BenchError) as caught:
        against([tiny(model="small")], [tiny(model="large")])
    assert str(caught.value) == (
        "BASE and NEW have no model in common: small against large. To compare two models add "
        "--base-model small --new-model large."
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_model": "huge"}, "BASE has no cells of model 'huge'. It holds models: tiny."),
        (
            {"base_recipe": "adv"},
            "BASE has no cells with recipe 'adv'. It holds models: tiny; recipes: quick.",
        ),
        ({"new_seed": 3}, "NEW has no cells with training seed 3. It holds models: tiny."),
        ({"tolerance": -0.1}, "the tolerance must lie in [0, 1), got -0.1. Try 0.02."),
        ({"alpha": 1.0}, "alpha must lie between 0 and 1, got 1. Try 0.05."),
    ],
)
def test_mistakes_are_one_line(against: Compare, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError) as caught:
        against([tiny()], [tiny()], **settings)
    assert str(caught.value) == message


def test_two_trainings_of_one_name_are_refused(against: Compare) -> None:
    mixed = [tiny(), tiny(recipe="other", weights="b")]
    with pytest.raises(BenchError) as caught:
        against([tiny()], mixed)
    assert str(caught.value) == (
        "NEW holds tiny on sample trained in two ways, with different recipe. Choose one: "
        "--new-recipe quick, or other."
    )


def test_two_recipes_of_one_store_are_paired_by_seed(against: Compare) -> None:
    store = [
        tiny(seed=seed, recipe=recipe, weights=f"{recipe}{seed}", correct=correct)
        for recipe, correct in (("quick", 0.5), ("adv_pgd", 0.9))
        for seed in (0, 1)
    ]
    result = against(store, store, base_recipe="quick", new_recipe="adv_pgd")
    assert result.verdict == "better"
    (cell,) = result.cells
    # The mean over the two seeds of each recipe, and none of the other's.
    for own, correct in ((cell.base, 0.5), (cell.new, 0.9)):
        assert own == pytest.approx(correct, abs=0.05)
    assert "the models differ in recipe (quick → adv_pgd)." in result.notes[0]
    one = against(store, store, base_recipe="quick", new_recipe="adv_pgd", base_seed=1, new_seed=1)
    assert one.cells[0].accuracy.method == "exact McNemar"
    assert against(store, store, base_recipe="adv_pgd", new_recipe="quick").verdict == "worse"


def test_of_a_training_that_was_repeated_the_newest_counts(against: Compare) -> None:
    new = [tiny(weights="b", correct=0.2), tiny(weights="c", correct=0.7)]
    assert against([tiny()], new).verdict == "indistinguishable"


# Training seeds.


def test_seeds_are_averaged_and_one_can_be_chosen(against: Compare) -> None:
    base = [tiny(seed=0, weights="a"), tiny(seed=1, weights="b", correct=0.5)]
    result = against(base, [tiny(seed=5, weights="c")])
    endpoint = result.endpoints[0]
    shares = [metrics.correct(p.labels, p.logits).mean() for p in (m.predictions() for m in base)]
    assert endpoint.base == pytest.approx(np.mean(shares))
    assert result.cells[0].accuracy.method == "paired bootstrap"
    assert "means over 2 and 1 training seeds" in result.notes[-1]
    chosen = against(base, base, base_seed=0, new_seed=1)
    assert chosen.verdict == "worse"
    assert chosen.cells[0].accuracy.method == "exact McNemar"


def test_a_seed_that_lacks_a_cell_leaves_it_out(against: Compare) -> None:
    base = [*small_matrix(), tiny(seed=1, weights="b")]
    result = against(base, base)
    assert gaps(result)["motion level 1"] == (
        "missing",
        "BASE: seed 1 not run; NEW: seed 1 not run",
    )


# The cells below the endpoints.


def test_cells_carry_mcnemar_and_delong_and_holm(against: Compare) -> None:
    base, new = small_matrix(), small_matrix(weights="b", noise=0.3)
    result = against(base, new)
    first, second = (one.predictions() for one in (base[0], new[0]))
    right = [metrics.correct(p.labels, p.logits) for p in (second, first)]
    cell = result.cells[0]
    assert cell.accuracy == statistics.mcnemar_exact(right[0], right[1])
    assert (cell.lost, cell.won) == ((right[1] & ~right[0]).sum(), (right[0] & ~right[1]).sum())
    assert cell.base_auc == pytest.approx(metrics.auc(first.labels, first.logits))
    scores = [metrics.softmax(p.logits)[:, 1] for p in (second, first)]
    assert cell.auc == statistics.delong_paired(first.labels, *scores)
    adjusted = statistics.holm([one.accuracy.p_value for one in result.cells])
    assert tuple(one.p_adjusted for one in result.cells) == adjusted


def test_a_class_without_a_volume_has_no_auc(against: Compare) -> None:
    result = against([tiny(n=1)], [tiny(n=1)])
    assert (result.cells[0].auc, result.cells[0].auc_p_adjusted) == (None, None)


def test_more_classes_are_bootstrapped(against: Compare) -> None:
    cells = [tiny(classes=3, n=60)]
    found = against(cells, cells).cells[0].auc
    assert found is not None
    assert found.difference == 0


# Formats.


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> StoreComparison:
    """Worse, indistinguishable and not comparable endpoints, and every kind of gap."""
    base = [*small_matrix(), *small_matrix(model="b|<x>", weights="c")]
    new = swap(small_matrix(correct=0.5, weights="b"), "motion", version=2)
    new = [*new, *small_matrix(model="b|<x>", weights="c")[:-1]]
    new = [
        replace(one, failed_check="odd & <strange>\x07") if one.perturbation == "fgsm" else one
        for one in new
    ]
    return comparing(tmp_path_factory.mktemp("mixed"))(base, new, strict=True)


def test_json_holds_everything(mixed: StoreComparison) -> None:
    found = json.loads(render.as_json(mixed))
    assert (found["schema"], found["verdict"], found["exit_code"]) == (1, "worse", 1)
    assert [e["verdict"] for e in found["endpoints"]] == [e.verdict for e in mixed.endpoints]
    assert len(found["cells"]) == len(mixed.cells)
    assert len(found["gaps"]) == len(mixed.gaps)


def test_junit_counts_what_it_holds(mixed: StoreComparison) -> None:
    suite = ET.fromstring(render.junit(mixed)).find("testsuite")
    assert suite is not None
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert len(suite.findall(f"testcase/{kind}")) == int(suite.attrib[attribute])
    assert int(suite.attrib["tests"]) == len(suite)
    doubts = len(mixed.of_kind("missing", "suspect"))
    worse = sum(endpoint.verdict == "worse" for endpoint in mixed.endpoints)
    assert int(suite.attrib["failures"]) == doubts + worse > worse > 0
    messages = [part.attrib["message"] for part in suite.iter("failure")]
    assert any("odd & <strange>" in message for message in messages)


def test_junit_of_something_incomparable_is_an_error(against: Compare) -> None:
    suite = ET.fromstring(render.junit(against([tiny()], [tiny(digest="md5:x")])))
    assert [part.attrib["message"] for part in suite.iter("error")] == [
        "not comparable: clean: dataset digest md5:data → md5:x."
    ]


def test_markdown_shows_endpoints_and_folds_cells(mixed: StoreComparison) -> None:
    text = render.markdown(mixed)
    assert text.startswith("### Robustness: worse\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    columns = {line.replace("\\|", "").count("|") for line in rows}
    assert columns == {10, 12}, "a bar in a name breaks no table"
    assert "b\\|\\<x\\>" in text
    assert text.index("<details>") > text.index("**Suspect")


def test_the_table_shows_every_endpoint_and_gap(mixed: StoreComparison) -> None:
    console = Console(width=250, record=True, file=None)
    with console.capture() as captured:
        console.print(render.table(mixed))
    text = captured.get()
    for endpoint in mixed.endpoints:
        assert endpoint.name in text
    for gap in mixed.gaps:
        assert gap.place.condition in text
    assert "worse" in text.splitlines()[-1]


def test_a_carried_network_is_a_model_of_its_own(against: Callable[..., StoreComparison]) -> None:
    ways: dict[str, dict[str, Any]] = {
        "": {},
        "m": carried.settings("ct", "sha256:ct"),
        "n": carried.settings("ct", "sha256:ct", adapt="coral"),
    }
    cells = [Made(settings=how, weights=name) for name, how in ways.items()]
    result = against(cells, cells)
    models = {endpoint.model for endpoint in result.endpoints}
    name = cells[0].model
    assert models == {name, f"{name} from ct", f"{name} from ct by coral"}
    one = against(cells, cells, base_model=f"{name} from ct", new_model=f"{name} from ct by coral")
    assert {endpoint.model for endpoint in one.endpoints} == {
        f"{name} from ct by coral against {name} from ct"
    }
