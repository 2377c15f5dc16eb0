"""Networks that return their logits inside something else, each with the weights of `tiny`."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import nn

from tests.samples import _Tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

Pair = namedtuple("Pair", "features logits")


@dataclass
class Answer:
    features: Tensor
    logits: Tensor


class _Returning(nn.Module):
    """`tiny`, whose logits pass through `answer` in evaluation, and in training too."""

    def __init__(self, inner: nn.Module, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.inner, self.answer = inner, answer

    def forward(self, volumes: Tensor) -> Any:
        return self.answer(self.inner(volumes))


def _map(logits: Tensor) -> Tensor:
    """Features (B, 4, 2, 2, 2) that no adapter may take for logits."""
    return logits.new_ones(len(logits), 4, 2, 2, 2)


def _z(logits: Tensor) -> Tensor:
    return logits[:, 1:2] - logits[:, :1]


ANSWERS: dict[str, tuple[Callable[[Tensor], Any], dict[str, Any]]] = {
    "a_tensor": (lambda z: z, {}),
    "a_tuple": (lambda z: (z, [_map(z)]), {"take": (0,)}),
    "a_list": (lambda z: [_map(z), z], {"take": (1,)}),
    "a_named_tuple": (lambda z: Pair(_map(z), z), {"take": (1,)}),
    "a_dict": (lambda z: {"features": _map(z), "out": z}, {"take": ("out",)}),
    "an_ordered_dict": (lambda z: OrderedDict(loss=z.sum(), logits=z), {"take": ("logits",)}),
    "a_dataclass": (lambda z: Answer(_map(z), z), {"take": ("logits",)}),
    "an_object": (lambda z: SimpleNamespace(pred=z, labels=z.argmax(1)), {"take": ("pred",)}),
    "nested": (lambda z: {"heads": (_map(z), {"main": z})}, {"take": ("heads", 1, "main")}),
    "a_voxel": (lambda z: z[:, :, None, None, None], {"trailing": True}),
    "one_logit": (lambda z: _z(z), {"form": "logit"}),
    "one_flat_logit": (lambda z: _z(z)[:, 0], {"form": "logit"}),
    "one_voxel_logit": (
        lambda z: (_z(z)[:, :, None, None, None],),
        {"form": "logit", "take": (0,), "trailing": True},
    ),
}
"""What each network returns for logits (B, K), and the outputs that take the logits again."""

PROBABLE: dict[str, Callable[[Tensor], Any]] = {
    "softmax": lambda z: z.softmax(1),
    "half_softmax": lambda z: z.half().softmax(1).float(),
    "bfloat_softmax": lambda z: z.bfloat16().softmax(1),
    "softmax_in_a_tuple": lambda z: (z.softmax(1), _map(z)),
    "sigmoid": lambda z: _z(z).sigmoid(),
}
"""Networks that return probabilities."""


def wrapped(inner: nn.Module, name: str) -> nn.Module:
    """A network that returns what `ANSWERS` or `PROBABLE` says."""
    answer = PROBABLE[name] if name in PROBABLE else ANSWERS[name][0]
    return _Returning(inner, answer)


class _TwoHeads(_Tiny):
    """Returns two answers in a dict, of which neither is named as the one."""

    def forward(self, volumes: Tensor) -> Any:
        logits = super().forward(volumes)
        return {"coarse": logits, "fine": -logits}


class _Deep(_Tiny):
    """Supervises a second head in training, and returns the first alone in evaluation."""

    def forward(self, volumes: Tensor) -> Any:
        logits = super().forward(volumes)
        return (logits, logits.detach()) if self.training else logits


class _LateSoftmax(_Tiny):
    """Probabilities from the seventeenth volume on, behind the back of whoever tries a few."""

    def forward(self, volumes: Tensor) -> Tensor:
        logits = super().forward(volumes)
        self.seen = getattr(self, "seen", 0) + len(volumes)
        return logits.softmax(1) if self.seen > 16 and not self.training else logits


class _Both(_Tiny):
    """Probabilities first, then the logits."""

    def forward(self, volumes: Tensor) -> Any:
        logits = super().forward(volumes)
        return logits.softmax(1), logits


KINDS: dict[str, type[_Tiny]] = {
    "two_heads": _TwoHeads,
    "deep": _Deep,
    "late_softmax": _LateSoftmax,
    "both": _Both,
}


def __getattr__(name: str) -> object:
    if name not in ANSWERS and name not in PROBABLE and name not in KINDS:
        raise AttributeError(name)

    def factory(num_classes: int, in_channels: int = 1) -> nn.Module:
        if name in KINDS:
            return KINDS[name](num_classes, in_channels, 6)
        return wrapped(_Tiny(num_classes, in_channels, 6), name)

    return factory
