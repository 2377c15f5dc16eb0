"""Networks built from the factory that a model names."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchharness import randomness, registry
from benchharness.errors import BenchError, CellError
from benchharness.networks.calling import call
from benchharness.networks.preprocessing import Preprocessing
from benchharness.outside.containment import contained, in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.store.cells import ModelKey


def check_arguments(model: ModelKey) -> Callable[..., nn.Module]:
    """Import a model's factory and check its arguments against the signature.

    Raises:
        BenchError: If there is no such factory or it does not take these arguments.
    """
    factory: Callable[..., nn.Module] = registry.import_target(model.factory)
    arguments = dict(model.arguments)
    try:
        positional, named = call(factory, 2, 1, arguments)
        inspect.signature(factory).bind(*positional, **named)
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
        in_channels: Channels of a volume; the model's preprocessing may repeat them for the
            network.
        seed: Training seed; None is the same as 0.

    Raises:
        BenchError: If there is no such factory or it does not take these arguments.
        CellError: If the factory raises or returns something else than a network.
    """
    factory = check_arguments(model)
    arguments = dict(model.arguments)
    in_channels = Preprocessing.from_pairs(model.preprocessing).channels(in_channels)
    try:
        with contained(), randomness.isolated("initialisation", model.factory, seed or 0):
            positional, named = call(factory, num_classes, in_channels, arguments)
            network = factory(*positional, **named)
    except Exception as error:
        raise CellError(f"model {model.name!r} cannot be built: {in_one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise CellError(
            f"model {model.name!r} cannot be built: its factory returned "
            f"{type(network).__name__}, expected a torch.nn.Module"
        )
    return network


def sketch(model: ModelKey, *, num_classes: int, in_channels: int) -> nn.Module:
    """Build a network to count its parameters, without memory for them where that works.

    Some factories look at values while they build (`.item()`), which the meta device does not have.
    Those networks are built on the CPU.

    Raises:
        BenchError: As `build_network`.
        CellError: As `build_network`.
    """
    try:
        with torch.device("meta"):
            return build_network(model, num_classes=num_classes, in_channels=in_channels)
    except CellError:
        return build_network(model, num_classes=num_classes, in_channels=in_channels)
