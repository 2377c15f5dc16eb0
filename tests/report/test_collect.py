from dataclasses import replace

import pytest

from benchharness.errors import BenchError
from benchharness.report.collect import collect
from benchharness.report.formats.frame import frame
from benchharness.statistics import metrics
from benchharness.store import suspicion
from benchharness.store.folder import Store
from tests.factories import Made

ATTACKED = Made(perturbation="pgd", severity=8 / 255)


def test_frame_equals_what_predictions_say(full_store):
    found = frame(collect(full_store)).set_index("identity")
    store = Store(full_store)
    assert len(found) == 42
    for identity, record in store.records().items():
        predictions = store.predictions(record)
        values, _ = metrics.compute(predictions.labels, predictions.logits)
        line = found.loc[identity]
        for metric in ("accuracy", "auc", "balanced_accuracy"):
            assert line[metric] == values[metric]
            assert line[f"{metric}_low"] <= values[metric] <= line[f"{metric}_high"]
        assert (line["n"], line["of"]) == (60, 60)


def test_missing_and_empty_stores_say_what_to_type(tmp_path):
    with pytest.raises(BenchError, match=r"no records in .*nowhere.* Type 'bench run --out"):
        collect(tmp_path / "nowhere")
    with pytest.raises(BenchError, match="no records in"):
        collect(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_failures_gives_the_first_reason(make_store):
    store = make_store(Made(error="NaN logits."), replace(ATTACKED, error="out of memory."))
    with pytest.raises(BenchError, match=r"all 2 cells .* failed.*NaN logits\..*'bench run --out"):
        collect(store)


def test_older_checkpoints_are_models_of_their_own(make_store):
    old, new = Made(weights="old"), Made(weights="new")
    findings = collect(make_store(old, new))
    digest = old.cell().checkpoint.sha256
    assert findings.models == ("resnet3d_18", f"resnet3d_18 @{digest[:8]}")
    assert findings.rows[1].model == "resnet3d_18"


def test_recipes_and_parameters_tell_namesakes_apart(make_store):
    findings = collect(
        make_store(
            Made(),
            Made(recipe="medmnist"),
            Made(recipe=None, seed=None),
            ATTACKED,
            replace(ATTACKED, parameters={"steps": 100}),
        )
    )
    assert set(findings.models) == {
        "resnet3d_18 · quick",
        "resnet3d_18 · medmnist",
        "resnet3d_18 · own weights",
    }
    assert {row.condition for row in findings.rows} == {
        "clean",
        "pgd (steps=10) 8/255",
        "pgd (steps=100) 8/255",
    }


def test_parameters_that_follow_the_severity_are_no_namesakes(make_store):
    cells = [
        Made(perturbation="motion", severity=level, parameters={"degrees": 2.0 * level})
        for level in (1, 2)
    ]
    assert {row.perturbation for row in collect(make_store(*cells)).rows} == {"motion"}


def test_a_subset_is_a_dataset_of_its_own(make_store):
    findings = collect(make_store(Made(n=60), Made(n=20, of=60)))
    assert findings.datasets == ("adrenalmnist3d", "adrenalmnist3d (20 of 60)")


def test_an_absent_class_is_a_reason_and_no_number(make_store):
    findings = collect(make_store(Made(n=4, labels=[0, 0, 0, 0])))
    score = findings.cell_scores.single(findings.rows[0], "auc")
    assert score.value is None
    assert score.gap == "class 1 has no volume"


def test_families_have_titles_and_an_order_even_without_clean_cells(make_store):
    artefact = Made(perturbation="motion", severity=1)
    findings = collect(make_store(artefact, ATTACKED, replace(ATTACKED, perturbation="pgd_l2")))
    families = findings.families("adrenalmnist3d")
    assert [findings.title(name) for name in families] == [
        "L2 attacks",
        "L∞ attacks",
        "MR artefacts",
    ]
    assert findings.title("clean") == "clean"


def test_a_row_knows_every_reason_to_doubt_it(make_store):
    (row,) = collect(make_store(replace(ATTACKED, failed_check="gradients vanish"))).rows
    reason = "gradient is not zero: gradients vanish"
    assert row.suspicion == suspicion.of_record(row.record, {}) == reason
    further = {row.record.identity: ("not weaker than noise: worse",)}
    assert suspicion.of_record(row.record, further) == f"{reason}; not weaker than noise: worse"
