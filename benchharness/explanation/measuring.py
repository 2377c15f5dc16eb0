"""Measure a network's heat maps under every condition, and against its randomised twins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchharness import randomness
from benchharness.explanation import gradcam, mapping, measures
from benchharness.networks import building
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier
from benchharness.statistics import metrics
from benchharness.store.heatmaps import Located, Measured, NetworkMaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from benchharness.datasets import Split
    from benchharness.explanation.mapping import Batch, Opened
    from benchharness.explanation.requests import Target
    from benchharness.explanation.subjects import Condition, Subject, Volumes
    from benchharness.statistics.basis import Patients

    Maps = NDArray[np.float32]
    Masks = NDArray[np.bool_]

T = TypeVar("T", bound=np.generic)

RANDOMISED_NETWORKS = 4
"""Independent draws of weights for the sanity check; volumes take turns over them by their id."""


@dataclass(slots=True, kw_only=True)
class Found:
    """What one condition gave, volume by volume; lists of arrays, one per batch."""

    logits: list[NDArray[np.float32]] = field(default_factory=list)
    hits: list[NDArray[np.bool_]] = field(default_factory=list)
    energy: list[NDArray[np.float64]] = field(default_factory=list)
    empty: list[NDArray[np.bool_]] = field(default_factory=list)
    correlation: list[NDArray[np.float64]] = field(default_factory=list)
    shift: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, batch: Batch, masks: Masks | None, reference: Maps | None = None) -> None:
        """Measure a batch against the masks and the reference maps of its split, where known."""
        maps = batch.mapped.maps
        self.logits.append(batch.mapped.logits)
        self.empty.append(measures.empty(maps))
        if masks is not None:
            self.hits.append(measures.hits(maps, masks[batch.place]))
            self.energy.append(measures.energy_inside(maps, masks[batch.place]))
        if reference is not None:
            self.correlation.append(measures.rank_correlation(reference[batch.place], maps))
            self.shift.append(measures.centroid_shift(reference[batch.place], maps))

    def ordered(self, order: NDArray[np.int64]) -> Found:
        """The same with the volumes in another order, as a single batch."""

        def one(batches: list[NDArray[T]]) -> list[NDArray[T]]:
            return [np.concatenate(batches)[order]] if batches else []

        return Found(
            logits=one(self.logits),
            hits=one(self.hits),
            energy=one(self.energy),
            empty=one(self.empty),
            correlation=one(self.correlation),
            shift=one(self.shift),
        )

    def margins(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Margins (N,) of the logits."""
        return metrics.margins(labels, np.concatenate(self.logits))

    def located(self, patients: Patients | None) -> Located:
        """Both measures of location; None where the structure is not known."""
        if not self.hits:
            return Located(pointing=None, energy=None)
        return Located(
            pointing=measures.share(np.concatenate(self.hits), patients),
            energy=measures.mean(np.concatenate(self.energy), patients),
        )


def measure(
    subject: Subject, opened: Opened, target: Target, note: Callable[[str], None]
) -> tuple[list[Found], NetworkMaps]:
    """Map every volume under every condition, then with randomised networks.

    Returns:
        What each condition gave, clean first, and all of it summarised.

    Raises:
        BenchError: When the network gives something that cannot be explained.
    """
    masks = subject.split.masks
    with mapping.blamed_on(opened.name, subject.dataset.name):
        clean, maps = Found(), []
        for batch in _mapped(subject, opened, opened.network.conditions[0], target, note):
            clean.add(batch, masks)
            maps.append(batch.mapped.maps)
        trained = np.concatenate(maps)
        found = [clean]
        for condition in opened.network.conditions[1:]:
            found.append(Found())
            for batch in _mapped(subject, opened, condition, target, note):
                found[-1].add(batch, masks, trained)
        randomised = _randomised(subject, opened, target, trained)
    return found, _summary(subject, opened, found, randomised)


def _mapped(
    subject: Subject,
    opened: Opened,
    condition: Condition,
    target: Target,
    note: Callable[[str], None],
) -> Iterator[Batch]:
    """Map the measured volumes under a condition, and say how far it is."""
    where = f"{opened.name} on {subject.dataset.name}, {condition.label}"
    for batch in mapping.mapped(opened, condition, subject.split, target, subject.batch_size):
        yield batch
        note(f"{where}: {batch.place.stop} of {len(subject.split)}")


def _randomised(subject: Subject, opened: Opened, target: Target, trained: Maps) -> Found:
    """Maps of networks with random weights against the trained network's, on clean volumes.

    Volumes take turns over the draws of weights; the results are put back into their order.
    """
    split = subject.split
    turns = np.asarray(
        [randomness.seed_of("randomised", name) % RANDOMISED_NETWORKS for name in split.ids]
    )
    order = np.argsort(turns, kind="stable")
    found = Found()
    for draw in range(RANDOMISED_NETWORKS):
        members = order[turns[order] == draw]
        if not len(members):
            continue
        part, reference = split.select(members), trained[members]
        cam = gradcam.GradCAM(_drawn(subject, opened, draw), opened.cam.layer)
        for batch in mapping.batches(
            cam, _clean(part), mapping.classes(part, target), len(part), subject.batch_size
        ):
            found.add(batch, part.masks, reference)
    return found.ordered(np.argsort(order))


def _clean(split: Split) -> Volumes:
    return lambda place: as_float(split.volumes[place], "cpu")


def _drawn(subject: Subject, opened: Opened, draw: int) -> Classifier:
    """The network's architecture and preprocessing with random weights.

    Training seeds start at 0, so a negative seed never gives the start of a checkpoint.
    """
    network = building.build_network(
        opened.network.model,
        num_classes=subject.dataset.num_classes,
        in_channels=subject.dataset.in_channels,
        seed=-1 - draw,
    )
    return Classifier.of(
        opened.network.model,
        network,
        num_classes=subject.dataset.num_classes,
        device=subject.device,
    )


def _summary(
    subject: Subject, opened: Opened, found: Sequence[Found], randomised: Found
) -> NetworkMaps:
    above_randomised = above_box = None
    patients = _patients(subject.split)
    if subject.split.masks is not None:
        energy = np.concatenate(found[0].energy)
        inside_box = measures.energy_inside(centre_boxes(subject), subject.split.masks)
        above_randomised = measures.mean(energy - randomised.energy[0], patients)
        above_box = measures.mean(energy - inside_box, patients)
    return NetworkMaps(
        name=opened.name,
        factory=opened.network.model.factory,
        checkpoint=opened.network.checkpoint,
        layer=opened.cam.layer,
        grid=opened.grid,
        measured=tuple(
            _measured(condition, one, subject.split)
            for condition, one in zip(opened.network.conditions, found, strict=True)
        ),
        randomised=randomised.located(patients),
        similarity=measures.mean(randomised.correlation[0], patients),
        above_randomised=above_randomised,
        above_box=above_box,
    )


def _measured(condition: Condition, found: Found, split: Split) -> Measured:
    right = metrics.correct(split.labels, np.concatenate(found.logits))
    perturbed, patients = bool(found.correlation), _patients(split)
    return Measured(
        condition=condition.label,
        accuracy=measures.share(right, patients),
        located=found.located(patients),
        empty=int(np.concatenate(found.empty).sum()),
        moved=measures.mean(1 - np.concatenate(found.correlation), patients) if perturbed else None,
        shift=measures.mean(np.concatenate(found.shift), patients) if perturbed else None,
    )


def _patients(split: Split) -> Patients | None:
    return None if split.patients is None else np.asarray(split.patients)


def box_located(subject: Subject) -> Located:
    """How well the centre box finds the structure; None where it is not known."""
    masks = subject.split.masks
    if masks is None:
        return Located(pointing=None, energy=None)
    boxes = centre_boxes(subject)
    return Located(
        pointing=measures.share(measures.hits(boxes, masks), _patients(subject.split)),
        energy=measures.mean(measures.energy_inside(boxes, masks), _patients(subject.split)),
    )


def centre_boxes(subject: Subject) -> Maps:
    """The centre box as a map for every volume, (N, D, H, W)."""
    box = measures.centre_box(subject.dataset.grid)
    return np.broadcast_to(box, (len(subject.split), *box.shape[1:]))
