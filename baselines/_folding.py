"""Normalisations of a residual network folded into its convolutions, for evaluation.

In evaluation a batch normalisation is a scale and a shift of each channel, which the convolution
before it can do for nothing.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)

_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))
"""A convolution and the normalisation behind it, as MONAI calls them in the stem, in blocks and,
by number, in shortcuts."""


def fold_batch_norms(network: Network) -> Network:
    """Return a copy in evaluation mode, frozen, whose logits agree to the rounding of float32."""
    folded = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    for module in folded.modules():
        children = dict(module.named_children())
        for conv_name, norm_name in _PAIRS:
            conv, norm = children.get(conv_name), children.get(norm_name)
            if isinstance(conv, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return folded
