"""A folder by split and class as a listing: `train|val|test/<class>/*`.

In a class folder lie volumes, folders of DICOM slices, or a folder for each patient with any of
these below it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from benchharness.datasets import formats
from benchharness.datasets.base import SPLITS
from benchharness.datasets.items import SPELLINGS, Item, Listing, in_order, ordered_classes
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from benchharness.datasets.base import SplitName

_KNOWN = f"{formats.KNOWN} files, or folders of DICOM slices"


def read(source: Path, classes: tuple[str, ...] | None = None) -> Listing:
    """List a folder.

    Args:
        source: The folder.
        classes: Its class folders in the order of the labels; None for the order of their names.

    Raises:
        BenchError: When a split is absent or there twice, the folder holds no volumes or another
            file, or only some volumes lie in folders of patients.
    """
    folders = _splits(source)
    by_class = {
        (split, folder.name): tuple(_volumes(folder))
        for split, parent in folders.items()
        for folder in _classes(parent)
    }
    if not any(by_class.values()):
        raise BenchError(f"{source} holds no volumes. Put {_KNOWN} into its class folders.")
    names = ordered_classes((name for _, name in by_class), classes, source)
    patients = _patients(source, [one for found in by_class.values() for one in found])
    items = [
        Item(
            paths=(path,),
            name=path.relative_to(folders[split]).as_posix(),
            split=split,
            label=names.index(name),
            patient=patients[path],
        )
        for (split, name), found in by_class.items()
        for path, _ in found
    ]
    return Listing(source=source, classes=names, items=in_order(items))


def _splits(source: Path) -> dict[SplitName, Path]:
    found: dict[SplitName, Path] = {}
    for entry in _entries(source):
        split = SPELLINGS.get(entry.name.lower())
        if split is None or not entry.is_dir():
            continue
        if split in found:
            raise BenchError(
                f"{source} has the folders {found[split].name} and {entry.name} for one split. "
                "Keep one."
            )
        found[split] = entry
    lacking = [split for split in SPLITS if split not in found]
    if lacking:
        raise BenchError(
            f"{source} has no folder {' and no folder '.join(lacking)}. Put the volumes into "
            "train/CLASS/, val/CLASS/ and test/CLASS/, or pass a CSV."
        )
    return {split: found[split] for split in SPLITS}


def _classes(parent: Path) -> Iterator[Path]:
    for entry in _entries(parent):
        if not entry.is_dir():
            raise BenchError(
                f"{entry} is a file where a class folder should be. Volumes belong in "
                f"{parent.name}/CLASS/, such as {parent.name}/benign/{entry.name}."
            )
        yield entry


def _volumes(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Paths of volumes and their patients, None for what lies in the class folder itself."""
    for path in _own_volumes(folder):
        if not path.is_dir() or formats.is_series(path):
            yield path, None
            continue
        found = [*_below(path)]
        if not found:
            raise BenchError(
                f"{path} is a folder without volumes. Put {_KNOWN} into it, or move it elsewhere."
            )
        yield from ((volume, path.name) for volume in found)


def _below(folder: Path) -> Iterator[Path]:
    for path in _own_volumes(folder):
        if path.is_dir() and not formats.is_series(path):
            yield from _below(path)
        else:
            yield path


def _own_volumes(folder: Path) -> Iterator[Path]:
    """Volumes and folders directly in a folder; what is neither is refused.

    Files that only hold the voxels of a header beside them are left out.
    """
    entries = _entries(folder)
    voxels = _voxels(entries)
    for entry in entries:
        if entry.name in voxels:
            continue
        if not entry.is_dir() and not formats.is_volume(entry.name):
            if formats.is_slice(entry):
                raise BenchError(
                    f"{entry} is not a volume but a DICOM slice. Put the slices of each series "
                    f"into a folder of their own, such as {folder.name}/case1/{entry.name}."
                )
            raise BenchError(
                f"{entry} is not a volume; class folders hold only {_KNOWN}. Convert it or move it "
                "elsewhere."
            )
        yield entry


def _voxels(entries: Iterable[Path]) -> set[str]:
    """Names of files that hold the voxels of a header beside them."""
    found = set()
    for entry in entries:
        if entry.suffix.lower() in (".hdr", ".nhdr", ".mhd") and entry.is_file():
            with suppress(Exception):  # what is wrong with a header is said when it is read
                found |= {path.name for path in formats.files(entry) if path != entry}
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise BenchError(f"cannot read {folder}: {error.strerror}.") from error


def _patients(source: Path, found: list[tuple[Path, str | None]]) -> dict[Path, str | None]:
    """The patient of every volume: of all or of none.

    Where some series lie in folders of patients, one beside these is a patient's only one.
    """
    if all(patient is None for _, patient in found):
        return dict(found)
    for path, patient in found:
        if patient is None and not path.is_dir():
            raise BenchError(
                f"{source} has folders of patients, but {path} lies beside them. Put it into the "
                "folder of its patient."
            )
    return {path: patient or path.name for path, patient in found}
