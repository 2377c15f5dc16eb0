"""The names that published weights give to the parameters of these networks.

The 2-D MedViT (github.com/Omid-Nejati/MedViT) and its public 3-D port share one set of names; the
CBAM network has another. The tables map our modules to theirs, one to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medvit3d.architecture import TRANSFORMER_PERIOD, Architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def port_names(architecture: Architecture) -> Callable[[str], str]:
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


def port_architecture(names: Iterable[str]) -> Architecture:
    """The architecture whose weights the port or the 2-D MedViT publishes under these names.

    Raises:
        ValueError: If they are not the names of a MedViT small, base or large.
    """
    blocks = {name.split(".")[1] for name in names if name.startswith("features.")}
    # Sizes differ in stage 3 alone; the other stages have 3, 4 and 3 blocks.
    third = len(blocks) - 10
    if third < TRANSFORMER_PERIOD or third % TRANSFORMER_PERIOD:
        raise ValueError(
            f"not the weights of a MedViT small, base or large: they have 20, 30 or 40 blocks "
            f"named features.N, got {len(blocks)}"
        )
    return Architecture(depths=(3, 4, third, 3))


def cbam_name(name: str) -> str:
    """From our parameter names to those of the public CBAM network."""
    if not name.startswith("blocks."):
        return name
    _, block, rest = name.split(".", 2)
    module, _, parameter = rest.rpartition(".")
    return f"ltb{int(block) + 1}.{_CBAM_BLOCK[module]}.{parameter}"
