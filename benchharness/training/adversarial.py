"""Adversarial training in L∞: volumes that are crafted against the network of the moment.

Madry et al., ICLR 2018 (arXiv 1706.06083); Zhang et al., "TRADES", ICML 2019 (arXiv 1901.08573);
Wong, Rice & Kolter, "Fast is better than free", ICLR 2020 (arXiv 2001.03994).

The ascent, the norm and the gradient are those of the attacks. Volumes are crafted with the network
in evaluation mode, so that they shift no statistics of its BatchNorm, and with the copy of it that
evaluates faster, where it offers one.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from benchharness.attacks.core.ascent import climb
from benchharness.attacks.core.norms import LINF
from benchharness.attacks.core.objectives import cross_entropy, evaluate
from benchharness.networks.classifier import Classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from benchharness.attacks.core.objectives import Objective
    from benchharness.training.recipe import Recipe

    Logits = Callable[[Tensor], Tensor]
    """From volumes (B, C, D, H, W) in [0, 1] to logits (B, K)."""

_NEARBY = 0.001
"""σ of the start of TRADES, as in the authors' code: at the clean volume the gradient is zero."""


def budget(recipe: Recipe, epochs: float) -> float:
    """ε after so many epochs, a part of one included: the ramp, then `eps`."""
    return recipe.eps * min(1.0, epochs / recipe.ramp) if recipe.ramp else recipe.eps


@contextmanager
def attacked(classifier: Classifier, factors: Tensor | None) -> Iterator[Logits]:
    """The network of the moment as it is attacked: frozen, and as fast as it can be.

    Args:
        classifier: Left as it is.
        factors: What volumes are multiplied by, in place of the preprocessing's fixed factor; None
            for that one.
    """
    with classifier.frozen():
        fast = classifier.for_evaluation()
        if factors is None:
            yield fast
            return
        unscaled = replace(fast.preprocessing, scale=1.0)
        own = Classifier(
            fast.network,
            unscaled,
            fast.outputs,
            num_classes=fast.num_classes,
            device=fast.device,
        )
        yield lambda volumes: own(volumes * factors)


def craft(
    logits: Logits,
    volumes: Tensor,
    labels: Tensor,
    *,
    recipe: Recipe,
    eps: float,
    generator: torch.Generator,
) -> Tensor:
    """Climb from a random start in the ball, as the recipe says.

    Args:
        logits: The network, in evaluation mode and frozen.
        volumes: (B, C, D, H, W), float32 in [0, 1].
        labels: (B,), int64.
        recipe: Steps, their length, and whether the divergence or the cross-entropy is raised.
        eps: The budget, in [0, 1].
        generator: On the CPU.

    Returns:
        (B, C, D, H, W) in the ball and in [0, 1], without a graph.
    """
    if eps == 0:
        return volumes
    if recipe.trades:
        with torch.no_grad():
            clean = logits(volumes).float()
        objective: Objective = lambda attacked, _: divergence(clean, attacked)  # noqa: E731
        start = _NEARBY * torch.randn(volumes.shape, generator=generator)
    else:
        objective = cross_entropy
        start = torch.empty(volumes.shape).uniform_(-eps, eps, generator=generator)
    project = LINF.projection(volumes, eps)
    return climb(
        project(volumes + start.to(volumes.device)),
        steps=recipe.steps,
        step=recipe.relative_step * eps / recipe.steps,
        gradient=lambda point: evaluate(logits, point, labels, objective).gradient,
        direction=LINF.steepest,
        project=project,
    )


def divergence(clean: Tensor, attacked: Tensor) -> Tensor:
    """KL(p ‖ p′) of the predictions of two sets of logits (B, K), each (B,)."""
    expected, found = F.log_softmax(clean, dim=1), F.log_softmax(attacked, dim=1)
    return F.kl_div(found, expected, reduction="none", log_target=True).sum(1)


def loss(
    logits: Logits, volumes: Tensor, adversarial: Tensor, labels: Tensor, *, recipe: Recipe
) -> Tensor:
    """What is minimised: the mean adversarial cross-entropy, or the loss of TRADES.

    TRADES (its eq. 5): CE(f(x), y) + β · KL(f(x) ‖ f(x′)), each a mean over the batch.

    Args:
        logits: The network, in training mode.
        volumes: (B, C, D, H, W), clean.
        adversarial: The same, crafted.
        labels: (B,).
        recipe: β and label smoothing.
    """
    smoothing = recipe.label_smoothing
    if not recipe.trades:
        return F.cross_entropy(logits(adversarial), labels, label_smoothing=smoothing)
    clean = logits(volumes)
    apart = divergence(clean, logits(adversarial)).mean()
    return F.cross_entropy(clean, labels, label_smoothing=smoothing) + recipe.trades * apart
