"""What a training step minimises, as a recipe says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

from benchharness.training import adversarial

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from benchharness.networks.classifier import Classifier
    from benchharness.training.recipe import Recipe


def loss(
    classifier: Classifier,
    recipe: Recipe,
    inputs: Tensor,
    targets: Tensor,
    factors: Tensor | None,
    *,
    eps: float,
    starts: torch.Generator,
) -> Tensor:
    """The mean loss of a batch, on its volumes or on those crafted from them.

    Args:
        classifier: In training mode.
        recipe: What to minimise.
        inputs: (B, C, D, H, W).
        targets: Labels (B,), or probabilities (B, K) where they are mixed.
        factors: (B, 1, 1, 1, 1), by which the network's volumes are multiplied; None for what its
            preprocessing does.
        eps: The adversary's budget at this step.
        starts: Generator of the adversary's starts.
    """

    def logits(volumes: Tensor) -> Tensor:
        if factors is None:
            return classifier.training_logits(volumes)
        return classifier.training_logits(volumes * factors, scaled=False)

    if not recipe.eps:
        return F.cross_entropy(logits(inputs), targets, label_smoothing=recipe.label_smoothing)
    with adversarial.attacked(classifier, factors) as network:
        crafted = adversarial.craft(
            network, inputs, targets, recipe=recipe, eps=eps, generator=starts
        )
    return adversarial.loss(logits, inputs, crafted, targets, recipe=recipe)
