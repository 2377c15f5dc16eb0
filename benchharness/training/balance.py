"""Training on all classes equally often, for a network that still gives the data's probabilities.

Drawing rare classes more often teaches them sooner, and makes a network expect them more often than
they come. By Bayes' rule its logits are too large by the logarithm of how much more often each
class was drawn (Saerens et al., Neural Computation 14, 2002), so the last layer's bias takes that
back once training has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchharness.errors import CellError
from benchharness.training.features import last_linear

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.networks.classifier import Classifier

_INSTEAD = "Train with a recipe that is not balanced"
_NEARLY = 1e-3
"""How far logits may move from what the bias moved by, relative to the largest."""


def drawn(labels: NDArray[np.int64], draws: np.random.Generator) -> NDArray[np.int64]:
    """Places of as many volumes as there are, with replacement, all classes equally likely."""
    counts = np.bincount(labels)
    share = 1 / (counts[labels] * np.count_nonzero(counts))
    return draws.choice(len(labels), len(labels), p=share)


def restore(classifier: Classifier, labels: NDArray[np.int64], volumes: Tensor) -> None:
    """Make a network that was trained on classes equally often expect them as often as they come.

    Args:
        classifier: The bias of its last layer changes.
        labels: Of the training volumes. A class without any counts as one of a single volume.
        volumes: A few volumes, (B, C, D, H, W), to see that nothing but the logits moves.

    Raises:
        CellError: When its logits are not those of a last linear layer with a bias.
    """
    counts = np.bincount(labels, minlength=classifier.num_classes).clip(1)
    shift = torch.from_numpy(np.log(counts / counts.sum() * len(counts))).float()
    _, layer = last_linear(classifier, volumes, instead=_INSTEAD)
    if layer.bias is None:
        raise CellError(f"the last layer has no bias that knows how often classes come. {_INSTEAD}")
    with classifier.frozen(), torch.no_grad():
        before = classifier(volumes).cpu()
        layer.bias.add_(shift.to(layer.bias))
        found, expected = classifier(volumes).cpu(), before + shift
    if (found - expected).abs().max() > _NEARLY * max(1.0, float(expected.abs().max())):
        raise CellError(
            "the bias of the last linear layer does not move the logits by as much, so it cannot "
            f"tell how often classes come. {_INSTEAD}"
        )


def check(classifier: Classifier, labels: NDArray[np.int64], volumes: Tensor) -> None:
    """Refuse before training what `restore` would refuse after it; the network stays as it is.

    Raises:
        CellError: As `restore`.
    """
    kept = {name: value.clone() for name, value in classifier.network.state_dict().items()}
    try:
        restore(classifier, labels, volumes)
    finally:
        classifier.network.load_state_dict(kept)
