"""The training loop: a recipe, a dataset and a seed make a checkpoint with its model card.

Every epoch draws its order, its augmentation and the network's noise from a generator named by
(data, seed, epoch), so a training that was killed and resumed ends with the same weights as one
that was not. The weights kept are those of the epoch with the highest AUC on the val split; the
test split is evaluated once, afterwards.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchharness import randomness
from benchharness.disk import clear_partial
from benchharness.errors import CellError
from benchharness.networks import checkpoints
from benchharness.networks.classifier import Classifier
from benchharness.outside.containment import contained, in_one_line
from benchharness.training import adversarial, balance, objective, selection, unlabelled
from benchharness.training.augmentation import Augmentation
from benchharness.training.beginning import begin, sample
from benchharness.training.ending import finish
from benchharness.training.job import EpochReport, batches
from benchharness.training.resuming import RESUME, State, save, writing

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from benchharness.store.cards import ModelCard
    from benchharness.training.job import Job

_SAVE_EVERY_S = 20.0
"""How much training a kill may lose. Saving more often would cost more than it saves."""


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
        CellError: If the val split lacks a class and is to choose, the loss stops being finite, val
            AUC is never defined, or the network overfits to a single step in its first epoch.
        BenchError: If the folder cannot be written, or the initial weights do not fit.
        Exception: Whatever the network raises.
    """
    finished = checkpoints.read_card(job.directory)
    if finished is not None:
        return finished
    if reason := selection.blind(job.recipe, job.dataset.val, job.dataset.num_classes):
        raise CellError(reason)
    with writing(job.directory):
        job.directory.mkdir(parents=True, exist_ok=True)
        clear_partial(job.directory)
    state = _resumed(job, device, note)
    classifier = _classifier(job, state.network, device)
    judged = classifier if state.average is None else _classifier(job, state.to_keep, device)
    _run_epochs(job, state, classifier, judged, report)
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
        if job.recipe.balanced and unlabelled.method(job).acts != "after":
            val, size = job.dataset.val, job.recipe.batch_size
            balance.restore(classifier, val, size, sample(job, device))
    card = finish(job, state, classifier, device)
    with writing(job.directory):
        (job.directory / RESUME).unlink(missing_ok=True)
    return card


def _resumed(job: Job, device: str, note: Callable[[str], None]) -> State:
    """The state of an interrupted training, else the one before the first epoch."""
    saved = job.directory / RESUME
    with contained():
        state = begin(job, device)
        if not saved.exists():
            return state
        try:
            state.restore(saved)
        except Exception as error:  # reading a damaged file may raise any class of error
            note(f"{saved} is damaged ({in_one_line(error)[:100]}): the training starts anew")
            return begin(job, device)
        return state


def _classifier(job: Job, network: nn.Module, device: str) -> Classifier:
    return Classifier.of(job.model, network, num_classes=job.dataset.num_classes, device=device)


def _run_epochs(
    job: Job,
    state: State,
    classifier: Classifier,
    judged: Classifier,
    report: Callable[[EpochReport], None],
) -> None:
    """Train the epochs that are left, keeping the best weights and saving the state at times.

    Args:
        job: What is trained.
        state: How far it is.
        classifier: What is trained.
        judged: What is kept: the same, or the average of its weights.
        report: Called after every epoch.
    """
    began, first, saved_at = time.monotonic(), state.epoch, time.monotonic()
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        while state.epoch < job.recipe.epochs and not state.ended:
            with contained():
                loss = epoch(job, state, classifier)
            found = selection.judge(judged, job.dataset.val, job.recipe, seed=job.seed)
            state.judged(found)
            if job.recipe.keep == "last" and state.epoch == job.recipe.epochs:
                state.keep()
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
                    val_auc=found.auc,
                    best_val_auc=state.best_auc,
                    seconds_left=(time.monotonic() - began) / done * left,
                    judged_by=selection.measure(job.recipe),
                )
            )


def epoch(job: Job, state: State, classifier: Classifier) -> float:
    """Train one epoch and return its mean loss."""
    after = unlabelled.method(job).acts == "after"
    return (unlabelled.epoch if after else _labelled)(job, state, classifier)


def _labelled(job: Job, state: State, classifier: Classifier) -> float:
    """Train one epoch and return its mean loss."""
    recipe, split = job.recipe, job.dataset.train
    names = ("training", job.dataset.digest, job.seed, state.epoch)
    draws = randomness.numpy_generator(*names)
    order = draws.permutation(len(split))
    if recipe.balanced:
        order = balance.drawn(split.labels, draws)
    augmentation = Augmentation(recipe, split, draws, names)
    starts = randomness.torch_generator(*names, "adversary")
    beside = unlabelled.Beside(job, state, classifier, names)
    classifier.train()
    total = 0.0
    with randomness.isolated(*names):
        for batch in batches(len(split), recipe.batch_size):
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
            with beside.watching():
                loss = objective.loss(
                    classifier, recipe, inputs, targets, factors, eps=eps, starts=starts
                )
            loss = beside.loss(loss, batch, batch.start / len(split))
            if not math.isfinite(value := loss.item()):  # A GPU is waited for once a step.
                raise CellError(
                    f"training diverged: the loss was {value} in epoch {state.epoch + 1}"
                )
            state.step(loss)
            if recipe.schedule == "one-cycle":
                state.schedule.step()
            total += value * len(chosen)
    if recipe.schedule == "steps":
        state.schedule.step()
    state.epoch += 1
    return total / len(split)
