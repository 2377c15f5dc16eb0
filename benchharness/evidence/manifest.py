"""The manifest of a folder or a zip: the SHA-256 of every file, and what differs from it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchharness.canonical import sha256
from benchharness.disk import DAMAGE, UNPACKED_LIMIT, leads_out
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.minisig"
_UNLISTED = (MANIFEST, SIGNATURE)
"""Files that the manifest cannot list: itself, and the signature of it."""
_FORMAT = "benchharness evidence"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What a folder or a zip has otherwise than its manifest says."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    files: int
    """How many the manifest lists."""

    @property
    def lines(self) -> list[str]:
        """One line a file: `changed: evidence.html`."""
        kinds = (("changed", self.changed), ("missing", self.missing), ("added", self.added))
        return [f"{kind}: {name}" for kind, names in kinds for name in names]


def of(files: Mapping[str, bytes]) -> bytes:
    """The manifest of files by their paths; the same files give the same bytes."""
    listed = {name: sha256(files[name]) for name in sorted(files) if name not in _UNLISTED}
    content = {"format": _FORMAT, "version": _VERSION, "sha256": listed}
    return (json.dumps(content, indent=2) + "\n").encode()


def differences(files: Mapping[str, bytes], source: Path) -> Differences:
    """Hold files against the manifest among them.

    Raises:
        BenchError: When there is no manifest, or it is damaged or newer.
    """
    listed = _listed(files, source)
    there = {name for name in files if name not in _UNLISTED}
    return Differences(
        changed=tuple(
            sorted(name for name in there & listed.keys() if sha256(files[name]) != listed[name])
        ),
        missing=tuple(sorted(listed.keys() - there)),
        added=tuple(sorted(there - listed.keys())),
        files=len(listed),
    )


def _listed(files: Mapping[str, bytes], source: Path) -> dict[str, str]:
    if MANIFEST not in files:
        raise BenchError(
            f"{source} has no {MANIFEST}. Give a folder or a zip that 'bench evidence' wrote."
        )
    try:
        content = json.loads(files[MANIFEST])
        named, version, listed = (content[key] for key in ("format", "version", "sha256"))
        sound = named == _FORMAT and isinstance(listed, dict)
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise BenchError(f"{source}: {MANIFEST} is damaged, so nothing can be verified with it.")
    if version != _VERSION:
        raise BenchError(
            f"{source}: {MANIFEST} is of version {version}, and this program reads {_VERSION}. "
            "Update benchharness."
        )
    return {str(name): str(digest) for name, digest in listed.items()}


def read(path: Path) -> dict[str, bytes]:
    """The files of a folder or a zip by their paths, with `/` on every system.

    Raises:
        BenchError: When it cannot be read, or a path leads out of it.
    """
    return _of_folder(path) if path.is_dir() else _of_zip(path)


def _of_folder(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or leads_out(path, folder):
            raise BenchError(f"{folder}: {name} is a link. Evidence holds files alone; remove it.")
        if path.is_file():
            try:
                found[name] = path.read_bytes()
            except OSError as error:
                raise BenchError(f"cannot read {path}: {error.strerror}.") from error
    return found


def _of_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            _check_members(members, path)
            return {one.filename: archive.read(one) for one in members}
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BenchError(
            f"cannot read {path}: {reason}. Give a folder or a zip that 'bench evidence' wrote."
        ) from error


def _check_members(members: list[zipfile.ZipInfo], path: Path) -> None:
    names = [one.filename for one in members]
    for name in names:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
            raise BenchError(f"{path} has a member {name!r}, which would lead out of its folder.")
    if len(set(names)) < len(names):
        raise BenchError(f"{path} has two members of one name.")
    if sum(one.file_size for one in members) > UNPACKED_LIMIT:
        raise BenchError(f"{path} would unpack to more than {UNPACKED_LIMIT >> 20} MiB.")
