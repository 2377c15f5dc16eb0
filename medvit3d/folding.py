"""Normalisations folded into the convolutions before them, for evaluation.

In evaluation a batch normalisation is a scale and a shift for each channel. Behind a convolution
both can be had for nothing: the scale goes into the kernel and the shift becomes a bias. An attack
runs a network forwards and backwards hundreds of times, so the folding pays for itself at once.
Normalisations before an attention or a feed-forward stay: what they return is added to the
residual too. On a CPU ``frozen`` gives the branches behind them matrices that include them.
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
        network: Left as it is. Each module names in `folds` the attributes of a convolution and of
            the normalisation that is all that follows it.

    Returns:
        A network in evaluation mode with frozen parameters. Logits agree to the rounding of
        float32; it cannot be trained.
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
