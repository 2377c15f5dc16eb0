"""Published weights for these networks: strict renaming, inflation from 2-D to 3-D, adaptation.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462; its 2-D code is at github.com/Omid-Nejati/MedViT, and the
public 3-D port keeps the same parameter names. Centre-slice and mean inflation: Carreira and
Zisserman, "Quo Vadis, Action Recognition?", arXiv 1705.07750.
Changed here: our modules have names of their own, so every conversion is a renaming in which each
public parameter is used exactly once.

    network = medvit3d_t(num_classes=2)
    initialise_from(network, read_checkpoint("MedViT_small_im1k.pth"))
"""

from __future__ import annotations

import argparse
import pickle
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from medvit3d.cbam import MedViT3DCBAM
from medvit3d.network import Architecture, MedViT3D

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Inflation = Literal["centre", "mean"]
"""How a 2-D kernel becomes 3-D: in the central slice alone, or shared out evenly over depth."""

_FEED_FORWARD = {
    "feed_forward.expand": "conv.conv.0",
    "feed_forward.expand_norm": "conv.conv.1",
    "feed_forward.depthwise": "conv.conv.3",
    "feed_forward.depthwise_norm": "conv.conv.4",
    "feed_forward.gate.reduce": "conv.conv.6.fc.0",
    "feed_forward.gate.restore": "conv.conv.6.fc.2",
    "feed_forward.project": "conv.conv.7",
    "feed_forward.project_norm": "conv.conv.8",
}
_EMBEDDING = {"embed.conv": "patch_embed.conv", "embed.norm": "patch_embed.norm"}
_CONV_BLOCK = {
    **_EMBEDDING,
    "attention.group_conv": "mhca.group_conv3x3",
    "attention.norm": "mhca.norm",
    "attention.projection": "mhca.projection",
    "norm": "norm",
    **_FEED_FORWARD,
}
_TRANSFORMER_BLOCK = {
    **_EMBEDDING,
    "norm": "norm1",
    "attention.query": "e_mhsa.q",
    "attention.key": "e_mhsa.k",
    "attention.value": "e_mhsa.v",
    "attention.projection": "e_mhsa.proj",
    "attention.key_norm": "e_mhsa.norm",
    "local_embed.conv": "projection.conv",
    "local_embed.norm": "projection.norm",
    "local_attention.group_conv": "mhca.group_conv3x3",
    "local_attention.norm": "mhca.norm",
    "local_attention.projection": "mhca.projection",
    "feed_forward_norm": "norm2",
    **_FEED_FORWARD,
}
_CBAM_BLOCK = {
    **_EMBEDDING,
    "attention.reduce": "cbam.fc.0",
    "attention.restore": "cbam.fc.2",
    "attention.spatial": "cbam.spatial.0",
    "conv": "conv.0",
    "norm": "conv.1",
}


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Reads the state dict of a published ``.pth`` file, without executing anything in it.

    Args:
        path: The file; a state dict, or a dict that holds one under ``model`` or ``state_dict``.

    Returns:
        The state dict on the CPU, without the prefix that data-parallel training adds.

    Raises:
        ValueError: If the file is absent or holds no state dict.
    """
    try:
        # Training scripts store their arguments beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"cannot read the checkpoint {path}: {reason}") from error
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f"the checkpoint {path} holds no state dict: save one with "
            f"torch.save(model.state_dict(), {str(path)!r})"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def convert_port(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of the public MedViT-3D port (small, base or large) to ours.

    Args:
        state: Its state dict.

    Returns:
        The state dict of a ``MedViT3D`` with as many classes and channels.

    Raises:
        ValueError: If a parameter is missing, left over, or of another shape.
    """
    network = _port_skeleton(state)
    return _rename(state, network, _port_names(network.architecture))


def convert_cbam(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of the public CBAM network to ours.

    Args:
        state: Its state dict.

    Returns:
        The state dict of a ``MedViT3DCBAM`` with as many classes and channels.

    Raises:
        ValueError: If a parameter is missing, left over, or of another shape.
    """
    classes = _shape(state, "head.weight")[0]
    channels = _shape(state, "stem.0.conv.weight")[1]
    with torch.device("meta"):
        network = MedViT3DCBAM(classes, channels)
    return _rename(state, network, _cbam_name)


def inflate(
    state: Mapping[str, Tensor], *, method: Inflation = "centre", in_channels: int = 1
) -> dict[str, Tensor]:
    """Turns the weights of a 2-D MedViT (small, base or large) into those of a ``MedViT3D``.

    With the centre method and ``spatial_reduction="slice_sequence"`` the 3-D network gives the
    2-D network's logits on a volume of depth 1 and on one that is constant along depth.
    The mean method keeps the response to such a volume only away from its first and last slices,
    but looks along depth from the start.

    Args:
        state: State dict of the 2-D network.
        method: See ``Inflation``.
        in_channels: Channels of the volumes: those of the 2-D stem, or 1, for which the stem's
            kernels are summed, as if the grey values were given in every channel.

    Returns:
        The state dict of a ``MedViT3D`` with as many classes.

    Raises:
        ValueError: If a parameter is missing, left over, or of another shape, or for an unknown
            method or number of channels.
    """
    if method not in get_args(Inflation):
        raise ValueError(f"method must be one of {', '.join(get_args(Inflation))}, got {method!r}")
    network = _port_skeleton(state)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    public_name = _port_names(network.architecture)
    depths = {public_name(name): shape[2] for name, shape in shapes.items() if len(shape) == 5}
    inflated = {
        name: _inflate_kernel(tensor, depths[name], method)
        if name in depths and tensor.ndim == 4
        else tensor
        for name, tensor in state.items()
    }
    return _with_channels(_rename(inflated, network, public_name), in_channels)


def initialise_from(
    network: MedViT3D | MedViT3DCBAM, state: Mapping[str, Tensor], *, method: Inflation = "centre"
) -> str:
    """Loads published weights of any of the three families into a network of ours.

    A head for other classes stays as the network has it; a stem of three channels is summed for
    one. Everything else must fit exactly.

    Args:
        network: The network to load into, changed in place.
        state: State dict of the 2-D MedViT, of the MedViT-3D port or of the CBAM network.
        method: How 2-D weights are inflated.

    Returns:
        One line that says what was done, for a model card.

    Raises:
        ValueError: If the weights are of another network.
    """
    channels = network.in_channels
    if isinstance(network, MedViT3DCBAM):
        source = "MedViT-3D CBAM weights"
        converted = _with_channels(convert_cbam(state), channels)
    elif len(_shape(state, "stem.0.conv.weight")) == 4:
        source = f"2-D MedViT weights, {method} inflation"
        converted = inflate(state, method=method, in_channels=channels)
    else:
        source = "MedViT-3D weights"
        converted = _with_channels(convert_port(state), channels)
    remade = converted["head.weight"].shape != network.head.weight.shape
    own = network.state_dict()
    if remade:
        converted |= {name: own[name] for name in ("head.weight", "head.bias")}
    _check_shapes(converted, own)
    network.load_state_dict(converted)
    return f"{source}; head {'re-made' if remade else 'kept'} for {len(network.head.bias)} classes"


def _port_skeleton(state: Mapping[str, Tensor]) -> MedViT3D:
    """The network that a port's or 2-D MedViT's state dict describes, without memory."""
    blocks = {name.split(".")[1] for name in state if name.startswith("features.")}
    outer = sum(Architecture(depths=(3, 4, 5, 3)).depths) - 5
    third = len(blocks) - outer
    if third < 5 or third % 5:
        raise ValueError(
            f"not the weights of a MedViT small, base or large: they have 20, 30 or 40 blocks "
            f"named features.N, got {len(blocks)}"
        )
    classes = _shape(state, "proj_head.0.weight")[0]
    channels = _shape(state, "stem.0.conv.weight")[1]
    with torch.device("meta"):
        return MedViT3D(Architecture(depths=(3, 4, third, 3)), classes, channels)


def _port_names(architecture: Architecture) -> Callable[[str], str]:
    """The function from our parameter names to those of the port and of the 2-D MedViT."""

    def public_name(name: str) -> str:
        if name.startswith("head."):
            return name.replace("head.", "proj_head.0.", 1)
        if not name.startswith("stages."):
            return name
        _, stage, block, rest = name.split(".", 3)
        module, _, parameter = rest.rpartition(".")
        transformer = architecture.is_transformer(int(stage), int(block))
        table = _TRANSFORMER_BLOCK if transformer else _CONV_BLOCK
        position = sum(architecture.depths[: int(stage)]) + int(block)
        return f"features.{position}.{table[module]}.{parameter}"

    return public_name


def _cbam_name(name: str) -> str:
    """From our parameter names to those of the public CBAM network."""
    if not name.startswith("blocks."):
        return name
    _, block, rest = name.split(".", 2)
    module, _, parameter = rest.rpartition(".")
    return f"ltb{int(block) + 1}.{_CBAM_BLOCK[module]}.{parameter}"


def _rename(
    state: Mapping[str, Tensor], network: nn.Module, public_name: Callable[[str], str]
) -> dict[str, Tensor]:
    """Gives our names to public weights, refusing any that are missing, left over or misshapen."""
    own = network.state_dict()
    names = {public_name(name): name for name in own}
    missing = sorted(names.keys() - state.keys())
    leftover = sorted(state.keys() - names.keys())
    if missing or leftover:
        raise ValueError(
            f"the weights do not fit this network: missing {_listed(missing)}; "
            f"left over {_listed(leftover)}"
        )
    renamed = {own_name: state[name] for name, own_name in names.items()}
    _check_shapes(renamed, own)
    return renamed


def _check_shapes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless both have the same names and shapes."""
    wrong = [
        f"{name} {tuple(state[name].shape) if name in state else 'absent'} "
        f"instead of {tuple(own[name].shape) if name in own else 'nothing'}"
        for name in sorted(own.keys() | state.keys())
        if name not in own or name not in state or own[name].shape != state[name].shape
    ]
    if wrong:
        raise ValueError(f"the weights do not fit this network: {_listed(wrong)}")


def _listed(names: list[str], limit: int = 8) -> str:
    """At most ``limit`` names on one line, and how many more there are."""
    if not names:
        return "nothing"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _shape(state: Mapping[str, Tensor], name: str) -> torch.Size:
    """The shape of a parameter that every network of the family has."""
    if name not in state:
        raise ValueError(f"the weights do not fit this network: missing {name}")
    return state[name].shape


def _inflate_kernel(kernel: Tensor, depth: int, method: Inflation) -> Tensor:
    """``(out, in, h, w)`` to ``(out, in, depth, h, w)``."""
    if method == "mean":
        return (kernel / depth).unsqueeze(2).repeat(1, 1, depth, 1, 1)
    inflated = kernel.new_zeros((*kernel.shape[:2], depth, *kernel.shape[2:]))
    inflated[:, :, depth // 2] = kernel
    return inflated


def _with_channels(state: dict[str, Tensor], in_channels: int) -> dict[str, Tensor]:
    """Sums the stem's kernels over the channels it takes, where volumes have only one."""
    kernel = state["stem.0.conv.weight"]
    if kernel.shape[1] == in_channels:
        return state
    if in_channels != 1:
        raise ValueError(
            f"a stem for {kernel.shape[1]} channels serves that many or 1, got in_channels="
            f"{in_channels}"
        )
    return {**state, "stem.0.conv.weight": kernel.sum(dim=1, keepdim=True)}
