"""A factory of small stores, written through the real `Store` with made-up predictions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.canonical import digest, pairs
from benchharness.randomness import numpy_generator
from benchharness.statistics import metrics
from benchharness.store.cells import (
    CLEAN,
    Cell,
    CheckpointKey,
    DatasetKey,
    ModelKey,
    PerturbationKey,
)
from benchharness.store.folder import Store
from benchharness.store.predictions import Predictions
from benchharness.store.records import Check, ModelCost, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PARAMETERS = {"medvit3d_n": 2_100_000, "resnet3d_18": 33_200_000}
GROUPS = {
    "fgsm": "linf",
    "pgd": "linf",
    "pgd_l2": "l2",
    "motion": "mr",
    "ghosting": "mr",
    "bias_field": "mr",
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A cell to be made; what is not given is ordinary."""

    model: str = "resnet3d_18"
    dataset: str = "adrenalmnist3d"
    perturbation: str | None = None
    severity: float | None = None
    seed: int | None = 0
    recipe: str | None = "quick"
    weights: str = "first"
    """Stands for the checkpoint: another word, another digest."""
    parameters: dict[str, Any] = field(default_factory=dict)
    correct: Sequence[bool] | float = 0.8
    """Which volumes are classified rightly, or what share of them."""
    classes: int = 2
    n: int = 60
    of: int | None = None
    labels: Sequence[int] | None = None
    failed_check: str | None = None
    error: str | None = None

    @property
    def attack(self) -> bool:
        return GROUPS.get(self.perturbation or "", "") in ("linf", "l2")

    def cell(self) -> Cell:
        key = CLEAN
        if self.perturbation is not None:
            key = PerturbationKey(
                kind="attack" if self.attack else "artefact",
                name=self.perturbation,
                version=1,
                family=GROUPS[self.perturbation],
                parameters=pairs({"steps": 10} | self.parameters),
                severity=self.severity,
                seed=0,
            )
        recipe = None if self.recipe is None else pairs({"name": self.recipe, "epochs": 12})
        weights = (self.weights, self.model, self.dataset, self.recipe, self.seed)
        return Cell(
            model=ModelKey(name=self.model, factory=f"models:{self.model}"),
            checkpoint=CheckpointKey(recipe=recipe, seed=self.seed, sha256=digest(weights)),
            dataset=DatasetKey(
                name=self.dataset,
                digest=f"md5:{digest(self.dataset)[:32]}",
                split="test",
                volumes=digest((self.dataset, self.n)),
                count=self.n,
                total=self.of or self.n,
                modality="shape",
            ),
            perturbation=key,
        )

    def predictions(self) -> Predictions:
        """Predictions with the wanted verdicts and random margins."""
        draws = numpy_generator(self.model, self.dataset, self.perturbation, self.severity)
        labels = np.asarray(
            np.arange(self.n) % self.classes if self.labels is None else self.labels, np.int64
        )
        if isinstance(self.correct, float):
            right = draws.random(self.n) < self.correct
        else:
            right = np.asarray(self.correct, bool)
        answers = np.where(right, labels, (labels + 1) % self.classes)
        logits = draws.normal(size=(self.n, self.classes))
        logits[np.arange(self.n), answers] = logits.max(axis=1) + draws.uniform(0.1, 2, self.n)
        ids = np.asarray([f"{self.dataset}/test/{index}" for index in range(self.n)])
        return Predictions(ids=ids, labels=labels, logits=logits.astype(np.float32))

    def save(self, store: Store) -> Record:
        cell = self.cell()
        predictions = None if self.error else self.predictions()
        values, undefined = (
            metrics.compute(predictions.labels, predictions.logits) if predictions else ({}, {})
        )
        check = Check(
            name="gradient is not zero",
            verdict="failed",
            value=1.0,
            bound=0.0,
            reason=self.failed_check or "",
        )
        cost = ModelCost(
            parameters=PARAMETERS.get(self.model, 5_000_000),
            flops=2_500_000_000,
            latency_ms=12.5,
            latency_batch=8,
            peak_memory_mib=None,
        )
        record = Record(
            cell=cell,
            status="error" if self.error else "ok",
            metrics=values,
            undefined=undefined,
            certificate=(check,) if self.failed_check else (),
            facts={},
            cost=cost if self.perturbation is None and not self.error else None,
            predictions=store.save_predictions(cell, predictions) if predictions else None,
            provenance={
                "device": "cpu",
                "device_name": "Test Processor",
                "platform": "Linux",
                "versions": {"torch": "2.13.0"},
            },
            error=self.error,
        )
        store.append(record)
        return record


def save_all(directory: Path, cells: Sequence[Made]) -> Path:
    store = Store(directory)
    with store.writing():
        for made in cells:
            made.save(store)
    return directory


def matrix(
    models: Sequence[str] = ("medvit3d_n", "resnet3d_18"),
    datasets: Sequence[str] = ("adrenalmnist3d",),
    seeds: Sequence[int] = (0,),
    n: int = 60,
) -> list[Made]:
    """A store as `bench run` makes one: every model, dataset, attack and artefact."""
    cells = []
    for model in models:
        for dataset in datasets:
            for seed in seeds:
                base = Made(model=model, dataset=dataset, seed=seed, n=n, correct=0.85)
                cells.append(base)
                for attack in ("fgsm", "pgd"):
                    for steps, share in ((2, 0.5), (8, 0.15)):
                        changed = {"perturbation": attack, "severity": steps / 255}
                        cells.append(replace(base, correct=share, **changed))
                for artefact in ("motion", "ghosting", "bias_field"):
                    cells += [
                        replace(
                            base,
                            perturbation=artefact,
                            severity=level,
                            correct=0.85 - 0.08 * level,
                        )
                        for level in range(1, 6)
                    ]
    return cells


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Write cells to a fresh store and return its folder."""

    def make(*cells: Made) -> Path:
        return save_all(tmp_path / "store", cells)

    return make


@pytest.fixture(scope="session")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a whole, undisturbed run; on a second dataset of clean volumes alone."""
    cells = matrix()
    other = [replace(made, dataset="vesselmnist3d") for made in cells if not made.perturbation]
    return save_all(tmp_path_factory.mktemp("full") / "store", [*cells, *other])
