"""One bad network never takes the others with it, nor changes a number of theirs."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchharness import comparison, report
from benchharness.artefacts.mr import BiasField
from benchharness.attacks import FGSM
from benchharness.attacks.core.certificates import GRADIENT
from benchharness.comparison import render
from benchharness.errors import BenchError
from benchharness.networks import checkpoints, costs
from benchharness.networks.behaviour import BATCH, DRAWS, INPUT, STATE
from benchharness.networks.outputs import SQUASHED, STEADY
from benchharness.run import config, cutting, estimate, planning, runner, subjects
from benchharness.run.progress import Display
from benchharness.store.folder import Store
from benchharness.training import loop, recipes
from tests import hostile, samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.config import RunConfig
    from benchharness.run.summary import Summary
    from benchharness.store.records import Record

FLAGS: dict[str, Any] = {
    "attacks": "fgsm",
    "eps": "8/255",
    "artefacts": "bias_field",
    "severities": "3",
    "recipes": "quick",
    "device": "cpu",
}
CELLS = 5
"""Clean, attacked, corrupted, and two controls."""


@pytest.fixture(autouse=True)
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = dataclasses.replace(recipes.find("quick"), epochs=2, batch_size=8, learning_rate=0.01)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return samples.write_archive(tmp_path / "data.npz")


def settings(data: Path, out: Path, *models: str, **flags: Any) -> RunConfig:
    names = ",".join(f"tests.{'samples' if m == 'tiny' else 'hostile'}:{m}" for m in models)
    return config.load(None, FLAGS | {"models": names, "datasets": str(data), "out": out} | flags)


def run(data: Path, out: Path, *models: str, **flags: Any) -> tuple[Summary, str]:
    said = io.StringIO()
    display = Display(Console(file=said, width=200))
    return runner.run(settings(data, out, *models, **flags), display), said.getvalue()


def records_of(out: Path, model: str) -> list[Record]:
    return [r for r in Store(out).records().values() if r.cell.model.name == model]


def by_kind(out: Path, model: str) -> dict[str, Record]:
    return {
        "control" if r.cell.perturbation.family == "control" else r.cell.perturbation.kind: r
        for r in records_of(out, model)
    }


def own_weights(tmp_path: Path, name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    network = hostile.KINDS[name](2, 1, 6) if name in hostile.KINDS else samples.tiny(2)
    torch.save(network.state_dict(), tmp_path / f"{name}.pth")
    return {"checkpoint": [f"{name}={tmp_path / name}.pth"]}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "AttributeError: told to fail"),
        ("exits", "tried to leave with SystemExit: told to leave"),
        ("nothing", "its factory returned NoneType"),
        ("raises_in_training", "OSError: told to fail in training"),
        ("exits_in_training", "tried to leave with SystemExit: 0"),
        ("interrupts_in_training", "tried to leave with KeyboardInterrupt"),
        ("exits_in_evaluation", "tried to leave with SystemExit: 3"),
    ],
)
def test_a_network_that_cannot_be_trained_fails_and_the_others_are_measured(
    data: Path, tmp_path: Path, name: str, reason: str
) -> None:
    out = tmp_path / "out"
    summary, said = run(data, out, name, "tiny")
    assert (summary.evaluated, summary.trained, len(summary.failures)) == (CELLS, 1, 1)
    assert f"training {name} on data" in summary.failures[0]
    assert reason in summary.failures[0]
    assert "\n" not in summary.failures[0]
    assert f"failed: training {name} on data: " in said
    failed = records_of(out, name)
    assert len(failed) == CELLS
    for record in failed:
        assert (record.status, record.predictions, record.metrics) == ("error", None, {})
        assert record.cell.pending
        assert record.error is not None
        assert record.error.startswith("training failed: ")
        assert reason in record.error
        assert record.from_line(record.to_line()) == record
    assert all(record.status == "ok" for record in records_of(out, "tiny"))
    if name == "exits_in_training":  # Their records differ in the reason alone.
        assert report.write(out).html.exists()
        compared = comparison.compare(Store(out), Store(out), comparison.Settings())
        assert compared.exit_code in (0, 1, 3)
    again, _ = run(data, out, name, "tiny")
    assert (again.evaluated, again.recorded, len(again.failures)) == (0, CELLS, 1)


def test_failed_records_go_once_the_network_can_be_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    both = {"attacks": "fgsm,transfer"}
    run(data, out, "raises_in_training", "tiny", **both)
    before = Store(out).records()
    assert {r.status for r in before.values() if r.cell.pending} == {"error"}
    # Itself, and the transfers from it to the other network.
    assert len({r.cell.model.name for r in before.values() if r.cell.pending}) == 2
    monkeypatch.setattr(hostile.KINDS["raises_in_training"], "forward", samples._Tiny.forward)
    summary, _ = run(data, out, "raises_in_training", "tiny", **both)
    assert (summary.trained, summary.failures) == (1, ())
    after = Store(out).records().values()
    assert {record.status for record in after} == {"ok"}
    assert not any(record.cell.pending for record in after)
    assert len(after) == 2 * (CELLS + 2)


def test_own_weights_of_a_network_that_cannot_be_built_fail_and_the_others_are_measured(
    data: Path, tmp_path: Path
) -> None:
    torch.save({}, tmp_path / "raises.pth")
    own = {"checkpoint": [f"raises={tmp_path / 'raises.pth'}"]}
    out = tmp_path / "out"
    summary, _ = run(data, out, "raises", "tiny", **own)
    assert (summary.evaluated, len(summary.failures)) == (CELLS, 1)
    assert {r.error for r in records_of(out, "raises")} == {
        "model 'raises' cannot be built: AttributeError: told to fail"
    }


def test_bench_train_goes_on_after_a_failure(data: Path, tmp_path: Path) -> None:
    display = Display(Console(file=io.StringIO()))
    made = settings(data, tmp_path / "out", "exits_in_training", "nothing", "tiny")
    summary = runner.train(made, display)
    assert (summary.trained, len(summary.failures)) == (1, 2)


def test_a_network_that_leaves_in_evaluation_is_a_failed_cell(data: Path, tmp_path: Path) -> None:
    own = own_weights(tmp_path, "exits_in_evaluation")
    summary, _ = run(data, tmp_path / "out", "exits_in_evaluation", "tiny", **own)
    assert (summary.evaluated, len(summary.failures)) == (2 * CELLS, CELLS)
    for record in records_of(tmp_path / "out", "exits_in_evaluation"):
        assert record.error == "the code tried to leave with SystemExit: 3"


@pytest.mark.parametrize("attribute", [(FGSM, "perturb"), (BiasField, "apply")])
def test_an_attack_or_artefact_that_leaves_is_a_failed_cell(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attribute: tuple[type, str]
) -> None:
    monkeypatch.setenv("BENCH_CACHE_GIB", "0")

    def leave(*_: object) -> None:
        hostile.trespass()
        raise SystemExit("told to leave")

    monkeypatch.setattr(*attribute, leave)
    summary, _ = run(data, tmp_path / "out", "tiny")
    assert summary.evaluated == CELLS
    assert len(summary.failures) == 1
    assert summary.failures[0].endswith("the code tried to leave with SystemExit: told to leave")


@pytest.mark.parametrize("method", ["check", "resolved"])
def test_an_attack_that_cannot_be_planned_is_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def leave(*_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(FGSM, method, leave)
    with pytest.raises(BenchError, match="attack 'fgsm' cannot be used: the code tried to leave"):
        run(data, tmp_path / "out", "tiny")
    assert not (tmp_path / "out").exists()


def test_a_trespasser_changes_no_number_of_the_next_network(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "alone", "tiny")
    run(data, tmp_path / "after", "trespasser", "tiny")
    alone, after = Store(tmp_path / "alone"), Store(tmp_path / "after")
    for identity, record in alone.records().items():
        beside = after.records()[identity]
        assert beside.metrics == record.metrics
        assert np.array_equal(after.predictions(beside).logits, alone.predictions(record).logits)


@pytest.mark.parametrize(
    ("name", "doubts"),
    [
        ("tiny", set()),
        ("dropout_on", {DRAWS}),
        ("normalises_by_batch", {BATCH, STATE}),
        ("by_position", {BATCH}),
        ("writes_to_its_input", {INPUT}),
        ("counts", {STATE}),
    ],
)
def test_every_cell_of_a_network_that_is_no_function_of_the_volume_is_marked(
    data: Path, tmp_path: Path, name: str, doubts: set[str]
) -> None:
    out = tmp_path / "out"
    run(data, out, name, **own_weights(tmp_path, name))
    found = by_kind(out, name)
    assert {c.name for c in found["none"].certificate} == {DRAWS, BATCH, INPUT, STATE}
    for kind in ("none", "artefact"):
        failed = {c.name for c in found[kind].certificate if c.verdict == "failed"}
        assert failed == doubts, kind
        assert found[kind].suspect is bool(doubts)
    assert {c.verdict for c in found["artefact"].certificate} <= {"failed"}
    attacked = found["attack"]
    if attacked.status == "ok":
        names = {c.name for c in attacked.certificate if c.verdict == "failed"}
        assert doubts - {DRAWS} <= names
        assert DRAWS not in names
        if DRAWS in doubts:
            assert "two forward passes agree" in names


@pytest.mark.parametrize("squashed", [False, True])
def test_outputs_mark_attacks_alone_and_saturation_those_by_gradient(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, squashed: bool
) -> None:
    if squashed:
        forward = samples._Tiny.forward
        monkeypatch.setattr(
            samples._Tiny, "forward", lambda self, volumes: (20 * forward(self, volumes)).softmax(1)
        )
    out = tmp_path / "out"
    few = (("square3d", (("queries", 2),)),)
    own = own_weights(tmp_path, "tiny")
    # Probabilities are refused unless a person says that they are logits.
    chosen = settings(data, out, "tiny", attacks="fgsm,square3d", outputs="logits", **own)
    runner.run(
        dataclasses.replace(chosen, attack_parameters=few), Display(Console(file=io.StringIO()))
    )
    found = {r.cell.perturbation.name: r for r in records_of(out, "tiny")}
    verdicts = {
        name: {c.name: c.verdict for c in record.certificate} for name, record in found.items()
    }
    for name in ("none", "bias_field"):
        assert not {SQUASHED, STEADY} & verdicts[name].keys()
        assert not found[name].suspect
    assert verdicts["fgsm"][STEADY] == verdicts["square3d"][STEADY] == "passed"
    assert verdicts["fgsm"][SQUASHED] == ("failed" if squashed else "passed")
    assert SQUASHED not in verdicts["square3d"]
    # The gradient of every cell is watched on the way from `bench run` to the record.
    assert verdicts["fgsm"][GRADIENT] != "not applicable"
    assert verdicts["square3d"][GRADIENT] == "not applicable"


def test_averaging_over_draws_hides_no_dependence_on_the_batch(data: Path, tmp_path: Path) -> None:
    out, own = tmp_path / "out", own_weights(tmp_path, "normalises_by_batch")
    chosen = settings(data, out, "normalises_by_batch", attacks="apgd_ce", artefacts=None, **own)
    many = (("apgd_ce", (("steps", 1), ("samples", 20))),)
    runner.run(
        dataclasses.replace(chosen, attack_parameters=many), Display(Console(file=io.StringIO()))
    )
    doubts = by_kind(out, "normalises_by_batch")["attack"].doubts
    assert any(doubt.startswith(BATCH) for doubt in doubts)
    assert not any("stochastic" in doubt for doubt in doubts)


def test_marks_are_made_once_for_what_is_added_to_a_store(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, out = own_weights(tmp_path, "by_position"), tmp_path / "out"
    run(data, out, "by_position", **own, attacks=None, artefacts=None)
    run(data, out, "by_position", **own, attacks=None)
    assert by_kind(out, "by_position")["artefact"].doubts[0].startswith(BATCH)


def test_a_source_that_draws_at_random_marks_what_is_transferred_from_it(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(data, out, "by_position", "tiny", attacks="transfer", artefacts=None)
    for record in records_of(out, "tiny"):
        source = record.cell.perturbation.source
        if source is not None:
            assert record.suspect is (source.model.name == "by_position")


def test_a_report_and_a_comparison_show_the_marks(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(data, out, "by_position", "tiny", **own_weights(tmp_path, "by_position"))
    page = report.write(out).html.read_text(encoding="utf-8")
    assert "answers do not depend on the batch" in page
    assert "answers depend on the batch" in page
    compared = comparison.compare(Store(out), Store(out), comparison.Settings())
    said = render.markdown(compared)
    assert "answers depend on the batch" in said


@pytest.mark.parametrize("name", ["one_at_a_time", "never_alone"])
def test_what_cannot_be_priced_in_a_batch_of_eight_is_measured_all_the_same(
    data: Path, tmp_path: Path, name: str
) -> None:
    own = own_weights(tmp_path, name)
    batch = {"one_at_a_time": 1, "never_alone": 8}[name]
    summary, _ = run(data, tmp_path / "out", name, **own, batch_size=batch)
    assert summary.failures == ()
    cost = by_kind(tmp_path / "out", name)["none"].cost
    assert cost is not None
    assert cost.latency_batch == batch


def test_a_cost_that_cannot_be_measured_is_absent_with_a_reason(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("cannot\ncount")

    monkeypatch.setattr(costs, "measure", broken)
    run(data, tmp_path / "out", "tiny")
    record = by_kind(tmp_path / "out", "tiny")["none"]
    assert (record.status, record.cost) == ("ok", None)
    assert record.facts["no_cost"] == "RuntimeError: cannot count"
    assert record.metrics["accuracy"] is not None


def test_a_dry_run_survives_every_factory(data: Path, tmp_path: Path) -> None:
    names = ("looks_at_values", "raises", "exits", "nothing", "tiny")
    found = estimate.estimate(planning.plan(settings(data, tmp_path, *names)), set())
    assert found.cells == len(names) * CELLS
    assert found.uncounted == ("raises", "exits", "nothing")
    one = estimate.estimate(planning.plan(settings(data, tmp_path, "tiny")), set())
    assert found.flops == pytest.approx(2 * one.flops)
    assert str(found).endswith("TFLOP without training and without raises, exits, nothing")


def test_explaining_refuses_what_cannot_be_built_in_one_line(data: Path, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "raises.pth")
    own = {"checkpoint": [f"raises={tmp_path / 'raises.pth'}"]}
    (subject,) = subjects.subjects(settings(data, tmp_path / "out", "raises", **own))
    with pytest.raises(BenchError, match=r"model 'raises' cannot be used: .* told to fail"):
        subject.networks[0].load()


def test_weights_trained_by_another_run_meanwhile_are_not_trained_again(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = settings(data, out, "tiny")
    planned = planning.plan(made)  # nothing is trained yet
    run(data, out, "tiny")
    (weights,) = out.rglob(checkpoints.WEIGHTS)
    before = weights.stat().st_mtime_ns
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "plan", lambda _: planned)
        summary = runner.run(made, Display(Console(file=said, width=200)))
    assert (summary.evaluated, summary.recorded, summary.trained) == (0, CELLS, 0)
    assert weights.stat().st_mtime_ns == before
    assert "tiny on data was trained by another run meanwhile" in said.getvalue()


def test_weights_that_change_between_the_plan_and_the_run_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_weights(tmp_path, "tiny")
    made = settings(data, tmp_path / "out", "tiny", **own)
    planned = planning.plan(made)
    torch.manual_seed(9)
    torch.save(samples.tiny(2).state_dict(), tmp_path / "tiny.pth")
    monkeypatch.setattr(cutting, "plan", lambda _: planned)
    summary = runner.run(made, Display(Console(file=io.StringIO())))
    assert summary.evaluated == 0
    assert "has changed since this run began" in summary.failures[0]


def test_a_full_disk_while_training_is_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "save", full)
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    with pytest.raises(BenchError, match=r"cannot write to .*: No space left on device\. Make"):
        run(data, tmp_path / "out", "tiny")
