"""What a training does with unlabelled volumes of the target, as its method says."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from benchharness import randomness
from benchharness.datasets.base import Split
from benchharness.errors import CellError
from benchharness.networks.batches import as_float
from benchharness.training import adaptation, features
from benchharness.training.augmentation import Augmentation
from benchharness.training.job import batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from benchharness.networks.classifier import Classifier
    from benchharness.training.adaptation import Adaptation
    from benchharness.training.job import Job
    from benchharness.training.resuming import State


def method(job: Job) -> Adaptation:
    """What acts in this training: none where it is given no volumes of a target."""
    name = "none" if job.unlabelled is None else str(dict(job.carried)["adapt"])
    return adaptation.find(name)


def judge_of(job: Job, classifier: Classifier) -> nn.Module | None:
    """The discriminator that `dann` trains beside the network; None for others."""
    if method(job).name != "dann":
        return None
    layer = _layer(job, classifier)
    return adaptation.discriminator(layer.in_features, job.seed).to(classifier.device)


def _layer(job: Job, classifier: Classifier) -> nn.Linear:
    sample = as_float(job.dataset.train.volumes[:2], classifier.device)
    return features.last_linear(classifier, sample)[1]


class Beside:
    """Adds a method's loss on source and target to the source's own, within one epoch.

    Args:
        job: What is trained.
        state: Before the epoch.
        classifier: The network.
        names: Of the epoch.
    """

    def __init__(
        self, job: Job, state: State, classifier: Classifier, names: tuple[randomness.Name, ...]
    ) -> None:
        self._method = method(job)
        self._acts = self._method.acts == "beside"
        self._features: list[Tensor] = []
        if not self._acts:
            return
        assert job.unlabelled is not None
        self._classifier, self._judge = classifier, state.beside
        self._layer = _layer(job, classifier)
        self._split = _split(job.unlabelled)
        draws = randomness.numpy_generator(*names, "target")
        self._order = draws.permutation(len(self._split))
        self._augmentation = Augmentation(job.recipe, self._split, draws, (*names, "target"))
        self._begun, self._epochs = state.epoch, job.recipe.epochs

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The features of the source's pass inside are kept for `loss`."""
        if not self._acts:
            yield
            return
        with features.captured(self._layer) as self._features:
            yield

    def loss(self, before: Tensor, batch: slice, share: float) -> Tensor:
        """The source's loss, with the method's.

        As many volumes of the target pass the network as the source's batch has; it normalises them
        by their own batch, so that its running statistics end between both domains.

        Args:
            before: The source's loss.
            batch: Its place in the epoch; the target's volumes begin anew when all were used.
            share: Of the epoch that is done.
        """
        if not self._acts:
            return before
        (source,) = self._features
        places = np.arange(batch.start, batch.stop) % len(self._order)
        volumes = self._augmentation.volumes(self._order[places], self._classifier.device)
        with features.captured(self._layer) as found:
            self._classifier.training_logits(volumes)
        return before + self._method.weight * self._gap(source, found[0], share)

    def _gap(self, source: Tensor, target: Tensor, share: float) -> Tensor:
        if self._judge is None:
            return adaptation.coral(source, target)
        strength = adaptation.reversal((self._begun + share) / self._epochs)
        return adaptation.confusion(self._judge, source, target, strength)


def epoch(job: Job, state: State, classifier: Classifier) -> float:
    """An epoch of a method that goes on from the source's weights, without any label.

    Returns:
        The mean entropy of the target's predictions, in nats; 0 for `adabn`, which has no loss.

    Raises:
        CellError: If the entropy stops being finite.
    """
    assert job.unlabelled is not None
    names = ("adaptation", job.dataset.digest, job.seed, state.epoch)
    order = randomness.numpy_generator(*names).permutation(len(job.unlabelled))
    chosen = [order[batch] for batch in batches(len(order), job.recipe.batch_size)]
    with randomness.isolated(*names):
        if method(job).name == "adabn":
            volumes = (as_float(job.unlabelled[one], classifier.device) for one in chosen)
            adaptation.restate(classifier.network, map(classifier.preprocessing, volumes))
            found = 0.0
        else:
            found = _less_entropy(job, state, classifier, chosen)
    state.epoch += 1
    return found


def _less_entropy(
    job: Job, state: State, classifier: Classifier, chosen: list[NDArray[np.int64]]
) -> float:
    assert job.unlabelled is not None
    classifier.eval()
    for layer in adaptation.norms(classifier.network):
        layer.train()
    total = 0.0
    for places in chosen:
        volumes = as_float(job.unlabelled[places], classifier.device)
        loss = adaptation.entropy(classifier.training_logits(volumes))
        value = loss.item()
        if not np.isfinite(value):
            raise CellError(f"adaptation diverged: the entropy was {value}")
        state.step(loss)
        state.schedule.step()
        total += value * len(places)
    return total / sum(map(len, chosen))


def parameters(job: Job, network: nn.Module, beside: nn.Module | None) -> list[nn.Parameter]:
    """What the optimiser may change."""
    if method(job).name == "entropy":
        found = list(adaptation.affine(network))
        if not found:
            raise CellError("entropy changes scale and shift of normalisations, and none has any")
        return found
    own = list(network.parameters())
    return own if beside is None else own + list(beside.parameters())


def _split(volumes: NDArray[np.unsignedinteger]) -> Split:
    """Volumes as what an augmentation takes; the labels say nothing."""
    return Split(
        ids=tuple(f"target/{place}" for place in range(len(volumes))),
        volumes=volumes,
        labels=np.zeros(len(volumes), dtype=np.int64),
    )
