"""The site of several stores and the page that follows a run, in a browser."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread

import pytest

from benchharness.report.choice import Choice
from benchharness.report.joining import join
from benchharness.report.serving import HOST, Live, server
from benchharness.report.site import INDEX, site
from benchharness.store.folder import Store
from tests.browser.conftest import PHONE, Watched
from tests.factories import Made, store_of, whole_matrix
from tests.report.conftest import without_drawing

pytestmark = pytest.mark.browser


@pytest.fixture
def index(tmp_path):
    stores = [
        store_of(tmp_path / name, whole_matrix(models=(f"of_{name}",), n=12)).directory
        for name in ("anna", "ben")
    ]
    with without_drawing():
        files = site(join(stores))
    for name, content in files.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_bytes(content)
    return tmp_path / "site" / INDEX


def test_a_row_leads_to_its_stores_page_and_a_cell_opens_its_panel(opened, index):
    with opened(index) as (page, watched):
        page.locator(".screen table.matrix td[data-cell]").first.click()
        assert page.locator("#panel").is_visible()
        page.keyboard.press("Escape")
        page.get_by_role("link", name="ben", exact=True).first.click()
        page.wait_for_load_state()
        assert page.url.endswith("/stores/ben.html")
        assert "of_ben" in page.locator(".sentence").inner_text()
        assert watched.complaints == []


def test_commands_fit_a_phone(opened, index):
    with opened(index, viewport=PHONE) as (page, _):
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_page_of_a_run_refreshes_unless_a_panel_is_open(browser, tmp_path):
    first = Made(n=12)
    store_of(tmp_path / "store", [first])
    with without_drawing(), server(live := _live(tmp_path), 0) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        page = browser.new_page()
        watched = Watched(page)
        page.goto(f"http://{HOST}:{listening.server_port}/")
        assert "1 cell," in page.locator(".sentence").inner_text()
        page.locator(".screen table.matrix td[data-cell]").first.click()
        store = Store(tmp_path / "store")
        with store.writing():
            replace(first, perturbation="pgd", severity=8 / 255).save(store)
        assert live.look()
        page.wait_for_timeout(2_500)
        assert page.locator("#panel").is_visible()
        page.keyboard.press("Escape")
        page.get_by_text("2 cells,").first.wait_for()
        assert {url.partition("//")[2].partition("/")[0] for url in watched.requests} == {
            f"{HOST}:{listening.server_port}"
        }
        page.close()
        listening.shutdown()


def _live(folder):
    live = Live(folder / "store", Choice.of(formats=["png"], volumes=0))
    live.look()
    return live
