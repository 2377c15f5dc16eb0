"""The whole path inside one process: plan, train, evaluate, record, resume."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from benchharness.attacks import FGSM, PGD
from benchharness.errors import BenchError, CellError
from benchharness.run import config, perturb, planning, runner
from benchharness.run.progress import Display
from benchharness.statistics import metrics
from benchharness.store.cells import CONTROL_FAMILY
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples

if TYPE_CHECKING:
    from benchharness.run.summary import Summary
    from benchharness.store.records import Record

FLAGS: dict[str, Any] = {
    "models": "tests.samples:tiny",
    "attacks": "fgsm,pgd",
    "eps": "0,2/255,1",
    "artefacts": "bias_field",
    "severities": "1,5",
    "recipes": "quick",
    "device": "cpu",
}


QUICK = dataclasses.replace(recipes.find("quick"), epochs=6, batch_size=8, learning_rate=0.01)


@pytest.fixture(autouse=True)
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "quick", QUICK)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return samples.write_archive(tmp_path / "data.npz")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary, str]:
    """One run of all cells: its store, what it did and what it said."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes.RECIPES, "quick", QUICK)
        return folder / "out", *run(samples.write_archive(folder / "data.npz"), folder / "out")


@pytest.fixture
def whole(once: tuple[Path, Summary, str], tmp_path: Path) -> Path:
    """A copy of its store, to be written to."""
    return Path(shutil.copytree(once[0], tmp_path / "out"))


def run(data: Path, out: Path, **flags: Any) -> tuple[Summary, str]:
    said = io.StringIO()
    settings = config.load(None, FLAGS | {"datasets": str(data), "out": out} | flags)
    summary = runner.run(settings, Display(Console(file=said, width=200)))
    return summary, said.getvalue()


def by_perturbation(out: Path) -> dict[tuple[str, object], Record]:
    return {
        (record.cell.perturbation.name, record.cell.perturbation.severity): record
        for record in Store(out).records().values()
    }


def test_a_run_records_every_cell_with_predictions_that_give_its_metrics(
    once: tuple[Path, Summary, str],
) -> None:
    out, summary, said = once
    assert (summary.evaluated, summary.trained, summary.failures) == (12, 1, ())
    assert "training tiny on data" in said
    store = Store(out)
    for record in store.records().values():
        predictions = store.predictions(record)
        values, _ = metrics.compute(predictions.labels, predictions.logits)
        assert values | dict.fromkeys(record.undefined) == record.metrics
        assert record.status == "ok"
        if record.cell.perturbation.family != CONTROL_FAMILY:
            assert list(predictions.ids) == [f"data/test/{i}" for i in range(24)]


def test_the_same_command_again_runs_no_cell(data: Path, whole: Path) -> None:
    before = (whole / "records.jsonl").read_bytes()
    summary, _ = run(data, whole)
    assert (summary.evaluated, summary.recorded, summary.trained) == (0, 12, 0)
    assert (whole / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize("damage", ["missing", "empty", "another bit"])
def test_a_cell_whose_predictions_are_damaged_is_run_again(
    data: Path, tmp_path: Path, whole: Path, damage: str
) -> None:
    assert whole == tmp_path / "out"
    before = by_perturbation(tmp_path / "out")
    of = before["pgd", 1.0]
    assert of.predictions is not None
    path = tmp_path / "out" / of.predictions.path
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(b"" if damage == "empty" else content[:99] + b"?" + content[100:])
    summary, said = run(data, tmp_path / "out")
    assert (summary.evaluated, summary.recorded, summary.trained) == (1, 11, 0)
    (line,) = [line for line in said.splitlines() if "was recorded, but is run again" in line]
    assert "pgd 1" in line
    assert path.read_bytes() == content
    assert by_perturbation(tmp_path / "out")["pgd", 1.0].metrics == of.metrics
    summary, said = run(data, tmp_path / "out")
    assert (summary.evaluated, summary.recorded) == (0, 12)
    assert "run again" not in said


def test_damage_that_nobody_asks_for_does_not_stop_a_run(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", attacks="fgsm,pgd", eps="2/255")
    of = by_perturbation(tmp_path / "out")["pgd", 2 / 255]
    assert of.predictions is not None
    (tmp_path / "out" / of.predictions.path).unlink()
    summary, _ = run(data, tmp_path / "out", attacks="fgsm", eps="2/255")
    assert (summary.evaluated, summary.failures) == (0, ())


def test_more_work_runs_only_what_is_missing(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", attacks="fgsm")
    summary, _ = run(data, tmp_path / "out", attacks="fgsm,pgd", severities="1-3")
    assert (summary.evaluated, summary.recorded, summary.trained) == (5, 8, 0)


def test_no_attack_at_epsilon_zero_and_all_of_it_at_one(whole: Path) -> None:
    records, store = by_perturbation(whole), Store(whole)
    clean = store.predictions(records["none", None])
    for attack in ("fgsm", "pgd"):
        assert np.array_equal(store.predictions(records[attack, 0.0]).logits, clean.logits)
    accuracy = records["pgd", 1.0].metrics["accuracy"]
    assert accuracy is not None
    assert accuracy <= 0.05


@pytest.mark.parametrize("batch_size", ["1", "7"])
def test_batch_size_changes_no_bit_of_an_artefact_and_no_verdict_of_an_attack(
    data: Path, tmp_path: Path, whole: Path, batch_size: str
) -> None:
    (tmp_path / "b").mkdir()
    (whole / "checkpoints").rename(tmp_path / "b" / "checkpoints")
    run(data, tmp_path / "b", batch_size=batch_size, eps="2/255")
    first, second = Store(whole), Store(tmp_path / "b")
    assert all(r.provenance["batch_size"] >= 24 for r in first.records().values())
    assert first.records().keys() >= second.records().keys()
    assert len(second.records()) == 7
    near = 0
    for identity, record in second.records().items():
        one, other = first.predictions(first.records()[identity]), second.predictions(record)
        right = [metrics.correct(p.labels, p.logits) for p in (one, other)]
        close = np.abs(metrics.margins(one.labels, one.logits)) <= 0.01
        near += int((right[0] != right[1])[close].sum())
        assert np.array_equal(right[0][~close], right[1][~close])
        if record.cell.perturbation.kind == "artefact":
            np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
    print(f"verdicts that differ within the margin: {near}")  # noqa: T201


def test_a_corrupted_set_is_made_once_for_all_models_and_batches_see_the_same_bits(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))
    seen = []
    original = perturb.corrupt

    def counted(*arguments: Any, **settings: Any) -> Any:
        made = original(*arguments, **settings)
        seen.append(made.sha256)
        return made

    monkeypatch.setattr(perturb, "corrupt", counted)
    both = "tests.samples:tiny,tests.samples:wider"
    run(data, tmp_path / "out", models=both, attacks="fgsm", batch_size="64")
    assert len(seen) == len(set(seen)) == 2
    first = sorted(seen)
    monkeypatch.setenv("BENCH_CACHE_GIB", "0")
    run(data, tmp_path / "again", models="tests.samples:tiny", attacks="fgsm", batch_size="5")
    assert sorted(seen[2:]) == first


def test_what_changes_no_voxel_is_recorded_as_not_applicable(
    tmp_path: Path,
) -> None:
    path = samples.write_archive(tmp_path / "masks.npz")
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, values in arrays.items():
        if name.endswith("images"):
            arrays[name] = (values > 110).astype(np.uint8) * 255
    number = 0
    for name in arrays:
        if name.endswith("images"):  # one voxel tells each mask from all others
            for mask in arrays[name]:
                mask.reshape(-1)[number] ^= 255
                number += 1
    np.savez_compressed(path, **arrays)
    flags = {"attacks": None, "artefacts": "gamma,contrast", "severities": "1,4"}
    summary, _ = run(path, tmp_path / "out", **flags)
    assert (summary.evaluated, summary.failures) == (5, ())
    found = by_perturbation(tmp_path / "out")
    for level in (1, 4):
        gamma, contrast = found["gamma", level], found["contrast", level]
        assert gamma.status == "ok"
        assert gamma.predictions is None
        assert set(gamma.metrics.values()) == {None}
        assert set(gamma.undefined.values()) == {"not applicable: gamma changes no voxel here"}
        assert gamma.facts["unchanged_fraction"] == 1
        assert contrast.metrics["accuracy"] is not None
        assert contrast.facts["unchanged_fraction"] == 0
        assert contrast.facts["plausible"] is None
    summary, _ = run(path, tmp_path / "out", **flags)
    assert (summary.evaluated, summary.recorded) == (0, 5)


def test_fast_artefacts_are_cells_of_their_own_with_nearly_the_same_logits(
    data: Path, tmp_path: Path
) -> None:
    out, flags = tmp_path / "out", {"attacks": None, "artefacts": "bias_field,contrast"}
    run(data, out, **flags)
    summary, _ = run(data, out, **flags, fast_artefacts=True)
    # Only one of the two has a batched implementation.
    assert (summary.evaluated, summary.recorded) == (2, 3)
    store = Store(out)
    answers: dict[Any, dict[str, Any]] = {}
    for record in store.records().values():
        key = record.cell.perturbation
        if key.name == "bias_field":
            who = str(dict(key.parameters)["implementation"])
            answers.setdefault(key.severity, {})[who] = store.predictions(record).logits
    for pair in answers.values():
        np.testing.assert_allclose(pair["torch"], pair["cpu"], atol=1e-2)
        assert set(pair) == {"torch", "cpu"}


def test_a_subset_is_the_same_for_every_model_and_says_so(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", models="tests.samples:tiny,tests.samples:wider", limit=5)
    store = Store(tmp_path / "out")
    cells = [r for r in store.records().values() if r.cell.perturbation.family != CONTROL_FAMILY]
    assert len({tuple(store.predictions(record).ids) for record in cells}) == 1
    for record in cells:
        assert record.cell.dataset.count == 5 < record.cell.dataset.total


def test_a_network_that_returns_nan_is_a_failure_and_not_a_number(
    data: Path, tmp_path: Path
) -> None:
    summary, _ = run(data, tmp_path / "out", models="tests.samples:nan_in_eval")
    # Its logits are of no use on val either, so that there is nothing to select and no cell to run.
    assert summary.evaluated == 0
    assert [line.partition(": ")[0] for line in summary.failures] == [
        "training nan_in_eval on data"
    ]
    assert "are not finite" in summary.failures[0]


def test_nan_logits_make_error_records_and_the_run_goes_on(data: Path, tmp_path: Path) -> None:
    torch.save(samples.nan_in_eval(2).state_dict(), tmp_path / "nan.pth")
    own = [f"nan_in_eval={tmp_path / 'nan.pth'}"]
    summary, _ = run(data, tmp_path / "out", models="tests.samples:nan_in_eval", checkpoint=own)
    records = Store(tmp_path / "out").records().values()
    assert summary.evaluated == len(summary.failures) == len(records) == 12
    assert {record.status for record in records} == {"error"}
    assert all("not finite" in (record.error or "") for record in records)


def test_every_attacked_checkpoint_gets_its_controls_once(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out", attacks="fgsm", artefacts="bias_field", eps="8/255")
    run(data, tmp_path / "out", attacks="pgd", artefacts=None, eps="8/255")
    controls = {
        record.cell.perturbation.name: record
        for record in Store(tmp_path / "out").records().values()
        if record.cell.perturbation.family == CONTROL_FAMILY
    }
    found = {name: c.cell.perturbation.severity for name, c in controls.items()}
    assert found == {"full_range": 1.0, "probe": 8 / 255}
    assert (controls["full_range"].metrics["accuracy"] or 0) <= 0.05


@pytest.mark.parametrize(
    ("attacks", "expected"),
    [
        ("noise_sign,square3d", []),
        ("", []),
        ("voxel_flip", [("full_range", 1.0)]),
        ("transfer", []),
        ("autoattack3d", [("full_range", 1.0), ("probe", 0.1), ("probe", 0.2)]),
        ("pgd_l2", [("full_range", 1.0), ("probe", 0.1), ("probe", 0.2)]),
    ],
)
def test_controls_are_for_what_follows_the_gradient(
    data: Path, tmp_path: Path, attacks: str, expected: list[tuple[str, float]]
) -> None:
    """Neither an ε of 0 nor a network that is only judged needs any."""
    settings = FLAGS | TWO | {"datasets": str(data), "out": tmp_path, "attacks": attacks or None}
    cells = planning.plan(config.load(None, settings | {"eps": "0,0.2,0.1", "limit": 5})).cells
    controls = [c for c in cells if c.perturbation.family == CONTROL_FAMILY]
    found = [(c.perturbation.name, c.perturbation.severity) for c in controls]
    assert found == expected * 2
    assert {control.dataset.count for control in controls} <= {5}


def test_counts_are_the_severities_of_sparse_attacks(data: Path, tmp_path: Path) -> None:
    flags = {"attacks": "voxel_flip,slab,cube", "counts": "0,2", "artefacts": None, "limit": 4}
    _, said = run(data, tmp_path / "out", **flags)
    assert "voxel_flip 2 · " in said
    records, store = by_perturbation(tmp_path / "out"), Store(tmp_path / "out")
    clean = store.predictions(records["none", None])
    for attack in ("voxel_flip", "slab", "cube"):
        assert np.array_equal(store.predictions(records[attack, 0]).logits, clean.logits)
        norms = store.predictions(records[attack, 2]).extra["norm"]
        assert 0 < norms.max() <= 2
        assert records[attack, 2].metrics["auc"] is None
        assert "ends at a volume once it is broken" in records[attack, 2].undefined["auc"]


TWO = {"models": "tests.samples:tiny,tests.samples:wider", "attacks": "transfer,mifgsm"}


def test_transfer_judges_every_model_on_volumes_made_on_every_model(
    data: Path, tmp_path: Path
) -> None:
    flags = TWO | {"eps": "0,32/255", "artefacts": None}
    summary, said = run(data, tmp_path / "out", **flags)
    # Clean, MI-FGSM at two budgets and two controls for each; two budgets from each source to each.
    assert (summary.evaluated, summary.trained, summary.failures) == (2 * 5 + 2 * 4, 2, ())
    assert "tiny · quick · data · transfer 32/255 from wider · seed 0" in said
    store = Store(tmp_path / "out")
    logits: dict[tuple[str, str | None, float], Any] = {}
    for record in store.records().values():
        key = record.cell.perturbation
        if key.name in ("transfer", "mifgsm"):
            place = (record.cell.model.name, key.source and key.source.model.name, key.severity)
            logits[place] = store.predictions(record).logits  # type: ignore[index]
    for name, other in (("tiny", "wider"), ("wider", "tiny")):
        # On the diagonal the attacker has the model itself: that is the white-box attack.
        own = logits[name, None, 32 / 255] - logits[name, name, 32 / 255]
        assert np.abs(own).max() < 1e-4
        assert np.abs(logits[name, name, 32 / 255] - logits[name, other, 32 / 255]).max() > 1e-3
        assert np.array_equal(logits[name, other, 0.0], logits[name, name, 0.0])
    again, _ = run(data, tmp_path / "out", **flags)
    assert (again.evaluated, again.recorded) == (0, 18)


def test_a_transfer_knows_the_checkpoint_that_it_was_made_on(data: Path, tmp_path: Path) -> None:
    flags = TWO | {"eps": "8/255", "artefacts": None}
    run(data, tmp_path / "out", **flags)
    shas = {
        record.cell.model.name: record.cell.checkpoint.sha256
        for record in Store(tmp_path / "out").records().values()
    }
    for record in Store(tmp_path / "out").records().values():
        if (source := record.cell.perturbation.source) is not None:
            assert source.checkpoint.sha256 == shas[source.model.name]
    weights = next((tmp_path / "out").rglob("wider*/**/model.safetensors"))
    other = torch_weights_of_another_seed(weights, tmp_path / "other.safetensors")
    summary, _ = run(data, tmp_path / "out", **flags, checkpoint=[f"wider={other}"])
    # tiny on wider, and all of wider: its clean volumes, MI-FGSM, two controls and two sources.
    assert summary.evaluated == 1 + 6


def torch_weights_of_another_seed(weights: Path, path: Path) -> Path:
    state = load_file(weights)
    state["head.bias"] = state["head.bias"] + 0.01
    save_file(state, path)
    return path


def test_transfer_needs_two_models(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="transfer needs two models or more; add one to --models"):
        run(data, tmp_path / "out", attacks="transfer")


def test_accuracy_only_leaves_out_what_is_broken_and_gives_the_envelope(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"attacks": "pgd", "eps": "32/255,4/255", "artefacts": None}
    run(data, tmp_path / "out", **flags)
    full, store = by_perturbation(tmp_path / "out"), Store(tmp_path / "out")
    standing = np.logical_and.reduce(
        [
            metrics.correct(p.labels, p.logits)
            for place in (("none", None), ("pgd", 4 / 255), ("pgd", 32 / 255))
            for p in (store.predictions(full[place]),)
        ]
    )
    attacked: list[int] = []
    perturb = PGD.perturb

    def counted(self: PGD, batch: Any) -> Any:
        attacked.append(len(batch.labels))
        return perturb(self, batch)

    monkeypatch.setattr(PGD, "perturb", counted)
    summary, _ = run(data, tmp_path / "out", **flags, accuracy_only=True)
    assert (summary.evaluated, summary.recorded) == (2, 4)
    short = {
        record.cell.perturbation.severity: record
        for record in store.records().values()
        if "accuracy_only" in dict(record.cell.perturbation.parameters)
    }
    assert short[32 / 255].metrics["accuracy"] == pytest.approx(standing.mean())
    for record in short.values():
        assert record.metrics["auc"] is None
        assert "--accuracy-only" in record.undefined["auc"]
    right = metrics.correct(
        store.predictions(full["none", None]).labels, store.predictions(full["none", None]).logits
    )
    assert attacked[0] == right.sum()
    assert attacked[1:] in ([], [int(short[32 / 255].facts["attacked_volumes"])])
    assert dict(short[32 / 255].cell.perturbation.parameters)["accuracy_only"] == (4 / 255,)


def test_accuracy_only_rests_on_the_smaller_budgets(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: PGD, batch: object) -> None:
        raise CellError("told to fail")

    monkeypatch.setattr(PGD, "perturb", fail)
    summary, _ = run(
        data, tmp_path / "out", attacks="pgd", eps="2/255,4/255", artefacts=None, accuracy_only=True
    )
    assert len(summary.failures) == 2
    assert "rests on tiny · quick · data · pgd 2/255 · seed 0, which failed" in summary.failures[1]


def test_own_weights_are_used_as_they_are(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out")
    weights = next((tmp_path / "out").rglob("model.safetensors"))
    summary, _ = run(data, tmp_path / "own", checkpoint=[f"tiny={weights}"])
    assert summary.trained == 0
    trained, own = by_perturbation(tmp_path / "out"), by_perturbation(tmp_path / "own")
    assert trained["pgd", 2 / 255].metrics == own["pgd", 2 / 255].metrics
    assert own["none", None].cell.checkpoint.seed is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"train": False}, "no checkpoint of tiny on data .recipe quick, seed 0. in .*--no-train"),
        ({"checkpoint": ["tiny=nowhere.safetensors"]}, "no checkpoint at nowhere.safetensors"),
        ({"checkpoint": ["other=a.pth"]}, "--checkpoint names 'other'"),
        ({"attacks": "pgdd"}, "unknown attack 'pgdd'. Did you mean 'pgd'"),
        ({"models": "resnet3d_81"}, "unknown model 'resnet3d_81'. Did you mean 'resnet3d_18'"),
        (
            {"models": "tests.samples:tiny,tests.samples.copy:tiny"},
            "cannot import 'tests.samples.copy'",
        ),
        ({"recipes": "quik"}, "unknown recipe 'quik'. Did you mean 'quick'"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not available"),
        ({"datasets": "phantom"}, "unknown dataset 'phantom'. Did you mean 'phantom3d"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    data: Path, tmp_path: Path, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        run(data, tmp_path / "out", **flags)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [CellError("told to fail"), RuntimeError("told\nto fail")])
def test_a_failed_cell_is_run_again_and_a_good_one_is_not(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: FGSM, batch: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(FGSM, "perturb", fail)
        summary, _ = run(data, tmp_path / "out")
    # At ε = 0 there is nothing to attack, so two of the three budgets fail.
    assert [line.rpartition(": ")[2] for line in summary.failures] == ["told to fail"] * 2
    again, _ = run(data, tmp_path / "out")
    assert (again.evaluated, again.recorded, again.failures) == (2, 10, ())


def test_a_second_run_on_a_locked_store_is_refused(data: Path, tmp_path: Path) -> None:
    with (
        Store(tmp_path / "out").writing(),
        pytest.raises(BenchError, match=r"another run is writing to .* Wait for it"),
    ):
        run(data, tmp_path / "out")
