"""3-D DenseNet, built from MONAI's blocks.

Huang et al., "Densely Connected Convolutional Networks" (CVPR 2017), with every convolution made
three-dimensional; the code is MONAI's (Apache-2.0). One change: the average pools between the dense
blocks round their output size up. For axes of even length this makes no difference, but the stock
network, which halves five times, leaves no voxel of an axis of 28, the side of the smaller
MedMNIST3D volumes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import nn

from baselines._monai import check_arguments, monai_networks

if TYPE_CHECKING:
    from torch import Tensor

_monai = monai_networks("densenet")


class _HalvingPool(nn.Module):
    """Average pool of 2 voxels per axis, stride 2; an odd last voxel is pooled alone."""

    def forward(self, features: Tensor) -> Tensor:
        """Map `(B, C, D, H, W)` to `(B, C, ceil(D/2), ceil(H/2), ceil(W/2))`."""
        kernel = [min(2, side) for side in features.shape[2:]]
        return F.avg_pool3d(features, kernel, stride=2, ceil_mode=True, count_include_pad=False)


def densenet3d_121(num_classes: int, in_channels: int = 1) -> nn.Module:
    """DenseNet-121: 11.2 M parameters; any volume of at least one voxel per axis.

    Args:
        num_classes: Number of logits, at least 1.
        in_channels: Channels of a volume, at least 1.

    Returns:
        The network, randomly initialised.

    Raises:
        ValueError: If an argument is below 1.
    """
    check_arguments(num_classes, in_channels)
    network: nn.Module = _monai.DenseNet121(
        spatial_dims=3, in_channels=in_channels, out_channels=num_classes
    )
    for transition in ("transition1", "transition2", "transition3"):
        network.get_submodule(f"features.{transition}").pool = _HalvingPool()
    # The last block that leaves 4 voxels per axis of a volume of 28: the next two leave 2 and 1.
    network.gradcam_layer = "features.denseblock2"  # type: ignore[assignment]
    return network
