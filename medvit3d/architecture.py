"""Widths and depths of a MedViT-3D network, and which of its blocks are transformer blocks.

Paper: Manzari et al., "MedViT: A Robust Vision Transformer for Generalized Medical Image
Classification", arXiv 2302.09462.
Changed here: widths and depths are a configuration, so that small networks can be built.
"""

from __future__ import annotations

from dataclasses import dataclass

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
            ValueError: If a stage is empty or stage 3 is not a multiple of five.
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
