"""A run and a claims file → everything that the evidence says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.errors import BenchError
from benchharness.evidence import conditions, hashes, judging, operating, populations, worst
from benchharness.evidence.claims import AT_A_POINT, METRICS, Condition
from benchharness.evidence.subgroups import Subgroups, subgroups
from benchharness.evidence.subject import Measured, measured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchharness.evidence.claims import Claims
    from benchharness.evidence.judging import Outcome
    from benchharness.evidence.populations import Group
    from benchharness.evidence.worst import Sample
    from benchharness.report.cells.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What is known of a network, held against what is claimed of it."""

    claims: Claims
    measured: Measured
    outcomes: tuple[Outcome, ...]
    groups: Mapping[str, tuple[Group, ...]]
    """By column."""
    subgroups: tuple[Subgroups, ...]
    """Under every condition that some claim names."""
    code: Mapping[str, str]
    """Digests of packages of code, by name."""

    @property
    def counts(self) -> str:
        """Numbers of volumes and patients in words."""
        predictions, dataset = self.measured.predictions, self.measured.cell.dataset
        size, unit = populations.counted(
            np.ones(len(predictions.ids), dtype=bool), predictions.patients
        )
        patients = f" of {size} patients" if unit == "patients" else ", patients unknown"
        said = f"{len(predictions.ids)} volumes{patients} in the {dataset.split} split"
        if dataset.count < dataset.total:
            said += f", a subset of its {dataset.total}"
        if predictions.validation is not None:
            said += f"; {len(predictions.validation.ids)} validation volumes fix the thresholds"
        return f"{said}."


def gather(directory: Path, claims: Claims) -> Evidence:
    """Judge the claims on what a run measured.

    Raises:
        BenchError: When the run holds nothing that the claims are about, or they name a class, a
            column or a group that is not there.
    """
    if not directory.is_dir():
        raise BenchError(
            f"evidence needs the folder of a 'bench run', got {directory}. A baseline keeps no "
            "columns of the data's table and no validation volumes."
        )
    found = measured(directory, claims.subject)
    groups = populations.groups(found, claims.groups)
    return Evidence(
        claims=claims,
        measured=found,
        outcomes=tuple(judging.judge(claim, found, groups) for claim in claims.claims),
        groups=groups,
        subgroups=tuple(_subgroups(claims, found, groups)),
        code=hashes.code(found.cell.model.factory),
    )


def _subgroups(
    claims: Claims, found: Measured, groups: Mapping[str, tuple[Group, ...]]
) -> Iterator[Subgroups]:
    """Every metric by group, under clean volumes and each condition of a claim."""
    every = tuple(group for own in groups.values() for group in own)
    wanted = [Condition(kind="clean"), *(claim.condition for claim in claims.claims)]
    for condition in dict.fromkeys(wanted) if every else ():
        covered = conditions.covered(found, condition)
        yield subgroups(
            str(condition),
            dict(_samples(found, covered.rows)),
            every,
            populations.everyone(found),
            found.patients,
        )


def _samples(
    found: Measured, rows: tuple[Row, ...]
) -> Iterator[tuple[str, tuple[Sample, float | None]]]:
    """What each metric is computed from; of two classes the second, at its Youden threshold."""
    whole = worst.worst(rows, None)
    two = found.classes == 2
    of_class = worst.worst(rows, 1) if two else None
    for metric in METRICS:
        if metric in AT_A_POINT:
            if of_class is None:
                continue
            threshold, _ = operating.threshold(found, 1, judging.YOUDEN)
            if threshold is not None:
                yield metric, (of_class, threshold)
        elif metric == "auc":
            if of_class is not None or len(rows) == 1:
                yield metric, (of_class or whole, None)
        else:
            yield metric, (whole, None)
