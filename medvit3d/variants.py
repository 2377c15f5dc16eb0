"""The named MedViT-3D networks, each a factory ``(num_classes, in_channels=1, ...) -> Module``.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462. Its T, S and L are what the published code calls small, base
and large. Changed here: ``medvit3d_n`` is ours, for CPUs and tests; ``medvit3d_cbam`` is the
network in most checkpoints published as MedViT-3D (see ``cbam.py``).

All map float32 volumes ``(B, in_channels, D, H, W)`` to logits ``(B, num_classes)``. Each factory
spells out its options, because callers check a configuration against its signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medvit3d.architecture import Architecture
from medvit3d.cbam import MedViT3DCBAM
from medvit3d.network import MedViT3D

if TYPE_CHECKING:
    from medvit3d.blocks import SpatialReduction

TINY = Architecture(depths=(3, 4, 10, 3))
SMALL = Architecture(depths=(3, 4, 20, 3))
LARGE = Architecture(depths=(3, 4, 30, 3))
NANO = Architecture(
    depths=(1, 2, 5, 2),
    stem_channels=(32, 16, 32, 32),
    conv_channels=(32, 64, 96, 128),
    transformer_channels=(128, 128, 256),
)


def medvit3d_t(
    num_classes: int,
    in_channels: int = 1,
    *,
    drop_path: float = 0.1,
    spatial_reduction: SpatialReduction = "spatial",
    patch_momentum_changer: bool = False,
) -> MedViT3D:
    """MedViT-3D tiny: depths 3-4-10-3, 35.1 M parameters.

    Options as in ``MedViT3D``.
    """
    return MedViT3D(
        TINY,
        num_classes,
        in_channels,
        drop_path=drop_path,
        spatial_reduction=spatial_reduction,
        patch_momentum_changer=patch_momentum_changer,
    )


def medvit3d_s(
    num_classes: int,
    in_channels: int = 1,
    *,
    drop_path: float = 0.2,
    spatial_reduction: SpatialReduction = "spatial",
    patch_momentum_changer: bool = False,
) -> MedViT3D:
    """MedViT-3D small: depths 3-4-20-3, 50.5 M parameters.

    Options as in ``MedViT3D``.
    """
    return MedViT3D(
        SMALL,
        num_classes,
        in_channels,
        drop_path=drop_path,
        spatial_reduction=spatial_reduction,
        patch_momentum_changer=patch_momentum_changer,
    )


def medvit3d_l(
    num_classes: int,
    in_channels: int = 1,
    *,
    drop_path: float = 0.2,
    spatial_reduction: SpatialReduction = "spatial",
    patch_momentum_changer: bool = False,
) -> MedViT3D:
    """MedViT-3D large: depths 3-4-30-3, 65.9 M parameters.

    Options as in ``MedViT3D``.
    """
    return MedViT3D(
        LARGE,
        num_classes,
        in_channels,
        drop_path=drop_path,
        spatial_reduction=spatial_reduction,
        patch_momentum_changer=patch_momentum_changer,
    )


def medvit3d_n(
    num_classes: int,
    in_channels: int = 1,
    *,
    drop_path: float = 0.0,
    spatial_reduction: SpatialReduction = "spatial",
    patch_momentum_changer: bool = False,
) -> MedViT3D:
    """MedViT-3D nano: depths 1-2-5-2, narrower, 1.9 M parameters.

    Options as in ``MedViT3D``.
    """
    return MedViT3D(
        NANO,
        num_classes,
        in_channels,
        drop_path=drop_path,
        spatial_reduction=spatial_reduction,
        patch_momentum_changer=patch_momentum_changer,
    )


def medvit3d_cbam(num_classes: int, in_channels: int = 1) -> MedViT3DCBAM:
    """The CBAM network: 0.87 M parameters, without attention between positions."""
    return MedViT3DCBAM(num_classes, in_channels)
