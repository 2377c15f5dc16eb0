"""Normalisations of a residual network folded into its convolutions, for evaluation.

In evaluation a batch normalisation scales and shifts each channel, which the convolution before it
can do at no cost. `medvit3d` has its own folding: the two libraries do not import each other, and
its networks list their pairs where MONAI's follow a naming scheme.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)

_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))
"""A convolution and the normalisation after it: MONAI's names in the stem and in blocks, and its
numbers in shortcuts."""


def fold_batch_norms(network: Network) -> Network:
    """Return a frozen copy in evaluation mode whose logits agree to float32 rounding."""
    folded = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    for module in folded.modules():
        children = dict(module.named_children())
        for conv_name, norm_name in _PAIRS:
            conv, norm = children.get(conv_name), children.get(norm_name)
            if isinstance(conv, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return folded
