"""The training loop: a recipe, a dataset and a seed make a checkpoint with its model card.

Every epoch draws its order, its augmentation and the network's noise from a generator named by
(data, seed, epoch), so a training that was killed and resumed ends with the same weights as one
that was not. The weights kept are those of the epoch with the highest AUC on the val split; the
test split is evaluated once, afterwards.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchharness import randomness
from benchharness.canonical import digest
from benchharness.disk import clear_partial
from benchharness.errors import CellError
from benchharness.networks import building, checkpoints
from benchharness.networks.classifier import Classifier
from benchharness.outside.containment import contained, in_one_line
from benchharness.statistics import metrics
from benchharness.store import provenance
from benchharness.store.cards import START, ModelCard
from benchharness.training import adversarial, initialisation, objective, selection
from benchharness.training.augmentation import Augmentation
from benchharness.training.resuming import RESUME, State, save, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import nn

    from benchharness.datasets.base import Dataset, Split
    from benchharness.store.cells import ModelKey
    from benchharness.training.initialisation import InitialWeights
    from benchharness.training.recipe import Recipe

_SAVE_EVERY_S = 20.0
"""How much training a kill may lose. Saving more often would cost more than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One training to be done."""

    model: ModelKey
    dataset: Dataset
    recipe: Recipe
    seed: int
    directory: Path
    """Folder of the checkpoint, from `checkpoints.folder`."""
    initial: InitialWeights | None = None
    """Weights to begin from; None draws all weights from the seed."""
    start: Path | None = None
    """Folder of the checkpoint to begin from, of the recipe that `recipe` starts from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """How far a training is, after an epoch."""

    epoch: int
    """Epochs finished, counted from 1."""
    epochs: int
    loss: float
    val_auc: float | None
    best_val_auc: float
    seconds_left: float
    judged_by: str = "val AUC"
    """What `val_auc` is, in words."""


def train(
    job: Job,
    *,
    device: str,
    report: Callable[[EpochReport], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> ModelCard:
    """Train a checkpoint, or finish one that was interrupted, and write it with its card.

    A finished checkpoint is never trained again, since records may name its weights.

    Args:
        job: What to train, on which data, and where to keep the checkpoint.
        device: `cpu` or `cuda[:i]`.
        report: Called after every epoch.
        note: Told one line at a time what a user should know.

    Returns:
        The card; weights and card are on disk when this returns.

    Raises:
        CellError: If the loss stops being finite, val AUC is never defined, or the network overfits
            to a single step in its first epoch.
        BenchError: If the folder cannot be written, or the initial weights do not fit.
        Exception: Whatever the network raises.
    """
    finished = checkpoints.read_card(job.directory)
    if finished is not None:
        return finished
    with writing(job.directory):
        job.directory.mkdir(parents=True, exist_ok=True)
        clear_partial(job.directory)
    state = _resumed(job, device, note)
    classifier = Classifier.of(
        job.model, state.network, num_classes=job.dataset.num_classes, device=device
    )
    _run_epochs(job, state, classifier, report)
    if state.ended:
        note(f"{job.model.name} on {job.dataset.name}: {state.ended}")
    if state.best is None:
        raise CellError(
            f"{state.ended}, and no epoch before it. Take a smaller eps or more steps"
            if state.ended
            else f"the AUC on the val split of {job.dataset.name} was undefined in every epoch"
        )
    with contained():
        state.network.load_state_dict(state.best)
    card = _finish(job, state, classifier, device)
    with writing(job.directory):
        (job.directory / RESUME).unlink(missing_ok=True)
    return card


def _resumed(job: Job, device: str, note: Callable[[str], None]) -> State:
    """The state of an interrupted training, else the one before the first epoch."""
    saved = job.directory / RESUME
    with contained():
        state = _start(job, device)
        if not saved.exists():
            return state
        try:
            state.restore(saved)
        except Exception as error:  # reading a damaged file may raise any class of error
            note(f"{saved} is damaged ({in_one_line(error)[:100]}): the training starts anew")
            return _start(job, device)
        return state


def _start(job: Job, device: str) -> State:
    """The state before the first epoch."""
    network, start = _built(job)
    initialised = (
        None
        if job.initial is None
        else initialisation.apply(job.initial, network, job.model.name, seed=job.seed)
    )
    network.to(device)
    optimiser_class = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[job.recipe.optimiser]
    optimiser = optimiser_class(
        network.parameters(),
        lr=job.recipe.learning_rate,
        weight_decay=job.recipe.weight_decay,
        # The same arithmetic in one kernel; on a CPU it saves about a tenth of a step.
        fused=True,
    )
    schedule = _schedule(job.recipe, optimiser, volumes=len(job.dataset.train))
    return State(
        network=network,
        optimiser=optimiser,
        schedule=schedule,
        initialised=initialised,
        start=start,
    )


def _built(job: Job) -> tuple[nn.Module, dict[str, Any]]:
    """The network with weights drawn from the seed, or with those of another recipe's checkpoint.

    Returns:
        The network, and the recipe and digest of the weights that another made.

    Raises:
        CellError: When that checkpoint is not there.
    """
    shape: Any = {"num_classes": job.dataset.num_classes, "in_channels": job.dataset.in_channels}
    if job.start is None:
        return building.build_network(job.model, **shape, seed=job.seed), {}
    card = checkpoints.read_card(job.start)
    if card is None:
        raise CellError(f"no checkpoint in {job.start}, which {job.recipe.name} starts from")
    opened = checkpoints.opened(job.model, job.start / checkpoints.WEIGHTS, **shape)
    return opened.network, {
        "recipe": card.recipe["name"],
        "sha256": card.sha256,
        "settings": digest(card.settings),
    }


def _schedule(
    recipe: Recipe, optimiser: torch.optim.Optimizer, *, volumes: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate's course, in steps for `one-cycle` and in epochs for `steps`."""
    if recipe.schedule == "one-cycle":
        steps = recipe.epochs * sum(1 for _ in _batches(volumes, recipe.batch_size))
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=recipe.learning_rate, total_steps=steps
        )
    milestones = [int(recipe.epochs * share) for share in (0.5, 0.75)]
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)


def _run_epochs(
    job: Job, state: State, classifier: Classifier, report: Callable[[EpochReport], None]
) -> None:
    """Train the epochs that are left, keeping the best weights and saving the state at times."""
    began, first, saved_at = time.monotonic(), state.epoch, time.monotonic()
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        while state.epoch < job.recipe.epochs and not state.ended:
            with contained():
                loss = _epoch(job, state, classifier)
            judged = selection.judge(classifier, job.dataset.val, job.recipe, seed=job.seed)
            state.judged(judged)
            if time.monotonic() - saved_at > _SAVE_EVERY_S:
                content = state.content()
                with writing(job.directory):
                    save(job.directory / RESUME, content)
                saved_at = time.monotonic()
            done, left = state.epoch - first, job.recipe.epochs - state.epoch
            report(
                EpochReport(
                    epoch=state.epoch,
                    epochs=job.recipe.epochs,
                    loss=loss,
                    val_auc=judged.auc,
                    best_val_auc=state.best_auc,
                    seconds_left=(time.monotonic() - began) / done * left,
                    judged_by=selection.measure(job.recipe),
                )
            )


def _epoch(job: Job, state: State, classifier: Classifier) -> float:
    """Train one epoch and return its mean loss."""
    recipe, split = job.recipe, job.dataset.train
    names = ("training", job.dataset.digest, job.seed, state.epoch)
    draws = randomness.numpy_generator(*names)
    order = draws.permutation(len(split))
    augmentation = Augmentation(recipe, split, draws, names)
    starts = randomness.torch_generator(*names, "adversary")
    classifier.train()
    total = 0.0
    with randomness.isolated(*names):
        for batch in _batches(len(split), recipe.batch_size):
            chosen = order[batch]
            inputs = augmentation.volumes(chosen, classifier.device)
            factors = None
            if recipe.scales_randomly(job.dataset.modality):
                # Random factors, in place of the fixed one that the preprocessing applies.
                drawn = draws.uniform(0.0, 1.0, len(chosen)).astype(np.float32)
                factors = torch.from_numpy(drawn).to(classifier.device)[:, None, None, None, None]
            labels = torch.from_numpy(split.labels[chosen]).to(classifier.device)
            inputs, targets = augmentation.mixed(inputs, labels, classifier.num_classes)
            eps = adversarial.budget(recipe, state.epoch + batch.start / len(split))
            loss = objective.loss(
                classifier, recipe, inputs, targets, factors, eps=eps, starts=starts
            )
            value = loss.item()  # A GPU is waited for once a step.
            if not math.isfinite(value):
                raise CellError(
                    f"training diverged: the loss was {value} in epoch {state.epoch + 1}"
                )
            state.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            state.optimiser.step()
            if recipe.schedule == "one-cycle":
                state.schedule.step()
            total += value * len(chosen)
    if recipe.schedule == "steps":
        state.schedule.step()
    state.epoch += 1
    return total / len(split)


def _batches(count: int, size: int) -> Iterator[slice]:
    """Consecutive batches, without a last one of a single volume, which BatchNorm cannot take."""
    for start in range(0, count, size):
        if min(start + size, count) - start > 1 or count == 1:
            yield slice(start, min(start + size, count))


def _evaluate(classifier: Classifier, split: Split, batch_size: int) -> dict[str, float | None]:
    values, _ = metrics.compute(split.labels, classifier.predict(split.volumes, batch_size))
    return values


def _finish(job: Job, state: State, classifier: Classifier, device: str) -> ModelCard:
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
        selection_split="val",
        selection_epoch=state.best_epoch,
        val_metrics=_evaluate(classifier, job.dataset.val, batch_size),
        test_metrics=_evaluate(classifier, job.dataset.test, batch_size),
        sha256=sha256,
        provenance=source,
        initial_weights=None if state.initialised is None else asdict(state.initialised),
        start=state.start,
        ended=state.ended,
    )
    with writing(job.directory):
        checkpoints.save_card(job.directory, card)
    return card
