"""The end of a training: weights are written, measured once, and described by a card."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchharness.networks import checkpoints
from benchharness.statistics import metrics
from benchharness.store import cards, provenance
from benchharness.store.cards import START, ModelCard
from benchharness.training.resuming import writing

if TYPE_CHECKING:
    from benchharness.datasets.base import Split
    from benchharness.networks.classifier import Classifier
    from benchharness.training.job import Job
    from benchharness.training.resuming import State


def _evaluate(classifier: Classifier, split: Split, batch_size: int) -> dict[str, float | None]:
    values, _ = metrics.compute(split.labels, classifier.predict(split.volumes, batch_size))
    return values


def _chosen_on(job: Job) -> str:
    """The split that the kept weights were chosen on, in words."""
    if job.recipe.keep == "last":
        return cards.NO_SPLIT
    carried = dict(job.carried)
    if not carried:
        return "val"
    return cards.TARGET_VAL if carried.get("select") == "target_val" else cards.SOURCE_VAL


def _reads_val(job: Job) -> bool:
    """Whether the val split is measured: where few labels are all there are, it has none."""
    return job.recipe.keep == "best" or not job.carried


def finish(job: Job, state: State, classifier: Classifier, device: str) -> ModelCard:
    """Write the weights, measure them and write the card."""
    weights = state.network.state_dict()
    with writing(job.directory):
        sha256 = checkpoints.save(job.directory, weights)
    batch_size = job.recipe.batch_size
    texts = {"source": job.recipe.source, "summary": job.recipe.summary}
    settings: dict[str, Any] = {**texts, **dict(job.recipe.to_pairs())}
    if state.start:
        settings[START] = state.start["settings"]
    source = provenance.collect(device) | {"finished": provenance.now()}
    if job.dataset.preparation:
        source["preparation"] = dict(job.dataset.preparation)
    card = ModelCard(
        model=job.model.name,
        factory=job.model.factory,
        arguments=dict(job.model.arguments),
        preprocessing=dict(job.model.preprocessing),
        outputs=dict(job.model.outputs),
        dataset=job.dataset.name,
        dataset_digest=job.dataset.digest,
        num_classes=job.dataset.num_classes,
        in_channels=job.dataset.in_channels,
        recipe=settings,
        seed=job.seed,
        selection_split=_chosen_on(job),
        selection_epoch=state.best_epoch,
        val_metrics=_evaluate(classifier, job.dataset.val, batch_size) if _reads_val(job) else {},
        test_metrics=_evaluate(classifier, job.dataset.test, batch_size),
        sha256=sha256,
        provenance=source,
        initial_weights=None if state.initialised is None else asdict(state.initialised),
        start=state.start,
        ended=state.ended,
        transfer=dict(job.carried),
    )
    with writing(job.directory):
        checkpoints.save_card(job.directory, card)
    return card
