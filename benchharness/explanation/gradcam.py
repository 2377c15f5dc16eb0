"""3-D Grad-CAM of a classifier, through MONAI's implementation.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization" (ICCV 2017). A map is the sum of a layer's channels, each weighed by the mean gradient
of one class's logit, where that sum is positive; it is then interpolated to the volume's grid.

MONAI's hooks need care in four places, which is what this module is for. They stay on the network,
so a copy is hooked. They score a batch at one class, so the score is replaced by each volume's own.
Its default normalisation turns a map upside down, so none is used. And layers that work in place
change what a hook has kept, so the copy's do not.
"""

from __future__ import annotations

import copy
import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchharness.errors import BenchError, CellError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from benchharness.networks.classifier import Classifier


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapped:
    """Heat maps of one batch."""

    maps: NDArray[np.float32]
    """(B, D, H, W), at least 0, not normalised: all 0 where no channel supports the class."""
    logits: NDArray[np.float32]
    """(B, K)."""
    grid: tuple[int, int, int]
    """Grid (d, h, w) of the layer, before interpolation."""


def layer_of(network: nn.Module, model: str, chosen: str | None = None) -> str:
    """The layer whose output is weighed: the user's, else the network's `gradcam_layer`.

    Args:
        network: Where the layer is.
        model: Its name, for messages.
        chosen: What the user named.

    Raises:
        BenchError: When neither names a layer, or there is none of that name.
    """
    name = chosen if chosen is not None else getattr(network, "gradcam_layer", None)
    if name is None:
        raise BenchError(
            f"model {model!r} names no layer for heat maps: its network has no attribute "
            f"gradcam_layer. Name its last stage with a grid: --layer {model}=LAYER."
        )
    known = [known for known, _ in network.named_modules() if known]
    if name not in known:
        nearest = did_you_mean(str(name), known, cutoff=0.3)
        stages = ", ".join(child for child, _ in network.named_children()) or "none"
        raise BenchError(
            f"model {model!r} has no layer {name!r}.{nearest} Its outermost layers: {stages}. "
            f"Type --layer {model}=LAYER."
        )
    return str(name)


class GradCAM:
    """Grad-CAM of one classifier at one layer; the classifier itself is left alone.

    Args:
        classifier: A copy of it is hooked, in evaluation mode with frozen parameters.
        layer: Name of a module inside the classifier's network, from `layer_of`.

    Raises:
        CellError: When the network cannot be copied.
    """

    def __init__(self, classifier: Classifier, layer: str) -> None:
        try:
            copied = copy.deepcopy(classifier).eval().requires_grad_(requires_grad=False)
        except (RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise CellError(f"the network cannot be copied to be explained: {reason}") from error
        for module in copied.modules():
            if getattr(module, "inplace", False) is True:
                module.inplace = False  # type: ignore[assignment]
        self.layer = layer
        self._target = f"network.{layer}"
        self._num_classes = classifier.num_classes
        self._device = classifier.device
        monai = _class_activation_maps()
        self._hooked: Any = monai.ModelWithHooks(
            copied, self._target, register_forward=True, register_backward=True
        )
        self._hooked.class_score = self._class_score
        self._maps: Any = monai.GradCAM(
            self._hooked, self._target, postprocessing=lambda activations: activations
        )
        self._logits: Tensor | None = None

    def _class_score(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Each volume's logit of its own class, (B,)."""
        self._logits = logits.detach()
        return logits.gather(1, classes[:, None])[:, 0]

    def __call__(self, volumes: Tensor, classes: NDArray[np.int64] | None = None) -> Mapped:
        """Map a batch.

        Args:
            volumes: (B, C, D, H, W), float32 in [0, 1].
            classes: (B,): the class to explain; None explains what the network predicts.

        Raises:
            CellError: When the layer has no grid or gradients do not reach it.
        """
        inputs = volumes.detach().to(self._device).clone().requires_grad_()
        chosen = None if classes is None else torch.as_tensor(classes, device=self._device)
        try:
            # A caller may have gradients switched off.
            with torch.enable_grad():
                maps = self._maps(inputs, class_idx=chosen).detach()
        except (RuntimeError, ValueError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise CellError(
                f"Grad-CAM at layer {self.layer!r} failed: {type(error).__name__}: {reason}"
            ) from error
        kept = self._hooked.activations[self._target]
        if not bool(torch.isfinite(maps).all()):
            raise CellError(f"Grad-CAM at layer {self.layer!r} gave values that are not finite")
        assert self._logits is not None
        depth, height, width = kept.shape[2:]
        return Mapped(
            maps=maps[:, 0].float().cpu().numpy(),
            logits=self._logits.float().cpu().numpy(),
            grid=(depth, height, width),
        )

    def check(self, volume: Tensor, model: str) -> tuple[int, int, int]:
        """The layer's grid (d, h, w) for volumes like this one, (C, D, H, W).

        Raises:
            BenchError: When no heat map comes out of the layer, or one of a single value.
        """
        try:
            grid = self(volume[None], np.zeros(1, np.int64)).grid
        except CellError as error:
            raise BenchError(
                f"model {model!r}: {error}. Name a layer whose output is (B, C, d, h, w): "
                f"--layer {model}=LAYER."
            ) from error
        if max(grid) == 1:
            raise BenchError(
                f"layer {self.layer!r} of model {model!r} has a grid of 1 × 1 × 1 for these "
                f"volumes: its map is the same everywhere. Name an earlier one: "
                f"--layer {model}=LAYER."
            )
        return grid


def _class_activation_maps() -> Any:
    """MONAI's module, without the torchvision that its package imports where there is one.

    A None in `sys.modules` makes an import fail cleanly, and MONAI takes it for "not installed".
    """
    blocked = "torchvision" not in sys.modules
    if blocked:
        sys.modules["torchvision"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("monai.visualize.class_activation_maps")
    finally:
        if blocked:
            del sys.modules["torchvision"]
