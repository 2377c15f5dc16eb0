"""Products with fixed matrices, by the fastest kernel that torch has for them on a CPU.

torch gives matrix products to MKL and convolutions to oneDNN. On some processors (AMD's above all)
MKL is slower by a tenth, and by half for few rows, so oneDNN computes the products as well.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def fixed_product(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """`product`, differentiable by its rows alone, and once."""
    answers: Tensor = _FixedProduct.apply(rows, matrix, bias)  # type: ignore[no-untyped-call]
    return answers


def product(rows: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows ``(..., in)`` times the transpose of a matrix ``(out, in)``, plus a bias ``(out,)``.

    For use inside autograd functions: it has no gradient of its own.
    """
    fused = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if fused is None or rows.device.type != "cpu" or rows.dtype is not torch.float32:
        return F.linear(rows, matrix, bias)
    answers: Tensor = fused(rows, matrix, bias, "none", [], "")
    return answers


class _FixedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        ctx.matrix = matrix
        return product(rows, matrix, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return product(gradient, ctx.matrix.t()), None, None
