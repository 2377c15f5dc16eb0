"""The last layer of a network, and what it is given: the representation that methods align."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchharness.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from benchharness.networks.classifier import Classifier


_INSTEAD = "Use --adapt none, instance_norm, adabn or entropy without --shots"


def last_linear(
    classifier: Classifier, volumes: Tensor, *, instead: str = _INSTEAD
) -> tuple[str, nn.Linear]:
    """The linear layer that gives a network's logits, by name: of its kind the last that is called.

    Args:
        classifier: Left as it is.
        volumes: A few of its volumes, (B, C, D, H, W), float32 in [0, 1].
        instead: What can be typed for a network without such a layer.

    Raises:
        CellError: When no `nn.Linear` from (B, d) to one logit a class is called.
    """
    called: list[str] = []

    def watch(name: str, module: nn.Linear) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].dim() == 2 and module.out_features == classifier.num_classes:
                called.append(name)

        return module.register_forward_pre_hook(hook)

    layers = {n: m for n, m in classifier.network.named_modules() if isinstance(m, nn.Linear)}
    handles = [watch(name, module) for name, module in layers.items()]
    try:
        with classifier.frozen(), torch.no_grad():
            classifier(volumes)
    finally:
        for handle in handles:
            handle.remove()
    if not called:
        raise CellError(
            f"{type(classifier.network).__name__} gives its {classifier.num_classes} logits by no "
            "nn.Linear on (B, d) features, so there is no last layer to align, to begin anew or to "
            f"take a bias. {instead}"
        )
    return called[-1], layers[called[-1]]


@contextmanager
def captured(layer: nn.Linear) -> Iterator[list[Tensor]]:
    """The features (B, d) that a layer is given, one tensor for every pass inside."""
    found: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    try:
        yield found
    finally:
        handle.remove()
