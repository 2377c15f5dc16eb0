"""Records as a pandas DataFrame, for your own analysis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchharness.statistics.metrics import NAMES
from benchharness.store.opening import open_source

if TYPE_CHECKING:
    from benchharness.store.records import Record


def load_records(directory: str | Path) -> pd.DataFrame:
    """The records of a store or a baseline, one row per cell: the newest of every identity.

    Args:
        directory: Folder of a run, or file of a baseline.

    Returns:
        Columns: `identity`; `model`, `factory`, `recipe`, `seed` (training seed), `checkpoint`;
        `dataset`, `dataset_digest`, `split`, `modality`, `n`, `of`; `kind`, `family`,
        `perturbation`, `version`, `severity`, `perturbation_seed`, `parameters` (a dict), `control`
        (whether the cell is no result, see `Record.control`); every
        metric, NaN where undefined; `status`, `suspect` (by record checks alone), `error`; `facts`
        and `provenance` (dicts); `predictions` (path inside the store, None where the cell failed).
        Intervals are not among them: compute these with `benchharness.statistics` on the ids,
        labels and logits of `Store.predictions`.

    Raises:
        BenchError: When there are no records, or one cannot be read.
    """
    records = open_source(Path(directory)).records()
    return pd.DataFrame([_row(record) for record in records.values()], columns=list(_COLUMNS))


_COLUMNS = (
    "identity",
    "model",
    "factory",
    "recipe",
    "seed",
    "checkpoint",
    "dataset",
    "dataset_digest",
    "split",
    "modality",
    "n",
    "of",
    "kind",
    "family",
    "perturbation",
    "version",
    "severity",
    "perturbation_seed",
    "parameters",
    "control",
    *NAMES,
    "status",
    "suspect",
    "error",
    "facts",
    "provenance",
    "predictions",
)


def _row(record: Record) -> dict[str, Any]:
    cell = record.cell
    model, checkpoint, dataset = cell.model, cell.checkpoint, cell.dataset
    perturbation = cell.perturbation
    return {
        "identity": record.identity,
        "model": model.name,
        "factory": model.factory,
        "recipe": checkpoint.recipe_name,
        "seed": checkpoint.seed,
        "checkpoint": checkpoint.sha256,
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "split": dataset.split,
        "modality": dataset.modality,
        "n": dataset.count,
        "of": dataset.total,
        "kind": perturbation.kind,
        "family": perturbation.family,
        "perturbation": perturbation.name,
        "version": perturbation.version,
        "severity": perturbation.severity,
        "perturbation_seed": perturbation.seed,
        "parameters": dict(perturbation.parameters),
        "control": record.control,
        **{name: record.metrics.get(name) for name in NAMES},
        "status": record.status,
        "suspect": record.suspect,
        "error": record.error,
        "facts": record.facts,
        "provenance": record.provenance,
        "predictions": None if record.predictions is None else record.predictions.path,
    }
