"""Training on all classes equally often, for a network that expects them as often as they come.

Drawing rare classes more often teaches them sooner, and makes a network expect them more often than
they come. Once training has ended, the last layer's bias is therefore fitted to the val split by
maximum likelihood, with all other weights fixed, so that the mean probability of every class is its
share there, but for one volume that each class is given more (calibration in the large; Van Calster
et al., J. Clin. Epidemiol. 74, 2016). The shares alone would say by how much only if nothing else,
such as smoothed labels, moved probabilities (Saerens et al., Neural Computation 14, 2002).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from benchharness.errors import CellError
from benchharness.training.features import last_linear

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.datasets.base import Split
    from benchharness.networks.classifier import Classifier

_INSTEAD = "Train with a recipe that is not balanced"
_NEARLY = 1e-3
"""How far logits may move from what the bias moved by, relative to the largest."""


def drawn(labels: NDArray[np.int64], draws: np.random.Generator) -> NDArray[np.int64]:
    """Places of as many volumes as there are, with replacement, all classes equally likely."""
    counts = np.bincount(labels)
    share = 1 / (counts[labels] * np.count_nonzero(counts))
    return draws.choice(len(labels), len(labels), p=share)


def fitted(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """What to add to the logits of each class, (K,), so that their likelihood is the largest.

    One volume more of each class, of which the network says nothing, keeps it finite where a class
    has none. The sum is 0, since a constant changes no probability.

    Args:
        logits: (N, K).
        labels: (N,).
    """
    classes = logits.shape[1]
    all_logits = np.concatenate([logits.astype(np.float64), np.zeros((classes, classes))])
    all_labels = np.concatenate([labels, np.arange(classes)])
    counts = np.bincount(all_labels, minlength=classes)

    def loss(shift: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = all_logits + shift
        value = logsumexp(moved, axis=1).sum() - (counts * shift).sum()
        return float(value), softmax(moved, axis=1).sum(0) - counts

    found = minimize(loss, np.zeros(classes), jac=True, method="L-BFGS-B", tol=1e-10)
    shift: NDArray[np.float64] = np.asarray(found.x, np.float64)
    shift -= shift.mean()
    return shift


def restore(classifier: Classifier, val: Split, batch_size: int, volumes: Tensor) -> None:
    """Make a network that was trained on classes equally often expect them as the val split has.

    Args:
        classifier: The bias of its last layer changes.
        val: The val split.
        batch_size: Volumes a pass.
        volumes: A few volumes, (B, C, D, H, W), to see that nothing but the logits moves.

    Raises:
        CellError: When its logits are not those of a last linear layer with a bias.
    """
    _move(classifier, fitted(classifier.predict(val.volumes, batch_size), val.labels), volumes)


def check(classifier: Classifier, volumes: Tensor) -> None:
    """Refuse before training what `restore` would refuse after it; the network stays as it is.

    Raises:
        CellError: As `restore`.
    """
    kept = {name: value.clone() for name, value in classifier.network.state_dict().items()}
    try:
        _move(classifier, np.linspace(-1, 1, classifier.num_classes), volumes)
    finally:
        classifier.network.load_state_dict(kept)


def _move(classifier: Classifier, by: NDArray[np.float64], volumes: Tensor) -> None:
    """Add to the bias of the last layer, and see that the logits move by as much."""
    shift = torch.from_numpy(by).float()
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
