"""What is measured for results/medmnist3d, in an order that always leaves a complete table.

Each stage is a config file with some of its keys set otherwise, as flags would, and adds rows or
columns to the table of those before it. The numbered files each ask one question, of one training
seed before the others; `bench.toml` is the whole matrix of the small networks.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness.run.config import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchharness.run.config import RunConfig

ROOT = Path(__file__).parents[2]
HOME = ROOT / "results" / "medmnist3d"
CONFIG = HOME / "bench.toml"
QUESTIONS = tuple(sorted(HOME.glob("[0-9]_*.toml")))

SMALL, LARGE = "medvit3d_n,resnet3d_18", "medvit3d_t,medvit3d_cbam,densenet3d_121"
DATASETS = ("phantom3d", "adrenalmnist3d", "vesselmnist3d", "hippocampus3d")
"""The cheapest first, then those with published numbers."""
ATTACKS = ("autoattack3d,square3d", "fgsm,pgd,apgd_ce,voxel_flip")
"""What the verdict rests on, then what it is compared with."""


def stages() -> Iterator[tuple[str, Path, Mapping[str, Any]]]:
    """The name and file of each stage, and the keys that differ from the file."""
    for seeds, file in product(("0", "0,1,2"), QUESTIONS):
        yield f"{file.stem}, seeds {seeds}", file, {"seeds": seeds}
    for models, seeds in ((SMALL, "0"), (SMALL, "0,1,2"), (LARGE, "0")):
        for dataset, attacks in product(DATASETS, ATTACKS):
            name = f"{models} on {dataset}, seeds {seeds}, {attacks} and artefacts"
            keys = {"models": models, "datasets": dataset, "seeds": seeds, "attacks": attacks}
            yield name, CONFIG, keys


def configs(out: Path = HOME) -> Iterator[tuple[str, RunConfig]]:
    """The name and config of every stage."""
    for name, file, keys in stages():
        yield name, load(file, {**keys, "out": out})
