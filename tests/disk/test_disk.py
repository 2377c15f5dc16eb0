"""Files: whole or not at all, read without trust, and where copies are kept."""

from __future__ import annotations

import errno
import io
import os
import stat
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness import disk

if TYPE_CHECKING:
    from pathlib import Path


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    disk.write_arrays(path, one=np.arange(6).reshape(2, 3), other=np.asarray("words"))
    found = disk.read_arrays(path)
    assert set(found) == {"one", "other"}
    np.testing.assert_array_equal(found["one"], [[0, 1, 2], [3, 4, 5]])
    assert str(found["other"]) == "words"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_arrays_are_written_leaves_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.npz"
    disk.write_arrays(path, one=np.arange(3))

    def torn(stream: io.BufferedWriter, **_: object) -> None:
        stream.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", torn)
    with pytest.raises(OSError, match="no space left"):
        disk.write_arrays(path, one=np.arange(4))
    np.testing.assert_array_equal(disk.read_arrays(path)["one"], [0, 1, 2])
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_arrays_raise_damage_and_open_no_pickle(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, one=np.asarray([{}], dtype=object))
    with pytest.raises(disk.DAMAGE, match="Object arrays"):
        disk.read_arrays(path)
    for content in (b"", b"PK\x03\x04", b"words"):
        path.write_bytes(content)
        with pytest.raises(disk.DAMAGE):
            disk.read_arrays(path)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_header_says_what_follows_it(version: tuple[int, int], order: str) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    stream = io.BytesIO()
    laid_out = np.asfortranarray(values) if order == "F" else values
    np.lib.format.write_array(stream, laid_out, version=version)
    stream.seek(0)
    assert disk.array_header(stream) == ((2, 3), order == "F", np.dtype(np.uint8))
    assert len(stream.read()) == 6
    np.testing.assert_array_equal(disk.read_array(stream.getvalue()), values)


def test_a_name_that_stands_twice_in_an_archive_is_damage() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("one", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("one", b"2")
    with pytest.raises(ValueError, match="two members of the archive share a name"):
        disk.unpack(stream.getvalue())


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_file_gets_the_mode_of_the_umask_whatever_its_writer_gave_it(
    tmp_path: Path, umask: int
) -> None:
    def private(partial: Path) -> None:
        other = tmp_path / "private"
        other.write_bytes(b"whole")
        other.chmod(0o600)
        other.replace(partial)

    before = os.umask(umask)
    try:
        disk.write_atomically(tmp_path / "plain", b"whole")
        with disk.replacing(tmp_path / "moved") as partial:
            private(partial)
    finally:
        os.umask(before)
    for path in (tmp_path / "plain", tmp_path / "moved"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(disk.FileLock, "acquire", refused)
    with disk.locked(tmp_path / "lock"):
        pass
    code = errno.EACCES
    with pytest.raises(OSError, match="Permission denied"), disk.locked(tmp_path / "lock"):
        pass


def test_an_archive_allocates_no_more_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    absurd = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 10**9)}
    np.lib.format.write_array_header_1_0(absurd, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.npy", absurd.getvalue() + bytes(10))
    with pytest.raises(ValueError, match="do not hold"):
        disk.read_arrays(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.npy", bytes(1000))
    with pytest.raises(ValueError, match="not stored as it was written"):
        disk.read_arrays(path)
