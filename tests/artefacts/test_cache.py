"""Corrupted sets are made once, whole or not at all, within a limit, whoever asks and is killed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from benchharness import artefacts
from benchharness.artefacts.cache import Cache, CorruptedSet
from benchharness.artefacts.corruption import corrupt
from benchharness.errors import BenchError
from tests.mutations import mutate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = {"dataset": "sha256:1", "perturbation": {"name": "motion", "severity": 3}}


def made(value: int = 7, size: int = 4) -> CorruptedSet:
    return CorruptedSet(
        volumes=np.full((2, 1, size, size, size), value, np.uint16),
        clipped=np.array([0.25, 0.0]),
        changed=np.array([True, False]),
    )


class Maker:
    """Counts how often a set is made."""

    def __init__(self, value: int = 7, size: int = 4) -> None:
        self.calls = 0
        self.value, self.size = value, size

    def __call__(self) -> CorruptedSet:
        self.calls += 1
        return made(self.value, self.size)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(root=tmp_path / "cache", limit=2**20)


def entries(cache: Cache) -> list[Path]:
    return sorted(cache.root.glob("*.npz"))


def test_a_set_is_made_once_and_comes_back_the_same(cache: Cache) -> None:
    make = Maker()
    first, second = cache.get(KEY, make), cache.get(KEY, make)
    assert make.calls == 1
    assert np.array_equal(first.volumes, second.volumes)
    assert second.volumes.dtype == np.uint16
    assert np.array_equal(first.clipped, second.clipped)
    assert np.array_equal(first.changed, second.changed)


def test_another_key_is_another_set(cache: Cache) -> None:
    cache.get(KEY, Maker(1))
    other: dict[str, Any] = KEY | {"perturbation": {"name": "motion", "severity": 4}}
    assert cache.get(other, Maker(2)).volumes.max() == 2
    assert len(entries(cache)) == 2


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(b"\x07\x00\x07\x00")
    content[place] = 8
    path.write_bytes(bytes(content))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_cut, _flip, _empty])
def test_a_damaged_set_is_made_again(cache: Cache, damage: Callable[[Path], None]) -> None:
    cache.get(KEY, Maker())
    damage(entries(cache)[0])
    make = Maker()
    assert cache.get(KEY, make).volumes.min() == 7
    assert make.calls == 1
    assert cache.get(KEY, make).volumes.min() == 7
    assert make.calls == 1


def test_a_set_under_another_s_name_is_not_taken(cache: Cache) -> None:
    other: dict[str, Any] = KEY | {"dataset": "sha256:2"}
    cache.get(KEY, Maker(1))
    (mine,) = entries(cache)
    cache.get(other, Maker(2))
    (theirs,) = set(entries(cache)) - {mine}
    theirs.replace(mine)
    assert cache.get(KEY, Maker(1)).volumes.max() == 1


def test_the_least_recently_used_go_when_the_limit_is_reached(cache: Cache) -> None:
    keys: list[dict[str, Any]] = [{"number": number} for number in range(4)]
    for key in keys[:3]:
        cache.get(key, Maker(size=8))
        time.sleep(0.01)
    size = entries(cache)[0].stat().st_size
    small = replace(cache, limit=3 * size)
    small.get(keys[0], Maker(size=8))
    time.sleep(0.01)
    small.get(keys[3], Maker(size=8))
    makers = [Maker(size=8) for _ in keys]
    for key, maker in zip((keys[0], keys[2], keys[3]), makers, strict=False):
        small.get(key, maker)
    assert [maker.calls for maker in makers[:3]] == [0, 0, 0]
    assert len(entries(small)) == 3


def test_what_is_larger_than_the_limit_is_not_kept_nor_anything_at_0(cache: Cache) -> None:
    for limit in (100, 0):
        make = Maker()
        small = replace(cache, limit=limit)
        small.get(KEY, make)
        small.get(KEY, make)
        assert make.calls == 2
        assert entries(cache) == []


def test_many_workers_make_it_once(cache: Cache) -> None:
    make = Maker(size=16)

    def slow() -> CorruptedSet:
        time.sleep(0.1)
        return make()

    threads = [Thread(target=cache.get, args=(KEY, slow)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.calls == 1


KILLED = """
import sys, os, signal
import numpy as np
from pathlib import Path
from benchharness.artefacts.cache import Cache, CorruptedSet
volumes = np.full((2, 1, 64, 64, 64), 9, np.uint16)
savez = np.savez
def torn(stream, **arrays):
    savez(stream, **arrays)
    stream.seek(1000)
    stream.truncate()
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
np.savez = torn
half = CorruptedSet(volumes=volumes, clipped=np.zeros(2), changed=np.ones(2, bool))
Cache(root=Path(sys.argv[1]), limit=2**30).get({"number": 1}, lambda: half)
"""


def test_a_kill_in_the_middle_of_writing_leaves_nothing_that_counts(cache: Cache) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(cache.root)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(cache.root.glob("*.partial"))) == 1
    # Another key's writer clears what the killed one left, and the killed one's key works again.
    cache.get({"number": 2}, Maker())
    assert list(cache.root.glob("*.partial")) == []
    make = Maker()
    assert cache.get({"number": 1}, make).volumes.max() == 7
    assert make.calls == 1


def test_the_next_writer_of_a_set_clears_what_a_killed_one_left_of_it(cache: Cache) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(cache.root)], check=False)
    assert len(list(cache.root.glob("*.partial"))) == 1
    cache.get({"number": 1}, Maker())
    assert list(cache.root.glob("*.partial")) == []


def test_what_a_living_writer_has_begun_is_left_alone(cache: Cache) -> None:
    cache.get(KEY, Maker())
    begun = cache.root / ".other.npz.1.partial"
    begun.touch()
    with FileLock(cache.root / "locks" / "other"):
        cache.get({"number": 1}, Maker())
        assert begun.exists()
    cache.get({"number": 2}, Maker())
    assert not begun.exists()


def test_a_set_within_the_limit_stays_within_it_on_disk(cache: Cache) -> None:
    """What is kept is decided before it is written, from above."""
    cache.get(KEY, Maker(size=8))
    size = entries(cache)[0].stat().st_size
    for limit in (size - 1, size, size + 5000):
        small = Cache(root=cache.root.with_name(f"cache{limit}"), limit=limit)
        small.get(KEY, Maker(size=8))
        assert sum(path.stat().st_size for path in entries(small)) <= limit
    assert len(entries(small)) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_costs_time_only(cache: Cache) -> None:
    cache.root.parent.chmod(0o500)
    make = Maker()
    assert cache.get(KEY, make).volumes.max() == 7


def test_a_folder_that_is_none_costs_time_only_and_says_so(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.root.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert cache.get(KEY, Maker()).volumes.max() == 7
    assert "corrupted volumes are not kept" in caplog.text


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("BENCH_CACHE_GIB", text)
    with pytest.raises(BenchError, match=r"BENCH_CACHE_GIB takes a number of GiB from 0 up, got"):
        Cache.of_environment()


def test_the_environment_names_folder_and_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path))
    monkeypatch.setenv("BENCH_CACHE_GIB", "0.5")
    assert Cache.of_environment() == Cache(root=tmp_path / "corrupted", limit=2**29)
    monkeypatch.delenv("BENCH_CACHE_ROOT")
    assert Cache.of_environment().root.parent.name == "benchharness"


def test_a_corrupted_set_holds_what_the_artefact_gives_and_knows_what_changed() -> None:
    random = np.random.default_rng(0)
    volumes = random.integers(0, 256, (20, 1, 8, 8, 8)).astype(np.uint8)
    volumes[3] = (volumes[3] > 100) * np.uint8(255)
    ids = tuple(f"set/test/{index}" for index in range(20))
    gamma = artefacts.build("gamma")
    found = corrupt(gamma, volumes, ids, severity=3, seed=0)
    one = gamma(torch.from_numpy(volumes[7]).float() / 255, severity=3, id=ids[7], seed=0)
    assert np.array_equal(found.volumes[7], (one.volume.double() * 65535).round().numpy())
    assert found.changed.tolist() == [index != 3 for index in range(20)]


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_or_exchanged_sets_change_nothing_and_raise_nothing(
    cache: Cache, tmp_path: Path, count: int
) -> None:
    """Every array of a set counts, not its volumes alone."""
    keys: list[dict[str, Any]] = [{"number": number} for number in range(3)]
    for number, key in enumerate(keys):
        cache.get(key, Maker(number, size=4 + number // 2))
    pristine = tmp_path / "pristine"
    shutil.copytree(cache.root, pristine, ignore=shutil.ignore_patterns("locks"))
    draws = np.random.default_rng(0)
    for _ in range(count):
        done = mutate(cache.root, pristine, ".npz", draws)
        for number, key in enumerate(keys):
            wanted = made(number, size=4 + number // 2)
            try:
                found = cache.get(key, lambda wanted=wanted: wanted)  # type: ignore[misc]
                np.testing.assert_array_equal(found.volumes, wanted.volumes)
                np.testing.assert_array_equal(found.clipped, wanted.clipped)
                np.testing.assert_array_equal(found.changed, wanted.changed)
            except BaseException as error:
                raise AssertionError(f"after a {done}") from error


def test_a_set_in_a_folder_that_may_only_be_read_is_taken(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.get(KEY, Maker())

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", refused)
    make = Maker()
    cache.get(KEY, make)
    assert make.calls == 0
