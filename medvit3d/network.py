"""The MedViT-3D network: stem, four stages, norm, global average and linear head.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462.
Changed here: three dimensions; widths and depths are a configuration, so that small networks can
be built; inputs of any size and depth are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, get_args

from torch import Tensor, nn

from medvit3d.blocks import ConvBlock, LocalFeedForward, SpatialReduction, TransformerBlock
from medvit3d.folding import fold_batch_norms
from medvit3d.frozen import frozen
from medvit3d.layers import BatchNorm, ConvNormAct, PatchMomentumChanger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medvit3d.weights import Inflation

STAGE_STRIDES = (1, 2, 2, 2)
KEY_RATIOS = (8, 4, 2, 1)
TRANSFORMER_PERIOD = 5
"""In stage 3 every fifth block is a transformer block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Widths and depths of a MedViT-3D network; the defaults are the paper's widths."""

    depths: tuple[int, int, int, int]
    """Blocks per stage; stage 3 a multiple of five."""

    stem_channels: tuple[int, int, int, int] = (64, 32, 64, 64)
    """Channels out of the four convolutions of the stem."""

    conv_channels: tuple[int, int, int, int] = (96, 192, 384, 768)
    """Channels of the convolution blocks of each stage, multiples of 32."""

    transformer_channels: tuple[int, int, int] = (256, 512, 1024)
    """Channels of the transformer blocks of stages 2 to 4, multiples of 128."""

    def __post_init__(self) -> None:
        """Refuses depths that cannot be laid out.

        Raises:
            ValueError: If a stage is empty or stage 3 is no multiple of five.
        """
        if min(self.depths) < 1 or self.depths[2] % TRANSFORMER_PERIOD:
            raise ValueError(
                f"depths must be positive and the third a multiple of {TRANSFORMER_PERIOD}, "
                f"got {self.depths}: try (3, 4, 10, 3)"
            )

    def is_transformer(self, stage: int, block: int) -> bool:
        """Whether a block, both counted from 0, is a transformer block."""
        if stage == 0:
            return False
        if stage == 2:
            return block % TRANSFORMER_PERIOD == TRANSFORMER_PERIOD - 1
        return block == self.depths[stage] - 1


class MedViT3D(nn.Module):
    """MedViT-3D: logits of volumes of any size from 16^3 to 128^3, cubic or not, or of depth 1.

    The first stage works on a quarter of the input grid per axis and each later one on half of the
    one before. Training needs at least two volumes a batch where the last stage is 1^3, that is
    where no axis exceeds 32: drop the last batch of an epoch if it holds one volume.

    Args:
        architecture: Widths and depths.
        num_classes: Number of logits, at least 1.
        in_channels: Channels of a volume.
        drop_path: Chance of dropping a branch in the last block, in [0, 1); rises linearly from 0.
        spatial_reduction: How attention reduces its keys; see ``blocks.SpatialReduction``.
        patch_momentum_changer: Whether training permutes feature statistics after stage 1.

    Attributes:
        gradcam_layer: Name of the layer whose output Grad-CAM should weigh. Stage 2 is the last
            whose grid still locates anything in a volume of 28^3: 4^3, against 2^3 and 1^3.

    Raises:
        ValueError: For an unknown reduction or fewer than one class or channel.
    """

    gradcam_layer = "stages.1"

    def __init__(
        self,
        architecture: Architecture,
        num_classes: int,
        in_channels: int = 1,
        *,
        drop_path: float = 0.1,
        spatial_reduction: SpatialReduction = "spatial",
        patch_momentum_changer: bool = False,
    ) -> None:
        super().__init__()
        check_size(num_classes, in_channels)
        if spatial_reduction not in get_args(SpatialReduction):
            raise ValueError(
                f"spatial_reduction must be one of {', '.join(get_args(SpatialReduction))}, "
                f"got {spatial_reduction!r}"
            )
        self.architecture = architecture
        self.in_channels = in_channels
        self.stem = make_stem(in_channels, architecture.stem_channels)
        self.stages = _make_stages(architecture, drop_path, spatial_reduction)
        self.momentum_changer: nn.Module = (
            PatchMomentumChanger() if patch_momentum_changer else nn.Identity()
        )
        features = architecture.transformer_channels[-1]
        self.norm = BatchNorm(features)
        self.head = nn.Linear(features, num_classes)
        initialise(self)

    def folded(self) -> MedViT3D:
        """An equal network for evaluation, its normalisations folded into the convolutions.

        On a CPU its blocks are those of ``frozen``: it can be differentiated once, by its input.
        """
        folded = fold_batch_norms(self)
        if self.head.weight.device.type == "cpu":
            for stage in folded.stages:
                assert isinstance(stage, nn.Sequential)
                for index, block in enumerate(stage):
                    stage[index] = frozen(block)
        return folded

    def forward(self, volumes: Tensor) -> Tensor:
        """Maps volumes ``(B, C, D, H, W)`` to logits ``(B, num_classes)`` in either mode.

        Raises:
            ValueError: If the input has not five axes, or a training batch is too small.
        """
        check_volumes(volumes)
        features = self.momentum_changer(self.stages[0](self.stem(volumes)))
        for stage in self.stages[1:]:
            features = stage(features)
        logits: Tensor = self.head(self.norm(features).mean(dim=(2, 3, 4)))
        return logits

    def initialise_from(self, state: Mapping[str, Tensor], *, method: Inflation = "centre") -> str:
        """Loads published weights; as ``weights.initialise_from``, which it calls."""
        from medvit3d.weights import initialise_from  # weights imports this module

        return initialise_from(self, state, method=method)


def make_stem(
    in_channels: int, channels: tuple[int, ...], strides: tuple[int, ...] = (2, 1, 1, 2)
) -> nn.Sequential:
    """Builds the convolutions before the stages, which leave a quarter of the grid per axis."""
    widths = (in_channels, *channels)
    return nn.Sequential(
        *(
            ConvNormAct(wide_in, wide_out, stride=stride)
            for wide_in, wide_out, stride in zip(widths, channels, strides, strict=False)
        )
    )


def initialise(network: nn.Module) -> None:
    """Leaves torch's initial weights, but starts every feed-forward branch at zero.

    The norm that ends a feed-forward branch begins with weight 0 (Goyal et al., arXiv 1706.02677,
    section 5.1): with few volumes a batch the late stages, 2^3 and 1^3 at 28^3, otherwise begin as
    noise. The original draws all weights from N(0, 0.02); depthwise and stem kernels have few
    inputs, and steps of an adaptive optimiser are then large against them.
    """
    for module in network.modules():
        if isinstance(module, LocalFeedForward):
            nn.init.zeros_(module.project_norm.weight)


def check_size(num_classes: int, in_channels: int) -> None:
    """Raises ValueError unless there is at least one class and one channel."""
    if num_classes < 1 or in_channels < 1:
        raise ValueError(
            f"num_classes and in_channels must be at least 1, got {num_classes} and {in_channels}"
        )


def check_volumes(volumes: Tensor) -> None:
    """Raises ValueError unless the input has five axes."""
    if volumes.ndim != 5:
        raise ValueError(
            f"expected volumes (batch, channels, depth, height, width), got shape "
            f"{tuple(volumes.shape)}: add the missing axes, with depth 1 for an image"
        )


def _make_stages(
    architecture: Architecture, drop_path: float, reduction: SpatialReduction
) -> nn.ModuleList:
    last = sum(architecture.depths) - 1
    rates = (drop_path * block / last for block in count())
    channels = architecture.stem_channels[-1]
    stages = nn.ModuleList()
    for stage, depth in enumerate(architecture.depths):
        blocks = nn.Sequential()
        for block in range(depth):
            stride = STAGE_STRIDES[stage] if block == 0 else 1
            rate = next(rates)
            if architecture.is_transformer(stage, block):
                width = architecture.transformer_channels[stage - 1]
                ratio = KEY_RATIOS[stage]
                blocks.append(
                    TransformerBlock(
                        channels,
                        width,
                        stride=stride,
                        drop_path=rate,
                        ratio=ratio,
                        reduction=reduction,
                    )
                )
            else:
                width = architecture.conv_channels[stage]
                blocks.append(ConvBlock(channels, width, stride=stride, drop_path=rate))
            channels = width
        stages.append(blocks)
    return stages
