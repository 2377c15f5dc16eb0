"""The stem of both networks, and the checks of their arguments and volumes.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462.
Changed here: three dimensions.
"""

from __future__ import annotations

from torch import Tensor, nn

from medvit3d.layers import ConvNormAct

STEM_STRIDES = (2, 1, 1, 2)


def make_stem(in_channels: int, channels: tuple[int, int, int, int]) -> nn.Sequential:
    """Builds the convolutions before the first block, which leave a quarter of the grid per axis.

    Args:
        in_channels: Channels of a volume.
        channels: Channels out of each convolution.
    """
    widths = (in_channels, *channels[:-1])
    return nn.Sequential(
        *(
            ConvNormAct(wide_in, wide_out, stride=stride)
            for wide_in, wide_out, stride in zip(widths, channels, STEM_STRIDES, strict=True)
        )
    )


def check_size(num_classes: int, in_channels: int) -> None:
    """Raises ValueError unless there is at least one class and one channel."""
    if num_classes < 1 or in_channels < 1:
        raise ValueError(
            f"num_classes and in_channels must be at least 1, got {num_classes} and {in_channels}"
        )


def check_volumes(volumes: Tensor) -> None:
    """Raises ValueError unless the input has five axes."""
    if volumes.ndim != 5:
        raise ValueError(
            f"expected volumes (batch, channels, depth, height, width), got shape "
            f"{tuple(volumes.shape)}: add the missing axes, with depth 1 for an image"
        )
