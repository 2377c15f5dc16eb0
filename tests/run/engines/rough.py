"""Attacks and an artefact that do to a worker what may happen to it, and say so in a folder."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchharness.artefacts.general import Gamma
from benchharness.attacks.core.base import Attack, Batch, Cost

if TYPE_CHECKING:
    from torch import Generator, Tensor

FOLDER = "BENCH_TEST_FOLDER"
"""The variable that names the folder in which they leave files."""


def folder() -> Path:
    return Path(os.environ[FOLDER])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rough(Attack):
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "tests"
    summary: ClassVar[str] = "Adds ε."
    access: ClassVar = "none"
    iterative: ClassVar[bool] = False
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    def cost(self, num_classes: int) -> Cost:
        return Cost(forward=0, backward=0)

    def act(self) -> None:
        """What happens before the volumes are made."""

    def perturb(self, batch: Batch) -> Tensor:
        self.act()
        return batch.volumes + batch.severity


@dataclass(frozen=True, slots=True, kw_only=True)
class DiesOnce(_Rough):
    """The first process that comes here is killed."""

    name: ClassVar[str] = "dies_once"

    def act(self) -> None:
        try:
            (folder() / "died").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raises(_Rough):
    """Every process that comes here raises an error that no pickle brings back."""

    name: ClassVar[str] = "raises"

    def act(self) -> None:
        raise _AwkwardError(1, 2)


class _AwkwardError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"told to raise {one + two}")


TOGETHER = "together"
"""Where the folder has a file of this name, `Waits` waits for a second process, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits(_Rough):
    """Takes its time, and says that it has begun and which process it is."""

    name: ClassVar[str] = "waits"

    def act(self) -> None:
        (folder() / f"pid-{os.getpid()}").touch()
        time.sleep(0.3)
        while (folder() / TOGETHER).exists() and len(list(folder().glob("pid-*"))) < 2:
            time.sleep(0.02)


class Counted(Gamma):
    """Leaves a file for every volume that it makes."""

    name = "counted"

    def apply(self, volume: Tensor, severity: int, generator: Generator) -> Tensor:
        (folder() / f"made-{severity}-{time.time_ns()}-{os.getpid()}").touch()
        return super().apply(volume, severity, generator)
