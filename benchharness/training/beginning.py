"""The state of a training before its first epoch: a network, and where its weights come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from benchharness.canonical import digest
from benchharness.errors import CellError
from benchharness.networks import building, checkpoints
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier
from benchharness.training import balance, carrying, features, initialisation, unlabelled
from benchharness.training.averaging import average
from benchharness.training.job import batches
from benchharness.training.resuming import State

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchharness.training.job import Job
    from benchharness.training.recipe import Recipe


def begin(job: Job, device: str) -> State:
    """The state before the first epoch."""
    network, start = _built(job)
    initialised = (
        None
        if job.initial is None
        else initialisation.apply(job.initial, network, job.model.name, seed=job.seed)
    )
    shown = Classifier.of(job.model, network, num_classes=job.dataset.num_classes, device=device)
    beside = unlabelled.judge_of(job, shown)
    optimiser_class = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[job.recipe.optimiser]
    optimiser = optimiser_class(
        unlabelled.parameters(job, network, beside),
        lr=job.recipe.learning_rate,
        weight_decay=job.recipe.weight_decay,
        # The same arithmetic in one kernel; on a CPU it saves about a tenth of a step.
        fused=True,
    )
    after = unlabelled.method(job).acts == "after"
    learned = job.unlabelled if after else job.dataset.train
    assert learned is not None
    schedule = _schedule(job.recipe, optimiser, volumes=len(learned))
    if job.recipe.balanced and not after:
        balance.check(shown, sample(job, device))
    return State(
        network=network,
        optimiser=optimiser,
        schedule=schedule,
        initialised=initialised,
        start=start,
        average=average(network, job.recipe.averaging)
        if job.recipe.averaging and not after
        else None,
        beside=beside,
    )


def sample(job: Job, device: str) -> Tensor:
    """Two training volumes, (2, C, D, H, W), to see what a network does."""
    return as_float(job.dataset.train.volumes[:2], device)


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
    if job.head_anew or card.in_channels != job.dataset.in_channels:
        network = _adopted(job)
    else:
        network = checkpoints.opened(job.model, job.start / checkpoints.WEIGHTS, **shape).network
    return network, {
        "recipe": card.recipe["name"],
        "sha256": card.sha256,
        "settings": digest(card.settings),
    }


def _adopted(job: Job) -> nn.Module:
    """A network for the target with a source's weights, as far as they mean the same.

    The last layer stays as the seed drew it where labels mean something else. Channels are
    reconciled as by `--init`: see `carrying.carry`.

    Raises:
        CellError: When weights do not fit otherwise, or no last layer is found.
    """
    assert job.start is not None
    shape: Any = {"num_classes": job.dataset.num_classes, "in_channels": job.dataset.in_channels}
    network = building.build_network(job.model, **shape, seed=job.seed)
    head = ""
    if job.head_anew:
        shown = Classifier.of(job.model, network, num_classes=shape["num_classes"], device="cpu")
        head = features.last_linear(shown, sample(job, "cpu"))[0]
    saved, own = load_file(job.start / checkpoints.WEIGHTS), network.state_dict()
    try:
        found = carrying.carry(saved, own, keep_head=not job.head_anew, head=head)
    except ValueError as error:
        raise CellError(f"the weights in {job.start} do not fit: {error}") from error
    network.load_state_dict(found.tensors)
    return network


def _schedule(
    recipe: Recipe, optimiser: torch.optim.Optimizer, *, volumes: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate's course, in steps for `one-cycle` and in epochs for `steps`."""
    if recipe.schedule == "one-cycle":
        steps = recipe.epochs * sum(1 for _ in batches(volumes, recipe.batch_size))
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=recipe.learning_rate, total_steps=steps
        )
    milestones = [int(recipe.epochs * share) for share in (0.5, 0.75)]
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
