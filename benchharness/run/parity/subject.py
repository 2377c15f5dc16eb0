"""The network that is checked, the volumes it is checked on, and what a comparison found."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.networks.classifier import Classifier
from benchharness.run.parity import causes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from benchharness.datasets import Dataset, Split
    from benchharness.run.measuring import Setting
    from benchharness.run.parity.answers import Array, Detail
    from benchharness.run.parity.causes import Cause
    from benchharness.run.planning import Job

_SECONDS = 120.0
"""How long causes are looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The network and the volumes that are checked."""

    job: Job
    classifier: Classifier
    split: Split
    name: str
    """Of the split."""
    setting: Setting
    note: Callable[[str], None]

    @property
    def title(self) -> str:
        """Network and dataset, for messages."""
        return f"{self.job.weights.model.name} on {self.job.dataset.name}"

    @property
    def dataset(self) -> Dataset:
        """What the network is checked on."""
        return self.job.dataset

    def logits(self, volumes: NDArray[np.unsignedinteger], cause: Cause | None = None) -> Array:
        """Logits (N, K) of volumes, with what another pipeline may have done to them."""
        classifier = self.classifier
        if cause is not None:
            volumes = np.ascontiguousarray(cause.turn(volumes))
            classifier = Classifier(
                classifier.network,
                cause.preprocessing or classifier.preprocessing,
                classifier.outputs,
                num_classes=classifier.num_classes,
                device=classifier.device,
            )
        batch = self.setting.batch_size_for(self.dataset)
        return classifier.predict(volumes, batch).astype(np.float64)

    def causes(self, *, compounds: bool) -> Iterator[Cause]:
        """What may differ, until the time is up."""
        given = (self.job.weights.model.name, self.classifier.preprocessing, self.dataset)
        everything = [*causes.simple(*given), *(causes.compound(*given) if compounds else [])]
        self.note(f"{self.title}: trying {len(everything)} possible causes")
        end = time.monotonic() + _SECONDS
        for tried, cause in enumerate(everything):
            if time.monotonic() > end:
                self.note(f"stopped after {tried} of them, since {_SECONDS:.0f} s are up")
                return
            yield cause

    def tried(self, volumes: NDArray[np.unsignedinteger], cause: Cause) -> Array | None:
        """Logits under a cause; None where the network does not take such volumes."""
        try:
            return self.logits(volumes, cause)
        except Exception:
            # A user's network may refuse another grid in any way.
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was compared and what came of it."""

    line: str
    difference: float
    tolerance: float
    expected: str
    split: str
    volumes: int
    sha256: str | None = None
    explanations: tuple[str, ...] = ()
    """Why it failed; empty where it passed."""


def said(cause: Cause | Detail) -> str:
    """What explains a difference, in sentences."""
    return f"Most likely cause: in your pipeline {cause.words}. {cause.remedy}"


def nothing(nearest: Cause | None, before: float, after: float) -> str:
    """What to say where no cause explains all; the nearest halves the difference at least."""
    if nearest is None or after > before / 2:
        return (
            "Nothing that was tried explains it. Compare one volume by hand: what the network is "
            "given in your code, and what [model.NAME] preprocessing makes of it here."
        )
    return (
        f"Nothing that was tried explains all of it. Nearest is that in your pipeline "
        f"{nearest.words}: the median difference falls from {before:.2g} to {after:.2g}. "
        f"{nearest.remedy}"
    )
