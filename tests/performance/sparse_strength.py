"""How many volumes the sparse attacks leave, beside random search with as many forward passes.

`python -m tests.performance.sparse_strength` trains two small networks on phantom3d;
`python -m tests.performance.sparse_strength FOLDER MODEL …` takes the checkpoints that `bench
train --recipes quick` left in a results folder. Random search is Sparse-RS for voxels, and random
places filled with 0 or 1 for cubes; slabs are tried at all places.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file

from benchharness import attacks, datasets, registry
from benchharness.attacks.core.sparse import Sparse, rungs
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier
from tests.attacks.attack_networks import on_phantoms
from tests.attacks.sparse_rs import sparse_rs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

ROWS = (
    *(("voxel_flip", count) for count in (1, 4, 16, 64)),
    *(("cube", side) for side in (1, 2, 4)),
    *(("slab", count) for count in (1, 2)),
)
COUNT, BATCH = 64, 32


def main(arguments: list[str]) -> None:
    """Print a Markdown table for each network."""
    if arguments:
        folder, *names = arguments
        for name in names:
            table(name, trained(Path(folder), name))
        return
    for seed in (0, 1):
        table(f"small network, seed {seed}", on_phantoms(seed))


def table(name: str, classifier: Classifier) -> None:
    """Attack the first test volumes and print what is left of them."""
    split = datasets.load("phantom3d", None).test
    clean, labels = as_float(split.volumes[:COUNT], "cpu"), torch.from_numpy(split.labels[:COUNT])
    ids = list(split.ids[:COUNT])
    right = torch.from_numpy(classifier.predict(clean, BATCH)).argmax(1) == labels
    pgd = attacked(attacks.build("pgd", {}), classifier, clean, labels, ids, 2 / 255)[2]
    print(f"{name}: {int(right.sum())} of {COUNT} right when clean; pgd takes {pgd:.1f} s")
    print("| attack | left | random search | scored for a volume | time / `pgd` |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for attack, severity in ROWS:
        built = attacks.build(attack, {})
        assert isinstance(built, Sparse)
        left, queries, seconds = attacked(built, classifier, clean, labels, ids, severity)
        found = oracle(built, classifier, clean[right], labels[right], severity)
        print(
            f"| `{attack}` {severity} | {left} | {found} | {queries:.0f} | {seconds / pgd:.1f} |",
            flush=True,
        )


def trained(folder: Path, name: str) -> Classifier:
    """The network of the one checkpoint of a model in a results folder."""
    (path,) = folder.glob(f"checkpoints/phantom3d/{name}-*/model.safetensors")
    network = registry.load("models", name)(4)
    network.load_state_dict(load_file(path))
    return Classifier(network.eval(), num_classes=4, device="cpu").for_evaluation()


def attacked(
    attack: attacks.Attack,
    classifier: Classifier,
    clean: Tensor,
    labels: Tensor,
    ids: list[str],
    severity: float,
) -> tuple[int, float, float]:
    """How many volumes are left, candidates scored for one on average, and seconds."""
    left, queries, began = 0, [], time.perf_counter()
    for begin in range(0, len(clean), BATCH):
        rows = slice(begin, begin + BATCH)
        outcome = attack(
            classifier, clean[rows], labels[rows], severity=severity, ids=ids[rows], seed=0
        )
        left += int((outcome.logits.argmax(1) == labels[rows].numpy()).sum())
        queries.append(outcome.findings.get("queries", np.zeros(1)))
    return left, float(np.concatenate(queries).mean()), time.perf_counter() - began


def oracle(
    attack: Sparse, classifier: Classifier, clean: Tensor, labels: Tensor, severity: int
) -> int:
    """How many volumes an independent search leaves, with as many forward passes at most."""
    sizes = len(rungs(severity)) - 1
    passes = 1 + attack.rounds * (attack.smallest.forward + sizes * attack.larger.forward)
    if attack.name == "voxel_flip":
        return int(sparse_rs(classifier, clean, labels, severity, passes).sum())
    pairs = zip(clean, labels, strict=True)
    return sum(
        not broken(classifier, boxes(volume, attack.name, severity, passes, seed), label)
        for seed, (volume, label) in enumerate(pairs)
    )


@torch.no_grad()
def broken(classifier: Classifier, points: Iterator[Tensor], label: Tensor) -> bool:
    """Whether any point is misclassified; looks at no more than it takes."""
    return any(bool((classifier(part).argmax(1) != label).any()) for part in points)


def boxes(volume: Tensor, kind: str, side: int, passes: int, seed: int) -> Iterator[Tensor]:
    """Volumes with one box at 0 or 1, 16 at a time: all slabs, or random cubes."""
    grid = volume.shape[1:]
    if kind == "slab":
        places = [
            (axis, begin, end)
            for axis, size in enumerate(grid)
            for begin in range(size - side + 1)
            for end in (0.0, 1.0)
        ]
        made = []
        for axis, begin, end in places:
            made.append(volume.clone())
            made[-1].narrow(axis + 1, begin, side).fill_(end)
        yield from torch.stack(made).split(16)
        return
    random = np.random.default_rng(seed)
    for begin in range(0, passes, 16):
        part = volume.repeat(min(16, passes - begin), 1, 1, 1, 1)
        for point in part:
            d, h, w = (int(random.integers(0, size - side + 1)) for size in grid)
            point[:, d : d + side, h : h + side, w : w + side] = float(random.integers(0, 2))
        yield part


if __name__ == "__main__":
    main(sys.argv[1:])
