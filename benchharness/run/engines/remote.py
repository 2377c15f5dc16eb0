"""Inside a Ray actor: what arrives is checked, put in its place, and performed by a worker."""

from __future__ import annotations

import os
import platform
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from benchharness.disk import caches
from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import in_one_line
from benchharness.run.engines import shipping, user_code
from benchharness.run.engines.engine import Started
from benchharness.run.engines.tasks import Measure, Said, Train
from benchharness.run.engines.worker import Worker
from benchharness.store.cards import CARD, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchharness.datasets import Dataset
    from benchharness.run.data import Data
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
    """Of Ray; fetched by `ray.get` where the parcel is needed."""
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a task needs, by the digest that the task has of it."""

    data: Sent
    files: Mapping[str, Sent]
    """Weights."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What comes back for a task."""

    result: Result | None = None
    error: Exception | None = None
    """What was raised instead."""
    notes: tuple[str, ...] = ()
    checkpoint: Parcel | None = None
    """Weights and card of a training."""
    digest: str = ""
    """Of the checkpoint's parcel."""


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
        run: Names the run; workers of one node share its folder there.
        device: `cpu`, or `cuda:0`: the first of the GPUs that Ray gave to this process.
        threads: Of torch.
        fetch: Gets what a reference stands for.
        say: Tells the driver how far a task is.
    """

    def __init__(
        self,
        run: str,
        device: str,
        threads: int,
        fetch: Callable[[Any], Any],
        say: Callable[[str, Said], None],
    ) -> None:
        torch.set_num_threads(threads)
        self._root = caches.cache_folder("shipped") / run
        self._fetch, self._say = fetch, say
        self._device = device
        self._data: dict[Data, Sent] = {}
        self._worker = Worker(device, self._load)
        _sweep(self._root.parent)

    def start(self, expected: Mapping[str, str]) -> Started | str:
        """Say what this process is, or why it cannot work for the driver."""
        if wrong := user_code.difference(expected):
            return wrong
        if self._device != "cpu" and not torch.cuda.is_available():
            return "no GPU that torch can use"
        return Started(
            process=os.getpid(),
            node=platform.node(),
            device=self._device,
            threads=torch.get_num_threads(),
        )

    def perform(self, name: str, task: Task, needs: Needs) -> Answer:
        """Perform a task.

        Args:
            name: Of the task, for what is said of it.
            task: Its paths are the driver's.
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
                self._say(name, said)

        try:
            self._data[task.data] = needs.data
            if isinstance(task, Train):
                answer = self._trained(task, needs, hear)
            else:
                answer = Answer(result=self._worker.perform(self._here(task, needs), hear))
        except (BenchError, CellError) as error:
            answer = Answer(error=error)
        except Exception as error:
            # A user's class of error need not exist where the driver is.
            answer = Answer(error=CellError(in_one_line(error)))
        return replace(answer, notes=tuple(notes))

    def clear(self) -> None:
        """Remove what the run has put on this node."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _here(self, task: Measure, needs: Needs) -> Measure:
        source = None if task.source is None else self._placed(task.source, needs)
        return replace(task, weights=self._placed(task.weights, needs), source=source)

    def _placed(self, weights: Weights, needs: Needs) -> Weights:
        assert weights.checkpoint.sha256 is not None
        return replace(weights, path=self._file(weights.path, weights.checkpoint.sha256, needs))

    def _file(self, path: Path, sha256: str, needs: Needs) -> Path:
        """Where a file of the driver's is on this node."""
        sent = needs.files[sha256]
        folder = shipping.place(lambda: self._fetch(sent.reference), sent.digest, self._root)
        return folder / path.name

    def _trained(self, task: Train, needs: Needs, hear: Callable[[Said], None]) -> Answer:
        """Train in a folder of its own: what another worker has left of it is not used."""
        weights = task.weights
        attempt = self._root / f"training-{uuid.uuid4().hex}"
        # A card is held against the names of its two folders.
        folder = attempt.joinpath(*weights.path.parent.parts[-2:])
        initial = weights.initial
        if initial is not None:
            initial = replace(initial, path=self._file(initial.path, initial.sha256, needs))
        weights = replace(weights, path=folder / weights.path.name, initial=initial)
        try:
            result = self._worker.perform(replace(task, weights=weights), hear)
            checkpoint = shipping.packed_files([folder / WEIGHTS, folder / CARD])
        finally:
            shutil.rmtree(attempt, ignore_errors=True)
        return Answer(result=result, checkpoint=checkpoint, digest=checkpoint.digest)

    def _load(self, data: Data) -> Dataset:
        sent = self._data[data]
        dataset: Dataset = shipping.unpacked(self._fetch(sent.reference), sent.digest)
        return dataset


def _sweep(root: Path) -> None:
    """Remove what runs that were lost have left."""
    with suppress(OSError):
        for folder in root.iterdir():
            if time.time() - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder, ignore_errors=True)
