"""Weights to begin a training from, which need not fit the network that adopts them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchharness.networks.formats.groups import (
    WRAPPERS,
    Reading,
    groups,
    is_averaged,
    line,
    no_part,
    several,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from benchharness.networks.formats.groups import Group

_USUAL = ("module", "model", "net", "network", *WRAPPERS)
"""Attributes that hold the network in wrappers around it, where no name of its own tells."""

_HOLDERS = {
    *("state_dict", "model_state_dict", "network_weights", "model_state", "model", "net"),
    *("network", "params", "weights", "module", "teacher"),
}
"""Keys under which scripts save the weights."""

_NO_WEIGHTS = ("optim", "sched", "scaler", "callback", "loop")
"""Parts of the names of a training's other states."""


def weights_of(content: Any, own: Mapping[str, Tensor], path: Path, *, part: str = "") -> Reading:
    """Find the weights in a file that need not fit, to begin a training from.

    Args:
        content: From `content.read`.
        own: The network's state dict; a usual prefix stays if names of the network have it too.
        path: The file, for messages.
        part: Which of several the user asks for.

    Raises:
        BenchError: As `fit`.
    """
    found = [
        group
        for group in groups(content, own, path)
        if not any(word in key.lower() for key in group.where for word in _NO_WEIGHTS)
    ]
    if part:
        named = [one for group in found for one in _under(group, part.strip(".").split("."))]
        if not named:
            raise no_part(part, [".".join(group.where) for group in found], path)
        found = named
    found = [g for g in found if not is_averaged(".".join(g.where))] or found
    found = [g for g in found if not g.where or g.where[-1] in _HOLDERS] or found
    if len(found) != 1:
        raise several([".".join(group.where) or "(the top)" for group in found], path, "--init")
    (group,) = found
    prefix = _shared(group, own)
    names = {name.removeprefix(prefix): tensor for name, tensor in group.tensors.items()}
    return Reading(tensors=names, line=line(group, prefix, []), part=part)


def _under(group: Group, part: Sequence[str]) -> Iterator[Group]:
    """A group that a part names: by the keys that lead to it, and a prefix of its tensors."""
    for size in range(len(part), -1, -1):
        keys, prefix = part[:size], "".join(f"{word}." for word in part[size:])
        if list(group.where[len(group.where) - size :]) != list(keys):
            continue
        tensors = {
            name.removeprefix(prefix): tensor
            for name, tensor in group.tensors.items()
            if name.startswith(prefix)
        }
        if tensors:
            yield replace(group, tensors=tensors)
            return


def _shared(group: Group, own: Mapping[str, Tensor]) -> str:
    """The prefix of usual wrappers that every name has and no name of the network."""
    names, prefix = list(group.tensors), ""
    while names:
        first = names[0].partition(".")[0]
        step = f"{first}."
        tells = any(name.removeprefix(step) in own for name in names)
        if any(name.startswith(step) for name in own) or not (tells or first in _USUAL):
            break
        if not all(name.startswith(step) for name in names):
            break
        names = [name.removeprefix(step) for name in names]
        prefix += step
    return prefix
