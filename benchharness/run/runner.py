"""A plan → records: train what is missing, measure what is not recorded, append each result.

The runner is the store's one writer, and resumes by leaving out what is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness import training
from benchharness.errors import CellError
from benchharness.networks import devices
from benchharness.run import measuring
from benchharness.run.planning import plan
from benchharness.store.cells import ACCURACY_ONLY, CLEAN, describe
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchharness.datasets import Dataset
    from benchharness.run.config import RunConfig
    from benchharness.run.measuring import Measured, Networks, Setting
    from benchharness.run.planning import Job, Plan
    from benchharness.run.progress import Display
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record
    from benchharness.training import EpochReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did."""

    evaluated: int
    """Cells measured now."""
    recorded: int
    """Cells of the plan that were recorded before."""
    trained: int
    """Checkpoints trained now."""
    failures: tuple[str, ...]
    """One line for each cell or training that failed."""
    skipped: int = 0
    """Cells that were not started because `stop` said so."""


def run(
    config: RunConfig, display: Display, *, stop: Callable[[], bool] = lambda: False
) -> Summary:
    """Run every cell of a config that is not recorded yet.

    Args:
        config: What to run.
        display: Where progress is shown.
        stop: Asked before every training and every cell; nothing more is started once it is true.

    Raises:
        BenchError: For anything a user can get wrong; nothing has been written then.
    """
    device = devices.resolve(config.device)
    if config.compile:
        devices.check_compiler(device)
    planned = plan(config)
    store = Store(config.out)
    store.records()  # A store that cannot be read is refused before it is locked.
    for note in planned.notes:
        display.note(note)
    setting = measuring.Setting(
        device=device, batch_size=config.batch_size, compiled=config.compile
    )
    with store.writing(), display:
        return _Run(planned, store, setting, display).measure(stop)


def train(config: RunConfig, display: Display) -> Summary:
    """Train every checkpoint of a config that is missing.

    Raises:
        BenchError: As `run`.
    """
    device = devices.resolve(config.device)
    planned = plan(config)
    store = Store(config.out)
    with store.writing(), display:
        session = _Run(planned, store, measuring.Setting(device=device), display)
        for job in planned.jobs:
            session.ready(job)
    return session.summary(recorded=0)


def recorded_identities(store: Store) -> set[str]:
    """Cells that need not run again: measured, with their predictions as they were recorded."""
    return set(store.recorded().sound)


class _Run:
    """One run of a plan under the store's lock."""

    def __init__(self, plan: Plan, store: Store, setting: Setting, display: Display) -> None:
        self.plan, self.store, self.setting, self.display = plan, store, setting, display
        devices.keep_memory()
        found = store.recorded()
        self.recorded, self.damaged = set(found.sound), found.damaged
        self.digests: dict[Path, str | None] = {}
        self.failures: list[str] = []
        self.evaluated = self.trained = self.skipped = 0

    def measure(self, stop: Callable[[], bool]) -> Summary:
        """Measure what is not recorded yet, job by job."""
        before = sum(map(self._is_recorded, self.plan.cells))
        self.display.start(total=len(self.plan.cells), done=before)
        for planned in self.plan.jobs:
            if all(map(self._is_recorded, planned.cells)):
                continue
            if planned.weights.to_train and stop():
                self.skipped += len(planned.cells)
                continue
            job = self.ready(planned)
            if job is None:
                self.display.advance(len(planned.cells))
                continue
            pending = [cell for cell in job.cells if not self._is_recorded(cell)]
            if planned.cells[0].pending:
                before += len(job.cells) - len(pending)
            self._measure(job, pending, stop)
        return self.summary(recorded=before)

    def summary(self, *, recorded: int) -> Summary:
        """What was done so far."""
        return Summary(
            evaluated=self.evaluated,
            recorded=recorded,
            trained=self.trained,
            failures=tuple(self.failures),
            skipped=self.skipped,
        )

    def ready(self, job: Job) -> Job | None:
        """The job with every checkpoint known; trains what is missing, None if that fails."""
        cells = job.cells
        if job.weights.to_train:
            digest = self._digest(job.weights, job.dataset)
            if digest is None:
                return None
            cells = tuple(cell.trained(digest) for cell in cells)
        if job.source is not None and job.source.to_train:
            digest = self._digest(job.source, job.dataset)
            if digest is None:
                return None
            cells = tuple(cell.source_trained(digest) for cell in cells)
        return replace(job, cells=cells)

    def _digest(self, weights: Weights, dataset: Dataset) -> str | None:
        """Digest of weights, trained at most once; None when the training failed."""
        if weights.path not in self.digests:
            self.digests[weights.path] = self._train(weights, dataset)
        return self.digests[weights.path]

    def _train(self, weights: Weights, dataset: Dataset) -> str | None:
        try:
            digest = _train(weights, dataset, self.store, self.setting.device, self.display)
        except CellError as error:
            self._failed(f"training {weights.model.name} on {dataset.name}: {error}")
            return None
        self.trained += 1
        return digest

    def _is_recorded(self, cell: Cell) -> bool:
        return cell.identity in self.recorded

    def _measure(self, job: Job, pending: Sequence[Cell], stop: Callable[[], bool]) -> None:
        if not pending:
            return
        networks = measuring.networks_of(job, self.setting)
        for index, cell in enumerate(pending):
            if stop():
                self.skipped += len(pending) - index
                return
            if reason := self.damaged.get(cell.identity):
                self.display.note(f"{describe(cell)} was recorded, but is run again: {reason}")
            with self.display.task(describe(cell), total=len(job.split)) as task:
                measured = self._measured(cell, job, networks, task.advance)
            self._append(measured)
            self.display.advance(1)

    def _measured(
        self, cell: Cell, job: Job, networks: Networks, progress: Callable[[int], None]
    ) -> Measured:
        try:
            before = self._before(cell, job)
        except CellError as error:
            return measuring.failed(cell, job, self.setting, str(error))
        return measuring.measure(
            cell,
            job,
            self.plan.perturbations.get(cell.perturbation.name),
            networks,
            self.setting,
            before=before,
            progress=progress,
        )

    def _before(self, cell: Cell, job: Job) -> tuple[Predictions, ...] | None:
        """Predictions that decide which volumes `--accuracy-only` leaves out; None without it.

        Raises:
            CellError: When one of them is missing because its cell failed.
        """
        smaller = dict(cell.perturbation.parameters).get(ACCURACY_ONLY)
        if smaller is None:
            return None
        assert isinstance(smaller, tuple)
        needed = [
            other
            for other in job.cells
            if other.perturbation == CLEAN
            or (
                other.perturbation.name == cell.perturbation.name
                and other.perturbation.severity in smaller
            )
        ]
        for other in needed:
            if not self._is_recorded(other):
                raise CellError(f"it rests on {describe(other)}, which failed")
        records = self.store.records()
        return tuple(self.store.predictions(records[other.identity]) for other in needed)

    def _append(self, measured: Measured) -> None:
        """Store predictions first, then the record that names them."""
        record: Record = measured.record
        if measured.predictions is not None:
            stored = self.store.save_predictions(record.cell, measured.predictions)
            record = replace(record, predictions=stored)
        self.store.append(record)
        if record.status == "ok":
            self.recorded.add(record.identity)
        self.evaluated += 1
        if record.error is not None:
            self._failed(f"{describe(record.cell)}: {record.error}")

    def _failed(self, line: str) -> None:
        self.failures.append(line)
        self.display.note(f"failed: {line}")


def _train(weights: Weights, dataset: Dataset, store: Store, device: str, display: Display) -> str:
    """Train a checkpoint and return its digest.

    Raises:
        CellError: When the training failed.
    """
    assert weights.recipe is not None
    assert weights.seed is not None
    name = f"{weights.model.name} on {dataset.name}"
    display.note(
        f"training {name}: no checkpoint in {store.directory} yet "
        f"(recipe {weights.recipe.name}, seed {weights.seed})"
    )
    job = training.Job(
        model=weights.model,
        dataset=dataset,
        recipe=weights.recipe,
        seed=weights.seed,
        directory=weights.path.parent,
        initial=weights.initial,
    )
    with display.task(f"train {name}", total=weights.recipe.epochs) as task:

        def report(epoch: EpochReport) -> None:
            auc = "–" if epoch.val_auc is None else f"{epoch.val_auc:.3f}"
            task.reach(
                epoch.epoch,
                f"loss {epoch.loss:.3f}, val AUC {auc} (best {epoch.best_val_auc:.3f})",
                seconds_left=epoch.seconds_left,
            )

        return training.train(job, device=device, report=report).sha256
