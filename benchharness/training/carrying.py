"""Weights carried into another network of the same names: from slices to volumes, or to other data.

A network trained on slices, volumes of depth 1, has only seen them through the central slice of
each kernel: the other slices met padding and kept the values that were drawn. Its weights go on to
volumes in one of two ways, `as_is` with those slices, or `centre_slice` without them. A 2-D twin, a
network with the same names and 2-D kernels, is inflated: `centre` puts each kernel into the central
slice, `mean` distributes it evenly over depth (Carreira and Zisserman, "Quo Vadis, Action
Recognition?", arXiv 1705.07750). Centred, a network gives on a volume of depth 1 what its twin
gives on the slice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

Method = Literal["centre", "as_is", "centre_slice", "mean"]
"""How kernels become those of a 3-D network.

| method | 2-D kernels | 3-D kernels |
|---|---|---|
| `centre` | into the central slice, zeros beside it | as they are |
| `as_is` | refused | as they are |
| `centre_slice` | into the central slice, zeros beside it | the central slice, zeros beside it |
| `mean` | evenly over depth | as they are |
"""

_CONVOLUTION = 5
"""Axes of a 3-D kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A state dict made for a network, and where each of its tensors comes from."""

    tensors: dict[str, Tensor]
    """Complete: what was not carried has the network's own values."""
    carried: tuple[str, ...]
    """Names of tensors taken over bit by bit."""
    adapted: tuple[str, ...]
    """Names of those that were inflated, cut to their central slice or given other channels."""
    changes: tuple[str, ...]
    """What was done to those, in a few words each."""
    drawn: tuple[str, ...]
    """Names of the head's tensors where the network kept its own."""

    @property
    def summary(self) -> str:
        """One line for a model card."""
        parts = [f"{len(self.carried)} tensors carried"]
        if self.adapted:
            counted = Counter(self.changes)
            done = ", ".join(f"{n} {what}" if n > 1 else what for what, n in counted.items())
            parts.append(f"{len(self.adapted)} adapted ({done})")
        if self.drawn:
            parts.append(f"{len(self.drawn)} drawn anew ({', '.join(self.drawn)})")
        return ", ".join(parts)


def fits_by_name(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether weights have exactly the names of a network, whatever their shapes."""
    return state.keys() == own.keys()


def carry(
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    *,
    method: str = "centre",
    keep_head: bool = True,
    head: str = "",
) -> Carried:
    """Make weights of the same names into those of a network; nothing is changed in place.

    Channels are reconciled where either side has one: kernels for several are summed for one, as if
    grey values were in all, and one kernel is shared out over several, so that a grey volume
    repeated in all of them gets the same response.

    Args:
        state: The weights, with exactly the names of `own`.
        own: The network's state dict.
        method: See `Method`.
        keep_head: Whether a head for as many classes is carried too; False where the labels of the
            two datasets do not correspond. A head for another number stays the network's own.
        head: Name of the layer that gives the logits; empty takes the last of the state dict.

    Raises:
        ValueError: For an unknown method, other names, or shapes that nothing here reconciles; one
            line.
    """
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    if not fits_by_name(state, own):
        odd = sorted(own.keys() ^ state.keys())
        raise ValueError(f"{len(odd)} names are not in both (first: {odd[0]})")
    last = head or list(own)[-1].rpartition(".")[0]
    logits = tuple(name for name in own if name.rpartition(".")[0] == last)
    classes_differ = any(_differ_at(state[name], own[name], 0) for name in logits)
    drawn = logits if classes_differ or not keep_head else ()
    tensors: dict[str, Tensor] = {}
    changes: dict[str, str] = {}
    for name, mine in own.items():
        if name in drawn:
            tensors[name] = mine
            continue
        tensor, done = _deepened(state[name], mine, method)
        if tensor.ndim == _CONVOLUTION and _differ_at(tensor, mine, 1):
            tensor, channels = _rechannelled(name, tensor, mine.shape[1])
            done = f"{done} and {channels}" if done else channels
        tensors[name] = tensor
        if done:
            changes[name] = done
    _check_shapes(tensors, own)
    return Carried(
        tensors=tensors,
        carried=tuple(n for n in own if n not in changes and n not in drawn),
        adapted=tuple(changes),
        changes=tuple(changes.values()),
        drawn=drawn,
    )


def _differ_at(given: Tensor, mine: Tensor, axis: int) -> bool:
    """Whether two shapes differ along this axis and nowhere else."""
    if given.ndim != mine.ndim:
        return False
    pairs = enumerate(zip(given.shape, mine.shape, strict=True))
    return [at for at, (a, b) in pairs if a != b] == [axis]


def _deepened(given: Tensor, mine: Tensor, method: str) -> tuple[Tensor, str]:
    """A kernel as deep as the network's, and what was done; anything else as it is."""
    if mine.ndim != _CONVOLUTION:
        return given, ""
    depth = mine.shape[2]
    if given.ndim == _CONVOLUTION - 1 and method != "as_is":
        if method == "mean":
            return (given / depth).unsqueeze(2).repeat(1, 1, depth, 1, 1), "over depth"
        return _centred(given, depth), "into the central slice"
    if method == "centre_slice" and given.ndim == _CONVOLUTION and given.shape[2] == depth > 1:
        return _centred(given[:, :, depth // 2], depth), "cut to the central slice"
    return given, ""


def _centred(flat: Tensor, depth: int) -> Tensor:
    deep = flat.new_zeros((*flat.shape[:2], depth, *flat.shape[2:]))
    deep[:, :, depth // 2] = flat
    return deep


def _rechannelled(name: str, kernel: Tensor, channels: int) -> tuple[Tensor, str]:
    """A kernel that sees the volumes for another number of channels, and what was done."""
    given = kernel.shape[1]
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True), f"{name} summed over {given} channels"
    if given == 1:
        spread = kernel.expand(-1, channels, *kernel.shape[2:]) / channels
        return spread, f"{name} shared out over {channels} channels"
    raise ValueError(
        f"{name} is for {given} channels and the network's for {channels}; only one channel on "
        "either side can be reconciled"
    )


def _check_shapes(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    wrong = [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(mine.shape)}"
        for name, mine in own.items()
        if tensors[name].shape != mine.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ValueError(f"{wrong[0]}{more}")
