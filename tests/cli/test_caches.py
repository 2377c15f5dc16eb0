"""`bench cache`: shows and empties what can be made again, and touches nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Bench = Callable[..., tuple[int, str, str]]


NAME = "a" * 64
"""Names of cached files are digests; files of other names are not ours."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE_ROOT", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_run_fills_the_cache_and_clear_empties_it(
    bench: Bench, tmp_path: Path, cache: Path
) -> None:
    data = samples.write_archive(tmp_path / "data.npz")
    run = ("run", "--models", "tests.samples:tiny", "--datasets", data, "--device", "cpu")
    run = (*run, "--recipe", "quick", "--artefacts", "blur", "--severities", "1,2")
    assert bench(*run)[0] == 0
    code, said, error = bench("cache", "info")
    assert (code, error) == (0, "")
    (corrupted,) = [line.split() for line in said.splitlines() if line.startswith(" corrupted")]
    assert corrupted[1] == "2"
    assert corrupted[3] == "kB"
    assert "BENCH_CACHE_GIB keeps corrupted volumes below 10.7 GB" in said
    code, said, error = bench("cache", "clear")
    assert (code, error) == (0, "")
    assert f"corrupted: 2 files removed, {corrupted[2]} kB" in said
    assert not list((cache / "corrupted").glob("*.npz"))
    assert "0 cells run, 3 were recorded already" in bench(*run)[1]


def test_only_one_cache_can_be_cleared(bench: Bench, cache: Path) -> None:
    for kind in ("corrupted", "prepared"):
        (cache / kind).mkdir(parents=True)
        (cache / kind / f"{NAME}.npz").write_bytes(b"123")
    (cache / "prepared" / f".{NAME}.npz.12.partial").write_bytes(b"4")
    assert "prepared: 2 files removed, 4 B" in bench("cache", "clear", "prepared")[1]
    assert [path.name for path in cache.rglob("*.npz")] == [f"{NAME}.npz"]


def test_an_empty_cache_is_no_mistake(bench: Bench, cache: Path) -> None:
    assert bench("cache", "info")[0] == bench("cache", "clear")[0] == 0
    assert not cache.exists()


def test_an_unknown_cache_is_one_line(bench: Bench, cache: Path) -> None:
    code, _, error = bench("cache", "clear", "prepard")
    assert code == 2
    assert error.startswith("bench: unknown cache 'prepard'. Did you mean 'prepared'?")


def test_links_and_foreign_files_stay(bench: Bench, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(b"mine")
    folder = cache / "corrupted"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.npz").symlink_to(tmp_path / "mine.npz")
    (folder / "notes.txt").write_text("mine")
    (cache / "prepared").symlink_to(tmp_path)
    assert bench("cache", "clear")[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == [f"{NAME}.npz", "notes.txt"]
    assert (tmp_path / "mine.npz").exists()
