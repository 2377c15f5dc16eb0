"""The frozen bits of the suite: `python -m tests.artefacts.golden` writes them anew.

`golden.json` holds, for every artefact and level, the SHA-256 of phantom3d's corrupted test set
and of its first volumes, and what can be compared to a tolerance where libraries or processors are
others. The bits may change only together with `SUITE_VERSION`; the command holds that too.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchharness import artefacts, registry
from benchharness.artefacts import LEVELS, SUITE_VERSION
from benchharness.artefacts.cache import CorruptedSet
from benchharness.artefacts.corruption import corrupt, libraries
from benchharness.datasets import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.datasets import Split

FILE = Path(__file__).with_name("golden.json")
FEW = 8
"""So many volumes the default tests look at."""
SEED = 0
_SAMPLE = 64


def environment() -> dict[str, Any]:
    """What the bits hold for: versions, architecture and the vector instructions in use."""
    return {
        "libraries": libraries(),
        "machine": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def read() -> dict[str, Any]:
    """The golden file."""
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


def split() -> Split:
    """The volumes that are corrupted."""
    return embedded.test_split(28)


def made(name: str, level: int, volumes: Split, count: int | None = None) -> CorruptedSet:
    """The first volumes, or all of them, after an artefact."""
    clean, ids = volumes.volumes[:count], volumes.ids[:count]
    return corrupt(artefacts.build(name), clean, ids, severity=level, seed=SEED)


def first(found: CorruptedSet) -> CorruptedSet:
    """The first volumes of a set."""
    return CorruptedSet(
        volumes=found.volumes[:FEW], clipped=found.clipped[:FEW], changed=found.changed[:FEW]
    )


def means(found: CorruptedSet) -> list[float]:
    """Mean intensity of each volume."""
    values = found.volumes.reshape(len(found.volumes), -1).mean(axis=1) / 65535
    return [round(float(value), 7) for value in values]


def sample(found: CorruptedSet) -> list[int]:
    """Evenly spread voxels of the first volume, as stored."""
    flat = found.volumes[0].ravel()
    return [int(value) for value in flat[:: len(flat) // _SAMPLE][:_SAMPLE]]


def describe(found: CorruptedSet) -> dict[str, Any]:
    """What the file holds of one artefact at one level."""
    few = first(found)
    return {"all": found.sha256, "few": few.sha256, "means": means(few), "sample": sample(few)}


def names() -> tuple[str, ...]:
    """Every built-in artefact."""
    return tuple(registry.BUILT_IN["artefacts"])


def _sets(volumes: Split) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in names():
        yield name, {str(level): describe(made(name, level, volumes)) for level in LEVELS}


def main() -> None:
    """Write the golden file; refuse to change bits under one version."""
    content = {"suite": SUITE_VERSION, "environment": environment(), "sets": dict(_sets(split()))}
    if FILE.exists():
        old = read()
        same = old["environment"] == content["environment"] and old["suite"] == SUITE_VERSION
        changed = [n for n in old["sets"] if content["sets"].get(n) != old["sets"][n]]
        if same and changed:
            sys.exit(f"the bits of {', '.join(changed)} changed: raise SUITE_VERSION first")
    text = json.dumps(content, indent=1)
    # One line a list of numbers.
    FILE.write_text(_compact(text) + "\n")


def _compact(text: str) -> str:
    lines, row = [], None
    for line in text.splitlines():
        if row is not None:
            row += line.strip()
            if line.strip().startswith("]"):
                lines.append(row)
                row = None
        elif line.endswith("["):
            row = line
        else:
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
