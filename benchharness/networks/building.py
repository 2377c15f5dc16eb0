"""Networks built from the factory that a model names."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from benchharness import randomness, registry
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from benchharness.store.cells import ModelKey


def check_arguments(model: ModelKey) -> Callable[..., nn.Module]:
    """Import a model's factory and check its arguments against the signature.

    Raises:
        BenchError: If there is no such factory or it does not take these arguments.
    """
    factory: Callable[..., nn.Module] = registry.import_target(model.factory)
    arguments = dict(model.arguments)
    try:
        inspect.signature(factory).bind(2, in_channels=1, **arguments)
    except (TypeError, ValueError) as error:
        raise BenchError(
            f"model {model.name!r} cannot be built with {arguments or 'its defaults'}: {error}. "
            "A factory takes (num_classes, in_channels=1) and the arguments of its config table."
        ) from error
    return factory


def build_network(
    model: ModelKey, *, num_classes: int, in_channels: int, seed: int | None = None
) -> nn.Module:
    """Build a network whose initial weights depend on the seed alone.

    Args:
        model: Factory and arguments.
        num_classes: Number of logits.
        in_channels: Channels of a volume.
        seed: Training seed; None is the same as 0.

    Raises:
        BenchError: If there is no such factory or it refuses its arguments.
    """
    factory = check_arguments(model)
    arguments = dict(model.arguments)
    with randomness.isolated("initialisation", model.factory, seed or 0):
        try:
            network = factory(num_classes, in_channels=in_channels, **arguments)
        except (ValueError, TypeError) as error:
            raise BenchError(f"model {model.name!r} cannot be built: {error}") from error
    return network
