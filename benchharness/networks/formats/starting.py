"""Weights to begin a training from, which need not fit the network that adopts them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchharness.networks.formats.groups import (
    WRAPPERS,
    Reading,
    groups,
    is_aside,
    is_averaged,
    line,
    no_part,
    several,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
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
    kept = {n: t for n, t in group.tensors.items() if n in own or not is_aside(n)}
    prefix = _shared(kept, own)
    left = len(group.tensors) - len(kept)
    return Reading(
        tensors={name.removeprefix(prefix): tensor for name, tensor in kept.items()},
        line=line(group, prefix, [f"left {left} keys of averages and losses unread"] * bool(left)),
        part=part,
    )


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


def _shared(names: Collection[str], own: Mapping[str, Tensor]) -> str:
    """Of the prefixes that every name has, the one to drop: it gives most names of the network.

    Where none gives any, as for weights of another network, it is that of usual wrappers.
    """
    steps: list[str] = []
    usual = 0
    rest = list(names)
    while rest:
        step = f"{rest[0].partition('.')[0]}."
        if not all(name.startswith(step) for name in rest):
            break
        rest = [name.removeprefix(step) for name in rest]
        if usual == len(steps) and step.removesuffix(".") in _USUAL:
            usual += 1
        steps.append(step)
    prefixes = ["".join(steps[:count]) for count in range(len(steps) + 1)]
    hits = [sum(name.removeprefix(prefix) in own for name in names) for prefix in prefixes]
    if any(hits):
        return prefixes[hits.index(max(hits))]
    known = {name.partition(".")[0] for name in own}
    while usual and steps[usual - 1].removesuffix(".") in known:
        usual -= 1
    return prefixes[usual]
