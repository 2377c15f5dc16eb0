"""Initial weights: a state dict that a network takes over before it is trained.

A network offers it by a method `initialise_from(state, *, method) -> str`: it loads what it can of
the state dict, keeps its own drawn values elsewhere, raises ValueError with one line where the
weights are not for it, and returns one line that says what was done. The harness knows nothing of
how; it reads the file, finds out what was left at its drawn value, and writes both down.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchharness import randomness
from benchharness.canonical import Pairs, pairs
from benchharness.disk import file_sha256
from benchharness.errors import BenchError
from benchharness.networks import checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

_DATA_PARALLEL = "module."


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialWeights:
    """A file of weights to begin from, and how."""

    path: Path
    sha256: str
    method: str
    """Passed on to the network: `centre` or `mean` for MedViT-3D."""

    def extend(self, recipe: Pairs) -> Pairs:
        """A recipe's settings with these weights among them, as they enter identities.

        The same recipe from other weights makes another checkpoint; where the file lies does not
        matter.
        """
        return pairs(dict(recipe) | {"init_method": self.method, "init_sha256": self.sha256})


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """What was done with initial weights, for a model card."""

    file: str
    """Name of the file, without its folder."""
    sha256: str
    method: str
    summary: str
    """What the network says it did."""
    left_at_initial_value: tuple[str, ...]
    """Parameters that the weights did not touch: drawn from the training seed."""


def find(path: Path, method: str) -> InitialWeights:
    """Name a file of initial weights by its digest.

    Raises:
        BenchError: When there is no such file.
    """
    if not path.is_file():
        raise BenchError(f"no weights at {path}. Check the path given to --init.")
    return InitialWeights(path=path, sha256=file_sha256(path, what="checkpoint"), method=method)


def apply(weights: InitialWeights, network: nn.Module, model: str, *, seed: int = 0) -> Initialised:
    """Load initial weights into a network that offers `initialise_from`.

    Args:
        weights: What to load, and how.
        network: Changed in place.
        model: Its name, for messages.
        seed: Training seed: a network that draws what is missing draws the same each time.

    Raises:
        BenchError: When the network offers no such method, or the file cannot be read, has changed
            since it was named, is not finite, or is of another network.
    """
    method = _method(network, model)
    state = _read(weights)
    summary = _call(method, state, weights, model, seed)
    return Initialised(
        file=weights.path.name,
        sha256=weights.sha256,
        method=weights.method,
        summary=summary,
        left_at_initial_value=_untouched(network, state, weights, model, seed),
    )


def _method(network: nn.Module, model: str) -> Callable[..., str]:
    method: Callable[..., str] | None = getattr(network, "initialise_from", None)
    if not callable(method):
        raise BenchError(
            f"model {model!r} takes no initial weights: its network has no method "
            "initialise_from(state, *, method). Drop --init, or say whom it is for: "
            "--init medvit3d_t=PATH."
        )
    return method


def _read(weights: InitialWeights) -> dict[str, Tensor]:
    state = checkpoints.read_weights(weights.path, flag="--init")
    if file_sha256(weights.path, what="checkpoint") != weights.sha256:
        raise BenchError(f"{weights.path} has changed since this run began. Start it again.")
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise BenchError(
            f"--init {weights.path}: {len(broken)} tensors are not finite (first: {broken[0]}). "
            "Take weights of a training that did not diverge."
        )
    return {name.removeprefix(_DATA_PARALLEL): tensor for name, tensor in state.items()}


def _call(
    method: Callable[..., str],
    state: Mapping[str, Tensor],
    weights: InitialWeights,
    model: str,
    seed: int,
) -> str:
    try:
        with randomness.isolated("initial weights", weights.sha256, seed):
            return " ".join(str(method(state, method=weights.method)).split())
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BenchError(f"--init {weights.path} is not for {model!r}: {reason}.") from error


def _untouched(
    network: nn.Module,
    state: Mapping[str, Tensor],
    weights: InitialWeights,
    model: str,
    seed: int,
) -> tuple[str, ...]:
    """Parameters that stay NaN where all were NaN before: what the weights did not reach."""
    probe = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.fill_(float("nan"))
    _call(_method(probe, model), state, weights, model, seed)
    return tuple(
        name for name, parameter in probe.named_parameters() if bool(parameter.isnan().all())
    )
