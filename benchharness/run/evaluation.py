"""One cell → predictions, metrics and certificate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchharness import statistics
from benchharness.artefacts import Artefact, batched
from benchharness.artefacts.cache import Cache
from benchharness.artefacts.corruption import corrupt, libraries
from benchharness.attacks import Attack
from benchharness.networks.batches import as_float, in_batches
from benchharness.statistics import metrics
from benchharness.store.predictions import Predictions
from benchharness.store.records import NOT_APPLICABLE, Check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchharness.datasets import Split
    from benchharness.networks.classifier import Classifier
    from benchharness.store.cells import Cell


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """What one cell gave."""

    predictions: Predictions | None
    """None where the perturbation does not apply."""
    certificate: tuple[Check, ...] = ()
    undefined: dict[str, str] = field(default_factory=dict)
    """Metrics that the predictions would give but that would mislead, and why."""
    facts: dict[str, Any] = field(default_factory=dict)
    inapplicable: str = ""
    """Why there are no predictions; empty where there are."""


def evaluate(
    cell: Cell,
    classifier: Classifier,
    split: Split,
    perturbation: Attack | Artefact | None,
    *,
    batch_size: int,
    source: Classifier | None = None,
    before: Sequence[Predictions] | None = None,
    progress: Callable[[int], None] = lambda _: None,
    val: Split | None = None,
) -> Evaluated:
    """Measure one cell.

    Args:
        cell: What is measured; its severity and perturbation seed are used here.
        classifier: The trained network with its preprocessing, as it is best run.
        split: The evaluated volumes.
        perturbation: None for a clean cell.
        batch_size: Volumes a forward pass; halved when memory runs out.
        source: The network that transferred volumes are made on.
        before: Predictions on the same volumes, clean and at smaller severities; what is wrong in
            one of them is left out and keeps that answer. None leaves out nothing.
        progress: Called with the number of volumes finished since the last call.
        val: The validation volumes; a clean cell freezes its thresholds on them.

    Raises:
        CellError: When the network or the perturbation gave something that is not a result.
    """
    if isinstance(perturbation, Attack):
        if before is not None:
            return _still_standing(
                cell, classifier, split, perturbation, batch_size, before, progress
            )
        return _attacked(cell, classifier, split, perturbation, batch_size, source, progress)
    if isinstance(perturbation, Artefact):
        return _corrupted(cell, classifier, split, perturbation, batch_size, progress)
    logits = classifier.predict(split.volumes, batch_size, progress=progress)
    return Evaluated(
        predictions=_predictions(split, logits),
        facts={} if val is None else {"thresholds": _thresholds(classifier, val, batch_size)},
    )


def _thresholds(classifier: Classifier, val: Split, batch_size: int) -> dict[str, Any]:
    """What `statistics.frozen_threshold` gives for each class on clean validation volumes."""
    probabilities = metrics.softmax(classifier.predict(val.volumes, batch_size))
    classes = range(classifier.num_classes)
    return {
        "split": "val",
        "rule": "largest Youden index",
        "positives": [int((val.labels == k).sum()) for k in classes],
        "by_class": [
            statistics.frozen_threshold(val.labels == k, probabilities[:, k]) for k in classes
        ],
    }


def _corrupted(
    cell: Cell,
    classifier: Classifier,
    split: Split,
    artefact: Artefact,
    batch_size: int,
    progress: Callable[[int], None],
) -> Evaluated:
    severity, seed = cell.perturbation.severity, cell.perturbation.seed
    assert isinstance(severity, int)
    assert seed is not None
    fast = dict(cell.perturbation.parameters)["implementation"] == batched.NAME
    device = classifier.device if fast else None
    corrupted = Cache.of_environment().get(
        _corruption_key(cell, device),
        lambda: corrupt(
            artefact,
            split.volumes,
            split.ids,
            severity=severity,
            seed=seed,
            device=device,
            spacing=split.spacing,
        ),
    )
    facts = {
        "clipped_fraction": float(corrupted.clipped.mean()),
        "unchanged_fraction": float(1 - corrupted.changed.mean()),
        "plausible": _plausible(artefact, cell.dataset.modality),
    }
    if not corrupted.changed.any():
        progress(len(split))
        reason = f"{NOT_APPLICABLE}: {artefact.name} changes no voxel here"
        return Evaluated(predictions=None, facts=facts, inapplicable=reason)
    logits = classifier.predict(corrupted.volumes, batch_size, progress=progress)
    return Evaluated(predictions=_predictions(split, logits), facts=facts)


def _corruption_key(cell: Cell, device: torch.device | None) -> dict[str, Any]:
    """All that decides the bits of a corrupted test set, on the machine at hand."""
    return {
        "dataset": cell.dataset.digest,
        "split": cell.dataset.split,
        "volumes": cell.dataset.volumes,
        "perturbation": cell.perturbation.numbers(),
        "device": None if device is None else device.type,
        "libraries": libraries(),
    }


def _plausible(artefact: Artefact, modality: str) -> bool | None:
    """Whether a modality's acquisition can produce an artefact; None where nobody knows."""
    return None if modality == "unknown" else modality in artefact.plausible


def _attacked(
    cell: Cell,
    classifier: Classifier,
    split: Split,
    attack: Attack,
    batch_size: int,
    source: Classifier | None,
    progress: Callable[[int], None],
) -> Evaluated:
    severity, seed = cell.perturbation.severity, cell.perturbation.seed
    assert severity is not None
    assert seed is not None
    outcomes = []

    def logits(batch: slice) -> NDArray[np.float32]:
        volumes = as_float(split.volumes[batch], classifier.device)
        labels = torch.from_numpy(split.labels[batch]).to(classifier.device)
        outcome = attack(
            classifier,
            volumes,
            labels,
            severity=severity,
            ids=split.ids[batch],
            seed=seed,
            source=source,
        )
        # The volumes have served: kept, they would fill the device.
        outcomes.append(replace(outcome, volumes=outcome.volumes[:0]))
        return outcome.logits

    parts = list(in_batches(logits, len(split), batch_size, progress=progress))
    findings = {
        name: np.concatenate([outcome.findings[name] for outcome in outcomes])
        for name in outcomes[0].findings
    }
    return Evaluated(
        predictions=_predictions(split, np.concatenate(parts), findings),
        certificate=attack.certificate(
            outcomes, severity=severity, num_classes=classifier.num_classes
        ),
        undefined={"auc": attack.auc_undefined} if attack.auc_undefined else {},
        facts=attack.facts(classifier.num_classes),
    )


def _still_standing(
    cell: Cell,
    classifier: Classifier,
    split: Split,
    attack: Attack,
    batch_size: int,
    before: Sequence[Predictions],
    progress: Callable[[int], None],
) -> Evaluated:
    """Attack what was right in all of `before`; the rest keeps the answer that was wrong."""
    logits = before[0].logits.copy()
    standing = np.ones(len(split), dtype=np.bool_)
    for earlier in before:
        broken = standing & ~metrics.correct(earlier.labels, earlier.logits)
        logits[broken] = earlier.logits[broken]
        standing &= ~broken
    progress(int((~standing).sum()))
    found = None
    if standing.any():
        rest = split.select(np.flatnonzero(standing))
        found = _attacked(cell, classifier, rest, attack, batch_size, None, progress)
        assert found.predictions is not None
        logits[standing] = found.predictions.logits
    extra = {"attacked": standing.astype(np.float32)}
    return Evaluated(
        predictions=_predictions(split, logits, extra),
        certificate=() if found is None else found.certificate,
        undefined={"auc": "only accuracy was asked for (--accuracy-only)"},
        facts=attack.facts(classifier.num_classes) | {"attacked_volumes": int(standing.sum())},
    )


def _predictions(
    split: Split, logits: NDArray[np.float32], extra: dict[str, NDArray[np.float32]] | None = None
) -> Predictions:
    return Predictions(
        ids=np.asarray(split.ids),
        labels=split.labels,
        logits=logits,
        extra=extra or {},
        patients=None if split.patients is None else np.asarray(split.patients),
    )
