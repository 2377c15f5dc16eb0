"""The state of a training that is under way, kept so that a kill loses little of it."""

from __future__ import annotations

import copy
import hashlib
import io
import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from benchharness.disk import file_sha256, replacing
from benchharness.errors import BenchError
from benchharness.outside.containment import in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim.swa_utils import AveragedModel

    from benchharness.training.initialisation import Initialised
    from benchharness.training.selection import Judgement

RESUME = "resume.pt"
_HEXADECIMALS = 64
"""Length of the SHA-256 at the end of the file."""


@dataclass(slots=True, kw_only=True)
class State:
    """What changes during a training; a resumed one needs all of it."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    initialised: Initialised | None = None
    epoch: int = 0
    best_auc: float = -math.inf
    best_epoch: int = 0
    best: dict[str, Tensor] | None = None
    ended: str = ""
    """Why training ended before its last epoch; empty where it did not."""
    start: dict[str, Any] = field(default_factory=dict)
    """Recipe and digest of the weights that another recipe made; empty without one."""
    average: AveragedModel | None = None
    """The average of the network's weights that is judged and kept; None keeps its own."""
    beside: nn.Module | None = None
    """What is trained beside the network and not kept with it; None without one."""

    @property
    def to_keep(self) -> nn.Module:
        """The network whose weights are judged and kept."""
        return self.network if self.average is None else self.average.module

    def step(self, loss: Tensor) -> None:
        """Take one step of the optimiser down a loss, and the average one towards the weights."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def judged(self, found: Judgement) -> None:
        """Keep the weights of the moment if they are the best, and end if they overfit."""
        if found.overfitting:
            self.ended = f"epoch {self.epoch} ended the training, {found.overfitting}"
        elif found.auc is not None and found.auc > self.best_auc:
            self.best_auc = found.auc
            self.keep()

    def keep(self) -> None:
        """Keep the weights of the moment."""
        self.best_epoch = self.epoch
        self.best = copy.deepcopy(self.to_keep.state_dict())

    def content(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
            "best_auc": self.best_auc,
            "best_epoch": self.best_epoch,
            "best": self.best,
            "ended": self.ended,
            "start": self.start,
            "average": None if self.average is None else self.average.state_dict(),
            "beside": None if self.beside is None else self.beside.state_dict(),
        }

    def restore(self, path: Path) -> None:
        """Go on from what `save` wrote; a damaged file raises any class of error."""
        whole = path.read_bytes()
        content, sha256 = whole[:-_HEXADECIMALS], whole[-_HEXADECIMALS:]
        if hashlib.sha256(content).hexdigest().encode() != sha256:
            raise ValueError("its SHA-256 differs")
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if saved.get("start", {}) != self.start:
            raise ValueError("it began with other weights")
        self.network.load_state_dict(saved["network"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        if self.beside is not None:
            self.beside.load_state_dict(saved["beside"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.schedule.load_state_dict(saved["schedule"])
        self.epoch, self.best_auc = saved["epoch"], saved["best_auc"]
        self.best_epoch, self.best = saved["best_epoch"], saved["best"]
        self.ended = saved.get("ended", "")


def save(path: Path, content: dict[str, Any]) -> None:
    """Write the state of a training, and its SHA-256 behind it.

    torch checks no sum when it reads, so a flipped bit would train on without a word.
    """
    with replacing(path) as partial:
        torch.save(content, partial)
        sha256 = file_sha256(partial)
        with partial.open("ab") as stream:
            stream.write(sha256.encode())


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Only for what writes to a checkpoint's folder: no user's code may run inside.

    Raises:
        BenchError: When the disk is full or the folder cannot be written.
    """
    try:
        yield
    # torch and safetensors have errors of their own for a full disk.
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or in_one_line(error)
        raise BenchError(
            f"cannot write to {folder}: {reason}. Make room, or pass another --out; then run the "
            "same command again."
        ) from error
