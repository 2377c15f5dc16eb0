"""Published state dicts turned into ours: strict renaming, inflation from 2-D, other channels.

Centre-slice and mean inflation: Carreira and Zisserman, "Quo Vadis, Action Recognition?",
arXiv 1705.07750. Everything here is a function of state dicts and of names: `weights` applies it
to a whole file, and each network to itself in `initialise_from`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

Inflation = Literal["centre", "mean"]
"""How a 2-D kernel becomes 3-D: in the central slice alone, or shared out evenly over depth."""

STEM = "stem.0.conv.weight"
"""Our name, and everybody's, for the kernel that sees the volume."""


def load_published(
    network: nn.Module,
    state: Mapping[str, Tensor],
    public_name: Callable[[str], str],
    *,
    family: str,
    method: Inflation,
) -> str:
    """Loads published weights into a network.

    A head for other classes stays as the network has it; a stem of three channels is summed for
    one. Everything else must fit exactly.

    Args:
        network: Changed in place.
        state: State dict under its public names, 3-D or 2-D.
        public_name: From the network's parameter names to the public ones.
        family: What 3-D weights are called in the line returned.
        method: How 2-D weights are inflated.

    Returns:
        One line that says what was done, for a model card.

    Raises:
        ValueError: If the weights belong to another network.
    """
    own = network.state_dict()
    converted, source = rename(state, own, public_name), f"{family} weights"
    if converted[STEM].ndim == 4:
        converted = inflate_kernels(converted, own, method)
        source = f"2-D MedViT weights, {method} inflation"
    converted = adapt_stem(converted, own[STEM].shape[1])
    classes = len(own["head.weight"])
    remade = len(converted["head.weight"]) != classes
    if remade:
        converted |= {name: own[name] for name in ("head.weight", "head.bias")}
    check_shapes(converted, own)
    network.load_state_dict(converted)
    return f"{source}; head {'re-made' if remade else 'kept'} for {classes} classes"


def rename(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], public_name: Callable[[str], str]
) -> dict[str, Tensor]:
    """Gives our names to public weights, each of which is used exactly once.

    Args:
        state: State dict under its public names.
        own: State dict of the network under our names; only the names count.
        public_name: From our names to the public ones.

    Raises:
        ValueError: If a parameter is missing or left over.
    """
    names = {public_name(name): name for name in own}
    missing = sorted(names.keys() - state.keys())
    leftover = sorted(state.keys() - names.keys())
    if missing or leftover:
        raise ValueError(
            f"the weights do not fit this network: missing {_listed(missing)}; "
            f"left over {_listed(leftover)}"
        )
    return {own_name: state[name] for name, own_name in names.items()}


def check_shapes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless tensors of the same name, the names being equal, have one shape."""
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in sorted(own.items())
        if state[name].shape != tensor.shape
    ]
    if wrong:
        raise ValueError(f"the weights do not fit this network: {_listed(wrong)}")


def inflate_kernels(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], method: Inflation
) -> dict[str, Tensor]:
    """Makes 2-D kernels as deep as the network's; every other tensor stays.

    Args:
        state: State dict of the 2-D network under our names.
        own: State dict of the 3-D network, of which only the shapes count.
        method: See ``Inflation``.

    Raises:
        ValueError: For an unknown method.
    """
    if method not in get_args(Inflation):
        raise ValueError(f"method must be one of {', '.join(get_args(Inflation))}, got {method!r}")
    return {
        name: _inflate(tensor, own[name].shape[2], method)
        if tensor.ndim == 4 and own[name].ndim == 5
        else tensor
        for name, tensor in state.items()
    }


def _inflate(kernel: Tensor, depth: int, method: Inflation) -> Tensor:
    """``(out, in, h, w)`` to ``(out, in, depth, h, w)``."""
    if method == "mean":
        return (kernel / depth).unsqueeze(2).repeat(1, 1, depth, 1, 1)
    inflated = kernel.new_zeros((*kernel.shape[:2], depth, *kernel.shape[2:]))
    inflated[:, :, depth // 2] = kernel
    return inflated


def adapt_stem(state: dict[str, Tensor], in_channels: int) -> dict[str, Tensor]:
    """Sums the stem's kernels over the channels it takes, where volumes have only one.

    Raises:
        ValueError: If volumes have another number of channels than the stem, and not one.
    """
    kernel = state[STEM]
    if kernel.shape[1] == in_channels:
        return state
    if in_channels != 1:
        raise ValueError(
            f"a stem for {kernel.shape[1]} channels serves that many or 1, got in_channels="
            f"{in_channels}"
        )
    return {**state, STEM: kernel.sum(dim=1, keepdim=True)}


def _listed(names: list[str], limit: int = 8) -> str:
    """At most ``limit`` names on one line, and how many more there are."""
    if not names:
        return "nothing"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
