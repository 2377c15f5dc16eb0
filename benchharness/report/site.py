"""A static site of several stores: a leaderboard, and the page of each store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.choice import EVERYTHING
from benchharness.report.dataset import charts
from benchharness.report.formats import page
from benchharness.report.introduction import TITLE, caveats
from benchharness.report.page import opening, volumes
from benchharness.report.parts import Section, slug
from benchharness.report.plots.rendering import Drawing
from benchharness.report.scoring.subjects import subjects
from benchharness.report.sections import sections
from benchharness.report.tables import ranking
from benchharness.report.tables.standings import standings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.joining import Joined

INDEX = "index.html"
_ELSEWHERE = "The page of each store shows volumes."


def site(joined: Joined) -> dict[str, bytes]:
    """Every file of the site by its path; the same stores give the same files."""
    pages = _addresses(tuple(joined.stores))
    files = {INDEX: _index(joined, pages)}
    for name, findings in joined.stores.items():
        files[pages[name]] = _whole(
            f"{TITLE}: {name}",
            caveats(findings),
            findings,
            sections(findings),
            shown := volumes.wanted(findings, EVERYTHING.volumes),
            _reasons(findings, shown),
        )
    return files


def _reasons(findings: Findings, shown: volumes.Wanted) -> tuple[str, ...]:
    """Why a store's page lacks volumes; a baseline's file holds none."""
    if not findings.directory.is_dir():
        return ()
    return volumes.undrawn(volumes.missing(findings, shown))


def _addresses(names: Sequence[str]) -> dict[str, str]:
    """A file for each store; a number keeps those apart whose names differ in signs alone."""
    found: dict[str, str] = {}
    for number, name in enumerate(names):
        address = f"stores/{slug(name)}.html"
        found[name] = f"stores/{slug(name)}_{number}.html" if address in found.values() else address
    return found


def _index(joined: Joined, pages: Mapping[str, str]) -> bytes:
    said = (f"{len(pages)} stores: {', '.join(pages)}.", *caveats(joined.findings))
    return _whole(
        "Leaderboard", said, joined.findings, tuple(_sections(joined, pages)), {}, (_ELSEWHERE,)
    )


def _sections(joined: Joined, pages: Mapping[str, str]) -> Iterator[Section]:
    findings = joined.findings
    for dataset in findings.datasets:
        worst, commands = standings(findings, dataset, joined.sources, pages)
        several = len(subjects(findings, dataset)) > 1
        yield Section(
            title=dataset,
            lead=(worst, *((ranking.ranking(findings, dataset),) if several else ()), commands),
            charts=tuple(c for c in charts(findings, dataset, EVERYTHING) if c.shown),
        )


def _whole(
    title: str,
    introduction: Sequence[str],
    findings: Findings,
    parts: Sequence[Section],
    shown: volumes.Wanted,
    reasons: Sequence[str],
) -> bytes:
    with Drawing(EVERYTHING) as drawing:
        for section in parts:
            drawing.begin(section)
        drawn = drawing.finished()
    first = opening(findings, shown, reasons)
    return page.document(title, introduction, drawn, first).encode()
