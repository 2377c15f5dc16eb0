"""For whom NEW is worse: the accuracy of every endpoint by group of the data's own table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness import statistics
from benchharness.comparison.groups import grouped
from benchharness.statistics import patients as by_patient
from benchharness.statistics import uncertainty
from benchharness.store import metadata
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchharness.comparison.groups import Group
    from benchharness.comparison.pairing import Pairing
    from benchharness.statistics import Judgement
    from benchharness.statistics.basis import Booleans, Floats
    from benchharness.statistics.endpoints import Unit
    from benchharness.store.source import Source

    Tables = Mapping[str, Mapping[str, Mapping[str, str]]]
    """What is known of volumes: texts by dataset, id and column."""

MOST_GROUPS = 12
"""A column with more values, such as a name or an age, groups nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEndpoint:
    """The mean accuracy of a family on one group's volumes, on both sides."""

    name: str
    """Model, dataset and family."""
    column: str
    group: str
    size: int
    """Patients, or volumes where these are independent."""
    unit: Unit
    base: float
    new: float
    judgement: Judgement
    """At its share of α by Holm over all groups of all endpoints."""


def tables(*sources: Source) -> Tables:
    """What the stores among some sources keep of their volumes."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for source in sources:
        if isinstance(source, Store):
            datasets = {record.cell.dataset for record in source.records().values()}
            for dataset in sorted(datasets, key=lambda one: (one.name, one.digest)):
                rows = metadata.read(source.directory, dataset.digest)
                found[dataset.name] = found.get(dataset.name, {}) | rows
    return found


def by_group(
    pairing: Pairing, tables: Tables, *, tolerance: float, alpha: float
) -> tuple[GroupEndpoint, ...]:
    """Judge every endpoint on every group.

    Args:
        pairing: The cells of both sides.
        tables: What is known of the volumes.
        tolerance: As for the endpoints.
        alpha: The chance of any false verdict over all groups.
    """
    found = [
        (group, column, name, members)
        for group in grouped(pairing.cells, pairing.gaps)
        if group.cells and not group.refused
        for column, name, members in _groups(group, tables)
    ]
    if not found:
        return ()
    values = [_values(group, members) for group, _, _, members in found]
    samples = [statistics.Sample(values=new - base, unit=unit) for base, new, unit, _ in values]
    judgements = statistics.judge(samples, tolerance=tolerance, alpha=alpha)
    return tuple(
        GroupEndpoint(
            name=f"{group.place.model} · {group.dataset} · {group.place.family_title}",
            column=column,
            group=name,
            size=size,
            unit=unit,
            base=float(base.mean()),
            new=float(new.mean()),
            judgement=judgement,
        )
        for (group, column, name, _), (base, new, unit, size), judgement in zip(
            found, values, judgements, strict=True
        )
    )


def _groups(group: Group, tables: Tables) -> Iterator[tuple[str, str, Booleans]]:
    ids = group.cells[0].ids
    rows = tables.get(group.place.dataset, {})
    columns = dict.fromkeys(column for name in ids for column in rows.get(name, {}))
    for column in columns:
        texts = np.asarray([rows.get(name, {}).get(column) or "not stated" for name in ids])
        names = sorted(set(texts.tolist()))
        if 1 < len(names) <= MOST_GROUPS:
            for name in names:
                yield column, name, texts == name


def _values(group: Group, members: Booleans) -> tuple[Floats, Floats, Unit, int]:
    """What each patient or volume of a group contributes to BASE and NEW, and what is counted."""
    cells = group.cells
    known = next((cell.patients for cell in cells if cell.patients is not None), None)
    own = None if known is None else by_patient.with_several_volumes(known[members])
    base, new = (
        uncertainty.per_patient(np.mean([shares[members] for shares in side], axis=0), own)
        for side in (
            [cell.right(cell.base) for cell in cells],
            [cell.right(cell.new) for cell in cells],
        )
    )
    return base, new, "volumes" if own is None else "patients", len(base)
