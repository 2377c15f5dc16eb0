"""Attacks of independent packages, all called alike: ART and torchattacks.

Both take images, and several of their attacks reduce over `dim=(1, 2, 3)`, so all run on volumes
folded to (B, C·D, H, W). For Square the slices are then channels.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torchattacks
from torch import nn
from torch.nn import functional as F

from benchharness.attacks.core.norms import BUDGETS
from tests.attacks.folding import Folded, folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    Reference = Callable[[nn.Module, Tensor, Tensor, float, int], Tensor]
    """Folded images after an attack, from a model, images, labels, a radius and a seed. The radius
    is an intensity for L∞, a Euclidean length for L2."""

UNBOUNDED = ("DeepFool", "CarliniL2Method", "CW")
"""Attacks that take no radius."""


def art(name: str, classes: int, *, step: float = 0.0, **options: Any) -> Reference:
    """An attack of ART.

    Args:
        name: Of the class.
        classes: Of the model.
        step: Length of a step as a share of the radius, where it takes one.
        options: Its other arguments.
    """

    def attacked(
        model: nn.Module, images: Tensor, labels: Tensor, radius: float, seed: int
    ) -> Tensor:
        # Slow to import: only tests that are to be run should wait for it.
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

        shape = tuple(images.shape[1:])
        estimator = PyTorchClassifier(
            model, nn.CrossEntropyLoss(), shape, classes, clip_values=(0.0, 1.0), device_type="cpu"
        )
        given = {"batch_size": len(images), **options} | _radius("eps", "eps_step", radius, step)
        if name in UNBOUNDED:
            given.pop("eps")
        if name != "FastGradientMethod":
            given["verbose"] = False
        attack = getattr(evasion, name)(estimator, **given)
        one_hot = F.one_hot(labels, classes).float().numpy()
        return torch.from_numpy(attack.generate(images.numpy(), one_hot))

    return attacked


def ta(name: str, *, step: float = 0.0, **options: Any) -> Reference:
    """An attack of torchattacks; the arguments are those of `art`."""

    def attacked(
        model: nn.Module, images: Tensor, labels: Tensor, radius: float, seed: int
    ) -> Tensor:
        given = _radius("eps", "alpha", radius, step) | options
        if name in UNBOUNDED:
            given.pop("eps")
        attack = getattr(torchattacks, name)(model, **given)
        if hasattr(attack, "seed"):
            # It seeds the global generator itself, with 0 unless told otherwise.
            attack.seed = seed
        found: Tensor = attack(images, labels)
        return found.detach()

    return attacked


def _radius(eps: str, alpha: str, radius: float, step: float) -> dict[str, Any]:
    return {eps: radius, **({alpha: step * radius} if step else {})}


def once(reference: Reference) -> Reference:
    """A reference that takes no radius: a network is attacked once for each seed."""
    made: dict[tuple[nn.Module, int], Tensor] = {}

    def attacked(
        model: nn.Module, images: Tensor, labels: Tensor, radius: float, seed: int
    ) -> Tensor:
        assert isinstance(model, Folded)
        place = (model.model, seed)
        if place not in made:
            made[place] = reference(model, images, labels, radius, seed)
        return made[place]

    return attacked


def cascade(*references: Reference) -> Reference:
    """References in turn, each on what those before it left."""

    def attacked(
        model: nn.Module, images: Tensor, labels: Tensor, radius: float, seed: int
    ) -> Tensor:
        found = images.clone()
        for reference in references:
            with torch.no_grad():
                rows = (model(found).argmax(1) == labels).nonzero()[:, 0]
            if len(rows):
                found[rows] = reference(model, images[rows], labels[rows], radius, seed)
        return found

    return attacked


def left_by(
    reference: Reference,
    model: nn.Module,
    volumes: Tensor,
    labels: Tensor,
    *,
    norm: str,
    severity: float,
    seed: int,
) -> int:
    """Volumes still classified correctly; one that was moved out of the ball counts as clean."""
    folding = Folded(model, tuple(volumes.shape[1:])).eval()
    images = folded(volumes)
    radius = severity * (images[0].numel() ** 0.5 if norm == "l2" else 1.0)
    with _seeded(seed):
        found = reference(folding, images.clone(), labels, radius, seed).clone()
    outside = ~(BUDGETS[norm].size(found - images) <= severity * (1 + 1e-3))
    found[outside] = images[outside]
    with torch.no_grad():
        return int((folding(found).argmax(1) == labels).sum())


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let references draw from the global generators, and put these back."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        yield
    np.random.set_state(before)  # noqa: NPY002
