"""`--train-on`, `--adapt`, `--shots` and `--select`: sources as an axis of the matrix."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from benchharness.errors import BenchError
from benchharness.run import config, planning, runner
from benchharness.run.estimate import estimate
from benchharness.run.progress import Display
from benchharness.store import cards as cards_of
from benchharness.store import carried
from benchharness.store.cells import describe
from benchharness.store.folder import Store
from benchharness.training import loop, recipes
from tests import sources

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.config import RunConfig
    from benchharness.run.summary import Summary
    from benchharness.store.cards import ModelCard

METHODS = ("none", "instance_norm", "adabn", "coral", "dann", "entropy")


@pytest.fixture(autouse=True)
def short_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, changes in (
        ("quick", {"epochs": 2}),
        ("finetune", {"epochs": 1, "least_steps": 3}),
        ("scratch", {"epochs": 1, "least_steps": 3}),
    ):
        short = dataclasses.replace(recipes.find(name), learning_rate=0.01, **changes)
        monkeypatch.setitem(recipes.RECIPES, name, short)


def settings(out: Path, **flags: Any) -> RunConfig:
    own: dict[str, Any] = {
        "models": "tests.samples:tiny",
        "datasets": "tests.sources:dark",
        "train_on": "tests.sources:bright",
        "recipes": "quick",
        "device": "cpu",
        "limit": 8,
        "out": out,
    }
    return config.load(None, own | flags)


def run(out: Path, **flags: Any) -> tuple[Summary, str]:
    said = io.StringIO()
    summary = runner.run(settings(out, **flags), Display(Console(file=said, width=200)))
    return summary, said.getvalue()


def metrics(out: Path) -> dict[str, Any]:
    return {one: (r.metrics, r.predictions) for one, r in Store(out).records().items()}


def weights(out: Path) -> dict[str, str]:
    """SHA-256 of every checkpoint by what its cells are called."""
    cells = [record.cell for record in Store(out).records().values()]
    return {describe(cell): str(cell.checkpoint.sha256) for cell in cells}


def cards(out: Path) -> list[ModelCard]:
    found = out.glob("checkpoints/dark/*/model_card.json")
    return [cards_of.parse(place) for place in found]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every method from `bright` to `dark`, with both bounds."""
    out = tmp_path_factory.mktemp("matrix")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        summary, _ = run(
            out,
            train_on="tests.sources:bright,tests.sources:dark",
            adapt=",".join(METHODS),
        )
    assert summary.failures == ()
    return out


def test_every_method_is_a_row_between_the_bounds(matrix: Path) -> None:
    names = [describe(record.cell) for record in Store(matrix).records().values()]
    by = [f" by {method}" for method in METHODS[1:]]
    rows = [f"tiny from bright{way} · " for way in ("", *by)]
    assert len(names) == len(METHODS) + 1
    for row in (*rows, "tiny · quick · dark"):
        assert sum(name.startswith(row) for name in names) == 1


def test_the_card_holds_source_method_target_selection_and_shots(
    matrix: Path, tmp_path: Path
) -> None:
    by = {card.transfer.get("adapt"): card for card in cards(matrix)}
    assert by[None].selection_split == "val"
    assert by["coral"].transfer == {
        "train_on": "bright",
        "train_on_digest": "sha256:bright",
        "adapt": "coral",
        "adapt_version": 1,
    }
    assert (by["coral"].dataset, by["coral"].selection_split) == ("dark", "source val")
    assert (by["adabn"].selection_split, by["adabn"].val_metrics) == ("none", {})
    run(tmp_path, adapt="coral", select="target_val", shots="0,16")
    found = {(card.transfer.get("shots", 0), card.selection_split) for card in cards(tmp_path)}
    # The weights that 16 shots start from were chosen on the source's val.
    assert found == {(0, "target val"), (0, "source val"), (16, "target val")}
    names = [describe(record.cell) for record in Store(tmp_path).records().values()]
    assert all("chosen on target val" in name for name in names)


def test_labels_of_the_target_are_never_read(
    matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "dark", sources.shuffled)
    summary, _ = run(tmp_path, adapt=",".join(METHODS))
    assert summary.failures == ()
    own = weights(tmp_path)
    assert len(own) == len(METHODS)
    assert own == {name: weights(matrix)[name] for name in own}


def test_shuffled_labels_show_where_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "a", shots="16")
    monkeypatch.setattr(sources, "dark", sources.shuffled)
    run(tmp_path / "b", shots="16")
    assert weights(tmp_path / "a") != weights(tmp_path / "b")


def test_methods_make_different_weights(matrix: Path) -> None:
    found = weights(matrix)
    assert len(set(found.values())) == len(found)


def test_nothing_is_trained_twice(matrix: Path, tmp_path: Path) -> None:
    again, _ = run(matrix, adapt="none,adabn,coral")
    assert (again.trained, again.evaluated) == (0, 0)
    # The source's own training is what is judged on every target.
    summary, _ = run(
        tmp_path,
        datasets="tests.sources:dark,tests.sources:bright",
        train_on="tests.sources:bright,tests.sources:dark",
    )
    assert (summary.trained, len(summary.identities)) == (2, 4)


def test_a_plan_counts_shared_trainings_once(tmp_path: Path) -> None:
    plan = planning.plan(
        settings(
            tmp_path,
            train_on="tests.sources:bright,none",
            adapt="none,adabn",
            shots="0,16",
        )
    )
    assert len(plan.jobs) == 5
    assert estimate(plan, ()).trainings == 5
    names = [describe(cell) for cell in plan.cells]
    assert any("tiny from bright by adabn, 16 shots" in name for name in names)


def test_a_killed_adaptation_resumes_to_the_bit(
    matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    whole = loop.epoch
    calls = iter(range(100))

    def dying(*args: Any) -> float:
        if next(calls) in (1, 6):
            raise RuntimeError("killed")
        return whole(*args)

    monkeypatch.setattr(loop, "epoch", dying)
    killed = {"adapt": "dann,entropy"}
    run(tmp_path, **killed)
    run(tmp_path, **killed)
    monkeypatch.setattr(loop, "epoch", whole)
    run(tmp_path, **killed)
    assert next(calls) > 6
    own = {name: sha for name, sha in weights(tmp_path).items() if sha != "None"}
    assert own == {name: weights(matrix)[name] for name in own}
    assert len(own) == 2


def test_shots_from_a_source_and_from_scratch(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, train_on="tests.sources:other,none", shots="8,all", recipes="quick")
    assert summary.failures == ()
    records = Store(tmp_path).records().values()
    found = [carried.of(record.cell.checkpoint.recipe) for record in records]
    assert {(one.source, one.shots, one.differ) for one in found if one is not None} == {
        ("other", 8, True),
        ("other", "all", True),
        ("none", 8, False),
        ("none", "all", False),
    }
    # The first layer takes one channel in place of two, and the head two classes in place of three.
    few = sorted(tmp_path.glob("checkpoints/dark/tiny-finetune-*/model.safetensors"))[0]
    state = load_file(few)
    assert state["features.0.weight"].shape[1] == 1
    assert state["head.weight"].shape[0] == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())


def test_weights_that_two_trainings_gave_are_measured_for_both_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = dataclasses.replace(recipes.find("quick"), name="scratch")
    monkeypatch.setitem(recipes.RECIPES, "scratch", same)
    summary, said = run(tmp_path, train_on="tests.sources:dark,none", shots="all")
    assert summary.failures == ()
    assert len(set(weights(tmp_path).values())) == 1
    assert (
        "tiny from scratch, all shots · scratch · dark · clean · seed 0 has the weights of tiny · "
        "quick · dark · clean · seed 0, bit for bit: both are measured"
    ) in " ".join(said.split())
    cells = [record.cell for record in Store(tmp_path).records().values()]
    asked = [(cell.checkpoint.recipe_name, cell.perturbation) for cell in cells]
    both = [{key for name, key in asked if name == one} for one in ("quick", "scratch")]
    assert both[0] == both[1]
    assert sum(map(len, both)) == len(cells)
    _, again = run(tmp_path, train_on="tests.sources:dark", recipes="quick")
    assert "has the weights of" not in again


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            {"train_on": "tests.sources:other"},
            "other → dark: labels do not correspond; with --shots K the head is trained anew; read "
            "as few-shot pre-training only.",
        ),
        (
            {"train_on": "tests.sources:other", "adapt": "coral", "shots": "16"},
            "other → dark: labels do not correspond, so --adapt coral would align other classes.",
        ),
        (
            {"shots": "8", "recipe": {"finetune": {"starts_from": "adv_pgd"}}},
            "[recipe.finetune] has starts_from = 'adv_pgd', and with --shots it begins with the "
            "source's weights. Take starts_from out.",
        ),
        (
            {"shots": "8", "train_on": "none", "recipe": {"scratch": {"starts_from": "quick"}}},
            "[recipe.scratch] has starts_from = 'quick', and with --shots it begins with random "
            "weights. Take starts_from out.",
        ),
        (
            {"shots": "8", "recipe": {"finetune": {"balanced": True}}},
            "[recipe.finetune] is balanced, which fits a bias to the val split, and with --shots",
        ),
        ({"adapt": "corla"}, "unknown adaptation 'corla'. Did you mean 'coral'?"),
        ({"shots": "some"}, "--shots takes whole numbers"),
        ({"shots": "500"}, "--shots 500 is more than dark has: 48 volumes in its train split."),
        ({"select": "test"}, "--select takes source_val or target_val, got 'test'."),
        ({"train_on": "none"}, "--train-on none learns from few volumes of the target. Add"),
        ({"train_on": None, "adapt": "coral"}, "--adapt is about a source, and there is none."),
        (
            {"adapt": "dann", "recipes": "adv_pgd"},
            "--adapt dann aligns the features of clean volumes, and recipe 'adv_pgd' trains on",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    tmp_path: Path, flags: dict[str, Any], said: str
) -> None:
    with pytest.raises(BenchError) as error:
        planning.plan(settings(tmp_path / "out", **flags))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_workers_do_as_one(matrix: Path, tmp_path: Path) -> None:
    summary, _ = run(tmp_path, adapt=",".join(METHODS), workers=2)
    assert summary.failures == ()
    own = metrics(tmp_path)
    assert own == {one: metrics(matrix)[one] for one in own}
