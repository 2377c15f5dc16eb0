"""3-D residual networks, built from MONAI's blocks.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), with every convolution made
three-dimensional; the code is MONAI's (Apache-2.0), after Hara et al., "Can Spatiotemporal 3D CNNs
Retrace the History of 2D CNNs and ImageNet?" (CVPR 2018). Two stems are offered:

- `resnet3d_*`: a 7x7x7 convolution of stride 2 and a max-pool of stride 2, as in the two papers;
- `medmnist_resnet3d_*`: a 3x3x3 convolution of stride 1 and no max-pool, as in the official
  MedMNIST3D experiments (Yang et al., "MedMNIST v2", Scientific Data 10, 41, 2023). Its stages
  keep 64 times as many voxels, which explains both the published scores and the cost.

Shortcuts are 1x1x1 convolutions without bias (type B of the first paper). Any volume of at least
one voxel per axis is accepted, so depth 1 works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baselines._folding import fold_batch_norms
from baselines._monai import check_arguments, monai_networks

if TYPE_CHECKING:
    from torch import nn

_monai = monai_networks("resnet")

# Blocks per stage, from Table 1 of He et al.
_DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)
_FIRST_BOTTLENECK_DEPTH = 50

_STRIDED_STEM = {"conv1_t_size": 7, "conv1_t_stride": 2, "no_max_pool": False}
_MEDMNIST_STEM = {"conv1_t_size": 3, "conv1_t_stride": 1, "no_max_pool": True}

# The last stage that leaves 4 voxels per axis of a volume of 28. After the strided stem the two
# later stages leave 2 and 1, and a map of one voxel locates nothing.
_STRIDED_GRADCAM_LAYER = "layer2"
_MEDMNIST_GRADCAM_LAYER = "layer4"


def resnet3d_18(num_classes: int, in_channels: int = 1) -> nn.Module:
    """ResNet-18 with the strided stem: 33.2 M parameters.

    Args:
        num_classes: Number of logits, at least 1.
        in_channels: Channels of a volume, at least 1.

    Returns:
        The network, randomly initialised.

    Raises:
        ValueError: If an argument is below 1.
    """
    return _resnet(18, num_classes, in_channels, _STRIDED_STEM)


def resnet3d_34(num_classes: int, in_channels: int = 1) -> nn.Module:
    """ResNet-34 with the strided stem: 63.5 M parameters.

    Arguments and errors as for `resnet3d_18`.
    """
    return _resnet(34, num_classes, in_channels, _STRIDED_STEM)


def resnet3d_50(num_classes: int, in_channels: int = 1) -> nn.Module:
    """ResNet-50 with the strided stem: 46.2 M parameters.

    Arguments and errors as for `resnet3d_18`.
    """
    return _resnet(50, num_classes, in_channels, _STRIDED_STEM)


def medmnist_resnet3d_18(num_classes: int, in_channels: int = 1) -> nn.Module:
    """ResNet-18 with the MedMNIST3D stem: 33.1 M parameters.

    Arguments and errors as for `resnet3d_18`.
    """
    return _resnet(18, num_classes, in_channels, _MEDMNIST_STEM)


def medmnist_resnet3d_50(num_classes: int, in_channels: int = 1) -> nn.Module:
    """ResNet-50 with the MedMNIST3D stem: 46.1 M parameters.

    Arguments and errors as for `resnet3d_18`.
    """
    return _resnet(50, num_classes, in_channels, _MEDMNIST_STEM)


class _ResNet(_monai.ResNet):  # type: ignore[misc, name-defined]
    """MONAI's network with a `folded` copy for evaluation."""

    def folded(self) -> _ResNet:
        """An equivalent network for evaluation, with normalisations folded into convolutions."""
        return fold_batch_norms(self)


def _resnet(depth: int, num_classes: int, in_channels: int, stem: dict[str, Any]) -> nn.Module:
    check_arguments(num_classes, in_channels)
    bottleneck = depth >= _FIRST_BOTTLENECK_DEPTH
    network: nn.Module = _ResNet(
        "bottleneck" if bottleneck else "basic",
        list(_DEPTHS[depth]),
        list(_WIDTHS),
        n_input_channels=in_channels,
        num_classes=num_classes,
        shortcut_type="B",
        bias_downsample=False,
        **stem,
    )
    layer = _MEDMNIST_GRADCAM_LAYER if stem is _MEDMNIST_STEM else _STRIDED_GRADCAM_LAYER
    network.gradcam_layer = layer  # type: ignore[assignment]
    return network
