"""Archives in MedMNIST's layout: one .npz with images and labels of three splits.

Images are `{train,val,test}_images` and labels `{train,val,test}_labels`, in the shapes that
`layouts` knows. uint8 images are taken as they are; others need a window. Nothing is unpickled, and
no array is allocated before its header agrees with the size of the archive's member, so a few bytes
cannot claim all memory.
"""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from benchharness.canonical import digest, pairs
from benchharness.datasets import layouts
from benchharness.datasets.base import LARGEST_LABEL, SPLITS, Dataset, Split
from benchharness.datasets.preparation import Preparation
from benchharness.datasets.tables import class_names
from benchharness.disk import DAMAGE, array_header
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.datasets.preparation import Window

_DEFAULT_MEMORY = 16 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Archive:
    """What an archive holds."""

    md5: str
    """MD5 of the file, 32 hexadecimal digits."""
    train: Split
    val: Split
    test: Split


def load(
    path: Path,
    preparation: Preparation | None = None,
    *,
    published: Callable[[str], bool] = lambda _: False,
) -> Dataset:
    """Load an archive as a dataset named after its file, with classes 0 to the largest label.

    Args:
        path: The .npz file.
        preparation: Its modality and classes, and its window for images that are no uint8; None
            where a person said nothing.
        published: Whether an MD5 is that of a published set, which may hold a volume twice.

    Raises:
        BenchError: When the file is absent, damaged, or not in MedMNIST's layout, a class has no
            volume, the images are masks of 0 and 1, or a volume is in two splits or has two labels.
    """
    window = None if preparation is None else preparation.window
    found = read(path, name=path.stem, window=window)
    splits = {"train": found.train, "val": found.val, "test": found.test}
    count = _count(splits, path)
    for name, split in splits.items():
        _refuse_dark(split, f"{path}, {name}_images")
    equal = _equal(splits, path)
    if equal is not None and not published(found.md5):
        raise equal
    windowed = found.test.volumes.dtype != np.uint8
    if preparation is None or window is None:
        preparation, windowed = Preparation(), False
    return Dataset(
        name=path.stem,
        classes=class_names(count, preparation.classes, path),
        modality=preparation.modality
        or ("ct" if windowed and preparation.window.kind == "ct" else "unknown"),
        digest=_digest(found.md5, preparation.window) if windowed else f"md5:{found.md5}",
        default_recipe="quick",
        preparation=pairs({"window": str(preparation.window), "bits": 16}) if windowed else (),
        train=found.train,
        val=found.val,
        test=found.test,
    )


def _digest(md5: str, window: Window) -> str:
    """Of a file and what a window makes of it."""
    return f"sha256:{digest([md5, {'window': [window.kind, window.low, window.high], 'bits': 16}])}"


def needs_window(path: Path) -> bool:
    """Whether images of an archive are no uint8; no where it cannot be read."""
    keys = {f"{split}_images.npy" for split in SPLITS}
    try:
        with zipfile.ZipFile(path) as container:
            for name in keys & set(container.namelist()):
                with container.open(name) as content:
                    if array_header(content)[2] != np.uint8:
                        return True
    except DAMAGE:
        return False
    return False


def _count(splits: Mapping[str, Split], path: Path) -> int:
    """Number of classes; each of them must have a volume."""
    present = np.unique(np.concatenate([split.labels for split in splits.values()]))
    largest = int(present[-1])
    if largest == 0:
        raise BenchError(f"{path}: every label is 0; a classifier needs at least two classes.")
    if largest > LARGEST_LABEL:
        raise BenchError(
            f"{path}: label {largest} is not an integer from 0 to {LARGEST_LABEL}. Number the "
            "classes 0 to K-1."
        )
    gaps = np.setdiff1d(np.arange(largest), present)
    if len(gaps):
        raise BenchError(
            f"{path}: no split has a volume of 'class {gaps[0]}', but labels go up to {largest}. "
            "Number the classes 0 to K-1, and take out volumes without one."
        )
    return largest + 1


def _refuse_dark(split: Split, source: str) -> None:
    largest = int(split.volumes.max())
    if split.volumes.dtype != np.uint8 and largest <= np.iinfo(np.uint16).max // 255:
        raise BenchError(
            f"{source}: its intensities end at 1/255 of the window, so a network sees black. Type "
            "another --window, such as range:0,1 for numbers from 0 to 1."
        )
    if largest <= 1:
        raise BenchError(
            f"{source}: the largest intensity is {largest} of 255, so a network sees black. "
            "Multiply masks of 0 and 1 by 255 and write the archive again."
        )


def _equal(splits: Mapping[str, Split], path: Path) -> BenchError | None:
    """What to say if two volumes have the same voxels in two splits or with two labels."""
    first: dict[bytes, tuple[str, int, int]] = {}
    for name, split in splits.items():
        for place, volume in enumerate(split.volumes):
            content = hashlib.blake2b(volume.tobytes(), digest_size=16).digest()
            label = int(split.labels[place])
            other, there, known = first.setdefault(content, (name, place, label))
            same = f"{path}: {other} {there} and {name} {place} hold the same voxels"
            if other != name:
                return BenchError(f"{same}. Keep it in one split, or training sees test volumes.")
            if known != label:
                return BenchError(
                    f"{same} but are 'class {known}' and 'class {label}'. Keep the one with the "
                    "right class."
                )
    return None


def read(path: Path, *, name: str, md5: str | None = None, window: Window | None = None) -> Archive:
    """Read and check an archive.

    Args:
        path: The .npz file.
        name: First part of the volumes' ids: `name/split/index`.
        md5: What the file's MD5 must be; None accepts any.
        window: For images that are no uint8.

    Raises:
        BenchError: When the file is absent, has another MD5, is damaged, or is not in MedMNIST's
            layout.
    """
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
            if md5 is not None and found.hexdigest() != md5:
                raise BenchError(
                    f"{path} is not the published {name}: its MD5 is {found.hexdigest()}, expected "
                    f"{md5}. Remove it to download it again, or load this one by its path."
                )
            arrays = _arrays(stream, path)
    except OSError as error:
        raise BenchError(
            f"cannot read {path}: {error.strerror or error}. Pass the path of an .npz archive."
        ) from error
    splits = {split: _split(arrays, split, path, name, window) for split in SPLITS}
    grids = {split: splits[split].volumes.shape[1:] for split in SPLITS}
    kinds = {split: str(splits[split].volumes.dtype) for split in SPLITS}
    if len(set(kinds.values())) > 1:
        types = ", ".join(f"{split} {kind}" for split, kind in kinds.items())
        raise BenchError(f"{path}: the splits differ in type: {types}. Save all in one type.")
    if len(set(grids.values())) > 1:
        shapes = ", ".join(f"{split} {shape}" for split, shape in grids.items())
        raise BenchError(
            f"{path}: the splits differ in channels or grid, (C, D, H, W): {shapes}. Resample them "
            "to one grid."
        )
    return Archive(
        md5=found.hexdigest(), train=splits["train"], val=splits["val"], test=splits["test"]
    )


def _arrays(stream: IO[bytes], path: Path) -> dict[str, NDArray[np.generic]]:
    """Read the six arrays, each after its header was checked."""
    keys = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    stream.seek(0, os.SEEK_END)
    if stream.tell() == 0:
        raise BenchError(f"{path} is empty (0 bytes). Fetch or write it again.")
    stream.seek(0)
    try:
        with zipfile.ZipFile(stream) as container:
            members = {info.filename.removesuffix(".npy"): info for info in container.infolist()}
            missing = [key for key in keys if key not in members]
            if missing:
                raise BenchError(
                    f"{path} lacks {', '.join(missing)}; MedMNIST's layout has {', '.join(keys)}."
                )
            _check_memory(sum(members[key].file_size for key in keys), path)
            return {key: _array(container, members[key], f"{path}, {key}") for key in keys}
    except (OSError, MemoryError):
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BenchError(
            f"{path} is damaged or not an .npz archive ({reason}). Fetch or write it again."
        ) from error


def _check_memory(wanted: int, path: Path) -> None:
    try:
        present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system reports it
        present = _DEFAULT_MEMORY
    if wanted > present:
        raise BenchError(
            f"{path} unpacks to {wanted / 2**30:.1f} GiB, more than the {present / 2**30:.1f} GiB "
            "of memory here. Use a smaller archive."
        )


def _array(container: zipfile.ZipFile, member: zipfile.ZipInfo, source: str) -> NDArray[np.generic]:
    """Read one .npy member, whose header must account for every byte."""
    with container.open(member) as content:
        shape, _, dtype = array_header(content)
        if dtype.hasobject:
            raise BenchError(f"{source} holds pickled objects, which are never loaded.")
        claimed = math.prod(shape) * dtype.itemsize
        held = member.file_size - content.tell()
        if claimed != held:
            raise BenchError(
                f"{source}: the header claims shape {shape} of {dtype}, {claimed} bytes, but the "
                f"archive holds {held}. Fetch or write it again."
            )
    with container.open(member) as content:
        array: NDArray[np.generic] = np.lib.format.read_array(content, allow_pickle=False)
    return array


def _split(
    arrays: dict[str, NDArray[np.generic]], split: str, path: Path, name: str, window: Window | None
) -> Split:
    volumes = layouts.volumes(arrays[f"{split}_images"], f"{path}, {split}_images", window)
    labels = layouts.labels(arrays[f"{split}_labels"], f"{path}, {split}_labels")
    if len(volumes) != len(labels):
        raise BenchError(
            f"{path}: {split} has {len(volumes)} images but {len(labels)} labels; each image needs "
            "one label."
        )
    ids = tuple(f"{name}/{split}/{index}" for index in range(len(labels)))
    return Split(ids=ids, volumes=volumes, labels=labels)
