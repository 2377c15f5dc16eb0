"""Products with fixed matrices: torch's linear layer and its gradient, whatever computes them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medvit3d.products import fixed_product, product


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("onednn", [False, True])
def test_it_is_a_linear_layer(
    monkeypatch: pytest.MonkeyPatch,
    *,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    biased: bool,
    onednn: bool,
) -> None:
    if not onednn:
        monkeypatch.setattr(torch.ops, "mkldnn", object())
    draws = torch.Generator().manual_seed(0)
    rows = torch.randn(*shape, 5, dtype=dtype, generator=draws).requires_grad_()
    matrix = torch.randn(4, 5, dtype=dtype, generator=draws)
    bias = torch.randn(4, dtype=dtype, generator=draws) if biased else None
    weights = torch.randn(*shape, 4, dtype=dtype, generator=draws)
    expected, found = F.linear(rows, matrix, bias), fixed_product(rows, matrix, bias)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(product(rows.detach(), matrix, bias), expected)
    (by_torch,) = torch.autograd.grad(expected, rows, weights)
    (ours,) = torch.autograd.grad(found, rows, weights)
    torch.testing.assert_close(ours, by_torch)


def test_a_transposed_matrix_and_rows_that_are_a_view() -> None:
    rows, matrix = torch.randn(2, 5, 3, 3).movedim(1, -1), torch.randn(5, 4)
    torch.testing.assert_close(product(rows, matrix.t()), rows @ matrix)
