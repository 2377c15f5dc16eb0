"""Blocks with fixed weights, for attacks on a CPU.

An attack needs only the gradient of the input, but hundreds of times. With fixed weights there is
less to compute and less to move through memory:

- a normalisation before a residual branch becomes part of the matrices that the branch begins with;
- the kernel of the backward pass is flipped once, not at every step;
- on a grid of at most 2^3 a grouped convolution is one matrix for each group;
- attention to a single position is the value of that position;
- the feed-forward has a hand-written backward pass, which rarely reads its wide features.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462, for the blocks.
Changed here: how they are computed, not what. Results agree with those of ``blocks`` to float32
rounding.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from medvit3d.blocks import (
    HEAD_CHANNELS,
    ConvAttention,
    ConvBlock,
    LocalFeedForward,
    SelfAttention,
    TransformerBlock,
    reduce_tokens,
)
from medvit3d.convolution import (
    GroupedConv3d,
    channels_last,
    convolve,
    transposed,
    without_idle_taps,
)
from medvit3d.products import fixed_product, product

LARGEST_MATRIX_GRID = 8
"""Most positions for which a grouped convolution is a matrix: 2^3, where each sees all others."""


def frozen(block: nn.Module) -> nn.Module:
    """The same block for evaluation on a CPU.

    Args:
        block: A ``ConvBlock`` or ``TransformerBlock`` whose inner normalisations are folded
            (``folding.fold_batch_norms``); left as it is.

    Returns:
        A module that cannot be trained. It gives the gradient of its input, which cannot be
        differentiated again.

    Raises:
        TypeError: If the block is neither.
    """
    if isinstance(block, ConvBlock):
        return FrozenConvBlock(block)
    if isinstance(block, TransformerBlock):
        return FrozenTransformerBlock(block)
    raise TypeError(
        f"expected a ConvBlock or a TransformerBlock of medvit3d.blocks, got {type(block).__name__}"
    )


class FrozenConvBlock(nn.Module):
    """``blocks.ConvBlock`` with fixed weights."""

    def __init__(self, block: ConvBlock) -> None:
        super().__init__()
        self.embed = block.embed
        self.attention = FrozenConvAttention(block.attention)
        self.feed_forward = FrozenFeedForward(block.norm, block.feed_forward)

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(B, in, D, H, W)`` to ``(B, out, ceil(D / stride), ...)``."""
        fed: Tensor = self.feed_forward(self.attention(self.embed(features)))
        return fed


class FrozenTransformerBlock(nn.Module):
    """``blocks.TransformerBlock`` with fixed weights."""

    def __init__(self, block: TransformerBlock) -> None:
        super().__init__()
        self.embed = block.embed
        self.attention = FrozenSelfAttention(block.norm, block.attention)
        self.local_embed = block.local_embed
        self.local_attention = FrozenConvAttention(block.local_attention)
        self.feed_forward = FrozenFeedForward(block.feed_forward_norm, block.feed_forward)

    def forward(self, features: Tensor) -> Tensor:
        """Maps ``(B, in, D, H, W)`` to ``(B, out, ceil(D / stride), ...)``."""
        features = self.attention(self.embed(features))
        local = self.local_attention(self.local_embed(features))
        fed: Tensor = self.feed_forward(torch.cat([features, local], dim=1))
        return fed


class FrozenGroupedConv3d(nn.Module):
    """``convolution.GroupedConv3d`` with a fixed kernel."""

    kernel: Tensor
    reverse_kernel: Tensor
    bias: Tensor | None

    def __init__(self, conv: GroupedConv3d) -> None:
        super().__init__()
        kernel = conv.weight.detach()
        self.groups = conv.groups
        self.register_buffer("kernel", channels_last(kernel))
        self.register_buffer("reverse_kernel", channels_last(transposed(kernel, conv.groups)))
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())
        self._matrices: dict[tuple[object, ...], Tensor] = {}

    def forward(self, features: Tensor) -> Tensor:
        """Returns features of the shape ``(B, C, D, H, W)`` it was given."""
        if prod(features.shape[2:]) <= LARGEST_MATRIX_GRID:
            return self._by_matrices(features)
        convolved: Tensor = _FrozenConvolution.apply(features, self)  # type: ignore[no-untyped-call]
        return convolved

    def _by_matrices(self, features: Tensor) -> Tensor:
        """Flattens positions and channels of each group and multiplies once."""
        batch, channels, *grid = features.shape
        split = (batch, prod(grid), self.groups, channels // self.groups)
        grouped = rows(features).view(split).permute(2, 0, 1, 3).flatten(2)
        mixed = torch.bmm(grouped, self._matrices_on(features.shape[2:]))
        mixed = mixed.view(self.groups, batch, *split[1::2]).permute(1, 2, 0, 3)
        mixed = mixed.reshape(batch, *grid, channels)
        if self.bias is not None:
            mixed = mixed + self.bias
        return mixed.movedim(-1, 1)

    def _matrices_on(self, grid: torch.Size) -> Tensor:
        """Matrices ``(groups, n, n)``, n = positions · channels of a group: a basis, convolved."""
        place = grid, self.kernel.device, self.kernel.dtype  # A module may be moved.
        if place not in self._matrices:
            per_group = self.kernel.shape[1]
            size = prod(grid) * per_group
            basis = torch.eye(size).to(self.kernel).view(size, *grid, per_group).movedim(-1, 1)
            answers = convolve(basis.repeat(1, self.groups, 1, 1, 1), self.kernel, self.groups)
            matrices = answers.reshape(size, self.groups, per_group, -1).permute(1, 0, 3, 2)
            self._matrices[place] = matrices.reshape(self.groups, size, size)
        return self._matrices[place]


class _FrozenConvolution(torch.autograd.Function):
    """A convolution whose backward pass uses a kernel flipped beforehand."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, conv: FrozenGroupedConv3d) -> Tensor:
        ctx.conv = conv
        kernel = without_idle_taps(conv.kernel, features.shape[2:])
        return convolve(features, kernel, conv.groups, conv.bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        conv = ctx.conv
        kernel = without_idle_taps(conv.reverse_kernel, gradient.shape[2:])
        return convolve(gradient, kernel, conv.groups), None


class FrozenConvAttention(nn.Module):
    """``x + MHCA(x)``: a branch of ``blocks.ConvAttention`` and its residual."""

    projection: Tensor

    def __init__(self, attention: ConvAttention) -> None:
        super().__init__()
        self.group_conv = FrozenGroupedConv3d(attention.group_conv)
        self.register_buffer("projection", attention.projection.weight.detach().flatten(1))

    def forward(self, features: Tensor) -> Tensor:
        """Returns features of the shape ``(B, C, D, H, W)`` it was given."""
        features = channels_last(features)
        mixed = F.relu(self.group_conv(features))
        return volumes(rows(features) + fixed_product(rows(mixed), self.projection), features)


class FrozenSelfAttention(nn.Module):
    """``x + E-MHSA(norm(x))``: a branch of ``blocks.SelfAttention``, its norm and its residual.

    Averaging neighbours and normalising channels commute, so the norms of the branch and of the
    keys both go into the matrices of query, key and value.
    """

    query: Tensor
    query_bias: Tensor
    pair: Tensor
    pair_bias: Tensor
    projection: Tensor
    projection_bias: Tensor

    def __init__(self, norm: nn.BatchNorm3d, attention: SelfAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.ratio, self.reduction = attention.ratio, attention.reduction
        scale, shift = scale_and_shift(norm)
        self._register("query", attention.query, scale, shift)
        if isinstance(attention.key_norm, nn.BatchNorm3d):
            key_scale, key_shift = scale_and_shift(attention.key_norm)
            scale, shift = scale * key_scale, shift * key_scale + key_shift
        pair = nn.Linear(attention.key.in_features, 2 * attention.key.out_features)
        pair.weight = nn.Parameter(torch.cat([attention.key.weight, attention.value.weight]))
        pair.bias = nn.Parameter(torch.cat([attention.key.bias, attention.value.bias]))
        self._register("pair", pair, scale, shift)
        self._register("projection", attention.projection)

    def _register(
        self,
        name: str,
        linear: nn.Linear,
        scale: Tensor | None = None,
        shift: Tensor | None = None,
    ) -> None:
        """Keeps the layer's matrix and bias, with a scale and a shift of its input folded in."""
        weight, bias = linear.weight.detach(), linear.bias.detach()
        if scale is not None and shift is not None:
            weight, bias = weight * scale, bias + weight @ shift
        self.register_buffer(name, weight)
        self.register_buffer(f"{name}_bias", bias)

    def forward(self, features: Tensor) -> Tensor:
        """Returns features of the shape ``(B, C, D, H, W)`` it was given."""
        features = channels_last(features)
        source = features
        if self.ratio > 1:
            source = channels_last(reduce_tokens(features, self.ratio, self.reduction))
        pair = fixed_product(_tokens(source), self.pair, self.pair_bias)
        if pair.shape[1] == 1:
            # The softmax of a single score is 1.
            attended = pair[..., features.shape[1] :].expand(-1, prod(features.shape[2:]), -1)
        else:
            query = fixed_product(_tokens(features), self.query, self.query_bias)
            key, value = pair.chunk(2, dim=2)
            attended = F.scaled_dot_product_attention(
                self._split(query), self._split(key), self._split(value)
            )
            attended = attended.transpose(1, 2).flatten(2)
        tokens = attended.reshape(-1, features.shape[1])
        branch = fixed_product(tokens, self.projection, self.projection_bias)
        return features + volumes(branch, features)

    def _split(self, tokens: Tensor) -> Tensor:
        """``(B, tokens, C)`` to ``(B, heads, tokens, C / heads)``."""
        return tokens.reshape(*tokens.shape[:2], self.heads, HEAD_CHANNELS).transpose(1, 2)


class FrozenFeedForward(nn.Module):
    """``norm(x) + x + branch(norm(x))``: ``blocks.LocalFeedForward``, its norm, both residuals.

    With ``norm(x) = scale · x + shift`` this is ``(1 + scale) · x + branch'(x)``.
    """

    residual: Tensor
    expand: Tensor
    expand_bias: Tensor
    depthwise: Tensor
    reverse_depthwise: Tensor
    depthwise_bias: Tensor
    reduce: Tensor
    reduce_bias: Tensor
    restore: Tensor
    restore_bias: Tensor
    project: Tensor
    project_bias: Tensor

    def __init__(self, norm: nn.BatchNorm3d, feed_forward: LocalFeedForward) -> None:
        super().__init__()
        scale, shift = scale_and_shift(norm)
        expand = feed_forward.expand.weight.detach().flatten(1)
        kernel = feed_forward.depthwise.weight.detach()
        gate = feed_forward.gate
        for name, value in {
            "residual": 1 + scale,
            "expand": expand * scale,
            "expand_bias": _bias(feed_forward.expand) + expand @ shift,
            "depthwise": channels_last(kernel),
            "reverse_depthwise": channels_last(transposed(kernel, len(kernel))),
            "depthwise_bias": _bias(feed_forward.depthwise),
            "reduce": gate.reduce.weight.detach(),
            "reduce_bias": gate.reduce.bias.detach(),
            "restore": gate.restore.weight.detach(),
            "restore_bias": gate.restore.bias.detach(),
            "project": feed_forward.project.weight.detach().flatten(1),
            "project_bias": _bias(feed_forward.project) + shift,
        }.items():
            self.register_buffer(name, value)

    def forward(self, features: Tensor) -> Tensor:
        """Returns features of the shape ``(B, C, D, H, W)`` it was given."""
        fed: Tensor = _FeedForward.apply(channels_last(features), self)  # type: ignore[no-untyped-call]
        return fed

    def convolve(self, wide: Tensor, features: Tensor, kernel: Tensor, bias: Any = None) -> Tensor:
        """Depthwise convolution of rows on the grid of `features`."""
        kernel = without_idle_taps(kernel, features.shape[2:])
        return rows(convolve(volumes(wide, features), kernel, len(kernel), bias))


class _FeedForward(torch.autograd.Function):
    """The feed-forward and the gradient of its input.

    Rows are positions, columns channels. The gate of a volume depends on the means of its features
    alone, so the gradient of the gated features is a product with the gate plus one number for each
    volume and channel.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weights: FrozenFeedForward) -> Tensor:
        narrow = rows(features)
        expanded = product(narrow, weights.expand, weights.expand_bias)
        mixed = weights.convolve(
            F.hardswish(expanded), features, weights.depthwise, weights.depthwise_bias
        )
        wide = F.hardswish(mixed).view(len(features), -1, mixed.shape[1])
        hidden = torch.addmm(weights.reduce_bias, wide.mean(1), weights.reduce.t()).relu_()
        score = torch.addmm(weights.restore_bias, hidden, weights.restore.t())
        gate = F.hardsigmoid(score).unsqueeze(1)
        fed = product((wide * gate).view_as(mixed), weights.project, weights.project_bias)
        fed.addcmul_(narrow, weights.residual)
        ctx.weights = weights
        ctx.save_for_backward(features, expanded, mixed, wide, hidden, score, gate)
        return volumes(fed, features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        features, expanded, mixed, wide, hidden, score, gate = ctx.saved_tensors
        weights = ctx.weights
        narrow = rows(channels_last(gradient))
        gated = product(narrow, weights.project.t()).view_as(wide)
        ops = torch.ops.aten
        by_score = ops.hardsigmoid_backward((gated * wide).sum(1), score)
        by_hidden = ops.threshold_backward(torch.mm(by_score, weights.restore), hidden, 0)
        by_mean = torch.mm(by_hidden, weights.reduce).div_(wide.shape[1]).unsqueeze(1)
        by_mixed = ops.hardswish_backward(torch.addcmul(by_mean, gated, gate).view_as(mixed), mixed)
        by_active = weights.convolve(by_mixed, features, weights.reverse_depthwise)
        by_input = product(ops.hardswish_backward(by_active, expanded), weights.expand.t())
        return volumes(by_input.addcmul_(narrow, weights.residual), features), None


def rows(features: Tensor) -> Tensor:
    """Features ``(B, C, D, H, W)`` as ``(B · D · H · W, C)``; a view with channels last."""
    return features.movedim(1, -1).reshape(-1, features.shape[1])


def volumes(rows: Tensor, like: Tensor) -> Tensor:
    """Rows ``(B · D · H · W, C)`` as features ``(B, C, D, H, W)`` on the grid of `like`; a view."""
    return rows.view(len(like), *like.shape[2:], -1).movedim(-1, 1)


def scale_and_shift(norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """The factor and the offset that a normalisation applies to each channel in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


def _tokens(features: Tensor) -> Tensor:
    """Features ``(B, C, D, H, W)`` as ``(B, D · H · W, C)``; a view with channels last."""
    return features.flatten(2).transpose(1, 2)


def _bias(conv: nn.Conv3d) -> Tensor:
    """The bias that folding gave the convolution."""
    if conv.bias is None:
        raise ValueError("fold the normalisations first: folding.fold_batch_norms(network)")
    return conv.bias.detach()
