"""A store of tiny networks under attack, made by `bench run`'s own runner."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from benchharness.run import config, runner
from benchharness.run.progress import Display
from tests.attacks.attack_networks import Tiny, task, trained

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

CLASSES = 4


def honest(num_classes: int, in_channels: int = 1) -> nn.Module:
    """The network whose weights `save_task` writes."""
    return Tiny(num_classes, in_channels)


def other(num_classes: int, in_channels: int = 1) -> nn.Module:
    """A second name for the same network."""
    return Tiny(num_classes, in_channels)


class _Softmaxed(Tiny):
    """Probabilities for logits."""

    def forward(self, volumes: Tensor) -> Tensor:
        return super().forward(volumes).softmax(1)


def softmaxed(num_classes: int, in_channels: int = 1) -> nn.Module:
    """The same network with a softmax behind it."""
    return _Softmaxed(num_classes, in_channels)


def save_task(folder: Path, counts: dict[str, int], classes: int = CLASSES) -> tuple[Path, Path]:
    """Write a task that cubes of noise disturb, and the weights of a network that solves it.

    Args:
        folder: Where.
        counts: Volumes of `train`, `val` and `test`.
        classes: Of the task; it has an octant a class, and more than eight share them.
    """
    arrays = {}
    for seed, (split, count) in enumerate(counts.items()):
        volumes, labels = task(count, classes, seed=seed)
        arrays[f"{split}_images"] = (volumes[:, 0] * 255).round().to(torch.uint8).numpy()
        arrays[f"{split}_labels"] = labels[:, None].to(torch.uint8).numpy()
    np.savez(folder / "data.npz", **arrays)
    torch.save(trained(classes).network.state_dict(), folder / "weights.pth")
    return folder / "data.npz", folder / "weights.pth"


def run(
    task_of: tuple[Path, Path],
    out: Path,
    networks: tuple[str, ...],
    parameters: dict[str, dict[str, Any]],
    **flags: Any,
) -> None:
    """Attack networks that all take the saved weights.

    Args:
        task_of: What `save_task` returned.
        out: The store.
        networks: Factories of this module, by name.
        parameters: Of attacks.
        flags: As `config.load` takes them.
    """
    data, weights = task_of
    settings = config.load(
        None,
        {
            "models": ",".join(f"tests.attacked:{network}" for network in networks),
            "datasets": str(data),
            "checkpoint": [f"{network}={weights}" for network in networks],
            "out": out,
            "device": "cpu",
            **flags,
        },
    )
    pairs = tuple((name, tuple(values.items())) for name, values in parameters.items())
    settings = dataclasses.replace(settings, attack_parameters=pairs)
    summary = runner.run(settings, Display(Console(file=io.StringIO())))
    assert summary.failures == ()
