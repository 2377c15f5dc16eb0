"""How many keys each transformer block attends to, as a Markdown table.

    python -m medvit3d.attention_keys 28 64

With a single key attention is the same at every position: the softmax of one score is 1, so the
block adds one vector everywhere and no position learns about any other.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import torch

from medvit3d.blocks import SelfAttention
from medvit3d.network import MedViT3D
from medvit3d.variants import TINY

if TYPE_CHECKING:
    from medvit3d.architecture import Architecture
    from medvit3d.blocks import SpatialReduction

REDUCTIONS: tuple[SpatialReduction, ...] = ("sequence", "spatial")


def attention_keys(
    size: int, reduction: SpatialReduction, architecture: Architecture
) -> list[tuple[str, int, int]]:
    """Queries and keys of every transformer block for a volume of `size` voxels per axis.

    Computed on the meta device: the network runs, but nothing is multiplied.

    Returns:
        (block, queries, keys) in the order in which the blocks run; `stages.2.4` is the fifth
        block of the third stage.

    Raises:
        ValueError: If the reduction does not work at this size.
    """
    with torch.device("meta"):
        network = MedViT3D(architecture, 2, spatial_reduction=reduction).eval()
        volume = torch.empty(1, 1, size, size, size)
    blocks = {
        name.removesuffix(".attention"): module
        for name, module in network.named_modules()
        if isinstance(module, SelfAttention)
    }
    tokens: dict[str, int] = {}
    for name, module in blocks.items():
        for role, layer in (("queries", module.query), ("keys", module.key)):
            layer.register_forward_hook(
                lambda _module, inputs, _output, key=f"{name} {role}": tokens.update(
                    {key: inputs[0].shape[1]}
                )
            )
    with torch.no_grad():
        network(volume)
    return [(name, tokens[f"{name} queries"], tokens[f"{name} keys"]) for name in blocks]


def table(sizes: tuple[int, ...], architecture: Architecture = TINY) -> str:
    """Keys at several sizes and with both reductions; blocks of one stage share a row.

    Args:
        sizes: Voxels per axis.
        architecture: The small and the large network only have more blocks in stage 3.
    """
    header = ["stage", "transformer blocks"]
    rows: dict[str, list[str]] = {}
    for size in sizes:
        header += [f"positions at {size}³", *(f"keys, {name}" for name in REDUCTIONS)]
        for index, reduction in enumerate(REDUCTIONS):
            found = attention_keys(size, reduction, architecture)
            # Blocks of one stage share a grid, so the last one's numbers hold for all.
            stages = {block.split(".")[1]: (queries, keys) for block, queries, keys in found}
            counts = Counter(block.split(".")[1] for block, _, _ in found)
            for stage, (queries, keys) in stages.items():
                row = rows.setdefault(stage, [str(int(stage) + 1), str(counts[stage])])
                row += [str(queries), str(keys)] if index == 0 else [str(keys)]
    lines = [header, ["---"] * len(header), *rows.values()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the table for the sizes on the command line, or for 28 and 64."""
    sizes = tuple(int(argument) for argument in sys.argv[1:]) or (28, 64)
    sys.stdout.write(f"{table(sizes)}\n")


if __name__ == "__main__":
    main()
