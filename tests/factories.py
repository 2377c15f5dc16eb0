"""Cells and records of made-up runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchharness.store.cells import Cell, CheckpointKey, DatasetKey, ModelKey, PerturbationKey
from benchharness.store.predictions import Predictions
from benchharness.store.records import Check, ModelCost, Record, Stored

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
