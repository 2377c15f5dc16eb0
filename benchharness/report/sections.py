"""The sections of a report, in their order: a new one is a function here and its entry below."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING

from benchharness.errors import unknown_name
from benchharness.report import dataset, explanations
from benchharness.report.choice import EVERYTHING
from benchharness.report.parts import Picture, Section
from benchharness.report.plots import shots
from benchharness.report.plots.costs import against_costs
from benchharness.report.scoring import scores
from benchharness.report.tables import origins, results, sources, summaries
from benchharness.report.tables.certificates import certificates
from benchharness.report.tables.layout import chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.choice import Choice


def sections(findings: Findings, choice: Choice = EVERYTHING) -> tuple[Section, ...]:
    """Every section that has something to show, with the tables that were chosen.

    Raises:
        BenchError: When a chosen table is none of the report's.
    """
    return tuple(one_by_one(findings, choice))


def one_by_one(findings: Findings, choice: Choice) -> Iterator[Section]:
    """The same sections, each as soon as it is made; all are made first where tables are chosen."""
    found = (section for make in SECTIONS for section in make(findings, choice))
    if not choice.tables:
        yield from found
        return
    every = tuple(found)
    _check(every, choice)
    yield from (section for one in every if (section := _chosen(one, choice)) is not None)


def _check(found: Sequence[Section], choice: Choice) -> None:
    tables = [table for section in found for table in (*section.lead, *section.tables)]
    known = {word for table in tables for word in table.kinds}
    known |= {about.partition(" ")[0] for table in tables for about in table.about if about}
    labels = {about for table in tables for about in table.about}
    for word in choice.tables:
        if word not in known | labels:
            raise unknown_name("table", word, known)


def _chosen(section: Section, choice: Choice) -> Section | None:
    """A section with those of its tables that are chosen; None where nothing is left of it."""
    lead, tables = (
        tuple(c for table in own if (c := chosen(table, choice.tables)) is not None)
        for own in (section.lead, section.tables)
    )
    if not (lead or tables or section.charts):
        return None
    return replace(section, lead=lead, tables=tables)


def _average(findings: Findings, choice: Choice) -> Iterator[Section]:
    if len(scores.averaged(findings)) > 1:
        yield Section(
            title="Average over datasets",
            lead=(summaries.average(findings, choice.metrics),),
            charts=tuple(c for c in against_costs(findings, None, choice) if c.shown),
        )


def _sources(findings: Findings, _: Choice) -> Iterator[Section]:
    if found := tuple(sources.tables(findings)):
        yield Section(
            title="Across datasets",
            text="Networks that were trained on one dataset and judged on another.",
            lead=found,
            charts=tuple(shots.curves(findings)),
        )


def _datasets(findings: Findings, choice: Choice) -> Iterator[Section]:
    for name in findings.datasets:
        yield dataset.section(findings, name, choice)


def _artefacts(findings: Findings, _: Choice) -> Iterator[Section]:
    """What artefacts look like: a sheet that `python -m tests.artefacts.gallery` draws."""
    if not any(row.key.kind == "artefact" for row in findings.rows):
        return
    path = resources.files("benchharness.report") / "assets" / "artefacts.png"
    sheet = Picture(
        name="artefacts",
        title="Every artefact at five levels",
        caption="The middle slice of a phantom: clean, and under every built-in artefact at levels "
        "1 to 5.",
        png=path.read_bytes(),
    )
    yield Section(title="Artefacts", pictures=(sheet,))


def _certificates(findings: Findings, _: Choice) -> Iterator[Section]:
    if found := certificates(findings):
        yield Section(title="Certificates", tables=found, for_print=False)


def _heat_maps(findings: Findings, _: Choice) -> Iterator[Section]:
    yield from explanations.sections(findings.directory)


def _cost(findings: Findings, _: Choice) -> Iterator[Section]:
    yield Section(title="Model cost", tables=(results.cost(findings),))


def _failed(findings: Findings, _: Choice) -> Iterator[Section]:
    if findings.failed:
        yield Section(title="Failed cells", tables=(results.failed(findings),))


def _provenance(findings: Findings, _: Choice) -> Iterator[Section]:
    yield Section(title="Provenance", tables=origins.provenance(findings), for_print=False)


SECTIONS: tuple[Callable[[Findings, Choice], Iterator[Section]], ...] = (
    _average,
    _sources,
    _datasets,
    _artefacts,
    _certificates,
    _heat_maps,
    _cost,
    _failed,
    _provenance,
)
"""Each gives the sections of its kind, none where there is nothing to show."""
