"""Weights are loaded strictly or not at all, and nothing in them is run."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from benchharness import disk
from benchharness.errors import BenchError
from benchharness.networks import checkpoints
from benchharness.networks.formats import content
from benchharness.store.cards import CARD, WEIGHTS, ModelCard
from benchharness.store.cells import ModelKey
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

MODEL = ModelKey(name="tiny", factory="tests.samples:tiny")


def card(sha256: str) -> ModelCard:
    return ModelCard(
        model="tiny",
        factory=MODEL.factory,
        arguments={},
        preprocessing={},
        dataset="sample",
        dataset_digest="sha256:sample",
        num_classes=3,
        in_channels=1,
        recipe={"name": "quick"},
        seed=0,
        selection_split="val",
        selection_epoch=2,
        val_metrics={"auc": 0.9},
        test_metrics={"auc": None},
        sha256=sha256,
        provenance={"device": "cpu"},
    )


def weights(seed: int = 1, **arguments: Any) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return samples.tiny(3, **arguments).state_dict()


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def refusal(path: Path, state: Mapping[str, Any] | None = None) -> str:
    if state is not None:
        torch.save(dict(state), path)
    with pytest.raises(BenchError) as caught:
        checkpoints.load_classifier(MODEL, path, num_classes=3, in_channels=1, device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files.


def test_weights_survive_the_round_trip_and_the_same_give_the_same_digest(tmp_path: Path) -> None:
    state = weights()
    digest = checkpoints.save(tmp_path / "a", state)
    assert digest == disk.file_sha256(tmp_path / "a" / WEIGHTS)
    assert digest == checkpoints.save(tmp_path / "b", state)
    assert digest != checkpoints.save(tmp_path / "c", weights(seed=2))
    assert_same(content.read(tmp_path / "a" / WEIGHTS, flag="--checkpoint"), state)
    assert [path.name for path in (tmp_path / "a").iterdir()] == [WEIGHTS]


def test_tied_and_strided_weights_are_saved(tmp_path: Path) -> None:
    tensor = torch.arange(12.0).reshape(3, 4)
    state = {"a": tensor, "tied": tensor, "strided": tensor.T, "view": tensor[1]}
    checkpoints.save(tmp_path, state)
    assert_same(content.read(tmp_path / WEIGHTS, flag="--checkpoint"), state)


def test_an_absent_file(tmp_path: Path) -> None:
    path = tmp_path / "absent.pth"
    expected = f"no checkpoint at {path}. Check the path given to --checkpoint."
    assert refusal(path) == expected
    assert refusal(tmp_path) == expected.replace(str(path), str(tmp_path)), "a folder is none"


SAVE = "Save the weights alone: torch.save(network.state_dict(), PATH) in the program that made it"


class Trap:
    """Unpickling it would fail the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was executed",)


@pytest.mark.parametrize("protocol", ["torch", "legacy", "pickle"])
def test_a_malicious_pickle_is_refused_without_running_it(tmp_path: Path, protocol: str) -> None:
    path = tmp_path / "evil.pth"
    content = {"head.weight": Trap()}
    if protocol == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=protocol == "torch")
    said = refusal(path)
    assert said.startswith(f"cannot read checkpoint {path}: it ")
    assert said.endswith(f"{SAVE}.")
    if protocol != "pickle":
        assert "it holds _pytest.outcomes." in said


def test_a_whole_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    torch.save(nn.Linear(1, 1), path)
    assert refusal(path) == (
        f"cannot read checkpoint {path}: it holds torch.nn.modules.linear.Linear, and opening that "
        f"could run code. A whole network saved by torch.save(network, …) is such a file. {SAVE}."
    )


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {"state_dict": {"a": "x"}}, 7])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    assert refusal(path) == f"checkpoint {path} is not a state dict of tensors."


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    if name.endswith(".pth"):
        torch.save(weights(), path)
    else:
        checkpoints.save(tmp_path, weights())
        (tmp_path / WEIGHTS).rename(path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"text\n" * 9}[damage])
    assert refusal(path).startswith(f"cannot read checkpoint {path}: ")


# Fit.


def test_a_classifier_has_the_weights_and_the_preprocessing_of_its_model(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, weights())
    model = replace(MODEL, preprocessing=(("scale", 0.5),))
    made = checkpoints.load_classifier(
        model, tmp_path / WEIGHTS, num_classes=3, in_channels=1, device="cpu"
    )
    assert_same(made.network.state_dict(), weights())
    assert made.preprocessing.scale == 0.5


MISFIT = "Pass the checkpoint of this model, trained for this number of classes and channels."


def test_missing_and_surplus_keys_are_counted_and_named(tmp_path: Path) -> None:
    path, state = tmp_path / "w.pth", weights()
    del state["features.0.weight"]
    state["fc.weight"] = state.pop("head.weight")
    assert refusal(path, state) == (
        f"checkpoint {path} does not fit model 'tiny': 2 keys are missing (first: "
        "features.0.weight); 1 keys are not the network's (first: fc.weight). " + MISFIT
    )


def test_another_number_of_classes_is_named(tmp_path: Path) -> None:
    path, state = tmp_path / "w.pth", weights()
    state["head.weight"] = torch.zeros(2, 6)
    assert refusal(path, state) == (
        f"checkpoint {path} does not fit model 'tiny': head.weight has shape (2, 6), expected "
        "(3, 6). " + MISFIT
    )


def test_an_empty_state_dict_does_not_fit(tmp_path: Path) -> None:
    count = len([name for name in weights() if not name.endswith("num_batches_tracked")])
    assert f": {count} keys are missing (first: " in refusal(tmp_path / "w.pth", {})


# Model cards; their own tests are those of the store.


def test_a_card_survives_the_round_trip(tmp_path: Path) -> None:
    place = tmp_path / card("").folder
    assert checkpoints.read_card(place) is None
    made = card(checkpoints.save(place, weights()))
    assert checkpoints.read_card(place) is None, "without a card it is not finished"
    checkpoints.save_card(place, made)
    assert checkpoints.read_card(place) == made
    assert sorted(p.name for p in place.iterdir()) == [WEIGHTS, CARD]


# Values of another type.


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.cfloat])
def test_weights_that_would_be_cast_to_floats_are_refused(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    """int8 weights lack their scale: cast to floats they are another network."""
    state = weights()
    state["head.weight"] = (state["head.weight"] * 100).to(dtype)
    assert refusal(tmp_path / "w.pth", state) == (
        f"checkpoint {tmp_path / 'w.pth'} does not fit model 'tiny': head.weight holds "
        f"{str(dtype).removeprefix('torch.')}, expected float32. " + MISFIT
    )


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_weights_are_refused() -> None:
    scaled = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    assert checkpoints.miscast({"w": scaled}, {"w": torch.ones(2)}) == [
        "w holds qint8, expected float32"
    ]


def test_floats_that_would_be_cast_to_integers_are_refused() -> None:
    found, wanted = {"count": torch.tensor(1.5)}, {"count": torch.tensor(1)}
    assert checkpoints.miscast(found, wanted) == ["count holds float32, expected int64"]


def test_a_float_of_another_width_is_taken_if_it_holds_every_value(tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        state = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in weights().items()
        }
        torch.save(state, tmp_path / "w.pth")
        checkpoints.load_classifier(
            MODEL, tmp_path / "w.pth", num_classes=3, in_channels=1, device="cpu"
        )
    state["head.bias"] = torch.full((3,), 1e300, dtype=torch.float64)
    assert "head.bias holds float64 too large for float32" in refusal(tmp_path / "w.pth", state)


def test_an_integer_of_another_width_is_taken_if_it_holds_every_value() -> None:
    small, wide = torch.tensor(7, dtype=torch.int32), torch.tensor(1 << 40)
    assert checkpoints.miscast({"n": small}, {"n": wide}) == []
    assert checkpoints.miscast({"n": wide}, {"n": small}) == ["n holds int64 too large for int32"]
    assert checkpoints.miscast({"n": torch.tensor(7)}, {"n": small}) == []


def test_quantised_weights_under_another_name_are_found_too() -> None:
    found = {"module.w": torch.zeros(2, dtype=torch.int8)}
    assert checkpoints.miscast(found, {"w": torch.zeros(2)}) == [
        "module.w holds quantised weights (int8), expected floats"
    ]


# Folders.


def test_any_change_of_what_is_trained_changes_the_folder(tmp_path: Path) -> None:
    recipe = (("epochs", 12), ("name", "quick"))
    arguments: dict[str, Any] = {
        "root": tmp_path,
        "model": MODEL,
        "dataset": "sample",
        "digest": "md5:x",
        "recipe": recipe,
        "seed": 0,
    }
    plain = checkpoints.folder(**arguments)
    assert plain.parent == tmp_path / "sample"
    assert plain.name.startswith("tiny-quick-seed0-")
    changes: list[dict[str, Any]] = [
        {"model": replace(MODEL, factory="tests.samples:wider")},
        {"model": replace(MODEL, arguments=(("width", 4),))},
        {"model": replace(MODEL, preprocessing=(("scale", 0.5),))},
        {"digest": "md5:y"},
        {"recipe": (("epochs", 13), ("name", "quick"))},
        {"seed": 1},
    ]
    folders = {checkpoints.folder(**(arguments | change)).name for change in changes}
    assert len(folders | {plain.name}) == 7
    assert np.unique([len(name) for name in folders]).size == 1


@pytest.mark.parametrize("part", ["model", "dataset"])
def test_a_name_that_no_file_system_takes_is_one_line(tmp_path: Path, part: str) -> None:
    name = "ä" * 130
    model = replace(MODEL, name=name) if part == "model" else MODEL
    dataset = name if part == "dataset" else "sample"
    with pytest.raises(BenchError, match=rf"^the name of {part} 'ä.* Give it a shorter one\.$"):
        checkpoints.folder(tmp_path, model, dataset, "md5:x", (("name", "quick"),), 0)


def test_a_full_disk_is_one_line_and_leaves_the_weights_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(tmp_path, weights())
    before = (tmp_path / WEIGHTS).read_bytes()

    def full(state: Mapping[str, Tensor], path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(BenchError, match=r"^cannot write checkpoint .*: No space left on device\."):
        checkpoints.save(tmp_path, weights(seed=2))
    assert (tmp_path / WEIGHTS).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]
