"""Layers that MedViT-3D is built from.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", Computers in Biology and Medicine 157 (2023), arXiv 2302.09462.
Changed here: every layer is three-dimensional; the hard-sigmoid is torch's own; the Patch Momentum
Changer, whose code was never released, is written from the paper's description.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medvit3d.convolution import channels_last


class BatchNorm(nn.BatchNorm3d):
    """Batch normalisation over ``(B, C, D, H, W)`` that explains which batch it cannot take.

    Raises:
        ValueError: In training, if a channel holds a single value, so that it has no variance.
            MedViT-3D reaches 1^3 in its last stage from inputs of up to 32^3: use batches of at
            least two volumes, and drop the last batch of an epoch if it holds one.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch's own name)
        super()._check_input_dim(input)
        if self.training and input.numel() == input.shape[1]:
            raise ValueError(
                f"training needs more than one value per channel, got features of shape "
                f"{tuple(input.shape)}: use a batch of at least two volumes (drop a last batch "
                f"of one) or larger volumes"
            )


class ConvNormAct(nn.Module):
    """Bias-free 3x3x3 convolution, batch normalisation and ReLU; halves the grid at stride 2."""

    folds = (("conv", "norm"),)

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm = BatchNorm(out_channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(B, in, D, H, W)`` to ``(B, out, ceil(D / stride), ...)``."""
        return channels_last(self.act(self.norm(self.conv(features))))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in [0, 1] computed from all channel means.

    Hu et al., "Squeeze-and-Excitation Networks", arXiv 1709.01507, with a hard sigmoid.

    Args:
        channels: Channels of the features.
        hidden: Width of the bottleneck between the two linear layers.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden)
        self.restore = nn.Linear(hidden, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Returns gated features, of the shape ``(B, C, D, H, W)`` it was given."""
        gate = F.relu(self.reduce(features.mean(dim=(2, 3, 4))))
        gate = F.hardsigmoid(self.restore(gate))
        return features * gate[:, :, None, None, None]


class DropPath(nn.Module):
    """Stochastic depth: in training, zeroes the whole branch of a volume and rescales the rest.

    Huang et al., "Deep Networks with Stochastic Depth", arXiv 1603.09382.

    Args:
        probability: Chance of dropping a volume's branch, in [0, 1).

    Raises:
        ValueError: If the probability is outside [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"drop_path must be in [0, 1), got {probability}: try 0.1")
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """Returns the branch, whose first axis is the batch, with some volumes at zero."""
        if not self.training or self.probability == 0.0:
            return branch
        keep = 1.0 - self.probability
        mask = branch.new_empty((branch.shape[0],) + (1,) * (branch.ndim - 1)).bernoulli_(keep)
        return branch * (mask / keep)

    def extra_repr(self) -> str:
        """The probability, for the module's printed form."""
        return f"probability={self.probability:.3g}"


class PatchMomentumChanger(nn.Module):
    """In training, gives each volume the per-channel mean and deviation of another in its batch.

    The volume keeps its normalised content and its label, so the network learns not to rely on
    feature statistics, which differ between scanners and protocols. In evaluation it is the
    identity. Like dropout, it draws from torch's global generator.
    """

    epsilon = 1e-5

    def forward(self, features: Tensor) -> Tensor:
        """Returns features ``(B, C, D, H, W)`` with means and variances permuted over B."""
        if not self.training:
            return features
        variance, mean = torch.var_mean(features, dim=(2, 3, 4), correction=0, keepdim=True)
        deviation = (variance + self.epsilon).sqrt()
        order = torch.randperm(features.shape[0]).to(features.device)
        return (features - mean) / deviation * deviation[order] + mean[order]
