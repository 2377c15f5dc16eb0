"""`bench check` reproduces what a network's owner got, or says what the owner did otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from benchharness import report
from benchharness.networks.preprocessing import Preprocessing
from benchharness.run.parity import causes, expected
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Bench = Callable[..., tuple[int, str, str]]

COUNT, CLASSES, CHANNELS, GRID = 20, 3, 3, 6


class Direct(nn.Module):
    """A network that no symmetry leaves alone."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_channels * GRID**3, 12)
        self.last = nn.Linear(12, num_classes)

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.last(torch.tanh(self.first(volumes.flatten(1))))
        return logits


def direct(num_classes: int, in_channels: int = 1) -> nn.Module:
    return Direct(num_classes, in_channels)


def splits() -> dict[str, np.ndarray]:
    draws = np.random.default_rng(3)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", 12), ("val", COUNT), ("test", COUNT)):
        shape = (count, GRID, GRID, GRID, CHANNELS)
        volumes = draws.integers(30, 250, shape) * np.asarray([0.5, 0.8, 1.0])
        volumes[:, :2] = 0
        arrays[f"{split}_images"] = volumes.astype(np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % CLASSES)[:, None].astype(np.uint8)
    return arrays


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", **splits())
    torch.manual_seed(2)
    network = direct(CLASSES, CHANNELS)
    for parameter in network.parameters():
        parameter.data.mul_(3)
    torch.save(network.state_dict(), "w.pt")
    return tmp_path


def volumes(split: str = "test") -> Tensor:
    images = splits()[f"{split}_images"].transpose(0, 4, 1, 2, 3)
    return torch.from_numpy(np.ascontiguousarray(images)).float() / 255


def labels() -> np.ndarray:
    return splits()["test_labels"][:, 0].astype(int)


@torch.no_grad()
def owner(turn: Callable[[Tensor], Tensor] = lambda v: v, split: str = "test") -> np.ndarray:
    """The logits of the owner's pipeline."""
    network = direct(CLASSES, CHANNELS)
    network.load_state_dict(torch.load("w.pt"))
    return network.eval()(turn(volumes(split))).numpy()


ARGUMENTS = ("--models", "tests.run.test_parity:direct", "--datasets", "data.npz")
WEIGHTS = ("--checkpoint", "direct=w.pt", "--device", "cpu")


def check(bench: Bench, *more: object) -> tuple[int, str]:
    code, said, err = bench("check", *ARGUMENTS, *WEIGHTS, *more)
    return code, said + err


def checked(bench: Bench, *more: object, **arrays: np.ndarray) -> tuple[int, str]:
    np.savez("own.npz", **arrays)
    return check(bench, "--expect", "own.npz", *more)


def zscored(given: Tensor) -> Tensor:
    return Preprocessing(zscore="all")(given)


PIPELINES: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {
    "BGR": (lambda v: v[:, [2, 1, 0]], "the channels are in the order [2, 1, 0]", "volumes[:, ["),
    "flipped depth": (lambda v: v.flip(2), "the depth axis is flipped", "volumes.flip(2)"),
    "flipped twice": (lambda v: v.flip(2, 4), "the depth and width axes are flipped", "flip(2, 4)"),
    "transposed": (
        lambda v: v.permute(0, 1, 4, 3, 2),
        "the axes are in the order width, height, depth",
        "volumes.permute(0, 1, 4, 3, 2)",
    ),
    "zscore": (zscored, "each volume is z-scored", 'preprocessing = { zscore = "all" }'),
    "zscore of what is not zero": (
        lambda v: Preprocessing(zscore="nonzero")(v),
        "each volume's non-zero voxels are z-scored",
        'zscore = "nonzero"',
    ),
    "0..255": (lambda v: v * 255, "intensities go from 0 to 255", "scale = 255.0"),
    "-1..1": (lambda v: v * 2 - 1, "intensities go from −1 to 1", "mean = 0.5, std = 0.5"),
    "ImageNet": (
        lambda v: Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))(v),
        "ImageNet's mean and standard deviation are used",
        "mean = [0.485, 0.456, 0.406]",
    ),
    "training set": (
        lambda v: (
            (v - volumes("train").mean((0, 2, 3, 4)).view(1, 3, 1, 1, 1))
            / volumes("train").std((0, 2, 3, 4), correction=0).view(1, 3, 1, 1, 1)
        ),
        "the training set's mean and standard deviation are used",
        "mean = [0.",
    ),
    "flipped and zscore": (
        lambda v: zscored(v.flip(2)),
        "the depth axis is flipped, and each volume is z-scored",
        'zscore = "all"',
    ),
    "BGR and 0..255": (
        lambda v: v[:, [2, 1, 0]] * 255,
        "the channels are in the order [2, 1, 0], and intensities go from 0 to 255",
        "scale = 255.0",
    ),
}

FILES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str, str]] = {
    "swapped classes": (
        lambda z: z[:, [1, 0, 2]],
        "the classes are in another order: yours are [1, 0, 2] of ours",
        "logits[:, [1, 0, 2]]",
    ),
    "softmax": (
        lambda z: torch.from_numpy(z).softmax(1).numpy(),
        "the file holds probabilities: the softmax of these logits",
        "Save what comes before the softmax",
    ),
    "softmax of swapped classes": (
        lambda z: torch.from_numpy(z[:, [2, 0, 1]]).softmax(1).numpy(),
        "the softmax of these logits, and the classes are in another order",
        "logits[:, [2, 0, 1]]",
    ),
    "log-softmax": (
        lambda z: torch.from_numpy(z).log_softmax(1).numpy(),
        "but for a constant a volume, as a log-softmax does",
        "before the log-softmax",
    ),
    "shuffled volumes": (
        lambda z: z[np.random.default_rng(0).permutation(COUNT)],
        "the volumes are in another order",
        "ids=...",
    ),
}


def test_the_owners_logits_pass_and_later_cells_and_the_report_say_so(
    bench: Bench, here: Path
) -> None:
    run = ("run", *ARGUMENTS, *WEIGHTS)
    assert bench(*run)[0] == 0
    code, said = checked(bench, logits=owner())
    assert code == 0, said
    assert f"the logits of {COUNT} of {COUNT} test volumes agree" in said
    assert bench(*run, "--artefacts", "blur", "--severities", "1")[0] == 0
    records = list(Store(here / "results" / "local").records().values())
    found = {record.cell.perturbation.name: record.provenance.get("parity") for record in records}
    assert found["none"] is None
    assert found["blur"]["expected"] == "logits"
    assert found["blur"]["volumes"] == COUNT
    assert found["blur"]["difference"] <= 1e-5
    page = report.write(here / "results" / "local").markdown.read_text(encoding="utf-8")
    assert f"logits of {COUNT} test volumes, to " in page
    assert page.count("SHA-256 of the weights") == 1


def test_a_pass_is_of_these_weights_this_preprocessing_and_this_data(
    bench: Bench, here: Path
) -> None:
    assert checked(bench, logits=owner())[0] == 0
    (here / "c.toml").write_text("[model.direct]\npreprocessing = { scale = 0.999 }\n")
    assert bench("run", *ARGUMENTS, *WEIGHTS, "--config", "c.toml")[0] == 0
    (record,) = Store(here / "results" / "local").records().values()
    assert "parity" not in record.provenance


def test_a_failed_check_withdraws_an_earlier_pass(bench: Bench, here: Path) -> None:
    assert checked(bench, logits=owner())[0] == 0
    (path,) = (here / "results" / "local" / "parity").iterdir()
    assert json.loads(path.read_text(encoding="utf-8"))["parity"]["split"] == "test"
    code, said = checked(bench, logits=owner() + 1)
    assert code == 1
    assert "An earlier pass is withdrawn" in said
    assert not path.exists()
    path.write_text("{")
    assert bench("run", *ARGUMENTS, *WEIGHTS)[0] == 0


QUICKLY = ("BGR", "flipped depth", "zscore", "flipped and zscore")
"""The pipelines that the default suite tries."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICKLY else pytest.mark.slow) for name in PIPELINES],
)
def test_another_pipeline_is_told(bench: Bench, here: Path, name: str) -> None:
    turn, words, remedy = PIPELINES[name]
    code, said = checked(bench, logits=owner(turn))
    assert code == 1
    assert f"in your pipeline {words}. " in said
    assert remedy in said
    assert "With that, the largest difference is" in said
    assert not list((here / "results").rglob("parity/*"))


@pytest.mark.parametrize("name", FILES)
def test_another_file_is_told(bench: Bench, name: str) -> None:
    change, words, remedy = FILES[name]
    code, said = checked(bench, logits=change(owner()))
    assert code == 1
    assert words in said
    assert remedy in said


def test_a_pipeline_and_a_file_may_both_differ(bench: Bench) -> None:
    code, said = checked(bench, logits=owner(lambda v: v.flip(2))[:, [1, 0, 2]])
    assert code == 1
    assert "the depth axis is flipped. " in said
    assert "Besides, the classes are in another order: yours are [1, 0, 2]" in said


def test_what_is_typed_as_told_passes(bench: Bench, here: Path) -> None:
    (here / "c.toml").write_text('[model.direct]\npreprocessing = { zscore = "all" }\n')
    assert checked(bench, "--config", "c.toml", logits=owner(zscored))[0] == 0
    code, said = checked(bench, "--config", "c.toml", logits=owner())
    assert code == 1
    assert "intensities are not normalised. Write no preprocessing under" in said


def test_unknown_differences_are_not_explained(bench: Bench) -> None:
    code, said = checked(bench, logits=owner(lambda v: v.roll(1, 3).square()))
    assert code == 1
    assert "Nothing that was tried explains" in said


def test_another_split_is_told_and_can_be_named(bench: Bench) -> None:
    code, said = checked(bench, logits=owner(split="val"))
    assert code == 1
    assert "the logits are those of the val split. Type --split val." in said
    assert checked(bench, "--split", "val", logits=owner(split="val"))[0] == 0


def test_ids_say_which_volumes_and_labels_are_compared(bench: Bench) -> None:
    some = np.asarray([7, 3, 11])
    ids = np.asarray([f"data/test/{place}" for place in some])
    code, said = checked(bench, logits=owner()[some], ids=ids, labels=labels()[some])
    assert code == 0, said
    assert "3 of 3 test volumes agree" in said
    code, said = checked(bench, logits=owner(), labels=(labels() + 1) % CLASSES)
    assert code == 1
    assert "the labels number the classes otherwise: your 0 is 2 here, 1 is 0 here" in said
    other = labels()
    other[4] = 0
    code, said = checked(bench, logits=owner(), labels=other)
    assert code == 1
    assert f"1 of {COUNT} labels are others (first: volume 4 is 0 in your file and 1 here)" in said


def test_a_tolerance_can_be_given(bench: Bench) -> None:
    near = owner() * 1.004
    assert checked(bench, logits=near)[0] == 1
    assert checked(bench, "--tolerance", "0.01", logits=near)[0] == 0


def accuracy(logits: np.ndarray) -> float:
    return float((logits.argmax(1) == labels()).mean())


def test_a_metric_passes_to_the_digits_that_were_typed(bench: Bench) -> None:
    value = accuracy(owner())
    code, said = check(bench, "--expect", f"accuracy={value:.2f}")
    assert code == 0, said
    assert check(bench, "--expect", f"accuracy={value + 0.01:.2f}")[0] == 1


def test_a_metric_of_swapped_classes_is_told(bench: Bench) -> None:
    swapped = owner()[:, [1, 2, 0]]
    assert accuracy(swapped) != accuracy(owner())
    code, said = check(bench, "--expect", f"accuracy={accuracy(swapped):.3f}")
    assert code == 1
    assert "the classes are in another order" in said


def test_a_metric_of_another_pipeline_is_told(bench: Bench) -> None:
    made = owner(lambda v: v.flip(2))
    auc = report_auc(made)
    code, said = check(bench, "--expect", f"auc={auc:.5f}")
    assert code == 1
    assert "the depth axis is flipped" in said


def report_auc(logits: np.ndarray) -> float:
    from benchharness.statistics import metrics

    return metrics.auc(labels(), logits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logits.txt", "--expect takes an .npz or a metric (accuracy, auc,"),
        ("accuray=0.8", "--expect takes an .npz or a metric"),
        ("accuracy=", "--expect takes a number after accuracy=, got ''"),
        ("accuracy=nan", "--expect takes a number after accuracy="),
        ("absent.npz", "no file at absent.npz. Check the path given to --expect."),
        ("data.npz", "and needs logits (N, K). Save them with"),
        ("w.pt", "--expect takes an .npz"),
    ],
)
def test_what_cannot_be_expected_is_one_line(bench: Bench, text: str, message: str) -> None:
    code, said = check(bench, "--expect", text)
    assert code == 2
    assert message in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: {"logits": z[:5]}, f"logits of 5 volumes, the test split has {COUNT}"),
        (lambda z: {"logits": z[:, :2]}, "holds 2 logits a volume, data has 3 classes"),
        (lambda z: {"logits": z * np.nan}, "holds logits that are not finite"),
        (lambda z: {"logits": z, "ids": np.arange(4)}, f"has {COUNT} logits and 4 ids"),
        (lambda z: {"logits": z, "ids": np.zeros(COUNT)}, "has an id twice"),
        (lambda z: {"logits": z, "ids": np.arange(COUNT)}, "names '0', which the test split does"),
        (lambda z: {"logits": z, "labels": np.full(COUNT, 0.5)}, "has labels of float64"),
        (lambda z: {"a": z, "b": z}, "holds a (20, 3), b (20, 3), and needs logits"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    bench: Bench, change: Callable[[np.ndarray], dict[str, Any]], message: str
) -> None:
    code, said = checked(bench, **change(owner()))
    assert code == 2
    assert message in said


def test_one_network_with_its_weights_is_needed(bench: Bench) -> None:
    code, _, said = bench("check", *ARGUMENTS, "--expect", "accuracy=0.5", "--device", "cpu")
    assert code == 2
    assert "no checkpoint of direct on data" in said
    assert "or pass --checkpoint direct=PATH" in said
    code, said = check(bench, "--expect", "accuracy=0.5", "--split", "tests")
    assert code == 2
    assert "--split takes train, val, test, got 'tests'" in said
    code, said = check(bench, "--expect", "accuracy=0.5", "--tolerance", "0")
    assert code == 2


def test_one_logit_of_a_binary_task_may_be_expected(here: Path) -> None:
    np.save(here / "z.npy", np.zeros(4))
    read = expected.read("z.npy")
    assert isinstance(read, expected.Logits)
    assert read.values.shape == (4, 1)


def test_a_network_that_ends_in_a_softmax_is_refused_with_advice(bench: Bench) -> None:
    (here := Path("s.pt")).write_bytes(Path("w.pt").read_bytes())
    arguments = ("--models", "tests.run.test_parity:softened", "--datasets", "data.npz")
    code, _, said = bench(
        "check", *arguments, "--checkpoint", f"softened={here}", "--expect", "accuracy=0.5"
    )
    assert code == 2
    assert "'softened' returns probabilities" in said
    assert "Return what comes before the softmax" in said


class Softened(Direct):
    def forward(self, volumes: Tensor) -> Tensor:
        return super().forward(volumes).softmax(1)


def softened(num_classes: int, in_channels: int = 1) -> nn.Module:
    return Softened(num_classes, in_channels)


def test_every_cause_is_another_one() -> None:
    from benchharness import datasets

    data = datasets.load("data.npz", None, None)
    found = [
        *causes.simple("direct", Preprocessing(), data),
        *causes.compound("direct", Preprocessing(), data),
    ]
    assert len({cause.words for cause in found}) == len(found)
    some = volumes()[:1].numpy()
    turned = {
        (cause.turn(some).tobytes(), cause.preprocessing or Preprocessing()) for cause in found
    }
    # Permuting and flipping the axes has 48 ways, and one of them changes nothing.
    orientations = [cause for cause in found if cause.preprocessing is None]
    assert len(orientations) == 47 + 5
    assert len(turned) == len(found)
