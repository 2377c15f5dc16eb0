"""Records and predictions → rows that tables and plots read; the only place that opens a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from benchharness.errors import BenchError
from benchharness.statistics import metrics, uncertainty
from benchharness.store import matrix_checks, suspicion
from benchharness.store.cells import CONTROL_FAMILY, condition
from benchharness.store.folder import Store
from benchharness.store.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from benchharness.store.matrix_checks import MatrixCheck
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import ModelCost, Record

Metric = Literal["accuracy", "auc", "balanced_accuracy"]

METRICS: dict[Metric, str] = {
    "accuracy": "Accuracy",
    "auc": "AUC",
    "balanced_accuracy": "Balanced accuracy",
}
"""Every metric of a report, as a heading."""

CLEAN = "clean"
"""The condition, and the family, of volumes as they are."""


_FAMILIES = {"linf": "L∞", "l2": "L2", "l0": "L0", "mr": "MR", "ct": "CT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number with its uncertainty, or the reason why there is none."""

    value: float | None = None
    """In [0, 1]; None where undefined or not run."""
    low: float | None = None
    """Lower end of the 95 % interval; None where the number carries none."""
    high: float | None = None
    """Upper end."""
    gap: str = ""
    """Why there is no value; empty where there is one."""
    suspect: str = ""
    """Why the number must not be trusted; empty where it may be."""
    remark: str = ""
    """What else a reader has to know of the number, such as what a mean leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One cell as a report shows it. Labels tell apart what would share a name."""

    record: Record
    model: str
    dataset: str
    perturbation: str
    predictions: Predictions | None
    """None when the cell failed or its perturbation does not apply."""
    doubts: tuple[str, ...] = ()
    """Failed matrix checks in words."""

    @property
    def seed(self) -> int | None:
        """The training seed; None for weights that the user brought."""
        return self.record.cell.checkpoint.seed

    @property
    def family(self) -> str:
        """`clean`, an attack's norm or an artefact's group."""
        return self.record.cell.perturbation.family

    @property
    def severity(self) -> float | None:
        """ε, count or level, and 0 for clean volumes; None for an attack that takes none."""
        severity = self.record.cell.perturbation.severity
        if self.record.cell.perturbation.kind == "none":
            return 0.0
        return None if severity is None else float(severity)

    @property
    def condition(self) -> str:
        """Perturbation and severity in words: `clean`, `pgd 8/255`, `motion level 3`."""
        return condition(self.record.cell.perturbation, label=self.perturbation)

    @property
    def plausible(self) -> bool | None:
        """Whether the dataset's acquisition can produce the artefact; None where nobody knows."""
        found = self.record.facts.get("plausible")
        return found if isinstance(found, bool) else None

    @property
    def suspicion(self) -> str:
        """The failed record and matrix checks in words; empty when none failed."""
        return "; ".join((*self.record.doubts, *self.doubts))

    @property
    def correct(self) -> NDArray[np.bool_] | None:
        """Shape (N,): which volumes were classified rightly; None when the cell failed."""
        if self.predictions is None:
            return None
        return metrics.correct(self.predictions.labels, self.predictions.logits)


@dataclass(frozen=True, eq=False)
class Findings:
    """All rows of a store, and the scores that were asked for so far."""

    directory: Path
    rows: tuple[Row, ...]
    """What tables and plots show: all cells but the controls."""
    controls: tuple[Row, ...] = ()
    """Cells that tell whether a checkpoint hides its gradient."""
    checks: tuple[MatrixCheck, ...] = ()
    """What the cells of a checkpoint say of each other."""
    _scores: dict[tuple[str, ...], Score] = field(default_factory=dict)

    def score(self, row: Row, metric: Metric) -> Score:
        """A cell's metric with its interval."""
        return self._once((metric, row.record.identity), lambda: _score(row, metric))

    def mean(self, rows: Sequence[Row], metric: Metric) -> Score:
        """The mean of a metric over cells of the same volumes, with its interval."""
        identities = (row.record.identity for row in rows)
        return self._once((metric, *identities), lambda: _mean(rows, metric))

    def over_seeds(self, rows: Sequence[Row], metric: Metric) -> Score:
        """The mean over training seeds; its interval, over seeds and volumes, needs three."""
        identities = (row.record.identity for row in rows)
        return self._once(("seeds", metric, *identities), lambda: _over_seeds(rows, metric))

    def _once(self, key: tuple[str, ...], compute: Callable[[], Score]) -> Score:
        # A bootstrap takes its time, and the same number stands in several tables and plots.
        if key not in self._scores:
            self._scores[key] = compute()
        return self._scores[key]

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Labels of all models, sorted; the order that gives each its colour and marker."""
        return tuple(sorted({row.model for row in self.rows}))

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        """Labels of all datasets in the order in which they were first run."""
        return tuple(dict.fromkeys(row.dataset for row in self.rows))

    @cached_property
    def failed(self) -> tuple[Row, ...]:
        """The cells that have an error instead of numbers."""
        every = (*self.rows, *self.controls)
        return tuple(row for row in every if row.record.status == "error")

    @cached_property
    def _by_place(self) -> dict[tuple[str, str, int | None, str], Row]:
        return {(row.dataset, row.model, row.seed, row.condition): row for row in self.rows}

    def find(self, dataset: str, model: str, seed: int | None, condition: str) -> Row | None:
        """The row of a condition; None where it was not run."""
        return self._by_place.get((dataset, model, seed, condition))

    def of(self, dataset: str) -> tuple[Row, ...]:
        """All rows of a dataset."""
        return tuple(row for row in self.rows if row.dataset == dataset)

    def families(self, dataset: str) -> tuple[str, ...]:
        """Families of perturbations run on a dataset, attacks first; `clean` is not among them."""
        found = {
            row.family: row.record.cell.perturbation.kind
            for row in self.of(dataset)
            if row.family != CLEAN
        }
        return tuple(sorted(found, key=lambda family: (found[family] == "artefact", family)))

    def title(self, family: str) -> str:
        """A family as a heading: `L∞ attacks`, `MR artefacts`, `clean`."""
        kinds = {row.record.cell.perturbation.kind for row in self.rows if row.family == family}
        plural = "" if "none" in kinds else " attacks" if "attack" in kinds else " artefacts"
        return _FAMILIES.get(family, family) + plural

    def seeds(self, dataset: str, model: str) -> tuple[int | None, ...]:
        """Training seeds of a model on a dataset, sorted."""
        found = {row.seed for row in self.of(dataset) if row.model == model}
        return tuple(sorted(found, key=lambda seed: -1 if seed is None else seed))

    def cost(self, model: str, dataset: str | None = None) -> ModelCost | None:
        """Cost of a model on a dataset, or on the first where it was measured; None if nowhere."""
        costs = (
            row.record.cost
            for row in self.rows
            if row.model == model and dataset in (None, row.dataset) and row.record.cost
        )
        return next(costs, None)

    def frame(self) -> pd.DataFrame:
        """One line a cell, as `summary.csv` holds it."""
        return pd.DataFrame([self._line(row) for row in self.rows])

    def _line(self, row: Row) -> dict[str, Any]:
        cell, cost = row.record.cell, self.cost(row.model, row.dataset)
        line: dict[str, Any] = {
            "model": row.model,
            "dataset": cell.dataset.name,
            "family": row.family,
            "perturbation": row.perturbation,
            "severity": cell.perturbation.severity,
            "seed": row.seed,
            "perturbation_seed": cell.perturbation.seed,
            "recipe": cell.checkpoint.recipe_name,
            "n": cell.dataset.count,
            "of": cell.dataset.total,
        }
        for metric in METRICS:
            score = self.score(row, metric)
            line |= {metric: score.value, f"{metric}_low": score.low, f"{metric}_high": score.high}
        return line | {
            "parameters": cost.parameters if cost else None,
            "flops": cost.flops if cost else None,
            "latency_ms": cost.latency_ms if cost else None,
            "plausible": row.plausible,
            "not_applicable": row.record.inapplicable or None,
            "suspect": bool(row.suspicion),
            "suspect_reason": row.suspicion or None,
            "status": row.record.status,
            "error": row.record.error,
            "checkpoint": cell.checkpoint.sha256,
            "identity": row.record.identity,
        }


def collect(directory: Path) -> Findings:
    """Read a store and label its cells.

    Args:
        directory: The store's folder, or a baseline's file.

    Raises:
        BenchError: When there is no store, or nothing in it that could be reported.
    """
    store = open_source(directory) if directory.is_file() else Store(directory)
    records = tuple(store.records().values())
    if not records:
        raise BenchError(
            f"no records in {directory}. Type 'bench run --out {directory}' to make some, or give "
            "the folder of another run."
        )
    failures = [record.error for record in records if record.status == "error"]
    if len(failures) == len(records):
        raise BenchError(
            f"all {len(records)} cells in {directory} failed, the first with: {failures[0]} "
            f"Mend that and type 'bench run --out {directory}' again."
        )
    models, datasets, perturbations = (
        label(records) for label in (_model_labels, _dataset_labels, _perturbation_labels)
    )
    predictions = {r.identity: store.predictions(r) for r in records if r.predictions is not None}
    checks = matrix_checks.matrix_checks(records, predictions)
    doubts = suspicion.by_cell(checks)
    rows = [
        Row(
            record=record,
            model=models[record.identity],
            dataset=datasets[record.identity],
            perturbation=perturbations[record.identity],
            predictions=predictions.get(record.identity),
            doubts=doubts.get(record.identity, ()),
        )
        for record in records
    ]
    return Findings(
        directory,
        rows=tuple(row for row in rows if row.family != CONTROL_FAMILY),
        controls=tuple(row for row in rows if row.family == CONTROL_FAMILY),
        checks=checks,
    )


def _score(row: Row, metric: Metric) -> Score:
    suspect = f"{row.condition}: {row.suspicion}" if row.suspicion else ""
    if row.record.inapplicable:
        return Score(gap=row.record.inapplicable)
    if row.predictions is None:
        return Score(gap=f"failed: {row.record.error}")
    labels, logits = row.predictions.labels, row.predictions.logits
    values, undefined = metrics.compute(labels, logits)
    # A record may say that a metric would mislead although its predictions give one.
    undefined |= row.record.undefined
    values |= dict.fromkeys(row.record.undefined)
    if values[metric] is None:
        return Score(gap=undefined[metric], suspect=suspect)
    interval = uncertainty.interval(metric, labels, logits, row.predictions.patients)
    if interval is None:
        return Score(value=values[metric], suspect=suspect)
    return Score(value=values[metric], low=interval.low, high=interval.high, suspect=suspect)


def _over_seeds(rows: Sequence[Row], metric: Metric) -> Score:
    found = uncertainty.over_seeds(metric, pairs(rows), patients(rows))
    if found.interval is None:
        return Score(value=found.mean)
    return Score(value=found.mean, low=found.interval.low, high=found.interval.high)


def _mean(rows: Sequence[Row], metric: Metric) -> Score:
    cells = [(row.condition, _score(row, metric)) for row in rows]
    undefined = next((f"{where}: {score.gap}" for where, score in cells if score.gap), "")
    if undefined:
        return Score(gap=undefined)
    value, interval = uncertainty.mean_over_cells(metric, pairs(rows), patients(rows))
    suspect = "; ".join(score.suspect for _, score in cells if score.suspect)
    return Score(value=value, low=interval.low, high=interval.high, suspect=suspect)


def pairs(rows: Sequence[Row]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Labels (N,) and logits (N, K) of every cell that has any."""
    return [(p.labels, p.logits) for row in rows if (p := row.predictions) is not None]


def patients(rows: Sequence[Row]) -> NDArray[np.str_] | None:
    """Whom each volume of these cells shows, (N,); None where the dataset does not say."""
    return next((row.predictions.patients for row in rows if row.predictions is not None), None)


Labels = dict[str, str]
"""By cell identity."""


def _model_labels(records: Sequence[Record]) -> Labels:
    """Names; where one name was built or trained in several ways, what differs; then digests."""

    def description(record: Record) -> dict[str, Any]:
        model, checkpoint = record.cell.model, record.cell.checkpoint
        return {
            "recipe": checkpoint.recipe_name or "own weights",
            **dict(model.arguments),
            **dict(model.preprocessing),
            **{k: v for k, v in (checkpoint.recipe or ()) if k != "name"},
            "factory": model.factory,
        }

    suffixes = _distinguish(
        records,
        name=lambda record: record.cell.model.name,
        group=lambda record: record.cell.dataset.digest,
        description=description,
    )
    trainings = {
        record.identity: (
            record.cell.model.name + suffixes[record.identity],
            record.cell.dataset.digest,
            record.cell.checkpoint.seed,
        )
        for record in records
    }
    newest = {trainings[record.identity]: record.cell.checkpoint.sha256 for record in records}
    labels: Labels = {}
    for record in records:
        training, digest = trainings[record.identity], record.cell.checkpoint.sha256
        older = "" if digest == newest[training] else f" @{(digest or 'untrained')[:8]}"
        labels[record.identity] = training[0] + older
    return labels


def _dataset_labels(records: Sequence[Record]) -> Labels:
    """Names; a subset says so, and two sets of one name show their digests."""

    def name(record: Record) -> str:
        key = record.cell.dataset
        subset = f" ({key.count} of {key.total})" if key.count < key.total else ""
        return f"{key.name}{subset}"

    suffixes = _distinguish(
        records,
        name=name,
        group=lambda _: None,
        description=lambda record: {
            "data": record.cell.dataset.digest.partition(":")[2][:8],
            "volumes": record.cell.dataset.volumes[:8],
        },
    )
    return {record.identity: name(record) + suffixes[record.identity] for record in records}


def _perturbation_labels(records: Sequence[Record]) -> Labels:
    """Names; where one name was run with several parameters, those that differ."""

    def name(record: Record) -> str:
        key = record.cell.perturbation
        if key.source is not None:
            return f"{key.name} from {key.source.model.name}"
        return CLEAN if key.kind == "none" else key.name

    suffixes = _distinguish(
        records,
        name=name,
        group=lambda record: (record.cell.dataset.digest, record.cell.perturbation.severity),
        description=lambda record: {
            "version": record.cell.perturbation.version,
            "seed": record.cell.perturbation.seed,
            **dict(record.cell.perturbation.parameters),
        },
    )
    return {record.identity: name(record) + suffixes[record.identity] for record in records}


def _distinguish(
    records: Sequence[Record],
    *,
    name: Callable[[Record], str],
    group: Callable[[Record], Hashable],
    description: Callable[[Record], Mapping[str, Any]],
) -> Labels:
    """Say what tells apart records that share a name within a group.

    Only keys that are needed appear, earlier ones first: two trainings that differ in recipe and
    thereby in epochs are told apart by the recipe.

    Returns:
        For every record a suffix such as ` (steps=20)`; empty where the name is enough.
    """
    suffixes: Labels = {}
    for shared in dict.fromkeys(name(record) for record in records):
        described = [(r, group(r), description(r)) for r in records if name(r) == shared]
        keys = _needed([(place, values) for _, place, values in described])
        for record, _, values in described:
            known = [key for key in keys if key in values]
            texts = (str(values[k]) if k == "recipe" else f"{k}={values[k]}" for k in known)
            suffixes[record.identity] = f" ({', '.join(texts)})" if known else ""
    return suffixes


def _needed(described: Sequence[tuple[Hashable, Mapping[str, Any]]]) -> list[str]:
    def kinds(keys: Sequence[str]) -> int:
        return len(
            {(group, *(repr(values.get(key)) for key in keys)) for group, values in described}
        )

    chosen: list[str] = []
    for key in dict.fromkeys(key for _, values in described for key in values):
        if kinds([*chosen, key]) > kinds(chosen):
            chosen.append(key)
    return chosen
