"""Published weights read from files and converted to ours: renaming, inflation from 2-D to 3-D.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462; its 2-D code is at github.com/Omid-Nejati/MedViT, and the
public 3-D port keeps the same parameter names.
Changed here: our modules have other names, so every conversion is a renaming that uses each public
parameter exactly once.

    network = medvit3d_t(num_classes=2)
    network.initialise_from(read_checkpoint("MedViT_small_im1k.pth"))
"""

from __future__ import annotations

import argparse
import pickle
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medvit3d.cbam import MedViT3DCBAM
from medvit3d.conversion import STEM, Inflation, adapt_stem, check_shapes, inflate_kernels, rename
from medvit3d.network import MedViT3D
from medvit3d.public_names import cbam_name, port_architecture, port_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from medvit3d.architecture import Architecture


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
    architecture = port_architecture(state)
    own = _port_state(state, architecture)
    renamed = rename(state, own, port_names(architecture))
    check_shapes(renamed, own)
    return renamed


def convert_cbam(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of the public CBAM network to ours; as ``convert_port`` otherwise."""
    classes, channels = _shape(state, "head.weight")[0], _shape(state, STEM)[1]
    with torch.device("meta"):
        own = MedViT3DCBAM(classes, channels).state_dict()
    renamed = rename(state, own, cbam_name)
    check_shapes(renamed, own)
    return renamed


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
            kernels are summed, as if every channel held the same grey values.

    Returns:
        The state dict of a ``MedViT3D`` with as many classes.

    Raises:
        ValueError: If a parameter is missing, left over, or of another shape, or for an unknown
            method or number of channels.
    """
    architecture = port_architecture(state)
    own = _port_state(state, architecture)
    inflated = inflate_kernels(rename(state, own, port_names(architecture)), own, method)
    check_shapes(inflated, own)
    return adapt_stem(inflated, in_channels)


def _port_state(state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """The state dict, without memory, of the network that a port's or a 2-D MedViT's describes."""
    classes, channels = _shape(state, "proj_head.0.weight")[0], _shape(state, STEM)[1]
    with torch.device("meta"):
        return MedViT3D(architecture, classes, channels).state_dict()


def _shape(state: Mapping[str, Tensor], name: str) -> torch.Size:
    """The shape of a parameter that every network of the family has."""
    if name not in state:
        raise ValueError(f"the weights do not fit this network: missing {name}")
    return state[name].shape
