"""What a training learns from where that is not one dataset alone: named by value, made where used.

A worker loads the datasets that a training names and puts them together here, so that only plain
datasets travel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.run.data import Data
from benchharness.training import shots

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.datasets import Dataset
    from benchharness.datasets.base import Levels

    Loader = Callable[[Data], Dataset]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """Labels of a source, and maybe volumes of a target."""

    source: Data
    target: Data
    unlabelled: bool
    """Whether the volumes of the target's train split are seen."""
    target_val: bool
    """Whether weights are chosen on the target's val split, whose labels are read then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Few:
    """Some labelled volumes of a target."""

    target: Data
    shots: int | None
    """None for all."""


Material = Data | Crossed | Few


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What weights are trained on, where that is not just the dataset that they are judged on."""

    name: str
    """Of the dataset in whose folder they are."""
    digest: str
    """Of that dataset."""
    material: Material
    train: int
    """Volumes of an epoch."""
    val: int
    """Volumes that weights are chosen by."""


def parts(material: Material) -> tuple[Data, ...]:
    """The datasets that a material is made of."""
    if isinstance(material, Crossed):
        return (material.source, material.target)
    return (material.target,) if isinstance(material, Few) else (material,)


def made(material: Material, load: Loader) -> tuple[Dataset, Levels | None]:
    """A material as a dataset, and the unlabelled volumes of the target's train split.

    The dataset of `Crossed` has the target's name, digest and test split, and the source's labels.
    Nothing in what is returned holds labels of the target's train split, but for those of `Few`.

    Args:
        material: What to make.
        load: Loads a dataset.
    """
    if isinstance(material, Data):
        return load(material), None
    target = load(material.target)
    if isinstance(material, Few):
        few = shots.choose(target.train, material.shots, name=target.name)
        return replace(target, train=few), None
    source = load(material.source)
    crossed = replace(
        source,
        name=target.name,
        digest=target.digest,
        val=target.val if material.target_val else source.val,
        test=target.test,
    )
    return crossed, target.train.volumes if material.unlabelled else None
