"""Square against the original on folded volumes, for docs/attacks.md.

`python -m tests.performance.square_strength` prints how many of 64 volumes each leaves after 1,000
queries, the mean over five seeds.
"""

from __future__ import annotations

import warnings
from statistics import mean

from benchharness.attacks import Square3D
from tests.attacks import references
from tests.attacks.references import left_by
from tests.attacks.targets import CLASSES, cubes, hardened, phantoms

QUERIES, SEEDS = 1000, range(5)
ROWS = ((cubes, 14), (phantoms, 2), (hardened, 10))
"""Targets, with budgets in 255ths at which Square leaves some of the volumes."""
ORIGINALS = {
    "torchattacks": references.ta("Square", n_queries=QUERIES),
    "torchattacks, schedule as in AutoAttack": references.ta(
        "Square", n_queries=QUERIES, resc_schedule=False
    ),
    "ART": references.art("SquareAttack", CLASSES, max_iter=QUERIES),
}
OURS = {
    "`square3d`": Square3D(queries=QUERIES),
    "`square3d`, `rescaled = false`": Square3D(queries=QUERIES, rescaled=False),
}


def main() -> None:
    """Print the table."""
    titles = ("network", "ε", "clean", *OURS, *ORIGINALS)
    print("| " + " | ".join(titles) + " |")
    print("|" + " --- |" * len(titles))
    for target_of, number in ROWS:
        target, eps = target_of(), number / 255
        clean = target.classifier.predict(target.volumes, 64).argmax(1) == target.labels.numpy()
        cells = [
            f"{mean(target.left_by(attack, eps, seed) for seed in SEEDS):.1f}"
            for attack in OURS.values()
        ]
        for original in ORIGINALS.values():
            left = (
                left_by(
                    original,
                    target.classifier,
                    target.volumes,
                    target.labels,
                    norm="linf",
                    severity=eps,
                    seed=seed,
                )
                for seed in SEEDS
            )
            cells.append(f"{mean(left):.1f}")
        row = (f"`{target_of.__name__}`", f"{number}/255", str(clean.sum()), *cells)
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
