"""What is known of every job of a plan while it runs, and the records that are written of it.

The ledger is kept by the driver alone: it holds the store's lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.errors import CellError
from benchharness.networks import checkpoints
from benchharness.run import measuring
from benchharness.run.summary import Summary, suspects
from benchharness.run.twins import Twins
from benchharness.store import metadata
from benchharness.store.cells import ACCURACY_ONLY, CLEAN, CONTROL_FAMILY, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchharness.run.measuring import Measured, Setting
    from benchharness.run.planning import Job, Plan
    from benchharness.run.weights import Weights
    from benchharness.store.cells import Cell, ModelKey
    from benchharness.store.folder import Store
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Names the weights of one network on one dataset, trained or not."""

    model: ModelKey
    path: Path
    part: str
    dataset: str
    """Its digest."""


def checkpoint_of(weights: Weights, job: Job) -> Checkpoint:
    """The key of weights of a job: its own, or its source's."""
    return Checkpoint(
        model=weights.model,
        path=weights.path,
        part=weights.checkpoint.part,
        dataset=weights.on(job.dataset)[1],
    )


class Ledger:
    """The books of one run.

    Args:
        plan: What is to be done.
        store: Whose lock is held.
        note: Told one line at a time what a user should know.
    """

    def __init__(self, plan: Plan, store: Store, note: Callable[[str], None]) -> None:
        self.store, self.note, self._twins = store, note, Twins(store)
        self.jobs = [self._apart(job) for job in plan.jobs]
        """As far as their checkpoints are known."""
        found = store.recorded()
        self.recorded, self._damaged = set(found.sound), found.damaged
        self._identities = [tuple(cell.identity for cell in job.cells) for job in self.jobs]
        self.before = len(plan.cells) - sum(len(self.left(n)) for n in range(len(self.jobs)))
        """Cells of the plan that need not be run."""
        self._digests: dict[Checkpoint, str] = {}
        self._broken: dict[Checkpoint, str] = {}
        self._unloadable: set[int] = set()
        self._unresolved: set[int] = set()
        """Jobs that were not begun, whose cells have no final name."""
        self.failures: list[str] = []
        self.evaluated = self.trained = self.skipped = self.controls = 0
        self.seconds = self.control_seconds = 0.0

    def has_work(self, *, cells: bool) -> bool:
        """Whether a training, or a cell where those are wanted, is left to be done."""
        left = [number for number in range(len(self.jobs)) if self.left(number)]
        return any(cells or self.needs(number) for number in left)

    def keep_metadata(self) -> None:
        """Write what is known of the volumes of every dataset."""
        for dataset in {job.dataset.digest: job.dataset for job in self.jobs}.values():
            test = dataset.test
            metadata.keep(self.store.directory, dataset.digest, test.ids, test.metadata)

    def is_recorded(self, number: int, place: int) -> bool:
        """Whether a cell of a job need not run again."""
        return self._identities[number][place] in self.recorded

    def damage(self, number: int, place: int) -> str:
        """Why a recorded cell is run again; empty where it was not."""
        return self._damaged.get(self._identities[number][place], "")

    def needs(self, number: int) -> dict[Checkpoint, Weights]:
        """The trainings that a job still waits for, its own first, each after its start."""
        job = self.jobs[number]
        several = [job.weights] if job.source is None else [job.weights, job.source]
        for weights in several:
            key = checkpoint_of(weights, job)
            if weights.broken and key not in self._broken:
                self._break(key, f"{weights.model.name} on {job.dataset.name}", weights.broken)
        several = [one for weights in several for one in weights.trainings()]
        keys = {checkpoint_of(weights, job): weights for weights in several}
        known = self._digests.keys() | self._broken.keys()
        return {key: weights for key, weights in keys.items() if key not in known}

    def found_card(self, key: Checkpoint, weights: Weights, dataset: str) -> bool:
        """Whether another run has finished this training between our plan and our lock."""
        card = checkpoints.read_card(weights.path.parent)
        if card is None:
            return False
        self._digests[key] = card.sha256
        self.note(f"{weights.model.name} on {dataset} was trained by another run meanwhile")
        return True

    def broken_start(self, weights: Weights, job: Job) -> str:
        """Why a training cannot start from what another was to make; empty where it can."""
        if weights.start is None:
            return ""
        return self._broken.get(checkpoint_of(weights.start, job), "")

    def has_trained(self, key: Checkpoint, sha256: str) -> None:
        """A training has ended well."""
        self._digests[key] = sha256
        self.trained += 1

    def training_failed(self, key: Checkpoint, name: str, reason: str) -> None:
        """A training has ended without weights; the other networks are worth measuring."""
        self._break(key, f"training {name}", reason, told=f"training failed: {reason}")

    def unloadable(self, number: int, cell: Cell, reason: str) -> None:
        """No cell of a job can be measured, since its networks cannot be loaded."""
        job = self.jobs[number]
        key = checkpoint_of(job.weights, job)
        if number in self._unloadable or key in self._broken:
            return  # another worker found it out
        self._unloadable.add(number)
        if job.source is None:
            self._break(key, f"{job.weights.model.name} on {job.dataset.name}", reason)
        else:
            self._failed(f"{describe(cell)}: {reason}")

    def why_not(self, number: int) -> str:
        """Why the cells of a job cannot be measured; empty where they can."""
        job = self.jobs[number]
        own = self._broken.get(checkpoint_of(job.weights, job), "")
        if own or job.source is None:
            return own
        reason = self._broken.get(checkpoint_of(job.source, job), "")
        return reason and f"its source failed: {reason}"

    def _break(self, key: Checkpoint, what: str, reason: str, *, told: str = "") -> None:
        """Note once why no cell of a checkpoint can be measured."""
        self._broken[key] = told or reason
        self._failed(f"{what}: {reason}")

    def resolve(self, number: int) -> None:
        """Give the cells of a job their final names, once it waits for no training."""
        job = self.jobs[number]
        was_pending = job.cells[0].pending
        digest = self._digests.get(checkpoint_of(job.weights, job))
        if digest is not None and job.weights.to_train:
            cells = tuple(cell.trained(digest) for cell in job.cells)
            job = replace(job, weights=_with_digest(job.weights, digest), cells=cells)
        if job.source is not None and job.source.to_train:
            digest = self._digests.get(checkpoint_of(job.source, job))
            if digest is not None:
                cells = tuple(cell.source_trained(digest) for cell in job.cells)
                job = replace(job, source=_with_digest(job.source, digest), cells=cells)
        if was_pending:
            self.jobs[number] = job = self._apart(job)
            self._identities[number] = tuple(cell.identity for cell in job.cells)
            self.before += len(job.cells) - len(self.left(number))

    def _apart(self, job: Job) -> Job:
        """A job with cells of its own, told where another training gave its weights."""
        job, said = self._twins.apart(job)
        if said:
            self.note(said)
        return job

    def left(self, number: int) -> list[int]:
        """The places of a job's cells that are not recorded."""
        found = enumerate(self._identities[number])
        return [place for place, identity in found if identity not in self.recorded]

    def skip_job(self, number: int) -> None:
        """A job will not begin, since the run was stopped before its checkpoint was trained."""
        self.skipped += len(self.jobs[number].cells)
        self._unresolved.add(number)

    def rests_on(self, number: int, place: int) -> Iterator[int]:
        """The places of cells that decide which volumes `--accuracy-only` leaves out of another."""
        job = self.jobs[number]
        key = job.cells[place].perturbation
        smaller = dict(key.parameters).get(ACCURACY_ONLY)
        if smaller is None:
            return
        assert isinstance(smaller, tuple)
        for other, cell in enumerate(job.cells):
            found = cell.perturbation
            if found == CLEAN or (found.name == key.name and found.severity in smaller):
                yield other

    def before_of(self, number: int, place: int) -> tuple[Predictions, ...] | None:
        """The predictions of these cells; None without `--accuracy-only`.

        Raises:
            CellError: When one of them is missing because its cell failed.
        """
        job = self.jobs[number]
        if ACCURACY_ONLY not in dict(job.cells[place].perturbation.parameters):
            return None
        needed = list(self.rests_on(number, place))
        for other in needed:
            if not self.is_recorded(number, other):
                raise CellError(f"it rests on {describe(job.cells[other])}, which failed")
        records, identities = self.store.records(), self._identities[number]
        return tuple(self.store.predictions(records[identities[other]]) for other in needed)

    def give_up(self, number: int, places: Sequence[int], reason: str, setting: Setting) -> None:
        """Record cells as failed that cannot be measured, so that reports show them.

        Without weights they keep the identity under which they were planned. They run again as soon
        as somebody asks for them, since they are not recorded as measured.
        """
        for place in places:
            self.store.append(self.failure(number, place, reason, setting).record)

    def failure(self, number: int, place: int, reason: str, setting: Setting) -> Measured:
        """A cell that could not be measured at all; `setting` is how it would have been."""
        job = self.jobs[number]
        return measuring.failed(job.cells[place], job, setting, reason)

    def append(self, measured: Measured) -> None:
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
        self.note(f"failed: {line}")

    def summary(self, *, cells: bool = True) -> Summary:
        """What was done, with or without what was found in the plan's cells."""
        known = [n for n in range(len(self.jobs)) if n not in self._unresolved]
        resolved = [cell for number in known for cell in self.jobs[number].cells]
        identities = [identity for number in known for identity in self._identities[number]]
        return Summary(
            evaluated=self.evaluated,
            recorded=self.before if cells else 0,
            trained=self.trained,
            failures=tuple(self.failures),
            skipped=self.skipped,
            identities=tuple(identities) if cells else (),
            suspects=suspects(self.store, resolved, self.recorded) if cells else (),
            controls=self.controls,
            control_seconds=self.control_seconds,
            seconds=self.seconds,
        )


def _with_digest(weights: Weights, sha256: str) -> Weights:
    return replace(weights, checkpoint=replace(weights.checkpoint, sha256=sha256))
