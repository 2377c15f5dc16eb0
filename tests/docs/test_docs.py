"""The documentation agrees with the code and with itself."""

from __future__ import annotations

import itertools
import re
import tomllib
from typing import TYPE_CHECKING

from tests.docs import diagrams, links, site

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ARCHITECTURE = diagrams.DOCS / "architecture.md"
PAGES = [
    *sorted(diagrams.DOCS.rglob("*.md")),
    *(diagrams.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]


def contract() -> list[set[str]]:
    """Lines of packages in the harness's import contract, from the top down."""
    settings = tomllib.loads((diagrams.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    harness = next(one for one in contracts if one["name"].startswith("The harness: each line"))
    return [
        {name.strip().removeprefix("benchharness.") for name in re.split(r"[|:]", line)}
        for line in harness["layers"]
    ]


def assert_drawn(lines: list[set[str]]) -> None:
    """Packages drawn are the contract's, and none is drawn above one that may import it."""
    enforced = contract()
    assert sorted(name for line in lines for name in line) == sorted(
        name for line in enforced for name in line
    )
    height = {name: place for place, line in enumerate(lines) for name in line}
    for above, below in itertools.pairwise(enforced):
        assert max(height[name] for name in above) <= min(height[name] for name in below)
    for line in enforced:
        assert len({height[name] for name in line}) == 1, line


def test_the_drawn_packages_are_those_of_the_import_contract() -> None:
    drawing = diagrams.FENCE.search(ARCHITECTURE.read_text(encoding="utf-8"))
    assert drawing is not None
    assert_drawn([set(label.split(" | ")) for label in re.findall(r'\["(.+?)"\]', drawing[1])])


def test_the_listed_packages_are_those_of_the_import_contract() -> None:
    table = ARCHITECTURE.read_text(encoding="utf-8").split("<!-- packages -->")[1]
    rows = [
        line.split("|")[1] for line in table.split("<!-- end -->")[0].splitlines() if "`" in line
    ]
    assert_drawn([set(re.findall(r"`(\w+)`", row)) for row in rows])


def test_no_link_between_pages_leads_nowhere() -> None:
    assert links.broken_in_markdown(PAGES) == []


def test_every_page_is_in_the_navigation_once() -> None:
    settings = tomllib.loads((diagrams.ROOT / "zensical.toml").read_text(encoding="utf-8"))

    def listed(entries: object) -> list[str]:
        if isinstance(entries, str):
            return [entries]
        parts = entries.values() if isinstance(entries, dict) else entries
        assert not isinstance(parts, (int, float, bool, type(None)))
        return [page for part in parts for page in listed(part)]

    pages = [page.relative_to(diagrams.DOCS).as_posix() for page in diagrams.DOCS.rglob("*.md")]
    assert sorted(listed(settings["project"]["nav"])) == sorted([*pages, *site.PAGES.values()])


def test_diagrams_are_drawn_from_the_present_source() -> None:
    assert diagrams.sources()
    assert diagrams.stale() == [], "run 'python -m tests.docs.diagrams'"


def test_a_changed_diagram_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, source = next(iter(diagrams.sources().items()))
    monkeypatch.setattr(diagrams, "sources", lambda: {drawing: source + "    new --> one\n"})
    assert drawing in diagrams.stale()


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# A title: with `code`\n")
    page.write_text(
        "[good](other.md#a-title-with-code) [web](https://example.org) `[code](none.md)`\n"
        "[bad](none.md) [bad](other.md#nowhere) [bad](#nowhere)\n"
    )
    wrong = links.broken_in_markdown([page, other])
    assert [one.partition(": ")[2] for one in wrong] == [
        "none.md",
        "other.md#nowhere",
        "#nowhere",
    ]


def test_a_site_may_neither_lead_nowhere_nor_load_from_the_network(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="https://example.org/s.css"><script src="b.js"></script>'
        '<a href="b.html#here">good</a><a href="b.html#there">bad</a><a href="c.html">bad</a>'
        '<a href="https://example.org">good</a>'
    )
    (tmp_path / "b.html").write_text('<p id="here"></p>')
    wrong = [one.partition(": ")[2] for one in links.broken_in_site(tmp_path)]
    assert wrong == ["loads https://example.org/s.css", "b.html#there", "c.html", "b.js"]


def test_the_copy_has_drawings_and_links_that_stay_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "COPY", tmp_path / "docs")
    site.prepare()
    drawn = (tmp_path / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert "```mermaid" not in drawn
    assert drawn.count('<div class="diagram"><svg') == len(
        diagrams.FENCE.findall(ARCHITECTURE.read_text(encoding="utf-8"))
    )
    assert links.broken_in_markdown((tmp_path / "docs").rglob("*.md")) == []
    picture = tmp_path / "docs" / "files" / "benchharness" / "report" / "assets" / "artefacts.png"
    assert picture.is_file()
