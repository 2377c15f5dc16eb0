"""README's words for newcomers attack a trained network of the package, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from benchharness import cli
from benchharness.networks import zoo
from benchharness.networks.zoo.adding import LARGEST
from benchharness.run import config, planning
from benchharness.store.folder import Store
from tests.docs.test_examples import PAGES, commands

if TYPE_CHECKING:
    from pathlib import Path


def words() -> list[str]:
    (found,) = [
        line
        for line in commands(PAGES[0])
        if line[:2] == ["bench", "run"] and any("@" in word for word in line)
    ]
    return found[1:]


def test_the_words_for_newcomers_train_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_ZOO", str(tmp_path / "empty"))
    _, *typed = words()
    flags = {flag.removeprefix("--"): value for flag, value in batched(typed)}
    planned = planning.plan(config.load(None, flags | {"out": tmp_path / "out"}))
    assert len(planned.cells) == 6
    (entry,) = [one for one in zoo.find("medvit3d_n@quick") if one.card.seed == 0]
    assert {job.weights.checkpoint.sha256 for job in planned.jobs} == {entry.card.sha256}


def batched(typed: list[str]) -> list[tuple[str, str]]:
    return list(zip(typed[::2], typed[1::2], strict=True))


@pytest.mark.slow
def test_a_newcomer_attacks_a_trained_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_ZOO", str(tmp_path / "empty"))
    done = CliRunner().invoke(cli.app, [*words(), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    records = Store(tmp_path / "out").records().values()
    assert {one.status for one in records} == {"ok"}
    clean = next(one for one in records if one.cell.perturbation.kind == "none")
    (entry,) = [one for one in zoo.find("medvit3d_n@quick") if one.card.seed == 0]
    assert clean.cell.checkpoint.sha256 == entry.card.sha256
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_what_comes_with_the_package_is_whole_and_small() -> None:
    found = zoo.index.read(zoo.package_folder())
    assert found
    for entry in found:
        path = zoo.package_folder() / entry.file
        assert entry.size <= LARGEST or entry.url
        if entry.size <= LARGEST:
            assert zoo.located(entry) == path
            assert path.stat().st_size == entry.size
        assert entry.file == zoo.Entry.of(entry.card, size=0, licence="", source="").file
        assert entry.licence
    there = {path.name for path in zoo.package_folder().iterdir()}
    assert there == {"index.json", *(e.file for e in found if e.size <= LARGEST)}
    assert len({entry.slot for entry in found}) == len(found)
