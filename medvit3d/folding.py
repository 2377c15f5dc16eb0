"""Normalisations folded into the convolutions before them, for evaluation.

In evaluation a batch normalisation scales and shifts each channel. After a convolution both are
free: the scale goes into the kernel and the shift becomes a bias. An attack runs a network forwards
and backwards hundreds of times, so folding pays for itself at once. Normalisations in front of
attention or a feed-forward stay, because their input feeds a residual connection too; on a CPU
``frozen`` folds them into the matrices that follow.

The library ``baselines`` has its own folding: the two libraries do not import each other, and these
networks name their pairs where MONAI's follow a naming scheme.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

Network = TypeVar("Network", bound=nn.Module)


def fold_batch_norms(network: Network) -> Network:
    """Returns a copy for evaluation whose normalisations are part of the convolutions before them.

    Args:
        network: Left as it is. The attribute `folds` of a module lists pairs of its attributes: a
            convolution, and the normalisation that alone reads its output.

    Returns:
        A network in evaluation mode with frozen parameters, which cannot be trained. Its logits
        agree with the original's to float32 rounding.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    for module in folded.modules():
        for conv_name, norm_name in getattr(module, "folds", ()):
            conv, norm = getattr(module, conv_name), getattr(module, norm_name)
            if isinstance(norm, nn.BatchNorm3d):
                _fold(conv, norm)
                setattr(module, norm_name, nn.Identity())
    return folded


def _fold(conv: nn.Conv3d, norm: nn.BatchNorm3d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    conv.weight = nn.Parameter(weight.detach(), requires_grad=False)
    conv.bias = nn.Parameter(bias.detach(), requires_grad=False)
