"""Populations: whose volumes a number is about, by the columns of the data's own table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.errors import BenchError, unknown_name
from benchharness.statistics import patients as by_patient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.evidence.claims import Groups, Population
    from benchharness.evidence.subject import Measured
    from benchharness.statistics.basis import Booleans, Patients

NOT_STATED = "not stated"
"""The group of volumes of which the table says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """Some of the volumes."""

    column: str
    """Empty for all volumes."""
    name: str
    members: Booleans
    """(N,), which of the clean cell's volumes."""
    size: int
    """Patients, or volumes where these are independent."""
    unit: str
    """What is counted: `patients` or `volumes`."""
    small: bool = False
    """Whether it is smaller than what the claims call small."""

    def __str__(self) -> str:
        return f"{self.column} {self.name}" if self.column else "all"


def everyone(measured: Measured) -> Group:
    """All volumes as one group."""
    members = np.ones(len(measured.predictions.ids), dtype=bool)
    size, unit = counted(members, measured.patients)
    return Group(column="", name="all", members=members, size=size, unit=unit)


def counted(members: Booleans, patients: Patients | None) -> tuple[int, str]:
    """How many patients, or volumes where no patient is known, and the word for them."""
    if patients is None:
        return int(members.sum()), "volumes"
    return by_patient.count(patients[members]), "patients"


def groups(measured: Measured, wanted: Groups) -> dict[str, tuple[Group, ...]]:
    """The groups of every column.

    Raises:
        BenchError: When the run keeps no such column, or a band's value is no number.
    """
    bands = dict(wanted.bands)
    found = {}
    for column in (*wanted.columns, *bands):
        if column not in measured.metadata:
            hint = "Columns come from the data's CSV, and 'bench run' keeps them."
            raise unknown_name("column", column, measured.metadata, hint=hint)
        texts = measured.metadata[column]
        if column in bands:
            texts = tuple(_band(column, text, bands[column]) for text in texts)
        found[column] = _split(column, texts, measured, wanted.smallest)
    return found


def _split(
    column: str, texts: Sequence[str], measured: Measured, smallest: int
) -> tuple[Group, ...]:
    values = np.asarray([text or NOT_STATED for text in texts])
    made = []
    for name in sorted(set(values.tolist())):
        members = values == name
        size, unit = counted(members, measured.patients)
        small = size < smallest
        made.append(
            Group(column=column, name=name, members=members, size=size, unit=unit, small=small)
        )
    return tuple(made)


def _band(column: str, text: str, cuts: Sequence[float]) -> str:
    """The band of a number in words: `below 40`, `40 to below 60`, `60 and above`."""
    if not text:
        return ""
    try:
        value = float(text)
    except ValueError:
        raise BenchError(
            f"groups.bands cuts {column}, and {text!r} is no number. Name it in groups.columns."
        ) from None
    place = sum(value >= cut for cut in cuts)
    if place == 0:
        return f"below {cuts[0]:g}"
    if place == len(cuts):
        return f"{cuts[-1]:g} and above"
    return f"{cuts[place - 1]:g} to below {cuts[place]:g}"


def chosen(
    population: Population, everyone: Group, groups: dict[str, tuple[Group, ...]]
) -> tuple[Group, ...]:
    """The groups that a claim is about.

    Raises:
        BenchError: When its column has no such group.
    """
    if not population.column:
        return (everyone,)
    own = groups[population.column]
    if population.group is None:
        return own
    named = [group for group in own if group.name == population.group]
    if not named:
        known = [group.name for group in own]
        raise unknown_name(f"group of {population.column}", population.group, known)
    return tuple(named)
