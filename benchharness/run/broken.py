"""Volumes that perturbations broke, made again as `bench run` made them, and drawn for a report.

Corrupted volumes are bit for bit those that were measured, and need no network. Adversarial ones
have the same draws but come in other batches, so their last bits may differ (`run.perturb`): what
does not break its volume again is not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchharness import artefacts, attacks, datasets
from benchharness.artefacts import Artefact
from benchharness.canonical import digest, pairs
from benchharness.disk import fetching
from benchharness.errors import BenchError
from benchharness.explanation import strips
from benchharness.explanation.gradcam import GradCAM
from benchharness.networks import checkpoints
from benchharness.networks.batches import as_float
from benchharness.outside.containment import contained, in_one_line
from benchharness.run.perturb import corrupted, perturb
from benchharness.statistics import metrics
from benchharness.store import heatmaps, volumes
from benchharness.store.cells import ACCURACY_ONLY, PRECISION, describe
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.attacks import Attack
    from benchharness.datasets import Dataset, Split
    from benchharness.networks.classifier import Classifier
    from benchharness.store.cells import Cell, CheckpointKey, DatasetKey, ModelKey, PerturbationKey
    from benchharness.store.records import Record

PATIENCE = 60.0
"""Seconds of attacks, by what the run took, that a report spends unless more volumes are asked."""


_SLOW = "their attacks would take minutes; bench report --volumes 12 draws them all the same"


class AbsentError(Exception):
    """Something that is needed is not there; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What the cells of a dataset share."""

    directory: Path
    dataset: Dataset
    weights: Mapping[str, Path]
    """Files of checkpoints, by digest."""
    layers: Mapping[str, str]
    """The layer that `bench explain` mapped, by digest of the checkpoint."""


def draw(
    directory: Path,
    wanted: Mapping[str, tuple[str, ...]],
    *,
    note: Callable[[str], None] = lambda _: None,
    patience: float | None = PATIENCE,
) -> tuple[str, ...]:
    """Make volumes again and keep their pictures in the store.

    Args:
        directory: The store's folder.
        wanted: Ids of volumes, by the identity of the cell that broke them.
        note: Called with a line for each cell that is drawn.
        patience: Seconds that attacks may take in all, by what the run took; None for no limit.

    Returns:
        Why some were not drawn, a sentence each.

    Raises:
        BenchError: When the store cannot be read or written.
    """
    records = Store(directory).records_of(wanted)
    absent: dict[str, int] = {}
    for key, group in _by_dataset(records.values()).items():
        scene: _Scene | None = None
        for record in group:
            ids = wanted[record.identity]
            cost = _seconds(record) * len(ids) / key.count
            if patience is not None and cost > patience:
                absent[_SLOW] = absent.get(_SLOW, 0) + 1
                continue
            patience = None if patience is None else patience - cost
            try:
                scene = scene or _scene(directory, record)
                pictures = _pictures(scene, record, ids)
            except AbsentError as reason:
                absent[str(reason)] = absent.get(str(reason), 0) + 1
                continue
            volumes.write(directory, pictures)
            note(f"volumes: {describe(record.cell)}")
    return tuple(
        f"Volumes of {count} {'cell' if count == 1 else 'cells'} are not drawn: {why}."
        for why, count in absent.items()
    )


def _by_dataset(records: Iterable[Record]) -> dict[DatasetKey, list[Record]]:
    found: dict[DatasetKey, list[Record]] = {}
    for record in records:
        found.setdefault(record.cell.dataset, []).append(record)
    return found


def _seconds(record: Record) -> float:
    """What the attack of a cell took; corruption costs next to nothing."""
    seconds = record.provenance.get("seconds")
    attacked = record.cell.perturbation.kind == "attack"
    return float(seconds) if attacked and isinstance(seconds, int | float) else 0.0


def _scene(directory: Path, record: Record) -> _Scene:
    key = record.cell.dataset
    try:
        with fetching.offline():
            dataset = datasets.load(str(record.provenance.get("typed_dataset", key.name)))
    except BenchError as error:
        reason = in_one_line(error).rstrip(".")
        raise AbsentError(f"dataset {key.name} is not to be found ({reason})") from error
    if dataset.digest != key.digest:
        raise AbsentError(f"the data of {key.name} are not those that were measured")
    root = Store(directory).checkpoints
    weights = {}
    for card in sorted(root.glob("*/*/" + checkpoints.CARD)):
        try:
            found = checkpoints.read_card(card.parent)
        except BenchError:
            continue
        if found is not None:
            weights[found.sha256] = card.parent / checkpoints.WEIGHTS
    layers = {
        network.checkpoint: network.layer
        for _, result in heatmaps.read(directory)
        for network in result.networks
        if result.digest == key.digest
    }
    return _Scene(directory=directory, dataset=dataset, weights=weights, layers=layers)


def _pictures(scene: _Scene, record: Record, ids: tuple[str, ...]) -> volumes.Pictures:
    """Make the volumes of one cell, and draw those that are broken again."""
    try:
        with contained():
            drawn = tuple(_drawn(scene, record, ids))
    except AbsentError:
        raise
    except Exception as error:
        # A user's network, attack or artefact may raise anything; a report goes without.
        raise AbsentError(in_one_line(error).rstrip(".")) from error
    return volumes.Pictures(identity=record.identity, asked=ids, drawn=drawn)


def _drawn(scene: _Scene, record: Record, ids: tuple[str, ...]) -> Iterator[volumes.Drawn]:
    split = _select(scene.dataset.test, ids)
    perturbed, answers = _made(scene, record, split)
    clean = as_float(split.volumes, "cpu").numpy()
    maps = _maps(scene, record.cell, perturbed, split.labels)
    names = scene.dataset.classes
    for place, name in enumerate(split.ids):
        if answers[place] == split.labels[place]:
            continue
        before, after = strips.strip(clean[place]), strips.strip(perturbed[place])
        change, peak = strips.difference(before, after)
        heat = (
            ""
            if maps is None
            else strips.data_uri(strips.overlay(after, strips.strip(maps[place])))
        )
        yield volumes.Drawn(
            volume=name,
            label=names[split.labels[place]],
            answer=names[answers[place]],
            clean=strips.data_uri(strips.grey(before)),
            perturbed=strips.data_uri(strips.grey(after)),
            difference=strips.data_uri(change),
            peak=peak,
            map=heat,
        )


def _select(split: Split, ids: Sequence[str]) -> Split:
    places = {name: place for place, name in enumerate(split.ids)}
    if unknown := [name for name in ids if name not in places]:
        raise AbsentError(f"the data have no volume {unknown[0]}")
    return split.select(np.asarray([places[name] for name in ids], np.int64))


def _made(
    scene: _Scene, record: Record, split: Split
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Perturbed volumes (N, C, D, H, W), and the class that each is taken for, (N,).

    Corrupted volumes are those that were measured, so the record says what they are taken for.
    """
    cell = record.cell
    perturbation = _perturbation(cell.perturbation, scene.dataset)
    if isinstance(perturbation, Artefact):
        whole = _measured(scene.dataset.test, cell.dataset)
        found = corrupted(cell, split, perturbation, torch.device("cpu"), whole=whole)
        return as_float(found.volumes, "cpu").numpy(), _recorded(scene.directory, record, split)
    classifier = _classifier(scene, cell.model, cell.checkpoint).for_evaluation()
    given, source = cell.perturbation.source, None
    if given is not None:
        source = _classifier(scene, given.model, given.checkpoint).for_evaluation()
    made = perturb(cell, split, perturbation, classifier, source=source)(slice(0, len(split)))
    logits = classifier.predict(made, len(split))
    return made.detach().cpu().numpy(), logits.argmax(axis=1)


def _recorded(directory: Path, record: Record, split: Split) -> NDArray[np.int64]:
    found = Store(directory).predictions(record)
    answers = dict(
        zip(found.ids.tolist(), metrics.predicted_classes(found.logits).tolist(), strict=True)
    )
    return np.asarray([answers[name] for name in split.ids], np.int64)


def _measured(test: Split, key: DatasetKey) -> Split | None:
    """The volumes that a cell measured; None where they are not the usual subset."""
    whole = test if key.count == len(test) else test.subset(key.count)
    return whole if digest(whole.ids) == key.volumes else None


def _perturbation(key: PerturbationKey, dataset: Dataset) -> Attack | Artefact:
    """The attack or artefact of a cell, with the parameters that it had.

    Raises:
        AbsentError: When this installation has another version of it.
    """
    severity, recorded = key.severity, dict(key.parameters)
    assert severity is not None
    if key.kind == "artefact":
        artefact = artefacts.build(key.name)
        expected = artefact.identity(int(severity), str(recorded.get("implementation")))
        if artefact.version == key.version and digest(expected) == digest(key.parameters):
            return artefact
    else:
        own = {n: v for n, v in recorded.items() if n not in (ACCURACY_ONLY, PRECISION)}
        known = {field.name for field in fields(type(attacks.build(key.name, {})))}
        for given in ({}, {n: v for n, v in own.items() if n in known}):
            attack = attacks.build(key.name, given)
            expected = attack.resolved(dataset.num_classes, severity)
            if attack.version == key.version and digest(expected) == digest(pairs(own)):
                return attack
    raise AbsentError(f"{key.name} is not what it was when it was measured")


def _classifier(scene: _Scene, model: ModelKey, checkpoint: CheckpointKey) -> Classifier:
    path = scene.weights.get(checkpoint.sha256 or "")
    if path is None:
        raise AbsentError(
            f"the weights of {model.name} ({(checkpoint.sha256 or 'untrained')[:8]}) are not in "
            f"{Store(scene.directory).checkpoints}"
        )
    return checkpoints.load_classifier(
        model,
        path,
        num_classes=scene.dataset.num_classes,
        in_channels=scene.dataset.in_channels,
        device="cpu",
        part=checkpoint.part,
    )


def _maps(
    scene: _Scene, cell: Cell, perturbed: NDArray[np.float32], labels: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Heat maps (N, D, H, W) at the layer that `bench explain` mapped; None where it was not."""
    layer = scene.layers.get(cell.checkpoint.sha256 or "")
    if layer is None or cell.checkpoint.sha256 not in scene.weights:
        return None
    cam = GradCAM(_classifier(scene, cell.model, cell.checkpoint), layer)
    return cam(torch.from_numpy(perturbed), labels).maps
