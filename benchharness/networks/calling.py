"""How a factory is called: as the harness asks, or by the names that its parameters have.

A factory of the harness is `(num_classes, in_channels=1, **arguments)`. Libraries have classes with
other names and another order, such as MONAI's `DenseNet121(spatial_dims, in_channels,
out_channels)`. Where the first parameter is no number of classes and another one is, both numbers
are passed by name.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CLASSES = ("num_classes", "n_classes", "out_channels", "num_labels", "num_outputs", "classes")
CHANNELS = ("in_channels", "in_chans", "n_input_channels", "input_channels", "n_channels")
_FIXED = {"spatial_dims": 3, "pretrained": False}
"""Volumes have three axes, and no weights are downloaded."""


def call(
    factory: Callable[..., Any], num_classes: int, in_channels: int, given: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments that build a network.

    Args:
        factory: A function or a class.
        num_classes: Number of logits.
        in_channels: Channels of a volume.
        given: The user's arguments, which win.

    Raises:
        TypeError, ValueError: When the factory has no signature.
    """
    signature = inspect.signature(factory)
    first = next(iter(signature.parameters), "")
    names = list(dict.fromkeys(parameters(factory)))
    classes, channels = role(names, CLASSES), role(names, CHANNELS)
    plain = first in CLASSES and (
        "in_channels" in names or not channels or first in given or channels in given
    )
    if plain or not classes:
        return (num_classes,), {"in_channels": in_channels, **given}
    known = {name: value for name, value in _FIXED.items() if name in names}
    known[classes] = num_classes
    if channels:
        known[channels] = in_channels
    return (), known | dict(given)


def role(names: list[str], candidates: tuple[str, ...]) -> str:
    """The parameter that has a meaning, by its usual names; empty where there is none."""
    return next((name for name in candidates if name in names), "")


def parameters(factory: Callable[..., Any]) -> Iterator[str]:
    """Names of a factory's parameters, with those that `**kwargs` hands on to base classes."""
    for one in inspect.getmro(factory) if inspect.isclass(factory) else (factory,):
        called = one.__dict__.get("__init__") if inspect.isclass(one) else one
        if called is None:
            continue
        found = inspect.signature(called).parameters
        yield from (
            name
            for name, parameter in found.items()
            if name != "self"
            and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        )
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in found.values()):
            return
