"""Tiny datasets that a network is carried between: `module:factory` names for `--train-on`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tests import samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.datasets.base import Dataset, Split


def _named(found: Dataset, name: str, space: str | None) -> Dataset:
    def own(split: Split) -> Split:
        return replace(split, ids=tuple(one.replace("sample", name) for one in split.ids))

    return replace(
        found,
        name=name,
        digest=f"sha256:{name}",
        label_space=space,
        train=own(found.train),
        val=own(found.val),
        test=own(found.test),
    )


def bright(root: Path | None = None) -> Dataset:
    """The sample data."""
    return _named(samples.dataset(), "bright", "sample")


def dark(root: Path | None = None) -> Dataset:
    """The sample data with its grey values turned round: the labels mean the same."""
    return _turned()


def _turned() -> Dataset:
    found = bright()
    turned = {
        name: replace(split, volumes=255 - split.volumes)
        for name, split in (("train", found.train), ("val", found.val), ("test", found.test))
    }
    return replace(_named(found, "dark", "sample"), **turned)


def shuffled(root: Path | None = None) -> Dataset:
    """`dark` under its own name and digest, with the labels of its train split shuffled."""
    found = _turned()
    labels = np.random.Generator(np.random.PCG64(3)).permutation(found.train.labels)
    assert (labels != found.train.labels).any()
    return replace(found, train=replace(found.train, labels=labels))


def other(root: Path | None = None) -> Dataset:
    """Three classes that mean something else, in volumes of two channels."""
    found = _named(samples.dataset(3), "other", None)
    doubled = {
        name: replace(split, volumes=np.repeat(split.volumes, 2, axis=1))
        for name, split in (("train", found.train), ("val", found.val), ("test", found.test))
    }
    return replace(found, **doubled)
