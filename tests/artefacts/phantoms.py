"""The phantom's test split without the others, which take longer to make."""

from __future__ import annotations

import torch

from benchharness.datasets import Split, phantom


def split(size: int) -> Split:
    """The test split of `phantom3d` or `phantom3d_64`, with the ids it has there."""
    volumes, labels, masks = phantom.volumes("test", size)
    name = "phantom3d" if size == 28 else f"phantom3d_{size}"
    ids = tuple(f"{name}/test/{index}" for index in range(len(labels)))
    return Split(ids=ids, volumes=volumes[:, None], labels=labels, masks=masks)


def volumes(size: int) -> list[torch.Tensor]:
    """The first sixteen volumes, (1, D, H, W) each, in [0, 1]."""
    return [torch.from_numpy(volume).float() / 255 for volume in split(size).volumes[:16]]
