"""Training: recipes followed exactly, selection on val, the same bits after a kill."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from benchharness import disk, training
from benchharness.errors import BenchError, CellError
from benchharness.networks import checkpoints
from benchharness.networks.classifier import Classifier
from benchharness.networks.preprocessing import Preprocessing
from benchharness.statistics import metrics
from benchharness.store import cards
from benchharness.store.cells import ModelKey
from benchharness.training import augmentation, beginning, loop, recipes, resuming
from benchharness.training.job import batches
from tests import samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.datasets import Dataset
    from benchharness.training.recipe import Recipe

MODEL = ModelKey(name="tiny", factory="tests.samples:tiny")
RECIPE = dataclasses.replace(recipes.find("quick"), epochs=3, batch_size=8, learning_rate=0.01)


_PLAIN = {
    "balanced": False,
    "averaging": 0.0,
    "mixup": 0.0,
    "rotation": 0.0,
    "zoom": 0.0,
    "shift": 0.0,
    "noise": 0.0,
    "artefacts": (),
    "artefact_levels": (),
    "artefact_share": 0.0,
    "eps": 0.0,
    "steps": 0,
    "relative_step": 0.0,
    "trades": 0.0,
    "ramp": 0,
    "selection_steps": 0,
    "overfitting_gap": 0.0,
    "label_smoothing": 0.0,
    "optimiser": "adamw",
    "weight_decay": 0.05,
    "schedule": "one-cycle",
}
"""What makes `quick` of any recipe, at the same epochs and rate."""


def job(
    directory: Path, *, recipe: Recipe = RECIPE, seed: int = 0, **changes: object
) -> training.Job:
    dataset: Dataset = dataclasses.replace(samples.dataset(), **changes)
    return training.Job(model=MODEL, dataset=dataset, recipe=recipe, seed=seed, directory=directory)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / checkpoints.WEIGHTS)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        loop.train(job(tmp_path / name, seed=seed), device="cpu")
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("killed_after", [1, 2])
def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    loop.train(job(tmp_path / "whole"), device="cpu")
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)

    def kill(epoch: training.EpochReport) -> None:
        if epoch.epoch == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(job(tmp_path / "killed"), device="cpu", report=kill)
    assert checkpoints.read_card(tmp_path / "killed") is None
    seen: list[int] = []
    loop.train(
        job(tmp_path / "killed"), device="cpu", report=lambda epoch: seen.append(epoch.epoch)
    )
    assert seen == list(range(killed_after + 1, RECIPE.epochs + 1))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert not (tmp_path / "killed" / resuming.RESUME).exists()


def whole_and_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    """Train at once, and again with a kill after the first epoch: the weights are the same."""
    card = loop.train(job(tmp_path / "whole", recipe=recipe), device="cpu")
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)

    def kill(epoch: training.EpochReport) -> None:
        if epoch.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(job(tmp_path / "killed", recipe=recipe), device="cpu", report=kill)
    again = loop.train(job(tmp_path / "killed", recipe=recipe), device="cpu")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert (again.selection_epoch, again.sha256) == (card.selection_epoch, card.sha256)


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"transposes": True}, {"balanced": True}])
def test_settings_that_no_recipe_has_alone_go_on_after_a_kill_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    whole_and_killed(tmp_path, monkeypatch, dataclasses.replace(RECIPE, **changes))
    loop.train(job(tmp_path / "plain"), device="cpu")
    assert not same(weights(tmp_path / "whole"), weights(tmp_path / "plain"))


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_goes_on_after_a_kill_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    recipe = dataclasses.replace(
        recipes.find(name), epochs=2, batch_size=24, learning_rate=0.01, starts_from=""
    )
    if recipe.eps:
        few = min(recipe.steps, 2)
        recipe = dataclasses.replace(recipe, steps=few, selection_steps=1, ramp=1)
    whole_and_killed(tmp_path, monkeypatch, recipe)
    # The recipe did something: its weights are not those of `quick`. The recipes for few volumes
    # differ from it in how long they go on and in the epoch that they keep.
    if name not in ("quick", "finetune", "scratch"):
        plain = dataclasses.replace(recipe, **_PLAIN, name="plain", flips=True)
        loop.train(job(tmp_path / "plain", recipe=plain), device="cpu")
        assert not same(weights(tmp_path / "whole"), weights(tmp_path / "plain"))


def test_a_state_that_began_with_other_weights_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint that a recipe starts from may have been trained anew meanwhile."""
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    recipe = dataclasses.replace(RECIPE, starts_from="medmnist")
    starts = []
    for seed in (0, 1):
        made = loop.train(job(tmp_path / str(seed), seed=seed), device="cpu")
        own = tmp_path / "checkpoints" / str(seed) / made.folder
        own.parent.mkdir(parents=True)
        (tmp_path / str(seed)).rename(own)
        starts.append(own)

    def begin(start: Path, **options: Any) -> list[str]:
        notes: list[str] = []
        work = dataclasses.replace(job(tmp_path / "own", recipe=recipe), start=start)
        loop.train(work, device="cpu", note=notes.append, **options)
        return notes

    def kill(_: training.EpochReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(starts[0], report=kill)
    (note,) = begin(starts[1])
    assert "it began with other weights): the training starts anew" in note


def test_the_weights_kept_are_those_of_the_best_val_auc(tmp_path: Path) -> None:
    reports: list[training.EpochReport] = []
    card = loop.train(job(tmp_path), device="cpu", report=reports.append)
    aucs = [report.val_auc for report in reports]
    assert None not in aucs
    assert card.selection_epoch == int(np.argmax(np.asarray(aucs, float))) + 1
    assert card.val_metrics["auc"] == max(auc for auc in aucs if auc is not None)
    assert card.selection_split == "val"


def test_the_card_tells_the_truth_about_its_checkpoint(tmp_path: Path) -> None:
    work = job(tmp_path)
    card = loop.train(work, device="cpu")
    assert card == cards.parse(tmp_path / checkpoints.CARD)
    assert card.sha256 == disk.file_sha256(tmp_path / checkpoints.WEIGHTS)
    assert card.dataset_digest == work.dataset.digest
    classifier = checkpoints.load_classifier(
        MODEL, tmp_path / checkpoints.WEIGHTS, num_classes=2, in_channels=1, device="cpu"
    )
    for split, claimed in (
        (work.dataset.val, card.val_metrics),
        (work.dataset.test, card.test_metrics),
    ):
        logits = classifier.predict(split.volumes, RECIPE.batch_size)
        assert metrics.compute(split.labels, logits)[0] == claimed
    assert (
        json.loads((tmp_path / checkpoints.CARD).read_text(encoding="utf-8"))["recipe"]["name"]
        == "quick"
    )


def test_the_official_recipe_scales_shape_sets_and_nothing_else() -> None:
    medmnist = recipes.find("medmnist")
    assert medmnist.preprocessing("shape") == Preprocessing(scale=0.5)
    assert medmnist.scales_randomly("shape")
    assert medmnist.preprocessing("ct") == Preprocessing()
    assert not medmnist.scales_randomly("ct")
    assert (medmnist.epochs, medmnist.batch_size, medmnist.learning_rate) == (100, 32, 1e-3)
    assert (medmnist.optimiser, medmnist.weight_decay) == ("adam", 0.0)


def test_steps_divide_the_learning_rate_at_half_and_three_quarters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(recipes.find("medmnist"), epochs=8, batch_size=32)
    states: list[float] = []
    step = loop.epoch

    def spy(work: training.Job, state: resuming.State, classifier: object) -> float:
        states.append(state.optimiser.param_groups[0]["lr"])
        return step(work, state, classifier)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "epoch", spy)
    loop.train(job(tmp_path, recipe=recipe), device="cpu")
    assert states == pytest.approx([1e-3] * 4 + [1e-4] * 2 + [1e-5] * 2)


def test_random_scaling_replaces_the_fixed_one(tmp_path: Path) -> None:
    recipe = dataclasses.replace(recipes.find("medmnist"), epochs=1, batch_size=8)
    highest: list[float] = []
    work = job(tmp_path, recipe=recipe, modality="shape")
    state = beginning.begin(work, "cpu")
    state.network.register_forward_pre_hook(
        lambda _, inputs: highest.extend(inputs[0].flatten(1).amax(1).tolist())
    )
    classifier = Classifier(state.network, Preprocessing(scale=0.5), num_classes=2, device="cpu")
    loop.epoch(work, state, classifier)
    brightest = np.sort(work.dataset.train.volumes.reshape(len(highest), -1).max(1)) / 255
    # A factor from U(0, 1) a volume: some above the fixed 0.5, none above the volume's own maximum.
    assert max(highest) > 0.6 * brightest.max()
    assert len({round(value, 6) for value in highest}) > len(highest) // 2


def test_flips_are_of_whole_volumes_and_leave_none_changed_otherwise() -> None:
    volumes = np.arange(4 * 27, dtype=np.uint8).reshape(4, 1, 3, 3, 3)
    draws = np.random.Generator(np.random.PCG64(0))
    flipped = augmentation.flipped(volumes, RECIPE, draws)
    for before, after in zip(volumes, flipped, strict=True):
        assert sorted(before.ravel()) == sorted(after.ravel())
    assert not np.array_equal(volumes, flipped)
    still = dataclasses.replace(RECIPE, flips=False)
    assert augmentation.flipped(volumes, still, draws) is volumes


def test_a_last_batch_of_one_volume_is_left_out() -> None:
    assert [batch.stop - batch.start for batch in batches(17, 8)] == [8, 8]
    assert [batch.stop - batch.start for batch in batches(18, 8)] == [8, 8, 2]


def test_a_diverging_training_is_an_error_not_a_checkpoint(tmp_path: Path) -> None:
    diverging = dataclasses.replace(RECIPE, learning_rate=1e30, weight_decay=0.0)
    with pytest.raises(CellError, match=r"training diverged: the loss was (nan|inf) in epoch \d"):
        loop.train(job(tmp_path, recipe=diverging), device="cpu")
    assert checkpoints.read_card(tmp_path) is None


def test_training_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loop.train(job(tmp_path), device="cpu")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "another", "no file of torch"])
def test_a_damaged_state_starts_the_training_anew_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    loop.train(job(tmp_path / "whole"), device="cpu")
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)

    def kill(epoch: training.EpochReport) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(job(tmp_path / "killed"), device="cpu", report=kill)
    saved = tmp_path / "killed" / resuming.RESUME
    content = bytearray(saved.read_bytes())
    if damage == "another":
        resuming.save(saved, {"network": {}, "epoch": 1})
    else:
        content[len(content) // 2] ^= 1
        saved.write_bytes(
            {
                "empty": b"",
                "cut": bytes(content[: len(content) // 3]),
                "flipped": bytes(content),
                "no file of torch": b"x" * 1000,
            }[damage]
        )
    noted: list[str] = []
    seen: list[int] = []
    loop.train(
        job(tmp_path / "killed"),
        device="cpu",
        report=lambda epoch: seen.append(epoch.epoch),
        note=noted.append,
    )
    assert seen == [1, 2, 3]
    (line,) = noted
    assert line.startswith(f"{saved} is damaged (")
    assert line.endswith("): the training starts anew")
    assert "\n" not in line
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_finished_weights_are_never_trained_again(tmp_path: Path) -> None:
    card = loop.train(job(tmp_path / "first"), device="cpu")
    # A card is believed only in the folder that is named after its training.
    place = tmp_path / card.folder
    place.parent.mkdir()
    (tmp_path / "first").rename(place)
    before = (place / checkpoints.WEIGHTS).stat().st_mtime_ns
    seen: list[object] = []
    assert loop.train(job(place), device="cpu", report=seen.append) == card
    assert seen == []
    assert (place / checkpoints.WEIGHTS).stat().st_mtime_ns == before


FULL = [
    OSError(28, "No space left on device"),
    RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"),
    SafetensorError("Error while serializing: IoError(Os { code: 28 })"),
]
"""What the libraries raise when a disk is full."""


@pytest.mark.parametrize("error", FULL)
@pytest.mark.parametrize("place", ["torch.save", "save_file", "write_atomically"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    if place == "torch.save":
        monkeypatch.setattr(torch, "save", full)
    else:
        monkeypatch.setattr(checkpoints, place, full)
    with pytest.raises(BenchError, match=r"^cannot write .*(Make room|Free some space)") as caught:
        loop.train(job(tmp_path), device="cpu")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".*.partial"))
    assert checkpoints.read_card(tmp_path) is None


def test_what_training_changes_of_the_process_is_put_back(tmp_path: Path) -> None:
    model = ModelKey(name="trespasser", factory="tests.hostile:trespasser")
    threads = torch.get_num_threads()
    loop.train(dataclasses.replace(job(tmp_path), model=model), device="cpu")
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_num_threads() == threads
