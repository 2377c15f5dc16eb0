"""Links of Markdown pages and of the built site, and those among them that lead nowhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def in_markdown(text: str) -> Iterator[str]:
    """Targets of the links and images of a page, code left out."""
    return (link[1] for link in _LINK.finditer(_CODE.sub("", text)))


def is_external(target: str) -> bool:
    """Whether a target has a scheme or a host of its own."""
    parts = urlsplit(target)
    return bool(parts.scheme or parts.netloc)


def anchors(text: str) -> set[str]:
    """Anchors of a Markdown page's headings, as GitHub makes them."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading[1].strip().lower()).replace(" ", "-")
        for heading in _HEADING.finditer(plain)
    }


def broken_in_markdown(pages: Iterable[Path]) -> list[str]:
    """Links between files of the repository whose file or heading does not exist."""
    wrong: list[str] = []
    for page in pages:
        for target in in_markdown(page.read_text(encoding="utf-8")):
            if is_external(target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            missing = not file.exists()
            if anchor and not missing and file.suffix == ".md":
                missing = anchor not in anchors(file.read_text(encoding="utf-8"))
            if missing:
                wrong.append(f"{page}: {target}")
    return wrong


class _Page(HTMLParser):
    """Identifiers, links, and what a browser loads by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.identifiers: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what one element names and what it leads to."""
        given = {name: value for name, value in attributes if value is not None}
        self.identifiers.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "src" in given:
            self.loaded.append(given["src"])
        if tag == "link" and "stylesheet" in given.get("rel", ""):
            self.loaded.append(given["href"])


def broken_in_site(site: Path) -> list[str]:
    """Links of built pages that lead nowhere, and what a page would load from the network."""
    pages = {file: _Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    wrong: list[str] = []
    for file, page in pages.items():
        if file.name == "404.html":  # served from any depth, so its links are absolute
            continue
        wrong += [f"{file}: loads {one}" for one in page.loaded if is_external(one)]
        for target in page.links + page.loaded:
            if is_external(target):
                continue
            path, _, anchor = target.partition("#")
            found = (file.parent / unquote(path)).resolve() if path else file
            known = pages.get(found)
            if not found.is_file() or (
                anchor and known is not None and unquote(anchor) not in known.identifiers
            ):
                wrong.append(f"{file}: {target}")
    return wrong
