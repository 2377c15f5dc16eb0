"""Whether a network's outputs are logits: neither squashed into bounds nor hanging on last bits.

Argmax and accuracy do not care. Attacks do: where outputs saturate, a gradient vanishes although it
is right, and where they jump from one bit of the input to the next, it leads nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from benchharness import randomness
from benchharness.networks.batches import as_float
from benchharness.networks.behaviour import inapplicable, judged, state_kept
from benchharness.outside.containment import contained, in_one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.networks.classifier import Classifier
    from benchharness.store.records import Check

SQUASHED = "output is not squashed into bounds"
STEADY = "answers do not hang on the last bits"

_VOLUMES = 32
"""Clean volumes that are passed."""
_CHANGED = 8
"""Of these, those that extreme volumes are made from."""
_FLAT = (0.0, 0.5, 1.0)
"""Intensities of volumes that have a single one."""
_TOGETHER = 8
"""Volumes in a batch."""
_NEARLY = 0.02
"""How near to its largest value, as a share of it, the span of a volume's logits is at a bound."""
SATURATED = 0.1
"""Largest share of clean volumes that may be there: a few are by chance."""
SIMPLEX = 0.02
"""Probabilities, however scaled, add up to a constant: the spread of their sums stays below this
share of their own, rounding to half precision included."""
JUMP = 1e-2
"""Largest change of the logits, relative to the largest, that a change of the volume by `_LAST` may
bring. Half precision inside a network stays below, since hardly a voxel then rounds elsewhere."""
_LAST = 1e-6
_CONSTANT = 1e-3
"""Spread of the logits, relative to the largest, up to which a network answers all alike."""
_TINY = 1e-30


def checks(
    classifier: Classifier, volumes: Tensor | NDArray[np.unsignedinteger]
) -> tuple[Check, ...]:
    """Check what a classifier in evaluation mode answers to clean, changed and extreme volumes.

    Args:
        classifier: Its parameters, buffers and mode are as before when this returns.
        volumes: (N, C, D, H, W), float32 in [0, 1], uint8 or uint16; the first 32 are used.

    Returns:
        Two checks, *not applicable* with the reason where they cannot be made.
    """
    try:
        with contained(), classifier.frozen(), torch.no_grad(), state_kept(classifier):
            clean = as_float(volumes[:_VOLUMES], classifier.device).clone()
            few = clean[:_CHANGED]
            extremes, moved = _extremes(few), _moved(few)
            answers = _logits(classifier, clean)
            return (
                _squashed(answers, _logits(classifier, extremes)),
                _steady(answers[: len(few)], _logits(classifier, moved)),
            )
    except Exception as error:
        # Whatever a network raises here it raises when it is measured.
        reason = f"the network could not be watched: {in_one_line(error)}"
        return tuple(inapplicable(name, reason) for name in (SQUASHED, STEADY))


def passes(volumes: int) -> int:
    """Forward passes of a volume that `checks` takes, where so many volumes are given."""
    few = min(volumes, _CHANGED)
    return min(volumes, _VOLUMES) + 4 * few + len(_FLAT)


def _extremes(volumes: Tensor) -> Tensor:
    """Volumes unlike any clean one, at which honest logits grow well beyond the usual."""
    flat = volumes[:1]
    noise = torch.rand(
        volumes.shape, generator=randomness.torch_generator("extreme volumes"), dtype=volumes.dtype
    ).to(volumes.device)
    return torch.cat(
        [
            1 - volumes,
            (volumes > volumes.flatten(1).mean(1).view(-1, 1, 1, 1, 1)).to(volumes.dtype),
            noise[: len(volumes) // 2].round(),
            noise[len(volumes) // 2 :],
            *(torch.full_like(flat, level) for level in _FLAT),
        ]
    )


def _moved(volumes: Tensor) -> Tensor:
    """Volumes a few last bits away, towards the middle of [0, 1]."""
    return torch.where(volumes > 0.5, volumes - _LAST, volumes + _LAST)


def _logits(classifier: Classifier, volumes: Tensor) -> Tensor:
    """Logits (N, K), float64, with the same draws in every batch where the network draws."""
    parts = []
    for batch in torch.split(volumes, _TOGETHER):
        with randomness.isolated("outputs"):
            parts.append(classifier(batch.clone()).double())
    return torch.cat(parts)


def _squashed(clean: Tensor, extreme: Tensor) -> Check:
    """Fails where many volumes reach the largest span of logits that any input reaches."""
    # A constant volume cannot be standardised, and need not have an answer.
    everything = torch.cat([clean, extreme[torch.isfinite(extreme).all(1)]])
    spans = everything.amax(1) - everything.amin(1)
    if not torch.isfinite(spans).all() or spans.max() == 0:
        return inapplicable(SQUASHED, "the logits are not finite, or all equal")
    if _probabilities(everything):
        reason = (
            f"no output is negative and all add up to {everything.sum(1).mean():.4g}: these are "
            "probabilities, whose gradient vanishes; return logits"
        )
        return judged(SQUASHED, 1.0, SATURATED, reason)
    near = spans[: len(clean)] >= (1 - _NEARLY) * spans.max()
    # A network that answers everything alike has one class; only varied answers can saturate.
    varied = len(torch.unique(clean[near].argmax(1))) > 1
    share = float(near.double().mean()) if varied else 0.0
    return judged(
        SQUASHED,
        share,
        SATURATED,
        f"for {share:.0%} of the volumes the logits reach, within {_NEARLY:.0%}, the largest span "
        "that any input gives: they are squashed into bounds, where the gradient vanishes",
    )


def _probabilities(logits: Tensor) -> bool:
    """Whether the rows of logits (N, K) differ, have no negative entry and one sum."""
    spread = logits.std(0).max()
    positive = logits.min() >= -SIMPLEX * logits.max()
    # Answers that hardly differ have hardly differing sums, whatever they are.
    varied = spread > _CONSTANT * logits.abs().max()
    return bool(positive & varied & (logits.sum(1).std() <= SIMPLEX * spread))


def _steady(clean: Tensor, moved: Tensor) -> Check:
    jump = float((moved - clean).abs().max() / clean.abs().max().clamp_min(_TINY))
    return judged(
        STEADY,
        jump,
        JUMP,
        f"volumes that differ by {_LAST:g} get logits that differ by {jump:.2g} of the largest: "
        "noise drawn from the input hides what an attack gains; average it away inside the model",
    )
