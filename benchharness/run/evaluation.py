"""One cell → predictions, certificate and facts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness import statistics
from benchharness.artefacts import Artefact
from benchharness.attacks import Attack, chosen
from benchharness.networks.batches import in_batches
from benchharness.run.perturb import Attacked, perturb
from benchharness.statistics import metrics
from benchharness.store.predictions import Predictions
from benchharness.store.records import NOT_APPLICABLE, Check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchharness.datasets import Split
    from benchharness.networks.classifier import Classifier
    from benchharness.run.perturb import Stored
    from benchharness.store.cells import Cell

    Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """What the evaluation of one cell gave."""

    predictions: Predictions | None
    """None where the perturbation does not apply."""
    certificate: tuple[Check, ...] = ()
    undefined: dict[str, str] = field(default_factory=dict)
    """Metrics that could be computed but would mislead, each with the reason."""
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
    progress: Progress = lambda _: None,
    val: Split | None = None,
) -> Evaluated:
    """Evaluate a network on the volumes of one cell.

    Args:
        cell: What is evaluated.
        classifier: The trained network with its preprocessing, prepared by `for_evaluation`.
        split: The clean volumes.
        perturbation: What the cell names; None for a clean cell.
        batch_size: Volumes per forward pass; halved when memory runs out.
        source: The network that transferred volumes are made on.
        before: Predictions on the same volumes, clean first, then at smaller severities. A volume
            that is wrong in one of them is not attacked again and keeps that answer. None attacks
            every volume.
        progress: Called with the number of volumes finished since the last call.
        val: The validation volumes, on which a clean cell freezes its thresholds.

    Raises:
        CellError: When the network or the perturbation gave something that is not a result.
    """
    if before is not None and isinstance(perturbation, Attack):
        return _still_standing(cell, classifier, split, perturbation, batch_size, before, progress)
    made = perturb(cell, split, perturbation, classifier, source=source)
    if isinstance(made, Attacked):
        return _attacked(made, batch_size, progress)
    if isinstance(perturbation, Artefact):
        return _corrupted(cell, classifier, split, perturbation, made, batch_size, progress)
    predictions = _predictions(
        split, classifier.predict(made.volumes, batch_size, progress=progress)
    )
    if val is None:
        return Evaluated(predictions=predictions, facts={})
    validation = _predictions(val, classifier.predict(val.volumes, batch_size))
    return Evaluated(
        predictions=replace(predictions, validation=replace(validation, patients=None)),
        facts={"thresholds": _thresholds(validation)},
    )


def _thresholds(val: Predictions) -> dict[str, Any]:
    """What `statistics.frozen_threshold` gives for each class on clean validation volumes."""
    probabilities = metrics.softmax(val.logits)
    classes = range(val.logits.shape[1])
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
    made: Stored,
    batch_size: int,
    progress: Progress,
) -> Evaluated:
    corrupted = made.corrupted
    assert corrupted is not None
    facts = {
        "clipped_fraction": float(corrupted.clipped.mean()),
        "unchanged_fraction": float(1 - corrupted.changed.mean()),
        "plausible": _plausible(artefact, cell.dataset.modality),
    }
    if not corrupted.changed.any():
        progress(len(split))
        reason = f"{NOT_APPLICABLE}: {artefact.name} changes no voxel here"
        return Evaluated(predictions=None, facts=facts, inapplicable=reason)
    logits = classifier.predict(made.volumes, batch_size, progress=progress)
    return Evaluated(predictions=_predictions(split, logits), facts=facts)


def _plausible(artefact: Artefact, modality: str) -> bool | None:
    """Whether the modality's acquisition can produce the artefact; None where unknown."""
    return None if modality == "unknown" else modality in artefact.plausible


def _attacked(made: Attacked, batch_size: int, progress: Progress) -> Evaluated:
    attack, num_classes = made.attack, made.classifier.num_classes
    outcomes = []
    watched = chosen(made.split.ids)

    def logits(batch: slice) -> NDArray[np.float32]:
        outcome = made.outcome(batch, watched=watched)
        # The volumes are no longer needed and would fill the device.
        outcomes.append(replace(outcome, volumes=outcome.volumes[:0]))
        return outcome.logits

    parts = list(in_batches(logits, len(made.split), batch_size, progress=progress))
    findings = {
        name: np.concatenate([outcome.findings[name] for outcome in outcomes])
        for name in outcomes[0].findings
    }
    return Evaluated(
        predictions=_predictions(made.split, np.concatenate(parts), findings),
        certificate=attack.certificate(outcomes, severity=made.severity, num_classes=num_classes),
        undefined={"auc": attack.auc_undefined} if attack.auc_undefined else {},
        facts=attack.facts(num_classes),
    )


def _still_standing(
    cell: Cell,
    classifier: Classifier,
    split: Split,
    attack: Attack,
    batch_size: int,
    before: Sequence[Predictions],
    progress: Progress,
) -> Evaluated:
    """Attack what is right in all of `before`; the rest keeps its first wrong answer."""
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
        made = perturb(cell, rest, attack, classifier)
        assert isinstance(made, Attacked)
        found = _attacked(made, batch_size, progress)
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
