"""Normalisations that do something, as after training; drawn ones are the identity."""

from __future__ import annotations

from torch import nn


def randomise(network: nn.Module) -> None:
    """Draw weights, biases and running statistics of every BatchNorm from torch's generator."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
