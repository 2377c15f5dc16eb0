"""The weights of the zoo: where they are, and how they come there."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from benchharness.disk import explaining, fetching, file_sha256, replacing, user_path
from benchharness.errors import BenchError
from benchharness.networks.zoo.index import own_folder, package_folder

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.networks.zoo.index import Entry

_PAGES = ("http://", "https://")


def located(entry: Entry, folder: Path | None = None) -> Path | None:
    """Where the weights of a checkpoint are; None where they are yet to be fetched.

    Args:
        entry: Of the index.
        folder: As for `own_folder`.

    Raises:
        BenchError: When a file of that name has another content.
    """
    for where in (own_folder(folder), package_folder()):
        path = where / entry.file
        if path.is_file():
            _check(path, entry)
            return path
    return None


def _check(path: Path, entry: Entry) -> None:
    found = file_sha256(path, what="checkpoint")
    if found != entry.card.sha256:
        raise BenchError(
            f"{path} is not the checkpoint that the zoo's index names (its SHA-256 is "
            f"{found[:12]}…, expected {entry.card.sha256[:12]}…). Remove it and type 'bench zoo "
            f"get {entry.name}'."
        )


def fetch(entry: Entry, origin: str | None = None, folder: Path | None = None) -> Path:
    """Bring the weights of a checkpoint into the user's folder, if they are nowhere yet.

    Args:
        entry: Of the index.
        origin: A folder, or the address of a page that has the files; None takes the index's.
        folder: As for `own_folder`.

    Raises:
        BenchError: When they are not there, cannot be fetched or are not what the index names.
    """
    if there := located(entry, folder):
        return there
    target = own_folder(folder) / entry.file
    origin = origin or entry.url
    if not origin:
        raise BenchError(
            f"the zoo's index names no page for {entry.file}. Type 'bench zoo get {entry.name} "
            f"--from FOLDER' or '--from URL', or train it: {entry.retraining}."
        )
    if origin.startswith(_PAGES):
        remedy = (
            f"Fetch it by hand and save it as {target}, or name the folder that holds it with "
            "--zoo or BENCH_ZOO."
        )
        url = f"{origin.rstrip('/')}/{entry.file}"
        fetching.download(url, target, known=f"sha256:{entry.card.sha256}", remedy=remedy)
    else:
        copy(user_path(origin, what="--from") / entry.file, target, entry)
    return target


def copy(path: Path, target: Path, entry: Entry) -> None:
    """Copy a file of weights once it is known to be the one that an entry names.

    Raises:
        BenchError: When it is absent or another one, or cannot be written.
    """
    if not path.is_file():
        raise BenchError(
            f"{path.parent} has no file {path.name} of {entry.name}. Give the folder that holds it "
            f"with --from, or train it: {entry.retraining}."
        )
    _check(path, entry)
    with explaining(f"checkpoint {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            shutil.copyfile(path, partial)
