"""What was read from a file → the tensors of one network, under the network's own names.

Which dict holds the weights, and which prefix their names have, is decided by the names and shapes
of the network. Nothing is guessed: where two answers fit, the user says which, and what is left of
the file is either known to be no part of a network or refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from benchharness.errors import BenchError
from benchharness.networks.formats.groups import (
    Reading,
    groups,
    is_aside,
    is_averaged,
    line,
    no_part,
    several,
)
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from benchharness.networks.formats.groups import Group

_LONGEST_NAME = 64
"""Parts of a tensor's name that are looked at."""

_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Match:
    """A group under a prefix, held against a network."""

    group: Group
    prefix: str
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    names: frozenset[str]
    """Of the network, those that the group has."""
    filled: Mapping[str, Tensor] = field(default_factory=dict)
    """What follows from the rest: counters that start at 0, and tied weights."""

    @property
    def spelled(self) -> str:
        """What the user types after `::`."""
        return ".".join((*self.group.where, *self.prefix.split("."))).strip(".")

    @property
    def averaged(self) -> bool:
        """Whether names say that these are averages of weights."""
        return is_averaged(self.spelled)


def fit(
    content: Any,
    wanted: Mapping[str, Tensor],
    path: Path,
    *,
    owner: str,
    part: str = "",
) -> Reading:
    """Find a network's weights in what was read.

    Args:
        content: From `content.read`.
        wanted: The network's state dict.
        path: The file, for messages.
        owner: Name of the model, for messages.
        part: Which of several the user asks for; empty if nothing was asked.

    Returns:
        As many tensors as the network has, under its names and with its shapes; their types are
        not looked at. Where nothing fits, the nearest, which then lacks or has too much.

    Raises:
        BenchError: When the file holds no tensors, there is no such part, or several fit.
    """
    found = list(groups(content, wanted, path))
    matches = [
        _matched(group, prefix, wanted) for group in found for prefix in _prefixes(group, wanted)
    ]
    everything = [match for match in matches if not match.missing and not match.misshapen]
    asked = _asked(matches, found, part, path) if part else matches
    fitting = [match for match in everything if match in asked]
    if not fitting:
        return _nearest(asked, found, wanted)
    chosen = _chosen(fitting, path, owner)
    reached = bool(chosen.prefix) and f".{chosen.spelled}".endswith(f".{part.strip('.')}")
    read = _reading(chosen, everything, path, owner, explicit=bool(part) and reached)
    tensors = {
        name: tensor
        for name, tensor in read.tensors.items()
        if name in wanted or not is_aside(name)
    }
    matters = bool(part) and _default(everything) is not chosen
    return replace(read, tensors=tensors, part=chosen.spelled if matters else "")


def _default(fitting: Sequence[_Match]) -> _Match | None:
    """What would be read if nothing was asked; None where that is refused."""
    plain = _plain(fitting)
    return plain[0] if all(_equal(plain[0], other) for other in plain[1:]) else None


def _plain(fitting: Sequence[_Match]) -> Sequence[_Match]:
    """All copies but averages; these only where there is nothing else."""
    return [match for match in fitting if not match.averaged] or fitting


def _prefixes(group: Group, wanted: Mapping[str, Tensor]) -> list[str]:
    """Prefixes under which names of the network are in a group, those of most names only."""
    count: Counter[str] = Counter()
    for name in group.tensors:
        words = name.split(".", _LONGEST_NAME)
        for start in range(len(words)):
            if ".".join(words[start:]) in wanted:
                count[".".join(words[:start])] += 1
    whole = [place for place, names in count.items() if names >= _fewest(wanted)]
    places = whole or [place for place, _ in count.most_common(1)] or [""]
    return [f"{place}." if place else "" for place in sorted(places)]


def _fewest(wanted: Mapping[str, Tensor]) -> int:
    """Names that a whole copy of the network has at least: counters and tied ones may lack."""
    return len({_memory(t) for name, t in wanted.items() if not name.endswith(_COUNTER)})


def _memory(tensor: Tensor) -> tuple[int, ...]:
    """The same for tied weights alone; empty tensors share no memory."""
    return (tensor.data_ptr() or id(tensor), *tensor.shape, -1, *tensor.stride())


def _matched(group: Group, prefix: str, wanted: Mapping[str, Tensor]) -> _Match:
    """Hold a group against the network, and fill what follows from the rest."""
    found = {
        name: group.tensors[prefix + name] for name in wanted if prefix + name in group.tensors
    }
    by_memory = {_memory(wanted[name]): tensor for name, tensor in found.items()}
    filled: dict[str, Tensor] = {}
    for name, own in wanted.items():
        if name in found:
            continue
        if name.endswith(_COUNTER):
            filled[name] = torch.zeros_like(own)
        elif _memory(own) in by_memory:
            filled[name] = by_memory[_memory(own)]
    return _Match(
        group=group,
        prefix=prefix,
        missing=tuple(name for name in wanted if name not in found and name not in filled),
        misshapen=tuple(name for name in found if found[name].shape != wanted[name].shape),
        names=frozenset(found),
        filled=filled,
    )


def _asked(
    matches: Sequence[_Match], groups: Sequence[Group], part: str, path: Path
) -> list[_Match]:
    part = part.strip(".")
    found = [
        match
        for match in matches
        if f".{match.spelled}.".startswith(f".{part}.") or f".{match.spelled}".endswith(f".{part}")
    ]
    if not found:
        known = {match.spelled for match in matches} | {".".join(g.where) for g in groups}
        raise no_part(part, sorted(known - {""}), path)
    return found


def _chosen(fitting: Sequence[_Match], path: Path, owner: str) -> _Match:
    """The one copy of the network.

    Raises:
        BenchError: When there are several with different values.
    """
    chosen = _default(fitting)
    if chosen is None:
        names = [match.spelled for match in _plain(fitting)]
        raise several(names, path, f"--checkpoint {owner}")
    return chosen


def _equal(one: _Match, other: _Match) -> bool:
    names = [name.removeprefix(one.prefix) for name in one.group.tensors]
    return all(
        torch.equal(one.group.tensors[one.prefix + name], other.group.tensors[other.prefix + name])
        for name in names
        if one.prefix + name in one.group.tensors and other.prefix + name in other.group.tensors
    )


def _reading(
    chosen: _Match, fitting: Sequence[_Match], path: Path, owner: str, *, explicit: bool
) -> Reading:
    """All tensors of a copy that fits, and a line about what is beside it.

    Raises:
        BenchError: When something beside the prefix may be a part of the network too.
    """
    group, prefix = chosen.group, chosen.prefix
    beside = [name for name in group.tensors if not name.startswith(prefix)]
    strange = [] if explicit else [name for name in beside if not is_aside(name)]
    if strange:
        raise BenchError(
            f"checkpoint {path} has the weights of {owner!r} under {prefix!r}, and beside it "
            f"{len(strange)} tensors that may belong to the network (first: "
            f"{one_line(strange[0])}). If they do not, type --checkpoint "
            f"{owner}={path}::{chosen.spelled}."
        )
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in group.tensors.items()
        if name.startswith(prefix)
    }
    left = beside + [name for name in tensors if is_aside(name) and name not in chosen.names]
    averages = sum(is_averaged(name.partition(".")[0]) for name in left)
    others = len(left) - averages
    averages += sum(
        len(match.names) for match in fitting if match.averaged and match.group is not group
    )
    counters = sum(name.endswith(_COUNTER) for name in chosen.filled)
    done = [
        text
        for count, text in (
            (counters, f"filled {counters} {_COUNTER} with 0"),
            (len(chosen.filled) - counters, "filled tied tensors from their twins"),
            (averages, f"left {averages} EMA keys unread"),
            (others, f"left {others} keys of losses and metrics unread"),
        )
        if count
    ]
    if explicit and others:
        done[-1] = f"left {others} other keys unread"
    return Reading(tensors=tensors | dict(chosen.filled), line=line(group, prefix, done))


def _nearest(
    matches: Sequence[_Match], groups: Sequence[Group], wanted: Mapping[str, Tensor]
) -> Reading:
    """What comes nearest, for a message that counts what is missing, too much or misshapen."""
    if not matches:
        return Reading(tensors=dict(groups[0].tensors), line="")
    best = min(matches, key=lambda match: (len(match.missing), len(match.misshapen)))
    tensors = {
        short: tensor
        for name, tensor in best.group.tensors.items()
        if (short := name.removeprefix(best.prefix)) in wanted or not is_aside(short)
    }
    return Reading(tensors=tensors | dict(best.filled), line="")
