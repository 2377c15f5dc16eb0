"""The page itself, as a reader meets it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.browser import stores
from tests.browser.conftest import PHONE

pytestmark = pytest.mark.browser


def test_nothing_leaves_the_file_and_nothing_complains(opened):
    with opened() as (page, watched):
        page.mouse.wheel(0, 100_000)
        page.wait_for_timeout(300)
        assert [url.partition(":")[0] for url in watched.requests] == ["file"]
        assert watched.complaints == []


def test_the_page_forbids_itself_to_load_anything(opened):
    with opened() as (page, watched):
        loaded = page.evaluate(
            """() => new Promise(done => {
                 const image = new Image();
                 image.onload = () => done("loaded");
                 image.onerror = () => done("refused");
                 image.src = "http://127.0.0.1:9/pixel.png";
               })"""
        )
        assert loaded == "refused"
        assert any("Content Security Policy" in said for said in watched.complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    with opened(color_scheme=scheme) as (page, _):
        found = axe.Axe().run(page).response["violations"]
        serious = {
            f"{one['id']}: {node['html'][:120]}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        }
        assert serious == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways(opened, scheme):
    with opened(viewport=PHONE, color_scheme=scheme) as (page, _):
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_print_keeps_the_header_of_every_table(opened, tmp_path):
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    with opened() as (page, _):
        # What is on the screen alone, and what is for screen readers alone, is not printed.
        wanted = page.evaluate(
            """[...document.querySelectorAll("main table")].filter(one => !one.closest(".screen"))
               .flatMap(one => [...one.tHead.querySelectorAll("th")]).map(one => {
                 const copy = one.cloneNode(true);
                 copy.querySelectorAll(".unseen").forEach(part => part.remove());
                 return copy.textContent.trim();
               })"""
        )
        page.pdf(path=tmp_path / "page.pdf", format="A4", landscape=True, print_background=True)
    text = subprocess.run(
        ["pdftotext", "-raw", tmp_path / "page.pdf", "-"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # A heading may be broken over lines, and between any two of its letters.
    printed = "".join(text.split())
    missing = {heading for heading in wanted if "".join(heading.split()) not in printed}
    assert len(wanted) > 20
    assert missing == set()


def test_a_thousand_cells_are_painted_within_seconds(opened, tmp_path):
    with opened(stores.many(tmp_path, 50)) as (page, watched):
        painted = page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        )
        # A second on a quiet machine; tests share theirs.
        assert 0 < painted < 5000
        assert watched.complaints == []
