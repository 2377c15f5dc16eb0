"""The frozen bits of the suite, which `python -m tests.artefacts.golden` writes again.

`golden.json` holds, for every artefact and level, means and samples of phantom3d's first corrupted
volumes, and for every environment in which the command was run the SHA-256 of these volumes and of
the whole set. The bits may change only together with `SUITE_VERSION`; the command checks that too.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchharness import artefacts, registry
from benchharness.artefacts import LEVELS, SUITE_VERSION
from benchharness.artefacts.cache import CorruptedSet
from benchharness.artefacts.corruption import corrupt, libraries
from tests.artefacts import phantoms

if TYPE_CHECKING:
    from benchharness.datasets import Split

FILE = Path(__file__).with_name("golden.json")
FEW = 8
"""How many volumes the default tests check."""
SEED = 0
_SAMPLE = 64


def environment() -> dict[str, Any]:
    """What the bits depend on: versions, architecture, vector instructions, the processor's maker.

    The library behind torch's Fourier transforms runs different code on processors of different
    makers.
    """
    return {
        "libraries": libraries(),
        "machine": platform.machine(),
        "maker": _maker(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def _maker() -> str:
    """The processor's maker, from Linux or else from Python."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith(("vendor_id", "CPU implementer")):
                return line.partition(":")[2].strip()
    return platform.processor()


def read() -> dict[str, Any]:
    """The golden file."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def digests_of(content: dict[str, Any], where: dict[str, Any]) -> dict[str, Any] | None:
    """The digests of an environment, `few` and `all` by artefact and level; None if unknown."""
    known = (entry["digests"] for entry in content["bits"] if entry["environment"] == where)
    return next(known, None)


def split() -> Split:
    """The volumes that are corrupted."""
    return phantoms.split(28)


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


def names() -> tuple[str, ...]:
    """Every built-in artefact."""
    return tuple(registry.BUILT_IN["artefacts"])


def main() -> None:
    """Add this environment to the golden file; refuse to change bits under one version."""
    sets: dict[str, Any] = {}
    digests: dict[str, Any] = {}
    for name in names():
        sets[name], digests[name] = {}, {}
        for level in map(str, LEVELS):
            found = made(name, int(level), split())
            few = first(found)
            sets[name][level] = {"means": means(few), "sample": sample(few)}
            digests[name][level] = {"few": few.sha256, "all": found.sha256}
    here = {"environment": environment(), "digests": digests}
    bits = [here]
    if FILE.exists() and (old := read())["suite"] == SUITE_VERSION:
        known = digests_of(old, here["environment"]) or {}
        changed = [name for name in known if digests.get(name) != known[name]]
        if changed:
            sys.exit(f"the bits of {', '.join(changed)} changed: raise SUITE_VERSION first")
        bits += [entry for entry in old["bits"] if entry["environment"] != here["environment"]]
        sets |= old["sets"]
    text = json.dumps({"suite": SUITE_VERSION, "sets": sets, "bits": bits}, indent=1)
    FILE.write_text(_compact(text) + "\n")


def _compact(text: str) -> str:
    """JSON with each list of numbers in one line."""
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: re.sub(r"\s+", "", found[0]), text)


if __name__ == "__main__":
    main()
