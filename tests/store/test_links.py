"""Symbolic links in a store that somebody else made lead nowhere outside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchharness import report
from benchharness.disk import leads_out
from benchharness.errors import BenchError
from benchharness.networks import checkpoints
from benchharness.store import heatmaps, merging, upkeep
from benchharness.store.folder import Store
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = heatmaps.Located(pointing=None, energy=None)
FOUND = heatmaps.HeatMaps(
    dataset="adrenalmnist3d",
    digest="md5:bbc",
    count=1,
    total=1,
    target="label",
    structure=None,
    box=EMPTY,
    box_side=0.5,
    randomised_networks=1,
    networks=(),
    pictures=(heatmaps.Picture(file="maps-0.png", volume="v", caption="c"),),
    provenance={},
)
PNG = b"\x89PNG inside"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = store_of(tmp_path / "store", [Made(n=8)]).directory
    heatmaps.write(folder, "maps", FOUND, {"maps-0.png": PNG})
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    return path


def pictures(store: Path) -> list[bytes]:
    return [
        heatmaps.read_picture(path, picture)
        for path, found in heatmaps.read(store)
        for picture in found.pictures
    ]


def refused(store: Path) -> str:
    with pytest.raises(BenchError) as caught:
        report.write(store)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pictures_and_links_inside_the_store_are_read(store: Path) -> None:
    assert pictures(store) == [PNG]
    place = store / "explanations" / "maps-0.png"
    place.rename(store / "moved.png")
    place.symlink_to("../moved.png")
    assert pictures(store) == [PNG]
    store.with_name("linked").symlink_to(store)
    assert pictures(store.with_name("linked")) == [PNG]


@pytest.mark.parametrize("name", ["maps-0.png", "maps.json", ""])
def test_a_link_under_explanations_that_leads_out_is_refused(
    store: Path, secret: Path, name: str
) -> None:
    place = store / "explanations" / name
    if name:
        place.unlink()
        place.symlink_to(secret)
    else:
        place.rename(secret.with_name("elsewhere"))
        place.symlink_to(secret.with_name("elsewhere"))
    assert "leads out of its store" in refused(store)


@pytest.mark.parametrize("file", ["../secret", "/etc/hostname", "a/../../secret", "a\0b", "..", ""])
def test_a_picture_is_named_inside_its_folder(store: Path, secret: Path, file: str) -> None:
    found = replace(FOUND, pictures=(replace(FOUND.pictures[0], file=file),))
    (store / "explanations" / "maps.json").write_text(found.to_json())
    assert "bench explain" in refused(store)


def trained(store: Path) -> Path:
    folder = store / "checkpoints" / "data" / "net-quick-seed0-00000000"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "model_card.json").write_text(
        json.dumps({"sha256": hashlib.sha256(b"weights").hexdigest()})
    )
    return folder


def test_merge_copies_no_file_from_outside(store: Path, secret: Path, tmp_path: Path) -> None:
    folder = trained(store)
    assert merging.merge([store], tmp_path / "first").checkpoints == 1
    (folder / "notes.txt").symlink_to(secret)
    merged = merging.merge([store], tmp_path / "second")
    assert merged.checkpoints == 0
    assert any("leads out of its store" in line for line in merged.skipped)
    assert not list((tmp_path / "second").rglob("notes.txt"))


@pytest.mark.parametrize("name", ["model.safetensors", "model_card.json"])
def test_weights_and_cards_outside_are_neither_verified_nor_read(store: Path, name: str) -> None:
    folder = trained(store)
    outside = store.with_name(name)
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    found = upkeep.verify(store)
    assert found.checkpoints == 0
    assert any("leads out of the store" in problem for problem in found.problems)
    with pytest.raises(BenchError, match="leads out of the folder of checkpoints"):
        checkpoints.read_card(folder)


def test_what_leads_out(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "out").symlink_to("..")
    assert not leads_out(folder / "absent", folder)
    assert not leads_out(folder / "a" / ".." / "b", folder)
    assert leads_out(folder / "out" / "x", folder)
    assert leads_out(folder / ".." / "x", folder)
    assert leads_out(tmp_path / "folder-2" / "x", folder)
    assert not Store(folder).records()
