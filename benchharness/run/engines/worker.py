"""Inside a worker: a task in, a result out, in whatever process.

A worker loads every dataset once and keeps the networks of the last job for its other cells.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, assert_never

from benchharness import training
from benchharness.canonical import digest
from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import contained, in_one_line
from benchharness.run import material, measuring
from benchharness.run.data import Data, subset
from benchharness.run.engines.tasks import Measure, Said, Train, Trained, Unloadable
from benchharness.run.planning import Job
from benchharness.store.carried import DIFFER
from benchharness.training.selection import LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchharness.datasets import Dataset, Split
    from benchharness.run.data import Limits
    from benchharness.run.engines.engine import Hear
    from benchharness.run.engines.tasks import Result, Task
    from benchharness.run.measuring import Measured, Networks
    from benchharness.training import EpochReport


class Worker:
    """Performs one task after the other.

    Args:
        device: Where networks run.
        load: How a dataset is loaded; called once for each.
        splits: Evaluated volumes that are in memory already.
    """

    def __init__(
        self,
        device: str,
        load: Callable[[Data], Dataset] = Data.load,
        splits: Mapping[tuple[Data, Limits], Split] | None = None,
    ) -> None:
        self.device = device
        self._load = load
        self._datasets: dict[Data, Dataset] = {}
        self._splits = dict(splits or {})
        self._held: tuple[int, Networks] | None = None

    def perform(self, task: Task, hear: Hear) -> Result:
        """Perform a task.

        Args:
            task: What to do.
            hear: Told how far it is, and what a user should know.

        Raises:
            BenchError: When a checkpoint's folder cannot be written.
            Exception: Whatever else stopped a training, or the loading of data.
        """
        if isinstance(task, Train):
            self._held = None  # A training needs the memory.
            return self._trained(task, hear)
        if isinstance(task, Measure):
            return self._measured(task, hear)
        assert_never(task)

    def answer(self, packed: bytes, hear: Hear) -> Result:
        """Perform a pickled task in another process than the driver's.

        Raises:
            BenchError: As `perform`.
            CellError: For any other exception, in one line: a user's own may not survive the way
                back, and takes the worker with it then.
        """
        try:
            task: Task = pickle.loads(packed)
            return self.perform(task, hear)
        except BenchError as error:
            raise BenchError(str(error)) from None
        except Exception as error:
            raise CellError(in_one_line(error)) from None

    def _trained(self, task: Train, hear: Hear) -> Trained:
        weights = task.weights
        assert weights.recipe is not None
        assert weights.seed is not None
        dataset, unlabelled = material.made(task.data, self._dataset)
        job = training.Job(
            model=weights.model,
            dataset=dataset,
            recipe=weights.recipe,
            seed=weights.seed,
            directory=weights.path.parent,
            initial=weights.initial,
            start=None if weights.start is None else weights.start.path.parent,
            carried=weights.carried,
            unlabelled=unlabelled,
            head_anew=dict(weights.carried).get("labels") == DIFFER,
        )

        def report(epoch: EpochReport) -> None:
            auc = "–" if epoch.val_auc is None else f"{epoch.val_auc:.3f}"
            best = f"{epoch.judged_by} {auc} (best {epoch.best_val_auc:.3f})"
            if epoch.judged_by == LAST:
                best = LAST
            hear(
                Said(
                    done=epoch.epoch,
                    detail=f"loss {epoch.loss:.3f}, {best}",
                    seconds_left=epoch.seconds_left,
                )
            )

        card = training.train(
            job, device=self.device, report=report, note=lambda text: hear(Said(note=text))
        )
        return Trained(sha256=card.sha256)

    def _measured(self, task: Measure, hear: Hear) -> Measured | Unloadable:
        split = self._split(task)
        job = Job(
            weights=task.weights,
            source=task.source,
            dataset=self._dataset(task.data),
            split=split,
            cells=(task.cell,),
            data=task.data,
            limits=task.limits,
        )
        setting = measuring.Setting(
            device=self.device, batch_size=task.batch_size, compiled=task.compiled
        )
        try:
            with contained():
                networks = self._networks(task.job, job, setting)
        except Exception as error:
            # Loading a network builds it, which runs a user's code.
            return Unloadable(reason=in_one_line(error))
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            hear(Said(done=done))

        return measuring.measure(
            task.cell,
            job,
            task.perturbation,
            networks,
            setting,
            before=task.before,
            progress=advance,
        )

    def _networks(self, number: int, job: Job, setting: measuring.Setting) -> Networks:
        """The networks of a job; those of the last one are given up first."""
        if self._held is None or self._held[0] != number:
            self._held = None
            self._held = (number, measuring.networks_of(job, setting))
        return self._held[1]

    def _dataset(self, data: Data) -> Dataset:
        if data not in self._datasets:
            self._datasets[data] = self._load(data)
        return self._datasets[data]

    def _split(self, task: Measure) -> Split:
        """The evaluated volumes, which must be those that the cell names."""
        key = (task.data, task.limits)
        if key not in self._splits:
            split = subset(self._dataset(task.data).test, task.limits)
            if digest(split.ids) != task.cell.dataset.volumes:
                raise CellError(f"{task.data.typed} has changed since this run began")
            self._splits[key] = split
        return self._splits[key]
