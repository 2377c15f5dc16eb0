"""A real browser, Debian's Chromium, and pages opened from disk in it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 120_000
"""Milliseconds for a page to open: the machine may be busy."""
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 780}


class Watched:
    """What a page complained about, and what it asked the network for."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._asked)
        page.on("request", self._wanted)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _asked(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _wanted(self, request: Any) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.requests.append(request.url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, with a profile of its own; skipped with a reason where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH: `make test-browser` installs it on Debian as root")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(
            executable_path=chromium, args=list(FLAGS), timeout=PATIENCE
        )
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a store with everything that a page can show."""
    return stores.page(tmp_path_factory.mktemp("browser"))


@pytest.fixture
def opened(browser: Browser, page_file: Path) -> Callable[..., Any]:
    """Open a page in a fresh context: `with opened(color_scheme="dark") as (page, watched)`."""

    @contextmanager
    def opening(path: Path = page_file, **context: Any) -> Iterator[tuple[Page, Watched]]:
        made = browser.new_context(**({"viewport": DESKTOP} | context))
        made.set_default_timeout(PATIENCE)
        page = made.new_page()
        watched = Watched(page)
        page.goto(path.as_uri(), timeout=PATIENCE)
        try:
            yield page, watched
        finally:
            made.close()

    return opening
