"""Write the volumes and the table behind `results/evidence`: python make_data.py FOLDER.

Made of nothing but a seed: 340 patients with two volumes each, a bright or a faint ball in noise,
from two sites. The scanner of Graz is noisier. Nothing here is of a person.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

SIZE = 20
PATIENTS = {"train": 120, "val": 60, "test": 160}
NOISE = {"Bern": 0.06, "Graz": 0.16}


def volume(draws: np.random.Generator, lesion: bool, noise: float) -> np.ndarray:
    """A ball at a place of its own, (20, 20, 20) in [0, 1]; a lesion is a little brighter."""
    axes = np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij")
    centre = draws.uniform(7, 12, 3)
    distance = sum((axis - place) ** 2 for axis, place in zip(axes, centre, strict=True))
    bright = (0.46 if lesion else 0.30) + draws.normal(0, 0.03)
    made = 0.25 + bright * np.exp(-distance / 18) + draws.normal(0, noise, distance.shape)
    return np.clip(made, 0, 1).astype(np.float32)


def write(folder: Path) -> None:
    """Write `volumes.csv` and what it names."""
    draws = np.random.Generator(np.random.PCG64(19))
    rows = []
    for split, count in PATIENTS.items():
        for number in range(count):
            patient = f"{split}-{number:03}"
            lesion = number % 2 == 1
            site = "Graz" if draws.random() < 0.4 else "Bern"
            sex, age = draws.choice(["f", "m"]), int(draws.integers(25, 88))
            for visit in (1, 2):
                name = f"{split}/{patient}-{visit}.npy"
                (folder / split).mkdir(parents=True, exist_ok=True)
                np.save(folder / name, volume(draws, lesion, NOISE[site]))
                label = "lesion" if lesion else "healthy"
                rows.append((name, label, split, patient, site, sex, age))
    with (folder / "volumes.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "label", "split", "patient", "site", "sex", "age"))
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
