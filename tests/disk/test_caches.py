"""The caches: where they are, what they hold, and what is trusted in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchharness import disk
from benchharness.disk import caches, sealed
from benchharness.errors import BenchError
from benchharness.run import planning
from benchharness.run.config import RunConfig


def test_the_cache_is_where_the_variable_says_or_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path))
    assert caches.cache_folder("prepared") == tmp_path / "prepared"
    monkeypatch.setenv("BENCH_CACHE_ROOT", "~/kept")
    assert caches.cache_folder("prepared") == Path.home() / "kept" / "prepared"
    for absent in ("set to nothing", "not set"):
        if absent == "not set":
            monkeypatch.delenv("BENCH_CACHE_ROOT")
        else:
            monkeypatch.setenv("BENCH_CACHE_ROOT", "")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
        assert caches.cache_folder("prepared") == tmp_path / "system" / "benchharness" / "prepared"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path))
    for kind in caches.KINDS:
        (tmp_path / kind / "locks").mkdir(parents=True)
    return tmp_path


NAME = "0f" * 32


def test_what_the_caches_hold_is_counted_and_removed(root: Path) -> None:
    (root / "prepared" / f"{NAME}.npz").write_bytes(b"12345")
    (root / "prepared" / f"{NAME}.json").write_bytes(b"123")
    (root / "prepared" / f"{NAME}.lock").touch()
    (root / "corrupted" / f".{NAME}.npz.123.partial").write_bytes(b"12")
    (root / "corrupted" / "locks" / NAME).touch()
    corrupted, prepared = caches.usage()
    assert (corrupted.kind, corrupted.files, corrupted.size) == ("corrupted", 1, 2)
    assert (prepared.kind, prepared.files, prepared.size) == ("prepared", 2, 8)
    assert prepared.folder == root / "prepared"
    assert caches.clear() == (corrupted, prepared)
    assert [usage.files for usage in caches.usage()] == [0, 0]
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_other_files_links_and_folders_are_neither_counted_nor_removed(root: Path) -> None:
    own = root / "prepared" / "thesis.npz"
    own.write_bytes(b"mine")
    (root / "prepared" / f"{NAME}.npz").mkdir()
    caches.clear()
    assert own.read_bytes() == b"mine"
    assert caches.usage()[1].files == 0


def test_what_a_living_process_writes_stays(root: Path) -> None:
    partial = root / "corrupted" / f".{NAME}.npz.123.partial"
    partial.touch()
    with disk.locked(root / "corrupted" / "locks" / NAME):
        caches.clear()
        assert partial.exists()
    caches.clear()
    assert not partial.exists()


def test_caches_that_are_not_there_hold_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "none"))
    assert [(usage.files, usage.size) for usage in caches.clear()] == [(0, 0), (0, 0)]


def test_a_seal_covers_key_names_types_and_values(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    arrays = {"one": np.arange(6, dtype=np.uint8), "two": np.asarray([True, False])}
    disk.write_arrays(path, **sealed.seal({"a": 1}, arrays))
    found = sealed.unsealed(path, {"a": 1})
    assert found is not None
    assert set(found) == {"one", "two"}
    np.testing.assert_array_equal(found["one"], arrays["one"])
    assert sealed.unsealed(path, {"a": 2}) is None
    assert sealed.unsealed(tmp_path / "none.npz", {"a": 1}) is None
    seal = sealed.seal({"a": 1}, arrays)["seal"]
    for changed in (
        arrays | {"one": arrays["one"] + np.uint8(1)},
        arrays | {"one": arrays["one"].astype(np.int8)},
        arrays | {"one": arrays["one"].reshape(2, 3)},
        {"one": arrays["one"]},
        arrays | {"three": np.zeros(1)},
        {"one": arrays["two"], "two": arrays["one"]},
    ):
        disk.write_arrays(path, seal=seal, **changed)
        assert sealed.unsealed(path, {"a": 1}) is None


def test_a_wrong_limit_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_GIB", "ten")
    config = RunConfig(models=("medvit3d_t",), datasets=("phantom3d",), out=Path("none"))
    with pytest.raises(BenchError, match=r"BENCH_CACHE_GIB takes a number of GiB from 0 up"):
        planning.plan(config)
