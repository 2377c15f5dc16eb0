"""compare, baseline, records and ci from the command line: output and exit codes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from benchharness.run import config, runner
from benchharness.store import baseline
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples
from tests.factories import small_matrix, store_of
from tests.run.test_progress import display

if TYPE_CHECKING:
    from collections.abc import Callable

    Bench = Callable[..., tuple[int, str, str]]


QUICK = dataclasses.replace(recipes.find("quick"), epochs=6, batch_size=8, learning_rate=0.01)


@pytest.fixture(autouse=True)
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "quick", QUICK)


@pytest.fixture
def pair(tmp_path: Path) -> None:
    """Stores `base`, `same` and `worse`."""
    store_of(tmp_path / "base", small_matrix(n=100))
    store_of(tmp_path / "same", small_matrix(n=100))
    store_of(tmp_path / "worse", small_matrix(n=100, correct=0.3, weights="b"))


@pytest.mark.usefixtures("pair")
def test_compare_exits_with_its_verdict(bench: Bench, tmp_path: Path) -> None:
    code, said, _ = bench("compare", "base", "same")
    assert (code, "same against base: indistinguishable" in said) == (0, True)
    code, said, _ = bench("compare", "base", "worse")
    assert (code, "worse against base: worse (3 worse; tolerance 0.02" in said) == (1, True)
    code, said, _ = bench("compare", "base", "worse", "--tolerance", "0.9")
    assert (code, "indistinguishable" in said) == (0, True)
    store_of(tmp_path / "other", small_matrix(n=100, digest="md5:x"))
    code, said, _ = bench("compare", "base", "other")
    assert (code, "dataset digest md5:data → md5:x" in said) == (2, True)
    store_of(tmp_path / "short", small_matrix(n=100)[:6])
    assert bench("compare", "base", "short")[0] == 0
    assert bench("compare", "base", "short", "--strict")[0] == 1
    store_of(tmp_path / "shorter", small_matrix(n=100)[:4])
    code, said, _ = bench("compare", "base", "shorter")
    assert (code, "NEW lacks tiny · sample · MR artefacts." in said) == (1, True)
    assert bench("compare", "base", "shorter", "--allow-missing")[0] == 0


def test_two_recipes_of_one_run_are_compared(bench: Bench, tmp_path: Path) -> None:
    robust = small_matrix(n=100, recipe="adv_pgd", correct=0.9, weights="b")
    store_of(tmp_path / "run", [*small_matrix(n=100, correct=0.4), *robust])
    within = ("compare", "run", "--base-recipe", "quick", "--new-recipe", "adv_pgd")
    code, said, _ = bench(*within)
    assert code == 0
    assert "run (adv_pgd) against run (quick): better" in said
    code, _, error = bench("compare", "run", "run")
    assert code == 2
    assert "--base-recipe quick, or adv_pgd." in error


@pytest.mark.usefixtures("pair")
def test_compare_judges_by_the_metrics_that_are_asked_for(bench: Bench) -> None:
    code, said, _ = bench("compare", "base", "worse", "--metric", "auc, balanced_accuracy")
    assert (code, "(6 worse; tolerance 0.02" in said) == (1, True)
    assert "Endpoints: mean AUC, balanced accuracy" in said
    code, said, error = bench("compare", "base", "same", "--metric", "acc")
    assert (code, said, error.count("\n")) == (2, "", 1)
    assert "accuracy, auc, balanced_accuracy, sensitivity" in error


@pytest.mark.usefixtures("pair")
def test_a_narrow_terminal_gets_sentences_instead_of_broken_columns(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, said, _ = bench("compare", "base", "worse")
    lines = said.splitlines()
    assert "Endpoints: mean accuracy" in said
    assert any("clean: worse. Mean accuracy" in line for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.usefixtures("pair")
def test_every_format_is_the_whole_output(bench: Bench) -> None:
    _, said, _ = bench("compare", "base", "worse", "--format", "json")
    assert json.loads(said)["verdict"] == "worse"
    _, said, _ = bench("compare", "base", "worse", "--format", "junit")
    assert ET.fromstring(said).tag == "testsuites"
    _, said, _ = bench("compare", "base", "worse", "--format", "markdown")
    assert said.startswith("### Robustness: worse\n")


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compare", "base", "nowhere"), "no records in nowhere"),
        (("compare", "base", "same", "--tolerance", "2"), "the tolerance must lie in [0, 1)"),
        (("compare", "base", "same", "--base-model", "x"), "BASE has no cells of model 'x'"),
        (("compare", "base"), "base is compared with nothing. Name another folder, or what to"),
        (("compare", "base", "--base-recipe", "x"), "BASE has no cells with recipe 'x'. It holds"),
        (("baseline", "show", "nowhere.zip"), "cannot read baseline nowhere.zip"),
        (("records", "verify", "nowhere"), "no records in nowhere"),
        (("records", "merge", "base", "same"), "say where the merged store goes: --out FOLDER."),
        (("ci", "--config", "x.toml", "--baseline", "base"), "cannot read config x.toml"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(
    bench: Bench, arguments: tuple[str, ...], message: str
) -> None:
    code, said, error = bench(*arguments)
    assert (code, said, error.count("\n")) == (2, "", 1)
    assert error.startswith("bench: ")
    assert message in error


@pytest.mark.usefixtures("pair")
def test_a_baseline_is_saved_shown_and_compared(bench: Bench) -> None:
    code, said, _ = bench("baseline", "save", "base", "deep/b.zip")
    assert (code, "8 records" in said) == (0, True)
    code, said, _ = bench("baseline", "show", "deep/b.zip")
    assert (code, "4 linf" in said, "8 records (0 failed, 0 suspect)" in said) == (0, True, True)
    assert bench("compare", "deep/b.zip", "worse")[0] == 1
    assert bench("compare", "same", "deep/b.zip")[0] == 0


@pytest.mark.usefixtures("pair")
def test_records_are_verified_and_merged(bench: Bench) -> None:
    code, said, _ = bench("records", "merge", "base", "worse", "--out", "joined")
    assert (code, "16 records in joined, 16 of them new" in said) == (0, True)
    code, said, _ = bench("records", "verify", "joined")
    assert (code, "joined: sound. 16 records" in said) == (0, True)
    next(Path("joined/predictions").iterdir()).unlink()
    code, said, _ = bench("records", "verify", "joined")
    assert (code, "joined: 1 problems" in said) == (1, True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config, its data, and the store and baseline of a run of it."""
    folder = tmp_path_factory.mktemp("gate")
    samples.write_archive(folder / "data.npz")
    (folder / "bench.toml").write_text(
        'models = ["tests.samples:tiny"]\ndatasets = ["data.npz"]\nattacks = ["fgsm"]\n'
        'artefacts = ["bias_field"]\nseverities = "1,5"\nrecipes = "quick"\ndevice = "cpu"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(recipes.RECIPES, "quick", QUICK)
        summary = runner.run(config.load(Path("bench.toml"), {"out": "first"}), display()[0])
    assert (summary.evaluated, summary.failures) == (8, ())
    baseline.save(Store(folder / "first"), folder / "baseline.zip")
    return folder


@pytest.fixture
def gate(bench: Bench, tmp_path: Path, measured: Path) -> Bench:
    """Call `bench ci` on the config of a run and its baseline."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)

    def call(*arguments: object) -> tuple[int, str, str]:
        return bench("ci", "--config", "bench.toml", "--baseline", "baseline.zip", *arguments)

    return call


def test_ci_runs_compares_and_reports(gate: Bench, tmp_path: Path) -> None:
    code, said, error = gate("--out", "ci", "--strict", "--format", "markdown")
    assert code == 0, error
    assert said.startswith("### Robustness: indistinguishable\n")
    assert "budget" not in error
    gated = tmp_path / "ci" / "gate"
    assert {path.name for path in gated.iterdir()} == {
        "comparison.md",
        "comparison.json",
        "junit.xml",
    }
    assert (gated / "comparison.md").read_text(encoding="utf-8") == said
    assert (tmp_path / "ci" / "report" / "report.html").exists()
    records = Store(tmp_path / "ci").records().values()
    assert len(records) == 8
    clean = next(record for record in records if record.cell.perturbation.kind == "none")
    assert clean.facts["thresholds"] == frozen_on_val(tmp_path)
    code, _, error = gate("--out", "ci")
    assert (code, "holds records of an earlier run" in error) == (2, True)
    code, _, error = gate("--out", "ci", "--resume")
    assert code == 0, error


def frozen_on_val(folder: Path) -> dict[str, object]:
    """What the clean cell has to say of its thresholds, from the weights and the val volumes."""
    from benchharness import datasets, statistics
    from benchharness.networks import checkpoints
    from benchharness.statistics import metrics
    from benchharness.store.cells import ModelKey

    classifier = checkpoints.load_classifier(
        ModelKey(name="tiny", factory="tests.samples:tiny"),
        next(folder.glob("ci/checkpoints/*/*/model.safetensors")),
        num_classes=2,
        in_channels=1,
        device="cpu",
    )
    val = datasets.load(str(folder / "data.npz"), None).val
    scores = metrics.softmax(classifier.predict(val.volumes, 32))
    return {
        "split": "val",
        "rule": "largest Youden index",
        "positives": [12, 12],
        "by_class": [
            pytest.approx(statistics.frozen_threshold(val.labels == k, scores[:, k]))
            for k in range(2)
        ],
    }


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plots take seconds, and one test makes them."""
    page = SimpleNamespace(html=Path("report.html"))
    monkeypatch.setattr("benchharness.ci.report.write", lambda _: page)


@pytest.mark.usefixtures("no_report")
def test_ci_fails_when_attacks_are_deleted_from_its_config(gate: Bench, tmp_path: Path) -> None:
    config = tmp_path / "bench.toml"
    config.write_text(config.read_text(encoding="utf-8").replace('attacks = ["fgsm"]\n', ""))
    code, said, _ = gate("--out", "less", "--format", "markdown")
    assert (code, said.splitlines()[0]) == (
        1,
        "### Robustness: failed, NEW lacks 1 endpoint of BASE",
    )
    code, _, error = gate("--out", "less", "--resume", "--allow-missing")
    assert code == 0, error
    metric = ("--metric", "accuracy,auc,balanced_accuracy,sensitivity")
    code, said, _ = gate(
        "--out", "less", "--resume", "--allow-missing", *metric, "--format", "json"
    )
    found = json.loads(said)
    assert (code, len(found["endpoints"])) == (0, 12)
    judged = [e["metric"] for e in found["endpoints"] if e["verdict"] == "indistinguishable"]
    assert judged == 2 * ["accuracy", "auc", "balanced_accuracy", "sensitivity"]
    assert len(found["origins"]["new"]["weights"][0]["sha256"]) == 64
    code, _, error = gate("--out", "never", "--metric", "f1")
    assert (code, error.count("\n"), (tmp_path / "never").exists()) == (2, 1, False)


@pytest.mark.usefixtures("no_report")
def test_a_budget_states_its_price(gate: Bench) -> None:
    code, _, error = gate("--out", "part", "--limit", "12")
    assert code == 0, error
    lines = [line for line in error.splitlines() if line.startswith("budget: ")]
    assert len(lines) == 3
    assert "12 of 24 volumes and 1 of 1 cells detect a difference of" in lines[0]
    smaller, larger = (float(word) for word in (lines[0].split()[-1][:-1], _detected(lines[0])))
    assert smaller < larger


def _detected(line: str) -> str:
    words = line.split()
    return words[words.index("difference") + 2]


@pytest.mark.usefixtures("no_report")
def test_minutes_that_do_not_suffice_leave_cells_out(
    gate: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("benchharness.ci.monotonic", lambda: next(clock))
    # One second each time it is asked: before the training and before each of eight cells.
    code, said, error = gate("--out", "part", "--max-minutes", 4.5 / 60, "--format", "json")
    found = json.loads(said)
    assert "budget: 5 cells were not started within the time given." in error
    assert sorted(gap["kind"] for gap in found["gaps"]) == ["missing", "missing"]
    assert code == 1, "a family that was not reached was not judged"
    clock = iter(range(1000))
    arguments = ("--max-minutes", 4.5 / 60, "--allow-missing")
    assert gate("--out", "allowed", *arguments)[0] == 0
    clock = iter(range(1000))
    code, _, error = gate("--out", "less", "--max-minutes", 4.5 / 60, "--strict")
    assert code == 1
    code, _, error = gate("--out", "none", "--max-minutes", 0.5 / 60)
    assert (code, "no cell was measured: 8 were not started" in error) == (2, True)
    code, _, error = gate("--out", "none", "--max-minutes", 0)
    assert (code, "--max-minutes must be more than 0" in error) == (2, True)


@pytest.mark.usefixtures("no_report")
def test_a_cell_that_fails_fails_the_step(gate: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchharness.run import evaluation

    real = evaluation.evaluate

    def broken(cell: object, *arguments: object, **settings: object) -> object:
        if cell.perturbation.name == "fgsm":  # type: ignore[attr-defined]
            raise RuntimeError("broken")
        return real(cell, *arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("benchharness.run.measuring.evaluation.evaluate", broken)
    code, _, error = gate("--out", "broken")
    assert (
        code,
        "failed: tiny · quick · data · fgsm 2/255 · seed 0: RuntimeError: broken" in error,
    ) == (
        1,
        True,
    )
