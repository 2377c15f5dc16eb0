"""Whether a network answers each volume for itself, every time alike, and leaves all as it was.

Numbers of a network that does not are no property of its weights: they change with the order and
the size of the batches, or from one run to the next. Its cells are marked.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchharness import randomness
from benchharness.networks.batches import as_float, out_of_memory
from benchharness.outside.containment import contained, in_one_line
from benchharness.store.records import Check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.networks.classifier import Classifier

DISAGREEMENT = 1e-3
"""Bound on the difference of two answers to one volume, relative to the largest logit; floating
point stays far below it when nothing but the time differs."""

_IN_OTHER_BATCHES = {"cpu": DISAGREEMENT}
_ON_AN_ACCELERATOR = 1e-2
"""Bounds on the same where batches differ: other kernels then round differently."""

_VOLUMES = 8
"""Volumes in the largest batch that is tried."""
_ALONE = 2
"""Volumes that are passed alone."""

DRAWS = "does not draw at random"
BATCH = "answers do not depend on the batch"
INPUT = "does not change its input"
STATE = "does not change its state"


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """Largest difference of two answers to the same volumes, relative to the largest logit, (B,).

    Logits below 1 count as 1, so that a network with tiny logits is not judged by rounding.
    """
    return (first - second).abs().amax(1) / first.abs().amax(1).clamp_min(1)


def checks(
    classifier: Classifier, volumes: Tensor | NDArray[np.unsignedinteger]
) -> tuple[Check, ...]:
    """Check a classifier in evaluation mode on the first of some volumes.

    Args:
        classifier: Its parameters, buffers and mode are as before when this returns.
        volumes: (N, C, D, H, W), float32 in [0, 1], uint8 or uint16; the first eight are used.

    Returns:
        Four checks. One that cannot be made is *not applicable* and says why.
    """
    try:
        with contained(), classifier.frozen(), torch.no_grad(), state_kept(classifier) as before:
            return _Passes(classifier, volumes[:_VOLUMES]).checks(before)
    except Exception as error:
        # Whatever a network raises here it raises when it is measured.
        reason = f"the network could not be watched: {in_one_line(error)}"
        return tuple(inapplicable(name, reason) for name in (DRAWS, BATCH, INPUT, STATE))


def passes(volumes: int) -> int:
    """Forward passes of a volume that `checks` takes, at most, where so many volumes are given."""
    count = min(volumes, _VOLUMES)
    return 3 * count + count // 2 + _ALONE


def failed(found: Sequence[Check]) -> tuple[Check, ...]:
    """The failed ones of some checks."""
    return tuple(check for check in found if check.verdict == "failed")


@dataclass(frozen=True, slots=True, eq=False)
class _Passes:
    """Passes of a few volumes in different company."""

    classifier: Classifier
    volumes: Tensor | NDArray[np.unsignedinteger]

    def checks(self, before: dict[str, Tensor]) -> tuple[Check, ...]:
        """All four, given the classifier's state before any pass."""
        batch, first = self._first()
        changed_input = not torch.equal(batch, self._batch(range(len(batch))))
        changed_state = _changed(before, _state(self.classifier))
        again = self._logits(range(len(batch)))
        apart = float(disagreement(first, again).max())
        return (
            judged(
                DRAWS,
                apart,
                DISAGREEMENT,
                "the network draws at random: two forward passes of the same volumes differ by "
                f"{apart:.2g} of the largest logit",
            ),
            self._independence(first, stable=apart <= DISAGREEMENT),
            judged(
                INPUT,
                float(changed_input),
                0.0,
                "the network changes its input: the volumes are not the same after a forward pass",
            ),
            judged(
                STATE,
                float(len(changed_state)),
                0.0,
                "the network changes its state: a forward pass in evaluation mode changes "
                f"{len(changed_state)} of its parameters and buffers (first: "
                f"{next(iter(changed_state), '')})",
            ),
        )

    def _first(self) -> tuple[Tensor, Tensor]:
        """A batch as the network left it, and its logits; the largest batch that memory takes."""
        count = len(self.volumes)
        while True:
            batch = self._batch(range(count))
            try:
                return batch, self.classifier(batch).float()
            except (RuntimeError, MemoryError) as error:
                if count <= 1 or not out_of_memory(error):
                    raise
            count //= 2

    def _independence(self, whole: Tensor, *, stable: bool) -> Check:
        count = len(whole)
        if count < 2:
            return inapplicable(BATCH, "only one volume at a time can be passed")
        if not stable:
            return self._company(count)
        order = randomness.numpy_generator("shuffled batch").permutation(count).tolist()
        others = [order, list(range(count // 2)), *([place] for place in range(_ALONE))]
        compared = []
        for places in others:
            try:
                logits = self._logits(places)
            except Exception as error:
                if len(places) == count:
                    raise
                # Some networks take no batch of one; the other batches tell.
                refusal = in_one_line(error)
                continue
            compared.append((float(disagreement(whole[places], logits).max()), places))
        bound = _IN_OTHER_BATCHES.get(self.classifier.device.type, _ON_AN_ACCELERATOR)
        if len(compared) == 1:
            return inapplicable(BATCH, f"the network refuses every smaller batch: {refusal}")
        apart, places = max(compared)
        company = {count: "in another order", 1: "alone"}.get(len(places), "in a smaller batch")
        return judged(
            BATCH,
            apart,
            bound,
            f"answers depend on the batch: those to volumes {company} and among {count} differ by "
            f"{apart:.2g} of the largest logit",
        )

    def _company(self, count: int) -> Check:
        """The same for a network that draws: with the same draws, a volume keeps its place.

        Only the volumes beside it change, so that each draw still meets the volume that it met.
        """
        company = list(range(count)), [0] * count
        first, again, other = (self._drawn_alike(company[number])[:1] for number in (0, 0, 1))
        if float(disagreement(first, again).max()) > DISAGREEMENT:
            return inapplicable(BATCH, "answers to one batch differ already")
        apart = float(disagreement(first, other).max())
        return judged(
            BATCH,
            apart,
            _IN_OTHER_BATCHES.get(self.classifier.device.type, _ON_AN_ACCELERATOR),
            "answers depend on the batch: with the same draws, those to a volume among different "
            f"others differ by {apart:.2g} of the largest logit",
        )

    def _drawn_alike(self, places: Sequence[int]) -> Tensor:
        with randomness.isolated("draws alike"):
            return self._logits(places)

    def _batch(self, places: Sequence[int]) -> Tensor:
        """New tensors every time, so that a network that writes to them changes nothing else."""
        chosen = self.volumes[list(places)]
        return as_float(chosen, self.classifier.device).clone()

    def _logits(self, places: Sequence[int]) -> Tensor:
        return self.classifier(self._batch(places)).float()  # type: ignore[no-any-return]


def judged(name: str, value: float, bound: float, reason: str) -> Check:
    """A check that fails above its bound; it keeps its reason only then."""
    passed = value <= bound
    return Check(
        name=name,
        verdict="passed" if passed else "failed",
        value=value if np.isfinite(value) else None,
        bound=bound,
        reason="" if passed else reason,
    )


def inapplicable(name: str, reason: str) -> Check:
    """A check that does not apply, with the reason."""
    return Check(name=name, verdict="not applicable", reason=reason)


def _state(classifier: Classifier) -> dict[str, Tensor]:
    """Copies of every parameter and buffer, those outside the state dict included."""
    named = [*classifier.named_parameters(), *classifier.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> tuple[str, ...]:
    """What is not as it was; what the first pass adds is a cache and does not count."""
    return tuple(
        name
        for name, tensor in before.items()
        if name not in after or not _same(tensor, after[name])
    )


def _same(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    # NaN is the same as NaN here.
    return bool(((first == second) | ((first != first) & (second != second))).all())


@contextmanager
def state_kept(classifier: Classifier) -> Iterator[dict[str, Tensor]]:
    """The state before any pass, which parameters and buffers get back on exit."""
    before = _state(classifier)
    try:
        yield before
    finally:
        for name, tensor in [*classifier.named_parameters(), *classifier.named_buffers()]:
            known = before.get(name)
            if known is not None and tensor.shape == known.shape and not _same(known, tensor):
                tensor.copy_(known)
