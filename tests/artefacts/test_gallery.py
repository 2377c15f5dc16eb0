"""The computed parts of the artefacts' page are those of the code."""

from __future__ import annotations

import struct

import pytest

from benchharness import artefacts, registry
from benchharness.artefacts import LEVELS, SUITE_VERSION
from benchharness.datasets import medmnist3d
from tests.artefacts import gallery


def test_the_page_holds_the_tables_of_this_code() -> None:
    page = gallery.PAGE.read_text(encoding="utf-8")
    parts = {"levels": gallery.level_table(), "plausibility": gallery.plausibility_table()}
    assert gallery.fill(page, parts) == page, "run 'python -m tests.artefacts.gallery'"
    assert f"Suite version {SUITE_VERSION};" in page, "run 'python -m tests.artefacts.gallery'"
    for name in registry.BUILT_IN["artefacts"]:
        assert page.count(f"| `{name}`") == 3


def test_the_modalities_of_the_page_are_those_of_the_datasets() -> None:
    assert set(gallery.DATASETS) <= set(registry.BUILT_IN["datasets"])
    shown = {name: modality for name, (modality, _) in gallery.DATASETS.items()}
    published = {name: modality for name, (modality, _) in medmnist3d.SETS.items()}
    renderings = {"phantom3d_ct": "ct", "phantom3d_mr": "mri", "phantom3d_xray": "x-ray"}
    assert shown == {"phantom3d": "phantom", **renderings, **published}


def test_similarity_is_measured_and_laid_out() -> None:
    contrast = artefacts.build("contrast")
    found = [one for grid in (28, 64) for one in gallery.measure(contrast, grid, 2)]
    assert [one.level for one in found] == [*LEVELS, *LEVELS]
    assert all(0 < one.ssim < 1 and one.psnr > 5 and one.clipped == 0 for one in found)
    assert [one.psnr for one in found[:5]] == sorted((o.psnr for o in found[:5]), reverse=True)
    table = gallery.similarity_table(found)
    assert "means over the first 2 test volumes of `phantom3d` and the same scenes" in table
    assert f"{found[0].ssim:.2f}" in table


def test_the_sheet_is_there_and_small() -> None:
    content = gallery.sheet_path().read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert width > 900
    assert height > 600
    assert len(content) < 700_000


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="the page has no part <!-- levels -->"):
        gallery.fill("# Page", {"levels": "x"})
