"""Small pairs of stores: one matrix, measured twice, changed where a test says so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.canonical import pairs
from benchharness.randomness import numpy_generator
from benchharness.statistics.metrics import compute
from benchharness.store.cells import CLEAN, PerturbationKey
from benchharness.store.folder import Store
from benchharness.store.predictions import Predictions
from benchharness.store.records import Check, Record
from tests.factories import cell

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FAMILIES = {"fgsm": "linf", "pgd": "linf", "motion": "mr"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A cell to be made. Volumes and perturbations have draws of their own; every model shares
    them, so that two cells of `right` 0.7 are wrong on the same volumes."""

    name: str = "clean"
    severity: float | None = None
    model: str = "tiny"
    seed: int | None = 0
    weights: str = "a"
    right: float = 0.7
    """Share of volumes that are classified rightly."""
    noise: float = 0.0
    """How little this checkpoint agrees with others about which ones, 0 to 1."""
    n: int = 300
    first: int = 0
    """Number of the first volume."""
    total: int = 300
    classes: int = 2
    parameters: dict[str, Any] = field(default_factory=lambda: {"steps": 10})
    version: int = 1
    digest: str = "md5:data"
    recipe: str | None = "quick"
    suspect: str = ""
    error: str | None = None

    def save(self, store: Store) -> Record:
        family = FAMILIES.get(self.name, "clean")
        key = CLEAN
        if family != "clean":
            key = PerturbationKey(
                kind="attack" if family == "linf" else "artefact",
                name=self.name,
                version=self.version,
                family=family,
                parameters=pairs(self.parameters),
                severity=self.severity,
                seed=0,
            )
        recipe = None if self.recipe is None else pairs({"name": self.recipe})
        made = cell(
            model={"name": self.model, "factory": f"models:{self.model}"},
            checkpoint={"recipe": recipe, "seed": self.seed, "sha256": self.weights * 64},
            dataset={
                "name": "sample",
                "digest": self.digest,
                "volumes": f"{self.first}+{self.n}",
                "count": self.n,
                "total": self.total,
            },
        )
        made = replace(made, perturbation=key)
        found = None if self.error else self.predictions()
        values, undefined = compute(found.labels, found.logits) if found else ({}, {})
        doubt = Check(name="loss rises", verdict="failed", reason=self.suspect)
        record = Record(
            cell=made,
            status="error" if self.error else "ok",
            metrics=values,
            undefined=undefined,
            certificate=(doubt,) if self.suspect else (),
            facts={},
            cost=None,
            predictions=store.save_predictions(made, found) if found else None,
            provenance={},
            error=self.error,
        )
        store.append(record)
        return record

    def predictions(self) -> Predictions:
        chosen = np.arange(self.first, self.first + self.n)
        common = numpy_generator("volume", self.name, self.severity).random(1000)[chosen]
        own = numpy_generator(self.weights, self.name, self.severity).random(1000)[chosen]
        swap = numpy_generator("swap", self.weights, self.name).random(1000)[chosen]
        right = np.where(swap < self.noise, own, common) < self.right
        labels = chosen % self.classes
        margins = np.where(right, 1.0, -1.0) * (0.5 + own)
        logits = np.zeros((self.n, self.classes), dtype=np.float32)
        logits[np.arange(self.n), labels] = margins
        ids = np.asarray([f"sample/test/{index}" for index in chosen])
        return Predictions(ids=ids, labels=labels.astype(np.int64), logits=logits)


def matrix(**changes: Any) -> list[Measured]:
    """Clean, two attacks at two budgets, an artefact at three levels."""
    base = Measured(**changes)
    cells = [base]
    cells += [
        replace(base, name=attack, severity=steps / 255, right=base.right - 0.03 * steps)
        for attack in ("fgsm", "pgd")
        for steps in (2, 8)
    ]
    cells += [
        replace(base, name="motion", severity=level, right=base.right - 0.05 * level)
        for level in (1, 3, 5)
    ]
    return cells


def store(directory: Path, cells: Iterable[Measured]) -> Store:
    """A store of these cells."""
    made = Store(directory)
    with made.writing():
        for one in cells:
            one.save(made)
    return made
