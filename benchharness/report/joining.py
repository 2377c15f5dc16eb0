"""Several stores as one: the cells of all, provided that they measured the same thing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.report.cells.findings import Findings
from benchharness.report.collect import collect
from benchharness.store import measurement
from benchharness.store.cells import condition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchharness.report.cells.rows import Row
    from benchharness.store.measurement import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Several stores, each with a name of its own."""

    findings: Findings
    """The cells of all stores, each identity once; models that several have are told apart."""
    sources: Mapping[str, str]
    """The name of each model's store, by the model's label."""
    stores: Mapping[str, Findings]
    """Each store as it is, by its name."""


def join(directories: Sequence[Path]) -> Joined:
    """Read several stores.

    Args:
        directories: Folders of runs, or files of baselines.

    Raises:
        BenchError: When one cannot be read, or two cells of one name are not the same measurement:
            other data or volumes, another threat model (parameters, seed), another version of an
            attack or artefact.
    """
    names = _names(directories)
    found = [(name, collect(path)) for name, path in zip(names, directories, strict=True)]
    _refuse_mixing(found)
    findings, sources = _together(found)
    return Joined(findings=findings, sources=sources, stores=dict(found))


def _names(directories: Sequence[Path]) -> list[str]:
    """The last part of each path; the whole path where that is not unique."""
    short = [path.resolve().name for path in directories]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else str(path)
        for name, path in zip(short, directories, strict=True)
    ]


def _refuse_mixing(found: Sequence[tuple[str, Findings]]) -> None:
    known: dict[tuple[str, ...], tuple[str, Parts]] = {}
    complaints: dict[str, None] = {}
    for source, findings in found:
        for row in findings.rows:
            for place, parts in _measurement(row):
                first, expected = known.setdefault(place, (source, parts))
                differing = [
                    f"{one.name} {one.first} in {first}, {one.second} in {source}"
                    for one in measurement.differences(expected, parts)
                ]
                if differing:
                    complaints[f"{' on '.join(place)}: {'; '.join(differing)}"] = None
    if complaints:
        shown = ". ".join(list(complaints)[:3])
        more = f". And {len(complaints) - 3} more" if len(complaints) > 3 else ""
        raise BenchError(
            f"these are not the same measurements. {shown}{more}. Leave one store out, or repeat "
            "its run with the same data, parameters and version."
        )


def _measurement(row: Row) -> tuple[tuple[tuple[str, ...], Parts], ...]:
    """What must be the same for one name of a dataset, and for one condition on it."""
    data = row.record.cell.dataset
    volumes = f"{data.count} of {data.total} ({data.volumes[:8]})"
    of_data = tuple(
        (name, volumes if name == "volumes" else value) for name, value in measurement.of_data(data)
    )
    return (
        ((data.name,), of_data),
        ((condition(row.key), data.name), measurement.of_perturbation(row.key)),
    )


def _together(found: Sequence[tuple[str, Findings]]) -> tuple[Findings, dict[str, str]]:
    """Join all rows and name the store of models that several have; the first has the cell."""
    owners = Counter(model for _, findings in found for model in findings.models)
    every: dict[str, Row] = {}
    controls: set[str] = set()
    checks = []
    sources: dict[str, str] = {}
    for source, findings in found:
        for row in (*findings.rows, *findings.controls):
            label = row.model if owners[row.model] == 1 else f"{row.model} ({source})"
            if every.setdefault(row.record.identity, replace(row, model=label)).model == label:
                sources[label] = source
        controls |= {row.record.identity for row in findings.controls}
        checks += [one for one in findings.checks if sources[every[one.of].model] == source]
    joined = Findings(
        Path(),
        tuple(row for identity, row in every.items() if identity not in controls),
        tuple(row for identity, row in every.items() if identity in controls),
        tuple(checks),
    )
    return joined, sources
