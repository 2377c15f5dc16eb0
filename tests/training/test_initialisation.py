"""Initial weights: found, loaded, part of the identity, told by the card; every misfit one line."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchharness import disk, training
from benchharness.errors import BenchError
from benchharness.networks import checkpoints
from benchharness.run import config, planning
from benchharness.store import cards
from benchharness.store.cells import ModelKey
from benchharness.training import beginning, initialisation, loop, recipes
from medvit3d import medvit3d_cbam, medvit3d_t
from medvit3d.public_names import cbam_name, port_names
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor


class Willing(nn.Module):
    """A plug-in's network that takes a convolution over and keeps its own head."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, 4, 3, padding=1)
        self.head = nn.Linear(4, num_classes)

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv(volumes).relu().mean(dim=(2, 3, 4)))
        return logits

    def initialise_from(self, state: Mapping[str, Tensor], *, method: str) -> str:
        if method != "centre":
            raise ValueError(f"method must be centre, got {method!r}")
        own = {name: state[name] for name in ("conv.weight", "conv.bias")}
        self.load_state_dict(own, strict=False)
        return "one convolution\ntaken over"


def willing(num_classes: int, in_channels: int = 1) -> nn.Module:
    """Factory of `Willing`."""
    return Willing(num_classes, in_channels)


MODEL = "tests.training.test_initialisation:willing"
STATE = {"conv.weight": torch.full((4, 1, 3, 3, 3), 0.5), "conv.bias": torch.zeros(4)}


def medvit2d(classes: int = 1000) -> dict[str, Tensor]:
    """State dict of a 2-D MedViT small with generated weights, under its public names."""
    with torch.device("meta"):
        network = medvit3d_t(classes, in_channels=3)
    public = port_names(network.architecture)
    draws = torch.Generator().manual_seed(3)
    state = {}
    for name, tensor in network.state_dict().items():
        shape = tensor.shape[:2] + tensor.shape[3:] if tensor.ndim == 5 else tensor.shape
        drawn = torch.empty(shape).normal_(0, 0.05, generator=draws)
        if tensor.dtype == torch.int64:
            state[public(name)] = torch.zeros(shape, dtype=torch.int64)
        else:
            near_one = name.endswith(("running_var", "norm.weight"))
            state[public(name)] = drawn.abs() + 0.5 if near_one else drawn
    return state


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.fixture
def plan_of(tmp_path: Path) -> Any:
    data = samples.write_archive(tmp_path / "data.npz")

    def plan(init: object = None, **flags: Any) -> planning.Job:
        settings = {"models": MODEL, "datasets": str(data), "out": tmp_path / "out", "init": init}
        (job,) = planning.plan(config.load(None, settings | flags)).jobs
        return job

    return plan


def test_the_same_recipe_from_other_weights_is_another_training(
    plan_of: Any, weights: Path, tmp_path: Path
) -> None:
    torch.save(STATE | {"conv.bias": torch.ones(4)}, tmp_path / "other.pth")
    elsewhere = tmp_path / "elsewhere.pth"
    elsewhere.write_bytes(weights.read_bytes())
    jobs = [plan_of(), plan_of(str(weights)), plan_of(str(tmp_path / "other.pth"))]
    assert len({job.weights.path for job in jobs}) == 3
    assert len({job.cells[0].identity for job in jobs}) == 3
    again = plan_of(str(elsewhere))
    assert (again.weights.path, again.cells[0].identity) == (
        jobs[1].weights.path,
        jobs[1].cells[0].identity,
    )
    recipe = dict(jobs[1].cells[0].checkpoint.recipe)
    assert recipe["init_sha256"] == disk.file_sha256(weights)


def test_a_model_of_its_own_before_the_one_for_all(
    plan_of: Any, weights: Path, tmp_path: Path
) -> None:
    torch.save(STATE | {"conv.bias": torch.ones(4)}, tmp_path / "other.pth")
    job = plan_of([str(weights), f"willing={tmp_path / 'other.pth'}"])
    assert job.weights.initial.path == tmp_path / "other.pth"


@pytest.mark.parametrize("kind", ["pth", "safetensors", "wrapped", "data parallel"])
def test_every_kind_of_file_is_loaded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(STATE, path)
    elif kind == "data parallel":
        torch.save({f"module.{name}": tensor for name, tensor in STATE.items()}, path)
    elif kind == "wrapped":
        torch.save({"model": STATE, "args": argparse.Namespace(lr=1.0)}, path)
    else:
        torch.save(STATE, path)
    network = Willing(2, 1)
    head = network.head.weight.clone()
    done = initialisation.apply(initialisation.find(path, "centre"), network, "willing")
    assert torch.equal(network.conv.weight, STATE["conv.weight"])
    assert torch.equal(network.head.weight, head)
    assert done == initialisation.Initialised(
        file=path.name,
        sha256=disk.file_sha256(path),
        method="centre",
        summary="one convolution taken over",
        reading={
            "wrapped": "read model",
            "data parallel": "read 2 tensors, dropped prefix 'module.'",
        }.get(kind, "read 2 tensors"),
        left_at_initial_value=("head.weight", "head.bias"),
    )


def refusal(plan_of: Any, init: object, **flags: Any) -> str:
    with pytest.raises(BenchError) as caught:
        plan_of(init, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_misfits_are_one_line(plan_of: Any, weights: Path, tmp_path: Path) -> None:
    assert "no weights at nothing.pth. Check the path given to --init" in refusal(
        plan_of, "nothing.pth"
    )
    (tmp_path / "text.pth").write_text("hello")
    assert "cannot read checkpoint" in refusal(plan_of, str(tmp_path / "text.pth"))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    assert "cannot read checkpoint" in refusal(plan_of, str(tmp_path / "cut.safetensors"))
    torch.save(STATE | {"conv.bias": torch.full((4,), torch.nan)}, tmp_path / "nan.pth")
    assert "1 tensors are not finite (first: conv.bias)" in refusal(
        plan_of, str(tmp_path / "nan.pth")
    )
    torch.save({"conv.weight": torch.ones(3)}, tmp_path / "small.pth")
    assert "small.pth is not for 'willing': " in refusal(plan_of, str(tmp_path / "small.pth"))
    assert "method must be centre, got 'mean'" in refusal(plan_of, str(weights), init_method="mean")
    assert "'tiny' takes no initial weights under other names than its own" in refusal(
        plan_of, str(weights), models="tests.samples:tiny"
    )
    assert "--init names 'tiny'" in refusal(plan_of, f"tiny={weights}")
    assert "Keep one of the two" in refusal(
        plan_of, f"willing={weights}", checkpoint=f"willing={weights}"
    )


def test_code_in_a_checkpoint_is_not_run(plan_of: Any, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "run"), "w"))

    torch.save({"conv.weight": Harmful()}, tmp_path / "harmful.pth")
    said = refusal(plan_of, str(tmp_path / "harmful.pth"))
    assert "it holds io.open, and opening that could run code." in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"init": ["a.pth", "b.pth"]}, "--init is given twice for every model"),
        ({"init": ["m=a.pth", "m=b.pth"]}, "--init is given twice for 'm'"),
        ({"init": "m="}, "--init takes a path or model=path, got 'm='"),
        ({"init_method": "mean"}, "--init-method mean has nothing to work on"),
    ],
)
def test_a_config_that_makes_no_sense(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        config.load(None, {"models": "m"} | flags)


def test_a_path_with_an_equals_sign_and_a_table() -> None:
    settings = {"models": "m", "init": "./lr=1/a.pth"}
    ((name, path),) = config.load(None, settings).init
    assert (name, str(path)) == (None, "lr=1/a.pth")
    settings = {"models": "m", "init": {"m": "a.pth"}}
    ((name, path),) = config.load(None, settings).init
    assert (name, str(path)) == ("m", "a.pth")


def test_training_from_a_2d_medvit_and_its_card(tmp_path: Path) -> None:
    state = medvit2d()
    torch.save({"model": state}, tmp_path / "MedViT_small_im1k.pth")
    recipe = dataclasses.replace(recipes.find("quick"), epochs=1, batch_size=24)
    initial = initialisation.find(tmp_path / "MedViT_small_im1k.pth", "centre")
    whole = samples.dataset()
    splits = {name: getattr(whole, name).subset(4) for name in ("train", "val", "test")}
    job = training.Job(
        model=ModelKey(name="medvit3d_t", factory="medvit3d.variants:medvit3d_t"),
        dataset=dataclasses.replace(whole, **splits),
        recipe=recipe,
        seed=0,
        directory=tmp_path / "checkpoint",
        initial=initial,
    )
    network = beginning.begin(job, "cpu").network
    kernel = network.get_submodule("stem.0.conv").weight[:, 0]
    flat = state["stem.0.conv.weight"].sum(dim=1)
    torch.testing.assert_close(kernel[:, 1], flat)
    assert not kernel[:, [0, 2]].any()
    loop.train(job, device="cpu")
    card = json.loads((tmp_path / "checkpoint" / checkpoints.CARD).read_text(encoding="utf-8"))
    assert card["initial_weights"] == {
        "file": "MedViT_small_im1k.pth",
        "sha256": initial.sha256,
        "method": "centre",
        "summary": "2-D MedViT weights, centre inflation; head re-made for 2 classes",
        "reading": "read model",
        "part": "",
        "left_at_initial_value": ["head.weight", "head.bias"],
        "adapted": [],
    }
    read = cards.parse(tmp_path / "checkpoint" / checkpoints.CARD)
    assert read.settings == initial.extend(job.recipe.to_pairs()), (
        "the folder follows from the card"
    )


def test_a_checkpoint_trained_on_slices_starts_a_training_on_volumes(
    plan_of: Any, tmp_path: Path
) -> None:
    whole = samples.dataset()
    flat = dataclasses.replace(
        whole,
        **{
            name: dataclasses.replace(split, volumes=split.volumes[:, :, 6:7], masks=None)
            for name in ("train", "val", "test")
            for split in [getattr(whole, name)]
        },
    )
    sliced = training.Job(
        model=ModelKey(name="tiny", factory="tests.samples:tiny"),
        dataset=flat,
        recipe=dataclasses.replace(recipes.find("quick"), epochs=1, batch_size=24),
        seed=0,
        directory=tmp_path / "flat",
    )
    loop.train(sliced, device="cpu")
    file = tmp_path / "flat" / checkpoints.WEIGHTS
    kept = initialisation.find(file, "as_is")
    deep = dataclasses.replace(sliced, dataset=whole, directory=tmp_path / "deep", initial=kept)
    found = beginning.begin(deep, "cpu").network.state_dict()
    trained = checkpoints.opened(sliced.model, file, num_classes=2, in_channels=1).network
    assert all(torch.equal(found[n], tensor) for n, tensor in trained.state_dict().items())
    cut = dataclasses.replace(deep, initial=initialisation.find(file, "centre_slice"))
    card = loop.train(cut, device="cpu")
    assert card.initial_weights is not None
    assert card.initial_weights["summary"].endswith("2 adapted (2 cut to the central slice)")
    assert card.initial_weights["adapted"] == ("features.0.weight", "features.4.weight")
    assert card.initial_weights["left_at_initial_value"] == ()
    job = plan_of(str(file), models="tests.samples:tiny", init_method="centre_slice")
    assert job.weights.initial.method == "centre_slice"
    assert "method must be one of centre, as_is" in refusal(
        plan_of, str(file), models="tests.samples:tiny", init_method="sideways"
    )


def test_the_3d_network_takes_its_own_weights(tmp_path: Path) -> None:
    own = medvit3d_cbam(2)
    public = {cbam_name(name): tensor for name, tensor in own.state_dict().items()}
    save_file(public, tmp_path / "cbam.safetensors")
    network = medvit3d_cbam(2)
    found = initialisation.find(tmp_path / "cbam.safetensors", "centre")
    done = initialisation.apply(found, network, "medvit3d_cbam")
    assert done.summary == "MedViT-3D CBAM weights; head kept for 2 classes"
    assert done.left_at_initial_value == ()
    assert all(torch.equal(network.state_dict()[k], v) for k, v in own.state_dict().items())


def test_trained_weights_without_initial_ones_say_so(tmp_path: Path) -> None:
    recipe = dataclasses.replace(recipes.find("quick"), epochs=1, batch_size=24)
    job = training.Job(
        model=ModelKey(name="tiny", factory="tests.samples:tiny"),
        dataset=samples.dataset(),
        recipe=recipe,
        seed=0,
        directory=tmp_path,
    )
    assert loop.train(job, device="cpu").initial_weights is None


def test_quantised_initial_weights_are_refused(tmp_path: Path) -> None:
    """int8 weights lack their scale: taken for floats they are another network."""
    state = {
        name: (tensor * 100).to(torch.int8) if tensor.is_floating_point() else tensor
        for name, tensor in medvit3d_t(2).state_dict().items()
    }
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "w.safetensors"
    )
    initial = initialisation.find(tmp_path / "w.safetensors", "centre")
    with pytest.raises(BenchError, match=r"^--init .*: .* holds int8, expected float32\."):
        initialisation.apply(initial, medvit3d_t(2), "medvit3d_t")
