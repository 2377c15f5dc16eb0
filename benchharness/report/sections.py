"""The sections of a report, in their order: a new one is a function here and its entry below."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from benchharness.report import dataset, explanations
from benchharness.report.parts import Picture, Section
from benchharness.report.plots.parameters import against_parameters
from benchharness.report.scoring import scores
from benchharness.report.tables import origins, results, summaries
from benchharness.report.tables.certificates import certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchharness.report.cells.findings import Findings


def sections(findings: Findings) -> tuple[Section, ...]:
    """Every section that has something to show."""
    return tuple(section for make in SECTIONS for section in make(findings))


def _average(findings: Findings) -> Iterator[Section]:
    if len(scores.averaged(findings)) > 1:
        yield Section(
            title="Average over datasets",
            lead=(summaries.average(findings),),
            plots=(against_parameters(findings, None),),
        )


def _datasets(findings: Findings) -> Iterator[Section]:
    for name in findings.datasets:
        yield dataset.section(findings, name)


def _artefacts(findings: Findings) -> Iterator[Section]:
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


def _certificates(findings: Findings) -> Iterator[Section]:
    if found := certificates(findings):
        yield Section(title="Certificates", tables=found, for_print=False)


def _heat_maps(findings: Findings) -> Iterator[Section]:
    yield from explanations.sections(findings.directory)


def _cost(findings: Findings) -> Iterator[Section]:
    yield Section(title="Model cost", tables=(results.cost(findings),))


def _failed(findings: Findings) -> Iterator[Section]:
    if findings.failed:
        yield Section(title="Failed cells", tables=(results.failed(findings),))


def _provenance(findings: Findings) -> Iterator[Section]:
    yield Section(title="Provenance", tables=origins.provenance(findings), for_print=False)


SECTIONS: tuple[Callable[[Findings], Iterator[Section]], ...] = (
    _average,
    _datasets,
    _artefacts,
    _certificates,
    _heat_maps,
    _cost,
    _failed,
    _provenance,
)
"""Each gives the sections of its kind, none where there is nothing to show."""
