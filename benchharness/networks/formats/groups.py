"""The dicts of tensors in what was read from a file, and what their names say.

Files of weights are made by anybody's scripts: `docs/how-to/own-weights.md` lists the kinds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from benchharness.errors import BenchError
from benchharness.networks.formats.content import dicts
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, FSDP and checkpointed activations put into names, anywhere."""

_AVERAGED = {"ema", "swa", "shadow", "averaged"}
"""Words in the names of averaged copies of weights."""

_ASIDE = re.compile(
    r"((train|val|valid|validation|test|aux)_)?"
    r"(loss|losses|loss_fn|loss_func|loss_function|criterion|criterions|metric|metrics)"
)
"""Modules of a training that are saved with the network and are no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """The weights that were found, and how."""

    tensors: dict[str, Tensor]
    line: str
    """What was done, for people: `read model_state_dict, dropped prefix 'module.'`."""
    part: str = ""
    """What names them after `::`, where the file holds several; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """A dict of the file with tensors in it."""

    where: tuple[str, ...]
    """The keys that lead to it."""
    tensors: Mapping[str, Tensor]
    unwrapped: tuple[str, ...] = ()
    """Which `WRAPPERS` were taken out of names."""


def groups(content: Any, own: Mapping[str, Tensor], path: Path) -> Iterator[Group]:
    """Every dict of the file with tensors in it, the outer first.

    Args:
        content: From `content.read`.
        own: The network's state dict: wrappers that it has itself stay in names.
        path: The file, for messages.

    Raises:
        BenchError: If there is none.
    """
    known = {word for name in own for word in name.split(".")}
    wrappers = [word for word in WRAPPERS if word not in known]
    found = False
    for where, group in dicts(content):
        tensors = {
            name: value
            for name, value in group.items()
            if isinstance(name, str) and isinstance(value, torch.Tensor)
        }
        if tensors or (where == () and content == {}):
            found = True
            yield _unwrapped(where, tensors, wrappers)
    if not found:
        raise BenchError(f"checkpoint {path} is not a state dict of tensors.")


def _unwrapped(
    where: tuple[str, ...], tensors: Mapping[str, Tensor], wrappers: Sequence[str]
) -> Group:
    """A group without the names that wrappers of torch put into those of the network."""
    names = {
        name: ".".join(word for word in name.split(".") if word not in wrappers) for name in tensors
    }
    if len(set(names.values())) < len(names):
        return Group(where=where, tensors=tensors)
    taken = [word for word in wrappers if any(word in name.split(".") for name in tensors)]
    return Group(
        where=where,
        tensors={names[name]: tensor for name, tensor in tensors.items()},
        unwrapped=tuple(taken),
    )


def line(group: Group, prefix: str, done: Sequence[str]) -> str:
    """What was read, in words; names come from the file and are made safe."""
    where = ".".join(group.where)
    parts = [f"read {where}" if where else f"read {len(group.tensors)} tensors"]
    if prefix:
        parts.append(f"dropped prefix {prefix!r}")
    parts += [f"dropped {word}." for word in group.unwrapped]
    return one_line(", ".join([*parts, *done]))


def is_averaged(name: str) -> bool:
    """Whether a name is that of an averaged copy of weights."""
    return not _AVERAGED.isdisjoint(re.split(r"[^a-z]+", name.lower()))


def is_aside(name: str) -> bool:
    """Whether a name is that of an average, a loss or a metric, not of a part of a network."""
    first = name.partition(".")[0].lower()
    return is_averaged(first) or _ASIDE.fullmatch(first) is not None


def several(names: Sequence[str], path: Path, flag: str) -> BenchError:
    """The refusal to choose between several."""
    shown = [one_line(name) for name in dict.fromkeys(names)]
    example = next((name for name in shown if name), "KEY")
    listing = " and ".join(shown)
    text = f"checkpoint {path} holds several: {listing}. Say which, such as {flag}"
    sign = " " if flag == "--init" else "="
    return BenchError(f"{text}{sign}{path}::{example}.")


def no_part(part: str, known: Sequence[str], path: Path) -> BenchError:
    """The refusal of a part that is not there."""
    listing = ", ".join(one_line(name) for name in known[:8] if name) or "one state dict, no name"
    return BenchError(f"checkpoint {path} has no weights under {part!r}. It holds {listing}.")
