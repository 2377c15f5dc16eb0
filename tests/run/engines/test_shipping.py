"""What is shipped arrives as it was, bit for bit, or not at all."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchharness import datasets
from benchharness.datasets.base import SPLITS
from benchharness.disk import sealed
from benchharness.errors import CellError
from benchharness.run import config, measuring
from benchharness.run.engines import shipping
from benchharness.run.engines.shipping import Parcel, packed, unpacked
from benchharness.run.planning import plan
from tests import own_data, samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.datasets import Dataset
    from benchharness.run.planning import Job

DRAWS = np.random.default_rng(3)
LARGE = DRAWS.integers(0, 256, (70, 2, 24, 24, 24), np.uint8)
ARRAYS = {
    "a channel axis of stride 0": LARGE[:, 0][:, None],
    "channels last": np.moveaxis(LARGE.reshape(70, 24, 24, 24, 2), -1, 1),
    "backwards": LARGE[::-1, :, ::-1],
    "every other": LARGE[::2, :, 1::3],
    "repeated": np.broadcast_to(LARGE[:1], (5, 2, 24, 24, 24)),
    "usual": LARGE,
    "Fortran": np.asfortranarray(LARGE[:4]),
    "one number": np.array(3.5),
    "one volume": LARGE[7:8, :1],
    "nothing": LARGE[:0, :, ::2],
    "masks": LARGE[:3, 0] > 100,
    "16 bits": LARGE.view(np.uint16)[..., ::2],
    "texts": np.array(["a", "Ärzte"]),
}


def carried(value: object) -> object:
    """A value after it was sent, in which no memory is the sender's."""
    parcel = packed(value)
    return unpacked(pickle.loads(pickle.dumps(parcel)), parcel.digest)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("writable", [True, False])
def test_an_array_keeps_its_bits_and_its_layout(name: str, writable: bool) -> None:
    array = ARRAYS[name].view()
    if name != "repeated":
        array.flags.writeable = writable
    (arrived,) = carried([array])  # type: ignore[misc]
    assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
    assert arrived.strides == array.strides
    assert np.array_equal(arrived, array)
    usual = array.strides == np.empty(array.shape, array.dtype).strides
    shared = usual and array.nbytes >= 1 << 20
    assert arrived.flags.writeable == (array.flags.writeable and not shared)


def test_an_array_that_is_named_twice_arrives_once() -> None:
    first, second = carried((LARGE, LARGE))  # type: ignore[misc]
    assert first is second
    assert len(packed((LARGE, LARGE)).buffers) == 1


def with_everything(dataset: Dataset) -> Dataset:
    """A dataset with what else a split may have."""
    count = len(dataset.test)
    masks = np.zeros((count, *dataset.grid), np.bool_)
    masks[:, 2:5, 3:6, 4:7] = True
    test = replace(
        dataset.test,
        masks=masks,
        patients=tuple(f"p{place // 2}" for place in range(count)),
        spacing=(2.0, 1.0, 1.5),
        metadata=(("site", ("A", "Zürich") * (count // 2)),),
    )
    return replace(dataset, test=test, preparation=(("fitted_to", "one"),), remarks=("one is odd",))


def own_16_bit(folder: Path) -> str:
    """Prepared volumes of 16 bits, from a folder of files."""
    return str(own_data.write_folder(folder / "own", {"train": 3, "val": 2, "test": 3}))


def channels_last(root: Path | None = None) -> Dataset:
    """A plug-in's data of three channels, which lie together in memory."""
    made = samples.dataset()
    splits = {}
    for name in SPLITS:
        split = getattr(made, name)
        grey = split.volumes[:, 0]
        together = np.stack([grey, 255 - grey, grey // 2], axis=-1).copy(order="C")
        splits[name] = replace(split, volumes=np.moveaxis(together, -1, 1))
    return replace(made, **splits)


KINDS: dict[str, tuple[Callable[[Path], str], dict[str, object]]] = {
    "uint8": (lambda folder: str(samples.write_archive(folder / "one.npz")), {}),
    "mapped": (own_16_bit, {"bits": 16, "size": "16", "window": "range:0,400", "modality": "ct"}),
    "channels last": (lambda _: f"{__name__}:channels_last", {}),
}


@pytest.fixture(params=KINDS)
def job(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job on a dataset of each kind."""
    write, options = KINDS[request.param]
    if request.param == "mapped":
        monkeypatch.setattr(sealed, "MAPPED_FROM", 1)
    torch.manual_seed(1)
    channels = 3 if request.param == "channels last" else 1
    torch.save(samples.tiny(2, channels).state_dict(), tmp_path / "tiny.pth")
    flags = {
        "models": "tests.samples:tiny",
        "datasets": write(tmp_path),
        "checkpoint": [f"tiny={tmp_path / 'tiny.pth'}"],
        "attacks": "pgd",
        "eps": "8/255",
        "artefacts": "gamma",
        "severities": "3",
        "device": "cpu",
        "out": tmp_path / "out",
        **options,
    }
    made = plan(config.load(None, flags))
    job = made.jobs[0]
    volumes = job.dataset.test.volumes
    assert (request.param == "mapped") != volumes.flags.writeable
    assert (request.param == "mapped") == (volumes.dtype == np.uint16)
    return dataclasses.replace(job, cells=tuple(job.cells))


def logits_of(job: Job) -> list[bytes]:
    setting = measuring.Setting(device="cpu")
    networks = measuring.networks_of(job, setting)
    found = []
    for cell in job.cells:
        made = perturbation_of(cell.perturbation.name)
        measured = measuring.measure(cell, job, made, networks, setting)
        assert measured.record.error is None
        assert measured.predictions is not None
        found.append(measured.predictions.to_bytes())
    return found


def perturbation_of(name: str) -> object:
    from benchharness import artefacts, attacks

    if name == "none":
        return None
    return attacks.build(name, {}) if name == "pgd" else artefacts.build(name)


def test_a_job_of_shipped_values_has_the_bits_of_one_from_files(job: Job, tmp_path: Path) -> None:
    dataset: Dataset = carried(job.dataset)  # type: ignore[assignment]
    files = shipping.packed_files([job.weights.path])
    folder = shipping.place(lambda: files, files.digest, tmp_path / "node")
    weights = replace(job.weights, path=folder / job.weights.path.name)
    shipped = replace(job, dataset=dataset, split=dataset.test.subset(None), weights=weights)
    assert logits_of(shipped) == logits_of(job)


def test_a_dataset_arrives_with_everything_that_cells_need(tmp_path: Path) -> None:
    dataset = with_everything(datasets.load(str(samples.write_archive(tmp_path / "one.npz"))))
    arrived: Dataset = carried(dataset)  # type: ignore[assignment]
    for field in dataclasses.fields(dataset):
        if field.name not in SPLITS:
            assert getattr(arrived, field.name) == getattr(dataset, field.name)
    assert arrived.notes == dataset.notes
    for name in SPLITS:
        one, other = getattr(arrived, name), getattr(dataset, name)
        for field in dataclasses.fields(one):
            left, right = getattr(one, field.name), getattr(other, field.name)
            if isinstance(right, np.ndarray):
                assert (left.strides, left.tobytes()) == (right.strides, right.tobytes())
            else:
                assert left == right


def damaged(parcel: Parcel, how: str) -> Parcel:
    first, *rest = (buffer.copy() for buffer in parcel.buffers)
    if how == "a bit":
        first[len(first) // 2] ^= 1
        return replace(parcel, buffers=(first, *rest))
    if how == "cut off":
        return replace(parcel, buffers=(first[:-1], *rest))
    if how == "one missing":
        return replace(parcel, buffers=tuple(rest))
    if how == "exchanged":
        return replace(parcel, buffers=(*rest, first))
    return replace(parcel, content=parcel.content.replace(b"sample", b"simple"))


@pytest.mark.parametrize("how", ["a bit", "cut off", "one missing", "exchanged", "the rest"])
def test_a_damaged_parcel_is_refused_before_anything_is_opened(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = packed(samples.dataset())
    monkeypatch.setattr(pickle, "Unpickler", None)
    with pytest.raises(CellError, match="damaged or exchanged on its way"):
        unpacked(damaged(parcel, how), parcel.digest)


def test_files_arrive_once_for_all_workers_of_a_node(tmp_path: Path) -> None:
    for name, content in (("net.onnx", b"graph"), ("net.data", b""), ("other", b"no")):
        (tmp_path / name).write_bytes(content)
    files = shipping.packed_files([tmp_path / "net.onnx", tmp_path / "net.data"])
    asked: list[int] = []

    def fetch() -> Parcel:
        asked.append(1)
        return files

    for _ in range(3):
        folder = shipping.place(fetch, files.digest, tmp_path / "node")
    assert asked == [1]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "net.onnx": b"graph",
        "net.data": b"",
    }


def test_damaged_files_leave_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"weights")
    files = shipping.packed_files([tmp_path / "net.pth"])
    with pytest.raises(CellError, match="on its way"):
        shipping.place(lambda: damaged(files, "a bit"), files.digest, tmp_path / "node")
    assert not (tmp_path / "node" / files.digest).exists()
    assert shipping.place(lambda: files, files.digest, tmp_path / "node").is_dir()
