"""Files: whole or not at all, read without trust, and where copies are kept."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchharness import disk


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
    with pytest.raises(disk.DAMAGE, match="allow_pickle"):
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


def test_the_cache_is_where_the_variable_says_or_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path))
    assert disk.cache_folder("prepared") == tmp_path / "prepared"
    monkeypatch.setenv("BENCH_CACHE_ROOT", "~/kept")
    assert disk.cache_folder("prepared") == Path.home() / "kept" / "prepared"
    for absent in ("set to nothing", "not set"):
        if absent == "not set":
            monkeypatch.delenv("BENCH_CACHE_ROOT")
        else:
            monkeypatch.setenv("BENCH_CACHE_ROOT", "")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
        assert disk.cache_folder("prepared") == tmp_path / "system" / "benchharness" / "prepared"
