"""A plan → records: train what is missing, measure what is not recorded, append each result.

The runner is the store's one writer, and resumes by leaving out what is recorded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchharness import training
from benchharness.errors import BenchError, CellError
from benchharness.networks import checkpoints, devices
from benchharness.outside.containment import contained, in_one_line
from benchharness.run import measuring
from benchharness.run.planning import plan
from benchharness.run.summary import Summary, suspects
from benchharness.store import metadata
from benchharness.store.cells import ACCURACY_ONLY, CLEAN, CONTROL_FAMILY, describe
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
    devices.check_precision(config.precision, device)
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
        found = store.recorded()
        self.recorded, self.damaged = set(found.sound), found.damaged
        self.digests: dict[Path, str] = {}
        self.broken: dict[Path, str] = {}
        self.failures: list[str] = []
        self.identities: tuple[str, ...] = ()
        self.evaluated = self.trained = self.skipped = self.controls = 0
        self.seconds = self.control_seconds = 0.0

    def measure(self, stop: Callable[[], bool]) -> Summary:
        """Measure what is not recorded yet, job by job."""
        before = sum(map(self._is_recorded, self.plan.cells))
        known: list[Cell] = []
        self.display.start(total=len(self.plan.cells), done=before)
        for dataset in {job.dataset.digest: job.dataset for job in self.plan.jobs}.values():
            test = dataset.test
            metadata.keep(self.store.directory, dataset.digest, test.ids, test.metadata)
        for planned in self.plan.jobs:
            if all(map(self._is_recorded, planned.cells)):
                known += planned.cells
                continue
            if planned.weights.to_train and stop():
                self.skipped += len(planned.cells)
                continue
            job, broken = self.ready(planned)
            known += job.cells
            pending = [cell for cell in job.cells if not self._is_recorded(cell)]
            if planned.cells[0].pending:
                before += len(job.cells) - len(pending)
            if broken:
                self._give_up(job, pending, broken)
            else:
                self._measure(job, pending, stop)
        self.identities = tuple(cell.identity for cell in known)
        found = suspects(self.store, known, self.recorded)
        return replace(self.summary(recorded=before), suspects=found)

    def summary(self, *, recorded: int) -> Summary:
        """What was done so far."""
        return Summary(
            evaluated=self.evaluated,
            recorded=recorded,
            trained=self.trained,
            failures=tuple(self.failures),
            skipped=self.skipped,
            identities=self.identities,
            controls=self.controls,
            control_seconds=self.control_seconds,
            seconds=self.seconds,
        )

    def ready(self, job: Job) -> tuple[Job, str]:
        """Train what a job lacks.

        Returns:
            The job with every checkpoint that is known, and why its cells cannot be measured; the
            reason is empty where they can.
        """
        weights, broken = self._trained(job.weights, job.dataset)
        job = replace(job, weights=weights)
        if (digest := weights.checkpoint.sha256) is not None:
            job = replace(job, cells=tuple(cell.trained(digest) for cell in job.cells))
        if job.source is None:
            return job, broken
        source, broken_source = self._trained(job.source, job.dataset)
        job = replace(job, source=source)
        if (digest := source.checkpoint.sha256) is not None:
            job = replace(job, cells=tuple(cell.source_trained(digest) for cell in job.cells))
        return job, broken or (broken_source and f"its source failed: {broken_source}")

    def _trained(self, weights: Weights, dataset: Dataset) -> tuple[Weights, str]:
        """Weights after training, which is tried once, and why there are none."""
        place = weights.path
        if place not in self.broken and weights.broken:
            self._break(weights, dataset, weights.broken)
        if weights.to_train and place not in self.digests and place not in self.broken:
            self._train(weights, dataset)
        if weights.to_train and place in self.digests:
            checkpoint = replace(weights.checkpoint, sha256=self.digests[place])
            weights = replace(weights, checkpoint=checkpoint)
        return weights, self.broken.get(place, "")

    def _train(self, weights: Weights, dataset: Dataset) -> None:
        # Another run may have finished this training between our plan and our lock.
        card = checkpoints.read_card(weights.path.parent)
        if card is not None:
            self.digests[weights.path] = card.sha256
            name = f"{weights.model.name} on {dataset.name}"
            self.display.note(f"{name} was trained by another run meanwhile")
            return
        try:
            digest = _train(weights, dataset, self.store, self.setting.device, self.display)
        except BenchError:
            raise
        except Exception as error:
            # A user's network may raise anything; the other networks are worth measuring.
            self._break(weights, dataset, in_one_line(error), doing="training ")
            return
        self.digests[weights.path] = digest
        self.trained += 1

    def _break(self, weights: Weights, dataset: Dataset, reason: str, *, doing: str = "") -> None:
        """Note once why no cell of a checkpoint can be measured."""
        self.broken[weights.path] = f"training failed: {reason}" if doing else reason
        self._failed(f"{doing}{weights.model.name} on {dataset.name}: {reason}")

    def _give_up(self, job: Job, pending: Sequence[Cell], reason: str) -> None:
        """Record cells as failed that cannot be measured, so that reports show them.

        Without weights they keep the identity under which they were planned. They run again as soon
        as somebody asks for them, since they are not recorded as measured.
        """
        for cell in pending:
            record = measuring.failed(cell, job, self.setting, reason).record
            self.store.append(record)
            self.display.advance(1)

    def _is_recorded(self, cell: Cell) -> bool:
        return cell.identity in self.recorded

    def _measure(self, job: Job, pending: Sequence[Cell], stop: Callable[[], bool]) -> None:
        if not pending:
            return
        try:
            with contained():
                networks = measuring.networks_of(job, self.setting)
        except Exception as error:
            # Loading a network builds it, which runs a user's code.
            reason = in_one_line(error)
            if job.source is None:
                self._break(job.weights, job.dataset, reason)
            else:
                self._failed(f"{describe(pending[0])}: {reason}")
            self._give_up(job, pending, reason)
            return
        for index, cell in enumerate(pending):
            if stop():
                self.skipped += len(pending) - index
                return
            if damage := self.damaged.get(cell.identity):
                self.display.note(f"{describe(cell)} was recorded, but is run again: {damage}")
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
        self._count(record)
        if record.error is not None:
            self._failed(f"{describe(record.cell)}: {record.error}")

    def _count(self, record: Record) -> None:
        seconds = record.provenance["seconds"]
        self.evaluated += 1
        self.seconds += seconds
        if record.cell.perturbation.family == CONTROL_FAMILY:
            self.controls += 1
            self.control_seconds += seconds

    def _failed(self, line: str) -> None:
        self.failures.append(line)
        self.display.note(f"failed: {line}")


def _train(weights: Weights, dataset: Dataset, store: Store, device: str, display: Display) -> str:
    """Train a checkpoint and return its digest.

    Raises:
        BenchError: When its folder cannot be written.
        Exception: Whatever else stopped the training.
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

        return training.train(job, device=device, report=report, note=display.note).sha256
