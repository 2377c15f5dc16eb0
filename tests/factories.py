"""Made-up cells, records and whole stores, written as `bench run` writes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
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
from benchharness.store.records import Check, ModelCost, Record, Stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MODEL = ModelKey(
    name="resnet3d_18",
    factory="baselines.resnet:resnet3d_18",
    arguments=(("depths", (3, 4)), ("width", 0.5)),
    preprocessing=(("scale", 0.5), ("size", (28, 28, 28))),
)
CHECKPOINT = CheckpointKey(
    recipe=(("epochs", 12), ("name", "quick"), ("version", 1)), seed=0, sha256="a" * 64
)
DATASET = DatasetKey(
    name="adrenalmnist3d",
    digest="md5:bbc",
    split="test",
    volumes="c" * 64,
    count=10,
    total=298,
    modality="shape",
)
PERTURBATION = PerturbationKey(
    kind="attack",
    name="pgd",
    version=1,
    family="linf",
    parameters=(("random_start", True), ("step", 2 / 255), ("steps", 10)),
    severity=8 / 255,
    seed=0,
)


def cell(
    model: dict[str, Any] | None = None,
    checkpoint: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    perturbation: dict[str, Any] | None = None,
) -> Cell:
    """An ordinary cell, with some fields of its parts replaced."""
    return Cell(
        model=replace(MODEL, **model or {}),
        checkpoint=replace(CHECKPOINT, **checkpoint or {}),
        dataset=replace(DATASET, **dataset or {}),
        perturbation=replace(PERTURBATION, **perturbation or {}),
    )


def record(of: Cell | None = None, **changes: Any) -> Record:
    """An ordinary record that fills every field, with some replaced."""
    settings: dict[str, Any] = {
        "cell": of or cell(),
        "status": "ok",
        "metrics": {"accuracy": 0.5, "auc": None},
        "undefined": {"auc": "class 1 has no volume"},
        "certificate": (
            Check(name="norm within its bound", verdict="passed", value=0.03, bound=0.031),
            Check(name="restarts differ", verdict="not applicable", reason="one restart"),
        ),
        "facts": {"clipped_fraction": 0.25, "nested": {"list": [1, 2.5, None, "text"]}},
        "cost": ModelCost(
            parameters=10, flops=20, latency_ms=1.5, latency_batch=8, peak_memory_mib=2.0
        ),
        "predictions": Stored(path="predictions/x.npz", sha256="d" * 64),
        "provenance": {"device": "cpu", "versions": {"torch": "2.13.0"}},
        "error": None,
    }
    return Record(**(settings | changes))


def predictions(count: int = 6, classes: int = 3) -> Predictions:
    """Predictions on made-up volumes."""
    draws = np.random.Generator(np.random.PCG64(1))
    return Predictions(
        ids=np.asarray([f"sample/test/{index}" for index in range(count)]),
        labels=np.arange(count) % classes,
        logits=draws.normal(size=(count, classes)).astype(np.float32),
        extra={"norm": np.linspace(0, 1, count, dtype=np.float32)},
    )


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was executed",)


PARAMETERS = {"medvit3d_n": 2_100_000, "resnet3d_18": 33_200_000}
FAMILIES = {
    "fgsm": "linf",
    "pgd": "linf",
    "pgd_l2": "l2",
    "noise_sign": "linf",
    "own_noise": "linf",
    "full_range": "control",
    "probe": "control",
    "motion": "mr",
    "ghosting": "mr",
    "bias_field": "mr",
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A cell to be made, with its predictions; what is not given is ordinary.

    Volumes and perturbations have draws that every model shares: two cells of `correct` 0.7 are
    wrong on the same volumes.
    """

    model: str = "resnet3d_18"
    dataset: str = "adrenalmnist3d"
    perturbation: str | None = None
    """A key of `FAMILIES`; None is clean."""
    severity: float | None = None
    seed: int | None = 0
    recipe: str | None = "quick"
    settings: dict[str, Any] = field(default_factory=dict)
    """Further settings of the recipe."""
    weights: str = "first"
    """Names the checkpoint: another word gives another digest."""
    parameters: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    correct: Sequence[bool] | float = 0.8
    """Which volumes are classified correctly, or what share of them."""
    noise: float = 0.0
    """How little this checkpoint agrees with others about which ones, 0 to 1."""
    classes: int = 2
    n: int = 60
    first: int = 0
    """Number of the first volume."""
    of: int | None = None
    labels: Sequence[int] | None = None
    digest: str | None = None
    """Of the dataset; follows from its name when None."""
    failed_check: str | None = None
    """Why the gradient is suspect; None where it is not."""
    error: str | None = None
    patients: int | None = None
    """Volumes of one patient, whose volumes follow each other; None leaves patients unknown."""
    thresholds: Sequence[float | None] | None = None
    """What a clean cell froze for each class; None keeps none."""
    logits: Any = None
    """The logits (N, K) themselves; None makes them as `correct` says."""
    versions: dict[str, str] = field(default_factory=lambda: {"torch": "2.13.0"})
    access: str | None = None
    """What the attack's facts say of its access to the network; None says nothing."""
    parts: tuple[str, ...] = ()
    """Attacks of a cascade."""

    def cell(self) -> Cell:
        recipe = (
            None
            if self.recipe is None
            else pairs({"name": self.recipe, "epochs": 12} | self.settings)
        )
        weights = (self.weights, self.model, self.dataset, self.recipe, self.seed)
        return Cell(
            model=ModelKey(name=self.model, factory=f"models:{self.model}"),
            checkpoint=CheckpointKey(recipe=recipe, seed=self.seed, sha256=digest(weights)),
            dataset=DatasetKey(
                name=self.dataset,
                digest=self.digest or f"md5:{digest(self.dataset)[:32]}",
                split="test",
                volumes=digest((self.dataset, self.first, self.n)),
                count=self.n,
                total=self.of or self.n,
                modality="shape",
            ),
            perturbation=self._perturbation(),
        )

    def _perturbation(self) -> PerturbationKey:
        if self.perturbation is None:
            return CLEAN
        family = FAMILIES[self.perturbation]
        return PerturbationKey(
            kind="artefact" if family == "mr" else "attack",
            name=self.perturbation,
            version=self.version,
            family=family,
            parameters=pairs({"steps": 10} | self.parameters),
            severity=self.severity,
            seed=0,
        )

    def predictions(self) -> Predictions:
        chosen = np.arange(self.first, self.first + self.n)
        condition = (self.dataset, self.perturbation, self.severity)
        common = numpy_generator("volume", *condition).random(1000)[chosen]
        own = numpy_generator(self.weights, self.model, *condition).random(1000)[chosen]
        swap = numpy_generator("swap", self.weights, self.perturbation).random(1000)[chosen]
        if isinstance(self.correct, float):
            right = np.where(swap < self.noise, own, common) < self.correct
        else:
            right = np.asarray(self.correct, bool)
        labels = np.asarray(chosen % self.classes if self.labels is None else self.labels, np.int64)
        logits = np.zeros((self.n, self.classes), dtype=np.float32)
        answers = np.where(right, labels, (labels + 1) % self.classes)
        logits[np.arange(self.n), answers] = 0.5 + own
        if self.logits is not None:
            logits = np.asarray(self.logits, np.float32)
        ids = np.asarray([f"{self.dataset}/test/{index}" for index in chosen])
        known = None if self.patients is None else chosen // self.patients
        patients = None if known is None else np.asarray([f"p{number}" for number in known])
        return Predictions(ids=ids, labels=labels, logits=logits, patients=patients)

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {} if self.access is None else {"access": self.access}
        if self.parts:
            facts["parts"] = [{"name": name, "access": "white box"} for name in self.parts]
        if self.thresholds is not None:
            facts["thresholds"] = {"split": "val", "by_class": list(self.thresholds)}
        return facts

    def save(self, store: Store) -> Record:
        cell = self.cell()
        found = None if self.error else self.predictions()
        values, undefined = metrics.compute(found.labels, found.logits) if found else ({}, {})
        doubt = Check(
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
            certificate=(doubt,) if self.failed_check else (),
            facts=self._facts(),
            cost=cost if self.perturbation is None and not self.error else None,
            predictions=store.save_predictions(cell, found) if found else None,
            provenance={
                "device": "cpu",
                "device_name": "Test Processor",
                "platform": "Linux",
                "versions": self.versions,
            },
            error=self.error,
        )
        store.append(record)
        return record


def store_of(directory: Path, cells: Iterable[Made]) -> Store:
    """A store of these cells."""
    store = Store(directory)
    with store.writing():
        for made in cells:
            made.save(store)
    return store


def tiny(**changes: Any) -> Made:
    """A clean cell of a small network on 300 volumes."""
    ordinary = {"model": "tiny", "dataset": "sample", "digest": "md5:data", "correct": 0.7}
    return Made(**(ordinary | {"weights": "a", "n": 300, "of": 300} | changes))


def small_matrix(**changes: Any) -> list[Made]:
    """`tiny` when clean, under two attacks at two budgets, and one artefact at three levels."""
    base = tiny(**changes)
    share = base.correct
    assert isinstance(share, float)
    attacked = [
        replace(base, perturbation=attack, severity=steps / 255, correct=share - 0.03 * steps)
        for attack in ("fgsm", "pgd")
        for steps in (2, 8)
    ]
    corrupted = [
        replace(base, perturbation="motion", severity=level, correct=share - 0.05 * level)
        for level in (1, 3, 5)
    ]
    return [base, *attacked, *corrupted]


def whole_matrix(
    models: Sequence[str] = ("medvit3d_n", "resnet3d_18"),
    datasets: Sequence[str] = ("adrenalmnist3d",),
    seeds: Sequence[int] = (0,),
    n: int = 60,
) -> list[Made]:
    """Every model, dataset and seed: clean, two attacks at two budgets, three artefacts."""
    cells = []
    for model, dataset, seed in product(models, datasets, seeds):
        base = Made(model=model, dataset=dataset, seed=seed, n=n, correct=0.85)
        cells.append(base)
        cells += [
            replace(base, perturbation=attack, severity=steps / 255, correct=share)
            for attack in ("fgsm", "pgd")
            for steps, share in ((2, 0.5), (8, 0.15))
        ]
        cells += [
            replace(base, perturbation=artefact, severity=level, correct=0.85 - 0.08 * level)
            for artefact in ("motion", "ghosting", "bias_field")
            for level in range(1, 6)
        ]
    return cells
