"""Gradients of what a network computes, whatever its own backward pass says.

A forward pass is differentiated anew, call by call of torch: `detach`, `no_grad`, hooks and the
backward passes of custom functions have no effect. Calls without a useful gradient get one while
their values stay: rounding, clipping and comparing that of a straight line (the straight-through
estimator of Bengio et al., arXiv 1308.3432; as an attack BPDA, Athalye, Carlini & Wagner, ICML
2018), saturated functions that of a less saturated point.

What leaves torch (NumPy, TorchScript, other runtimes) cannot be followed.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_SATURATED = 8.0
"""An argument this far out counts as no further out in the derivative of a saturating function."""

_CUTS = frozenset({"detach", "detach_", "data"})
_WATCHED = frozenset({"register_hook", "requires_grad_", "retain_grad"})
_LINES = frozenset(
    ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "clamp", "clip", "hardtanh")
)
_SATURATING = frozenset({"sigmoid", "tanh", "softmax", "log_softmax"})
_RISING = frozenset({"gt", "ge", "__gt__", "__ge__"})
_FALLING = frozenset({"lt", "le", "__lt__", "__le__"})
_CASTS = frozenset({"int", "long", "short", "char", "byte", "to", "type"})
_FUSED = "_linear_pointwise"
"""oneDNN's linear layer, by which accelerated networks compute products; torch knows no derivative
of it, and lets no gradient through."""
_REFUSALS = (RuntimeError, TypeError, IndexError, NotImplementedError)
"""What torch raises where a call does not exist for tensors with a gradient, as for `numpy`."""


def straight_through(network: Callable[[Tensor], Tensor], volumes: Tensor) -> Tensor:
    """Call a network on volumes (B, C, D, H, W) that require a gradient.

    Returns:
        Its logits (B, K). They have a gradient unless the network leaves torch on the way.
    """
    mode = _Differentiation()
    plain = mode.split(volumes.view_as(volumes))
    with torch.no_grad(), mode:
        answer = network(plain)
    logits: Tensor = mode.twin(answer)
    return logits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Split:
    """A value that cannot carry a gradient itself, because it counts or compares."""

    plain: Tensor
    twin: Tensor
    """The same values as floating-point numbers, with a gradient."""


class _Differentiation(TorchFunctionMode):
    """Differentiates what is called inside it.

    The called code sees *plain* tensors, without a gradient; each has a *twin* with one. A network
    that asks whether somebody wants its gradient is told that nobody does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.twins: dict[tuple[object, ...], Tensor] = {}
        self.kept: list[Tensor] = []

    def twin(self, value: Any) -> Any:
        """What carries the gradient of a plain tensor; anything else as it is."""
        return self.twins.get(_place(value), value) if isinstance(value, torch.Tensor) else value

    def split(self, twin: Tensor, plain: Tensor | None = None) -> Tensor:
        """Make a plain tensor known, by default the twin's values, and return it."""
        plain = twin.detach() if plain is None else plain
        # Its memory must not go to another tensor, which would be taken for it.
        self.kept.append(plain)
        self.twins[_place(plain)] = twin
        return plain

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        with torch.inference_mode(mode=False), torch.enable_grad():
            return self._called(func, args, kwargs or {})

    def _called(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        name = _name(func)
        if name in _WATCHED:
            return RemovableHandle(OrderedDict()) if name == "register_hook" else args[0]
        given, structure = pytree.tree_flatten((args, kwargs))
        twins = [self.twin(value) for value in given]
        # Masks and indices must stay what they are, except in arithmetic.
        only_numbers = [
            mine if _is_number(value) else value for value, mine in zip(given, twins, strict=True)
        ]
        for chosen in (twins, only_numbers):
            if not any(map(_has_gradient, chosen)):
                continue
            try:
                found = _differentiable(name, func, *pytree.tree_unflatten(chosen, structure))
            except _REFUSALS:
                continue
            if name == "__get__" and not isinstance(found, torch.Tensor):
                break
            known = {id(mine): value for value, mine in zip(given, chosen, strict=True)}
            return pytree.tree_map(lambda value: self._seen(value, known), found)  # noqa: B023
        return func(*args, **kwargs)

    def _seen(self, value: Any, known: dict[int, Any]) -> Any:
        """What the called code sees of a result; a tensor changed in place is the one it gave."""
        if isinstance(value, _Split):
            return self.split(value.twin, value.plain)
        if id(value) in known:
            return known[id(value)]
        return self.split(value) if _has_gradient(value) else value


def _differentiable(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The result of a call, with a gradient that leads somewhere."""
    if not (args and _has_gradient(args[0])):
        return func(*args, **kwargs)
    first: Tensor = args[0]
    if name in _CUTS:
        return first.view_as(first)
    if name == _FUSED and args[3:4] == ("none",):
        return _along(F.linear(*args[:3]), func(*args, **kwargs))
    if name in _LINES:
        return _along(first, func(*args, **kwargs))
    if name in _SATURATING:
        nearer = _less_saturated(name, first, *args[1:2], **kwargs)
        return _along(func(nearer, *args[1:], **kwargs), func(*args, **kwargs))
    if name in _RISING | _FALLING:
        gap = (first - args[1]) if name in _RISING else (args[1] - first)
        truth = func(*args, **kwargs)
        return _Split(plain=truth, twin=_along(_near_zero(gap), truth.to(gap.dtype)))
    if name == "where" and len(args) == 3:
        # Only a condition that compares comes here with a gradient.
        chosen = torch.where(first.detach() > 0, *args[1:])
        return chosen + (first - first.detach()) * torch.sub(*map(_constant, args[1:]))
    found = func(*args, **kwargs)
    if name in _CASTS and not _is_number(found):
        return _Split(plain=found, twin=_along(first, found.to(first.dtype)))
    return found


def _along(source: Tensor, values: Tensor) -> Tensor:
    """`values`, with the gradient of `source`."""
    return values.detach() + (source - source.detach())


def _near_zero(gap: Tensor) -> Tensor:
    """A function whose slope is that of a soft step: largest at 0, and 0 far from there."""
    width = 2 * gap.detach().std(correction=0).clamp_min(1e-12)
    slope = (1 - gap.detach().abs() / width).clamp_min(0) / width
    return gap * slope


def _less_saturated(name: str, values: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
    """Arguments that are drawn in to where the function still has a slope."""
    if name.endswith("softmax"):
        axis = kwargs.get("dim", rest[0] if rest else -1)
        values = values - values.detach().amax(axis, keepdim=True)
    return values * (_SATURATED / values.detach().abs().clamp_min(_SATURATED))


def _constant(value: Any) -> Tensor:
    return value.detach() if isinstance(value, torch.Tensor) else torch.tensor(float(value))


def _has_gradient(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _is_number(value: Any) -> bool:
    """Whether something is no tensor, or one of real or complex numbers."""
    return not isinstance(value, torch.Tensor) or value.is_floating_point() or value.is_complex()


def _name(func: Callable[..., Any]) -> str:
    """The name of a call; of an attribute's getter `__get__`, except of `data`."""
    name: str = getattr(func, "__name__", "")
    if name == "__get__" and getattr(getattr(func, "__self__", None), "__name__", "") == "data":
        return "data"
    return name


def _place(value: Tensor) -> tuple[object, ...]:
    """What tells a plain tensor from all others: its memory and how it reads it."""
    return (value.data_ptr(), value.dtype, value.shape, value.stride())
