"""Volumes that perturbations broke are made again, or a line says what is missing."""

from __future__ import annotations

import dataclasses
import shutil
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchharness.report.collect import collect
from benchharness.report.page import volumes
from benchharness.run import broken, config, runner
from benchharness.run.progress import Display
from benchharness.store import volumes as stored
from benchharness.training import recipes
from tests import samples
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchharness.datasets import Dataset

EPS = 64 / 255


def data(root: Path | None = None) -> Dataset:
    return samples.dataset()


def other_data(root: Path | None = None) -> Dataset:
    return dataclasses.replace(samples.dataset(), digest="sha256:other")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("broken") / "store"
    quick = dataclasses.replace(recipes.find("quick"), epochs=6, batch_size=8, learning_rate=0.02)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes.RECIPES, "quick", quick)
        settings = {
            "models": "tests.samples:tiny",
            "datasets": "tests.run.test_broken:data",
            "attacks": "fgsm",
            "eps": "64/255",
            "artefacts": "gamma,gaussian_noise",
            "severities": "5",
            "out": out,
            "device": "cpu",
            "recipes": "quick",
        }
        runner.run(config.load(None, settings), Display(Console(file=StringIO())))
        yield out


@pytest.fixture
def store(measured: Path, tmp_path: Path) -> Path:
    return shutil.copytree(measured, tmp_path / "store")


def wanted(store: Path) -> tuple[dict[str, tuple[str, ...]], set[str], set[str]]:
    """What to draw, and the identities of attacks and of artefacts among it."""
    findings = collect(store)
    kinds = {row.record.identity: row.key.kind for row in findings.rows}
    found = volumes.wanted(findings, 3)
    attacks, artefacts = (
        {identity for identity in found if kinds[identity] == kind}
        for kind in ("attack", "artefact")
    )
    assert attacks
    assert artefacts
    return found, attacks, artefacts


def test_volumes_are_broken_again_within_their_budget(store: Path) -> None:
    asked, attacks, _ = wanted(store)
    assert broken.draw(store, asked) == ()
    for identity, ids in asked.items():
        found = stored.read(store, identity)
        assert found is not None
        assert found.asked == tuple(one.volume for one in found.drawn) == ids
        for one in found.drawn:
            assert one.answer != one.label
            assert len({one.clean, one.perturbed, one.difference}) == 3
            assert one.map == ""
            if identity in attacks:
                assert one.peak == pytest.approx(EPS, abs=1e-6)
    assert volumes.missing(collect(store), asked) == {}


def test_without_checkpoints_artefacts_are_drawn_all_the_same(store: Path) -> None:
    asked, attacks, artefacts = wanted(store)
    shutil.rmtree(store / "checkpoints")
    (said,) = broken.draw(store, asked)
    assert said.startswith("Volumes of 1 cell are not drawn: ")
    assert "the weights of tiny" in said
    assert str(store / "checkpoints") in said
    assert all(stored.read(store, identity) is not None for identity in artefacts)
    assert all(stored.read(store, identity) is None for identity in attacks)


def test_other_data_are_never_drawn(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, *_ = wanted(store)
    monkeypatch.setattr("tests.run.test_broken.data", other_data)
    (said,) = broken.draw(store, asked)
    assert "are not those that were measured" in said
    assert not (store / "volumes").exists()


def test_slow_attacks_are_left_to_those_who_ask(store: Path) -> None:
    asked, attacks, artefacts = wanted(store)
    (said,) = broken.draw(store, asked, patience=0.0)
    assert "bench report --volumes 12 draws them all the same" in said
    assert all(stored.read(store, identity) is None for identity in attacks)
    assert all(stored.read(store, identity) is not None for identity in artefacts)


def test_a_report_downloads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA_ROOT", str(tmp_path / "none"))
    cells = [Made(n=8), Made(n=8, correct=0.0, perturbation="motion", severity=5)]
    store = store_of(tmp_path / "store", cells).directory
    (said,) = broken.draw(store, volumes.wanted(collect(store), 2))
    assert "adrenalmnist3d.npz is not there" in said
    assert not (tmp_path / "none").exists()
