"""Networks and factories that do what a user's code may do: each in a way of its own."""

from __future__ import annotations

import os
import random
import sys
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tests.samples import _Tiny

if TYPE_CHECKING:
    from torch import Tensor


class _ExitsInTraining(_Tiny):
    def forward(self, volumes: Tensor) -> Tensor:
        if self.training:
            sys.exit(0)
        return super().forward(volumes)


class _InterruptsInTraining(_Tiny):
    def forward(self, volumes: Tensor) -> Tensor:
        if self.training:
            raise KeyboardInterrupt
        return super().forward(volumes)


class _RaisesInTraining(_Tiny):
    def forward(self, volumes: Tensor) -> Tensor:
        if self.training:
            raise OSError("told\nto fail in training")
        return super().forward(volumes)


class _ExitsInEvaluation(_Tiny):
    def forward(self, volumes: Tensor) -> Tensor:
        if not self.training:
            raise SystemExit(3)
        return super().forward(volumes)


class _Trespasser(_Tiny):
    """Changes whatever of the process it can reach, at every pass."""

    def forward(self, volumes: Tensor) -> Tensor:
        logits = super().forward(volumes)
        trespass()
        return logits


def trespass() -> None:
    """Change settings of the process."""
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(mode=True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    torch.set_autocast_enabled("cpu", True)
    torch.set_flush_denormal(True)
    np.seterr(all="ignore")
    os.chdir("/")
    os.environ["TRESPASSED"] = "yes"
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)
    sys.stdout = sys.stderr


class _OneAtATime(_Tiny):
    """Squeezes the batch away, so it takes one volume only in evaluation mode."""

    def forward(self, volumes: Tensor) -> Tensor:
        if not self.training and len(volumes) > 1:
            raise ValueError("one volume, please")
        return super().forward(volumes)


class _NeverAlone(_Tiny):
    """Takes no batch of one, as a network does that squeezes its output."""

    def forward(self, volumes: Tensor) -> Tensor:
        return super().forward(volumes).squeeze()


class _AtMostFive(_Tiny):
    def forward(self, volumes: Tensor) -> Tensor:
        if not self.training and len(volumes) > 5:
            raise RuntimeError("at most five")
        return super().forward(volumes)


class _StaysInTraining(_Tiny):
    """Which modules stay in training mode is decided by `stays`."""

    stays: tuple[type[nn.Module], ...] = ()

    def train(self, mode: bool = True) -> _StaysInTraining:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, self.stays):
                module.training = True
        return self


class _DropoutOn(_StaysInTraining):
    stays = (nn.Dropout3d,)


class _NormalisesByBatch(_StaysInTraining):
    stays = (nn.BatchNorm3d,)


class _ByPosition(_Tiny):
    """Adds to each answer what depends on its place in the batch."""

    def forward(self, volumes: Tensor) -> Tensor:
        return super().forward(volumes) + 0.3 * torch.arange(len(volumes))[:, None]


class _WritesToItsInput(_Tiny):
    def forward(self, volumes: Tensor) -> Tensor:
        if not volumes.requires_grad:
            volumes.clamp_(0.45, 0.55)
        return super().forward(volumes.clamp(0.45, 0.55))


class _Counts(_Tiny):
    """Keeps a buffer that grows with every pass, and does not use it."""

    def __init__(self, num_classes: int, in_channels: int, width: int) -> None:
        super().__init__(num_classes, in_channels, width)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, volumes: Tensor) -> Tensor:
        self.passes = self.passes + 1
        return super().forward(volumes)


class _Caches(_Tiny):
    """Registers a buffer in its first pass and keeps it, which changes no answer."""

    def forward(self, volumes: Tensor) -> Tensor:
        if not hasattr(self, "grid"):
            self.register_buffer("grid", torch.zeros(3), persistent=False)
        return super().forward(volumes)


KINDS: dict[str, type[_Tiny]] = {
    "exits_in_training": _ExitsInTraining,
    "interrupts_in_training": _InterruptsInTraining,
    "raises_in_training": _RaisesInTraining,
    "exits_in_evaluation": _ExitsInEvaluation,
    "trespasser": _Trespasser,
    "one_at_a_time": _OneAtATime,
    "never_alone": _NeverAlone,
    "at_most_five": _AtMostFive,
    "dropout_on": _DropoutOn,
    "normalises_by_batch": _NormalisesByBatch,
    "by_position": _ByPosition,
    "writes_to_its_input": _WritesToItsInput,
    "counts": _Counts,
    "caches": _Caches,
}
"""Networks by the name of their factory in this module."""


def __getattr__(name: str) -> object:
    if name not in KINDS:
        raise AttributeError(name)
    kind = KINDS[name]

    def factory(num_classes: int, in_channels: int = 1) -> nn.Module:
        return kind(num_classes, in_channels, 6)

    return factory


def raises(num_classes: int, in_channels: int = 1) -> nn.Module:
    raise AttributeError("told\nto fail")


def exits(num_classes: int, in_channels: int = 1) -> nn.Module:
    trespass()
    sys.exit("told to leave")


def nothing(num_classes: int, in_channels: int = 1) -> nn.Module:
    return None  # type: ignore[return-value]


def looks_at_values(num_classes: int, in_channels: int = 1) -> nn.Module:
    """Reads a number off a tensor while it builds, as SwinUNETR does."""
    width = torch.linspace(6, 6, 1)[0].item()
    return _Tiny(num_classes, in_channels, int(width))
