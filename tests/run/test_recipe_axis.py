"""Several recipes in one run: an axis of the matrix, and trainings that start from others."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from benchharness.errors import BenchError
from benchharness.networks import checkpoints
from benchharness.report.collect import collect
from benchharness.report.tables.summaries import overview
from benchharness.run import config, planning, runner
from benchharness.run.estimate import estimate
from benchharness.run.forecast import forecast
from benchharness.run.measuring import Setting
from benchharness.run.progress import Display
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.config import RunConfig
    from benchharness.run.summary import Summary


@pytest.fixture(autouse=True)
def short_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, changes in (
        ("quick", {}),
        ("adv_pgd", {"steps": 2, "selection_steps": 2, "ramp": 1}),
    ):
        short = dataclasses.replace(
            recipes.find(name), epochs=2, batch_size=24, learning_rate=0.01, **changes
        )
        monkeypatch.setitem(recipes.RECIPES, name, short)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_archive(tmp_path_factory.mktemp("data") / "data.npz")


def settings(data: Path, out: Path, **flags: Any) -> RunConfig:
    own = {"models": "tests.samples:tiny", "datasets": str(data), "device": "cpu", "out": out}
    return config.load(None, own | {"limit": 6} | flags)


def run(data: Path, out: Path, **flags: Any) -> tuple[Summary, str]:
    said = io.StringIO()
    summary = runner.run(settings(data, out, **flags), Display(Console(file=said, width=200)))
    return summary, said.getvalue()


def metrics(out: Path) -> dict[str, Any]:
    return {one: (r.metrics, r.predictions) for one, r in Store(out).records().items()}


def test_every_recipe_is_a_row_and_never_pooled(data: Path, tmp_path: Path) -> None:
    flags = {"recipes": "quick,adv_pgd", "attacks": "transfer", "eps": "8/255", "seeds": "0,1"}
    summary, said = run(data, tmp_path / "out", **flags)
    assert (summary.trained, summary.failures) == (4, ())
    assert "tiny · adv_pgd · data · clean · seed 0" in said
    findings = collect(tmp_path / "out")
    (dataset,) = findings.datasets
    names = ("tiny · adv_pgd", "tiny · quick")
    assert findings.models == names
    for name in names:
        assert findings.seeds(dataset, name) == (0, 1)
    # Every network meets every source of its seed, each under a name of its own.
    conditions = {row.condition for row in findings.rows if row.key.name == "transfer"}
    assert conditions == {f"transfer from {name} 8/255" for name in names}
    assert len(findings._by_place) == len(findings.rows) == 4 + 8
    table = overview(findings, dataset, each_seed=False)
    assert [row[0].text for row in table.rows] == [f"{name} (2 seeds)" for name in names]


@pytest.mark.slow
def test_what_a_recipe_starts_from_is_trained_first_by_any_number_of_workers(
    data: Path, tmp_path: Path
) -> None:
    serial, said = run(data, tmp_path / "serial", recipes="adv_pgd", seeds="0,1")
    assert serial.trained == 4
    assert said.index("(recipe quick, seed 0)") < said.index("(recipe adv_pgd, seed 0)")
    two, said = run(data, tmp_path / "two", recipes="adv_pgd", seeds="0,1", workers=2)
    assert (two.trained, two.failures) == (4, ())
    for seed in (0, 1):
        assert said.index(f"(recipe quick, seed {seed})") < said.index(
            f"(recipe adv_pgd, seed {seed})"
        )
    assert metrics(tmp_path / "two") == metrics(tmp_path / "serial")
    (own,) = (tmp_path / "two").glob("checkpoints/data/tiny-adv_pgd-seed0-*")
    (start,) = (tmp_path / "two").glob("checkpoints/data/tiny-quick-seed0-*")
    card, before = checkpoints.read_card(own), checkpoints.read_card(start)
    assert card is not None
    assert before is not None
    assert (card.start["recipe"], card.start["sha256"]) == ("quick", before.sha256)


def test_a_plan_counts_what_trainings_start_from(data: Path, tmp_path: Path) -> None:
    both = planning.plan(settings(data, tmp_path, recipes="quick,adv_pgd"))
    alone = planning.plan(settings(data, tmp_path, recipes="adv_pgd"))
    assert estimate(both, ()).trainings == estimate(alone, ()).trainings == 2
    found = forecast(both, (), Setting(device="cpu", batch_size=8))
    assert [row.model for row in found.rows] == ["tiny · quick", "tiny · adv_pgd"]


def test_how_the_start_is_trained_belongs_to_the_identity(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder(**flags: Any) -> str:
        (job,) = planning.plan(settings(data, tmp_path, recipes="adv_pgd", **flags)).jobs
        return job.weights.path.parent.name

    before = folder()
    assert folder() == before
    assert folder(recipe={"quick": {"epochs": 3}}) != before
    longer = {"longer": {"base": "quick"}, "adv_pgd": {"starts_from": "longer"}}
    assert folder(recipe=longer) != before


def test_without_its_start_nothing_is_trained(data: Path, tmp_path: Path) -> None:
    diverging = {"quick": {"learning_rate": 1e30, "weight_decay": 0.0, "epochs": 2}}
    summary, said = run(data, tmp_path, recipes="adv_pgd", recipe=diverging)
    assert summary.trained == 0
    assert [line.partition(":")[0] for line in summary.failures] == ["training tiny on data"] * 2
    assert "what it starts from failed: training failed: training diverged" in said
    (record,) = Store(tmp_path).records().values()
    assert record.status == "error"


def test_a_finished_checkpoint_needs_no_start(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, recipes="adv_pgd")
    (start,) = tmp_path.glob("checkpoints/data/tiny-quick-*")
    for file in start.iterdir():
        file.unlink()
    summary, _ = run(data, tmp_path, recipes="adv_pgd", train=False, attacks="fgsm", eps="8/255")
    assert (summary.trained, summary.failures) == (0, ())
    with pytest.raises(BenchError, match=r"no checkpoint of tiny on data \(recipe adv_pgd, seed 1"):
        run(data, tmp_path, recipes="adv_pgd", train=False, seeds="1")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"recipes": "quick,adv_pgdd"}, "unknown recipe 'adv_pgdd'. Did you mean 'adv_pgd'"),
        (
            {"recipe": {"mine": {"base": "quick"}}, "recipes": "quick"},
            "[recipe.mine] of the config makes a recipe that this run does not use. Add mine to "
            "--recipes or take the table out.",
        ),
        ({"recipe": "quick"}, "config key 'recipe' is for tables [recipe.NAME], got 'quick'. Name"),
        ({"recipe": {"mine": 3}}, "config key 'recipe.mine' must be a table, got 3."),
        ({"recipe": 3}, "config key 'recipe' must be a table, got 3."),
    ],
)
def test_mistakes_take_one_line(
    data: Path, tmp_path: Path, flags: dict[str, Any], said: str
) -> None:
    with pytest.raises(BenchError) as caught:
        planning.plan(settings(data, tmp_path / "out", **flags))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", ["quick", "mine", "mine,quick"])
def test_a_flag_may_leave_out_a_recipe_that_the_file_makes_and_asks_for(
    data: Path, tmp_path: Path, flag: str
) -> None:
    file = tmp_path / "bench.toml"
    text = 'recipes = ["quick", "mine", "third"]\n'
    text += '[recipe.mine]\nbase = "quick"\nepochs = 2\n'
    text += '[recipe.other]\nbase = "quick"\nepochs = 3\n'
    text += '[recipe.third]\nbase = "adv_pgd"\nstarts_from = "other"\n'
    file.write_text(text)
    own = {"models": "tests.samples:tiny", "datasets": str(data), "out": tmp_path / "out"}
    planned = planning.plan(config.load(file, own | {"recipes": flag}))
    assert {job.weights.recipe.name for job in planned.jobs if job.weights.recipe} == {
        *flag.split(",")
    }
    file.write_text(text.replace(', "third"', ""))
    with pytest.raises(BenchError, match=r"\[recipe.other\] .* does not use"):
        planning.plan(config.load(file, own | {"recipes": flag}))


def test_a_start_on_other_volumes_is_refused(tmp_path: Path) -> None:
    shape = samples.write_archive(tmp_path / "shape.npz")
    table = {"mine": {"base": "adv_pgd", "starts_from": "medmnist"}}
    with pytest.raises(
        BenchError, match=r"prepares the volumes of shape otherwise\. Set shape_scal"
    ):
        planning.plan(
            settings(shape, tmp_path / "out", recipes="mine", recipe=table, modality="shape")
        )


def test_a_card_tells_where_its_weights_began(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, recipes="quick,adv_pgd")
    cards = {
        content["recipe"]["name"]: content
        for path in tmp_path.glob("checkpoints/data/*/model_card.json")
        if (content := json.loads(path.read_text(encoding="utf-8")))
    }
    assert "start" not in cards["quick"]
    assert cards["adv_pgd"]["start"]["sha256"] == cards["quick"]["sha256"]
    assert cards["adv_pgd"]["recipe"]["eps"] == 4 / 255


def test_a_val_split_without_a_class_is_refused_before_any_training(
    data: Path, tmp_path: Path
) -> None:
    content = dict(np.load(data))
    content["val_labels"] = np.zeros_like(content["val_labels"])
    np.savez(tmp_path / "blind.npz", **content)
    summary, said = run(tmp_path / "blind.npz", tmp_path / "out", recipes="quick,adv_pgd")
    assert summary.trained == 0
    text = " ".join(said.split())
    assert "the val split has no volume of class 1, so no epoch has an AUC to be chosen by" in text
    assert 'with base = "quick" and keep = "last"' in text
    table = {"last": {"base": "quick", "epochs": 1, "keep": "last"}}
    own = {"recipes": "last", "recipe": table}
    summary, _ = run(tmp_path / "blind.npz", tmp_path / "out", **own)
    assert (summary.trained, summary.failures) == (1, ())


def test_least_steps_make_more_epochs_without_a_source_too(data: Path, tmp_path: Path) -> None:
    table = {"long": {"base": "quick", "epochs": 1, "batch_size": 24, "least_steps": 5}}
    run(data, tmp_path, recipes="long", recipe=table)
    (folder,) = tmp_path.glob("checkpoints/data/*")
    card = checkpoints.read_card(folder)
    assert card is not None
    steps = -(-len(samples.dataset().train) // 24)
    assert card.recipe["epochs"] == -(-5 // steps) > 1
