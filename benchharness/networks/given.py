"""Networks and factories that a caller hands over as objects, for as long as this process lives.

The harness builds every network by an import string and its arguments. For an object these are
`benchharness.networks.given:build` and the object's fingerprint.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness import registry
from benchharness.errors import BenchError
from benchharness.networks import fingerprint
from benchharness.outside.containment import loading

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from benchharness.canonical import Pairs

    Factory = Callable[..., nn.Module]

_FACTORY = f"{__name__}:build"
_kept: dict[str, Factory] = {}
"""What `build` calls, by fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """A network that a caller handed over, as the harness knows it."""

    name: str
    """Name of its class or factory."""
    factory: str
    """Import string."""
    arguments: Pairs = ()
    """Keyword arguments of that factory, which identify the object."""
    weights: dict[str, Tensor] | None = None
    """The trained weights, on the CPU; None for a factory, whose networks are yet to be trained."""


def network(given: nn.Module) -> Given:
    """Keep a copy of a network, so that what the caller does with it later changes nothing here.

    Raises:
        BenchError: When it cannot be copied.
    """
    name = type(given).__name__
    with loading(f"network {name!r}"):
        kept = copy.deepcopy(given).cpu()
        code = fingerprint.of_code(given)
    _kept[code] = lambda num_classes, in_channels: copy.deepcopy(kept)  # noqa: ARG005
    return Given(
        name=name,
        factory=_FACTORY,
        arguments=(("code", code), ("network", name)),
        weights={key: value.detach().clone() for key, value in kept.state_dict().items()},
    )


def factory(given: Factory) -> Given:
    """Keep a factory; one that can be imported is known by its import string, as in a config.

    Raises:
        BenchError: When it cannot be described.
    """
    name = getattr(given, "__qualname__", type(given).__name__)
    module = getattr(given, "__module__", None)
    if module not in (None, "__main__") and name.isidentifier():
        target = f"{module}:{name}"
        if registry.import_target(target) is given:
            return Given(name=name, factory=target)
    name = name.rpartition(".")[2].strip("<>")
    with loading(f"factory {name!r}"):
        code = fingerprint.of_code(given)
    _kept[code] = given
    return Given(name=name, factory=_FACTORY, arguments=(("code", code), ("network", name)))


def build(num_classes: int, in_channels: int = 1, *, code: str, network: str) -> nn.Module:
    """Build a network that was handed over in this process.

    Args:
        num_classes: K; for a network handed over as an object it is what it was.
        in_channels: Channels of a volume, likewise.
        code: Fingerprint of the object.
        network: Its name, for people.

    Raises:
        BenchError: When another process was given it.
    """
    if code not in _kept:
        raise BenchError(
            f"network {network!r} was handed over as an object, which only that process knows. "
            "Call benchmark with it again, or give the harness 'module:factory'."
        )
    return _kept[code](num_classes, in_channels=in_channels)
