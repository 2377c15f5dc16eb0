"""The driver's side of shipping: what tasks need goes out, what trainings made comes back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from benchharness.canonical import sha256
from benchharness.disk import write_atomically
from benchharness.errors import CellError
from benchharness.networks.formats import programs
from benchharness.outside.containment import in_one_line
from benchharness.run import material
from benchharness.run.engines import shipping
from benchharness.run.engines.remote import Needs, Sent
from benchharness.run.engines.tasks import Train
from benchharness.store.cards import CARD, WEIGHTS, ModelCard, fault
from benchharness.training.resuming import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from benchharness.datasets import Dataset
    from benchharness.run.data import Data
    from benchharness.run.engines.shipping import Parcel
    from benchharness.run.engines.tasks import Task

_MOST_FILES = 64
"""Weights that stay in the object store."""


class Supply:
    """What tasks need, put into the object store once.

    Args:
        datasets: Those of the plan.
        put: Puts a parcel there and gives a reference; what nobody refers to is removed.
    """

    def __init__(self, datasets: Mapping[Data, Dataset], put: Callable[[Parcel], Any]) -> None:
        self._datasets, self._put = datasets, put
        self._data: dict[Data, Sent] = {}
        self._files: dict[str, Sent] = {}

    def needs(self, task: Task) -> Needs:
        """What a task needs.

        Raises:
            BenchError: When weights cannot be read.
            OSError: As above.
        """
        files = {name: self._sent(name, paths) for name, paths in _files(task)}
        needed = material.parts(task.data)
        return Needs(datasets={data: self._dataset(data) for data in needed}, files=files)

    def _dataset(self, data: Data) -> Sent:
        if data not in self._data:
            self._data[data] = self._sending(shipping.packed(self._datasets[data]))
        return self._data[data]

    def _sent(self, sha256: str, paths: Callable[[], Iterable[Path]]) -> Sent:
        """Files of these weights; the longest unused ones are forgotten."""
        sent = self._files.pop(sha256, None)
        if sent is None:
            sent = self._sending(shipping.packed_files(paths()))
        self._files[sha256] = sent
        while len(self._files) > _MOST_FILES:
            del self._files[next(iter(self._files))]
        return sent

    def _sending(self, parcel: Parcel) -> Sent:
        return Sent(reference=self._put(parcel), digest=parcel.digest)


def _files(task: Task) -> Iterator[tuple[str, Callable[[], Iterable[Path]]]]:
    """The files that a task reads, by digest; a checkpoint to start from by its folder."""
    if isinstance(task, Train):
        if (initial := task.weights.initial) is not None:
            yield initial.sha256, lambda: [initial.path]
        if (start := task.weights.start) is not None:
            yield str(start.path.parent), lambda: [start.path, start.path.with_name(CARD)]
        return
    for weights in filter(None, (task.weights, task.source)):
        assert weights.checkpoint.sha256 is not None
        yield weights.checkpoint.sha256, partial(programs.files, weights.model, weights.path)


def keep(parcel: Parcel, digest: str, folder: Path) -> None:
    """Write a checkpoint that was trained on a node into its folder, the card last.

    Args:
        parcel: Weights and card, as they came.
        digest: What the node says of the parcel.
        folder: Where this training belongs.

    Raises:
        CellError: When it is not what was sent, or no checkpoint of this training; nothing is
            written then.
        BenchError: When the folder cannot be written.
    """
    files = {name: content.tobytes() for name, content in shipping.unpacked(parcel, digest).items()}
    try:
        card = ModelCard.from_json(files[CARD].decode())
        wrong = fault(card, folder)
    except (KeyError, TypeError, ValueError) as error:
        wrong = in_one_line(error)
    if not wrong and sha256(files[WEIGHTS]) != card.sha256:
        wrong = "its weights are not those of its card"
    if wrong:
        raise CellError(f"what came back from a node is no checkpoint of this training: {wrong}")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, CARD):
            write_atomically(folder / name, files[name])
