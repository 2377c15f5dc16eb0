"""Initial weights: a state dict that a network loads before it is trained.

Weights under the network's own names, such as those of a checkpoint that the harness trained on
other data, are carried over by `carrying`. For weights under other names a network may have a
method `initialise_from(state, *, method) -> str`. The method loads what it can, leaves all other
parameters at their random values, raises ValueError with a message of one line if the weights
belong to another network, and returns one line that says what it did. The harness reads the file,
finds out which parameters kept their random values, and records both.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchharness import randomness
from benchharness.canonical import Pairs, pairs
from benchharness.disk import file_sha256
from benchharness.errors import BenchError
from benchharness.networks import checkpoints
from benchharness.networks.formats import content, starting
from benchharness.outside.containment import contained, in_one_line
from benchharness.training import carrying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from benchharness.networks.formats.groups import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialWeights:
    """A file of weights to begin from, and how to load it."""

    path: Path
    sha256: str
    method: str
    """How kernels become 3-D: see `carrying.Method`. A network's own `initialise_from` gets it too;
    MedViT-3D takes `centre` or `mean`."""
    part: str = ""
    """Which of several weights in the file are meant; empty where nothing was said."""

    def extend(self, recipe: Pairs) -> Pairs:
        """A recipe's settings and these weights, as they enter identities.

        The same recipe with other initial weights makes another checkpoint. The file's name and
        folder do not matter.
        """
        own = {"init_method": self.method, "init_sha256": self.sha256}
        return pairs(dict(recipe) | own | ({"init_part": self.part} if self.part else {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """What a network did with initial weights, for a model card."""

    file: str
    """Name of the file, without its folder."""
    sha256: str
    method: str
    summary: str
    """What was done, in one line."""
    reading: str
    """How the file was read, in one line."""
    part: str = ""
    """Which of several weights in it were meant; empty where nothing was said."""
    left_at_initial_value: tuple[str, ...]
    """Parameters that kept the values drawn from the training seed."""
    adapted: tuple[str, ...] = ()
    """Tensors that were inflated, cut or given other channels; empty where the network loaded the
    weights itself."""


def find(path: Path, method: str, *, part: str = "") -> InitialWeights:
    """Find a file of initial weights and compute its digest.

    Raises:
        BenchError: If there is no such file.
    """
    if not path.is_file():
        raise BenchError(f"no weights at {path}. Check the path given to --init.")
    sha256 = file_sha256(path, what="checkpoint")
    return InitialWeights(path=path, sha256=sha256, method=method, part=part)


def apply(weights: InitialWeights, network: nn.Module, model: str, *, seed: int = 0) -> Initialised:
    """Load initial weights into a network.

    Args:
        weights: The file, and how to load it.
        network: Changed in place.
        model: Its name, for messages.
        seed: Training seed, which also seeds whatever the network draws while it loads.

    Raises:
        BenchError: If the file cannot be read, has changed since it was found, holds values that
            are not finite, or belongs to another network.
    """
    found = _read(weights, network.state_dict())
    state = found.tensors
    if wrong := checkpoints.miscast(state, network.state_dict()):
        raise BenchError(
            f"--init {weights.path}: {wrong[0]}. Use weights as they were trained, in floats."
        )
    if carrying.fits_by_name(state, network.state_dict()):
        with _refusing(weights, model):
            carried = carrying.carry(state, network.state_dict(), method=weights.method)
            network.load_state_dict(carried.tensors)
        summary, adapted, left = carried.summary, carried.adapted, carried.drawn
    else:
        summary = _call(_method(network, model), state, weights, model, seed)
        adapted, left = (), _untouched(network, state, weights, model, seed)
    return Initialised(
        file=weights.path.name,
        sha256=weights.sha256,
        method=weights.method,
        summary=summary,
        part=weights.part,
        reading=found.line,
        left_at_initial_value=left,
        adapted=adapted,
    )


def _method(network: nn.Module, model: str) -> Callable[..., str]:
    method: Callable[..., str] | None = getattr(network, "initialise_from", None)
    if not callable(method):
        raise BenchError(
            f"model {model!r} takes no initial weights under other names than its own: its network "
            "has no method initialise_from(state, *, method). Drop --init, or name the model it is "
            "for: --init medvit3d_t=PATH."
        )
    return method


def _read(weights: InitialWeights, own: Mapping[str, Tensor]) -> Reading:
    saved = content.read(weights.path, flag="--init")
    found = starting.weights_of(saved, own, weights.path, part=weights.part)
    state = found.tensors
    if file_sha256(weights.path, what="checkpoint") != weights.sha256:
        raise BenchError(f"{weights.path} has changed since this run began. Start it again.")
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise BenchError(
            f"--init {weights.path}: {len(broken)} tensors are not finite (first: {broken[0]}). "
            "Use weights from a training that did not diverge."
        )
    return found


def _call(
    method: Callable[..., str],
    state: Mapping[str, Tensor],
    weights: InitialWeights,
    model: str,
    seed: int,
) -> str:
    with (
        _refusing(weights, model),
        contained(),
        randomness.isolated("initial weights", weights.sha256, seed),
    ):
        return " ".join(str(method(state, method=weights.method)).split())


@contextmanager
def _refusing(weights: InitialWeights, model: str) -> Iterator[None]:
    """Turn whatever loading weights raises into one line."""
    try:
        yield
    except Exception as error:
        # ValueError is the agreed refusal, whose text is enough; a network may raise anything else.
        reason = " ".join(str(error).split()) if type(error) is ValueError else in_one_line(error)
        raise BenchError(f"--init {weights.path} is not for {model!r}: {reason}.") from error


def _untouched(
    network: nn.Module,
    state: Mapping[str, Tensor],
    weights: InitialWeights,
    model: str,
    seed: int,
) -> tuple[str, ...]:
    """Parameters that stay NaN in a copy that is all NaN: the weights did not reach them."""
    probe = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.fill_(float("nan"))
    _call(_method(probe, model), state, weights, model, seed)
    return tuple(
        name for name, parameter in probe.named_parameters() if bool(parameter.isnan().all())
    )
