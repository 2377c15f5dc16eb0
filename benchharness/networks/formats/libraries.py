"""Networks that other libraries build by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import contained

if TYPE_CHECKING:
    from collections.abc import Callable

TIMM_3D = f"{__name__}:timm_3d"


def timm_3d(num_classes: int, in_channels: int = 1, *, name: str, **arguments: Any) -> nn.Module:
    """Build a network of timm_3d, without its pretrained weights unless they are asked for.

    Args:
        num_classes: Number of logits.
        in_channels: Channels of a volume.
        name: What timm_3d calls it.
        **arguments: Passed on.

    Raises:
        BenchError: If timm_3d is not installed.
        CellError: If it knows no network of this name.
    """
    given = {"pretrained": False, **arguments}
    made = timm_3d_maker()(name, num_classes=num_classes, in_chans=in_channels, **given)
    if not isinstance(made, nn.Module):
        raise CellError(f"timm_3d made {type(made).__name__} of {name!r}, expected a network")
    return made


def timm_3d_maker() -> Callable[..., Any]:
    """The function of timm_3d that makes networks.

    Raises:
        BenchError: If timm_3d is not installed.
    """
    try:
        with contained(importing=True):
            from timm_3d import create_model
    except ImportError as error:
        raise BenchError(
            "timm_3d: needs the package timm_3d. Install it: pip install timm-3d."
        ) from error
    maker: Callable[..., Any] = create_model
    return maker
