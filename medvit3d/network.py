"""The MedViT-3D network: stem, four stages, norm, global average and linear head.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462.
Changed here: three dimensions; inputs of any size and depth are accepted.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, get_args

from torch import Tensor, nn

from medvit3d.blocks import ConvBlock, LocalFeedForward, SpatialReduction, TransformerBlock
from medvit3d.conversion import load_published
from medvit3d.folding import fold_batch_norms
from medvit3d.frozen import frozen
from medvit3d.layers import BatchNorm, PatchMomentumChanger
from medvit3d.public_names import port_architecture, port_names
from medvit3d.stem import check_size, check_volumes, make_stem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medvit3d.architecture import Architecture
    from medvit3d.conversion import Inflation

STAGE_STRIDES = (1, 2, 2, 2)
KEY_RATIOS = (8, 4, 2, 1)


class MedViT3D(nn.Module):
    """MedViT-3D: logits of volumes of any size from 16^3 to 128^3, cubic or not, or of depth 1.

    The first stage works on a quarter of the input grid per axis and each later one on half of the
    one before. Training needs at least two volumes a batch where the last stage is 1^3, that is
    where no axis exceeds 32: drop the last batch of an epoch if it holds one volume.

    Args:
        architecture: Widths and depths.
        num_classes: Number of logits, at least 1.
        in_channels: Channels of a volume.
        drop_path: Chance of dropping a branch in the last block, in [0, 1); rises linearly from 0
            in the first.
        spatial_reduction: How attention reduces its keys; see ``blocks.SpatialReduction``.
        patch_momentum_changer: Whether training permutes feature statistics after stage 1.

    Attributes:
        gradcam_layer: Name of the layer whose output Grad-CAM should weigh. Stage 2 is the last
            whose grid still locates anything in a volume of 28^3: 4^3, before 2^3 and 1^3.

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
        self.stem = make_stem(in_channels, architecture.stem_channels)
        self.stages = _make_stages(architecture, drop_path, spatial_reduction)
        self.momentum_changer: nn.Module = (
            PatchMomentumChanger() if patch_momentum_changer else nn.Identity()
        )
        features = architecture.transformer_channels[-1]
        self.norm = BatchNorm(features)
        self.head = nn.Linear(features, num_classes)
        _zero_feed_forwards(self)

    def folded(self) -> MedViT3D:
        """An equivalent network for evaluation, with normalisations folded into convolutions.

        On a CPU its blocks are those of ``frozen``, which give the gradient of the input alone.
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
            ValueError: If the input does not have five axes, or a training batch is too small.
        """
        check_volumes(volumes)
        features = self.momentum_changer(self.stages[0](self.stem(volumes)))
        for stage in self.stages[1:]:
            features = stage(features)
        logits: Tensor = self.head(self.norm(features).mean(dim=(2, 3, 4)))
        return logits

    def initialise_from(self, state: Mapping[str, Tensor], *, method: Inflation = "centre") -> str:
        """Loads weights of a 2-D MedViT or of the public MedViT-3D port.

        A head for other classes stays as it is; a stem of three channels is summed for one.
        Everything else must fit exactly.

        Args:
            state: State dict under its public names.
            method: How 2-D weights are inflated.

        Returns:
            One line that says what was done, for a model card.

        Raises:
            ValueError: If the weights belong to another network.
        """
        depths, own_depths = port_architecture(state).depths, self.architecture.depths
        if depths != own_depths:
            raise ValueError(
                f"the weights do not fit this network: they are for depths {depths}, "
                f"this network has {own_depths}"
            )
        names = port_names(self.architecture)
        return load_published(self, state, names, family="MedViT-3D", method=method)


def _zero_feed_forwards(network: nn.Module) -> None:
    """Keeps torch's initial weights, but starts every feed-forward branch at zero.

    The norm that ends a feed-forward branch begins with weight 0 (Goyal et al., arXiv 1706.02677,
    section 5.1): with few volumes in a batch the late stages, 2^3 and 1^3 at 28^3, would otherwise
    begin as noise. The original draws all weights from N(0, 0.02). Depthwise and stem kernels have
    few inputs, so an adaptive optimiser's steps are large compared with weights that small.
    """
    for module in network.modules():
        if isinstance(module, LocalFeedForward):
            nn.init.zeros_(module.project_norm.weight)


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
