"""The same call on the CPU and elsewhere."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from benchharness.networks.classifier import Classifier
from tests.placement.elsewhere import DEVICE, There

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def moved(classifier: Classifier) -> Classifier:
    """A copy of a classifier elsewhere, to be called inside `Elsewhere()`."""
    return Classifier(
        copy.deepcopy(classifier.network),
        classifier.preprocessing,
        classifier.outputs,
        num_classes=classifier.num_classes,
        device=DEVICE,
    )


def values(tensor: Tensor) -> NDArray[np.generic]:
    """The values of a tensor that must be elsewhere."""
    assert isinstance(tensor, There), "a result is on the CPU"
    return tensor.inner.detach().numpy()


def assert_same_bits(found: Tensor, expected: Tensor) -> None:
    """Check that a result is elsewhere and equals that of the CPU."""
    np.testing.assert_array_equal(values(found), expected.detach().numpy())
