"""Inside a Ray actor: what arrives is checked, put in its place, and performed by a worker."""

from __future__ import annotations

import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from benchharness.disk import caches
from benchharness.errors import BenchError, CellError
from benchharness.networks import devices
from benchharness.run.engines import shipping, user_code
from benchharness.run.engines.serial import started
from benchharness.run.engines.tasks import Said, Train
from benchharness.run.engines.worker import Worker
from benchharness.store.cards import CARD, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchharness.datasets import Dataset
    from benchharness.run.data import Data
    from benchharness.run.engines.engine import Hear, Started
    from benchharness.run.engines.shipping import Parcel
    from benchharness.run.engines.tasks import Result, Task
    from benchharness.run.weights import Weights

_SPEAK_S = 0.5
"""Seconds between two words on how far a task is."""

_STALE_S = 7 * 86400.0
"""Seconds after which a folder that a lost run left on a node is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A parcel in the cluster's object store."""

    reference: Any
    digest: str

    def fetch(self) -> Parcel:
        """Get it from the store of this node, which gets it from another if need be."""
        import ray

        parcel: Parcel = ray.get(self.reference)
        return parcel


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a task needs."""

    datasets: Mapping[Data, Sent]
    files: Mapping[str, Sent]
    """Weights, by the digest that the task has of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What comes back for a task."""

    result: Result | None = None
    error: BenchError | CellError | None = None
    """What was raised instead."""
    notes: tuple[str, ...] = ()
    checkpoint: tuple[Parcel, str] | None = None
    """Weights and card of a training, and their digest."""


class Ear:
    """Keeps the last word of every worker until the driver asks for it."""

    def __init__(self) -> None:
        self._last: dict[str, Said] = {}

    def say(self, task: str, said: Said) -> None:
        """Take a word on a task."""
        self._last[task] = said

    def take(self) -> dict[str, Said]:
        """Give what was said since the last call, by task."""
        found, self._last = self._last, {}
        return found


class Performer:
    """A worker on some node.

    Args:
        run: Names the run, whose workers share a folder on every node.
        device: `cpu`, or `cuda:0`: the first of the GPUs that Ray gave to this process.
        threads: Of torch.
        ear: The actor that hears how far a task is.
    """

    def __init__(self, run: str, device: str, threads: int, ear: Any) -> None:
        torch.set_num_threads(threads)
        devices.keep_memory()
        self._root = caches.cache_folder("shipped") / run
        self._ear = ear
        self._worker = _Far(device, self._root)
        _sweep(self._root.parent)

    def start(self, expected: Mapping[str, str]) -> Started | str:
        """Say what this process is, or why it cannot work for the driver."""
        device = self._worker.device
        if wrong := user_code.difference(expected):
            return wrong
        if device != "cpu" and not torch.cuda.is_available():
            return "no GPU that torch can use"
        return started(device)

    def perform(self, name: str, packed: bytes, needs: Needs) -> Answer:
        """Perform a task.

        Args:
            name: Of the task, for what is said of it.
            packed: The task, pickled; its paths are the driver's.
            needs: Its data and weights.
        """
        notes: list[str] = []
        spoke = time.monotonic()

        def hear(said: Said) -> None:
            nonlocal spoke
            if said.note:
                notes.append(said.note)
            elif time.monotonic() - spoke > _SPEAK_S:
                spoke = time.monotonic()
                self._ear.say.remote(name, said)

        self._worker.receive(needs)
        try:
            result = self._worker.answer(packed, hear)
        except (BenchError, CellError) as error:
            return Answer(error=error, notes=tuple(notes))
        return Answer(result=result, notes=tuple(notes), checkpoint=self._worker.checkpoint)

    def clear(self) -> None:
        """Remove what the run has put on this node."""
        shutil.rmtree(self._root, ignore_errors=True)


class _Far(Worker):
    """A worker whose data and weights come to it.

    Args:
        device: Where networks run.
        root: Folder of the run on this node.
    """

    def __init__(self, device: str, root: Path) -> None:
        super().__init__(device, self._unpacked)
        self._root = root
        self._data: dict[Data, Sent] = {}
        self._files: Mapping[str, Sent] = {}
        self.checkpoint: tuple[Parcel, str] | None = None
        """What the last task has trained, and its digest."""

    def receive(self, needs: Needs) -> None:
        """Take what the next task needs."""
        self._data |= needs.datasets
        self._files = needs.files
        self.checkpoint = None

    def perform(self, task: Task, hear: Hear) -> Result:
        """Perform a task with what has come; see `Worker.perform`."""
        if isinstance(task, Train):
            return self._trained_here(task, hear)
        source = None if task.source is None else self._placed(task.source)
        return super().perform(
            replace(task, weights=self._placed(task.weights), source=source), hear
        )

    def _trained_here(self, task: Train, hear: Hear) -> Result:
        """Train in a folder of its own: what another worker has left of it is not used."""
        attempt = self._root / f"training-{uuid.uuid4().hex}"
        # A card is held against the names of its two folders.
        folder = attempt.joinpath(*task.weights.path.parent.parts[-2:])
        initial = task.weights.initial
        if initial is not None:
            initial = replace(initial, path=self._file(initial.path, initial.sha256))
        start = task.weights.start
        try:
            if start is not None:
                start = self._start_here(start, attempt)
            path = folder / task.weights.path.name
            weights = replace(task.weights, path=path, initial=initial, start=start)
            result = super().perform(replace(task, weights=weights), hear)
            parcel = shipping.packed_files([folder / WEIGHTS, folder / CARD])
        finally:
            shutil.rmtree(attempt, ignore_errors=True)
        self.checkpoint = (parcel, parcel.digest)
        return result

    def _start_here(self, start: Weights, attempt: Path) -> Weights:
        """What a training starts from, in folders of the names that its card is held against."""
        folder = attempt.joinpath("start", *start.path.parent.parts[-2:])
        folder.mkdir(parents=True)
        for name in (start.path.name, CARD):
            here = self._file(start.path.with_name(name), str(start.path.parent))
            shutil.copyfile(here, folder / name)
        return replace(start, path=folder / start.path.name)

    def _placed(self, weights: Weights) -> Weights:
        assert weights.checkpoint.sha256 is not None
        return replace(weights, path=self._file(weights.path, weights.checkpoint.sha256))

    def _file(self, path: Path, sha256: str) -> Path:
        """Where a file of the driver's is on this node."""
        sent = self._files[sha256]
        folder = shipping.place(sent.fetch, sent.digest, self._root)
        return folder / path.name

    def _unpacked(self, data: Data) -> Dataset:
        sent = self._data[data]
        dataset: Dataset = shipping.unpacked(sent.fetch(), sent.digest)
        return dataset


def _sweep(root: Path) -> None:
    """Remove what runs that were lost have left."""
    with suppress(OSError):
        for folder in root.iterdir():
            if time.time() - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder, ignore_errors=True)
