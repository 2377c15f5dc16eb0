"""Passed parity checks: that a network here gives the numbers which its owner got elsewhere.

`bench check` writes one file for a network on a dataset under `parity/` of a store. Every later
cell of that network and that data keeps what it says in its provenance.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchharness.canonical import digest
from benchharness.disk import files_within, write_atomically
from benchharness.store.schema import MISFIT, check_types, strict_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchharness.store.cells import CheckpointKey, ModelKey

FOLDER = "parity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """One passed check."""

    expected: str
    """What was reproduced: `logits`, or a metric with its value, `accuracy = 0.87`."""
    difference: float
    """Largest difference: of logits relative to the volume's largest, of a metric as it is."""
    tolerance: float
    """The bound on it."""
    split: str
    volumes: int
    """How many volumes of the split were compared."""
    sha256: str | None
    """Digest of the file of expected logits; None for a metric."""
    checked: str
    """When, in UTC."""


def key_of(model: ModelKey, checkpoint: CheckpointKey, dataset: str) -> str:
    """Names a network, with all that changes its numbers, on the data of a digest."""
    return digest({**model.numbers(), "checkpoint": checkpoint.sha256, "dataset": dataset})


def save(store: Path, key: str, parity: Parity) -> Path:
    """Write a passed check, in place of an earlier one of the same network and data."""
    path = _path(store, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"key": key, "parity": asdict(parity)}
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
    return path


def withdraw(store: Path, key: str) -> bool:
    """Remove an earlier pass, because a later check failed; whether there was one."""
    path = _path(store, key)
    there = path.is_file()
    path.unlink(missing_ok=True)
    return there


def files(store: Path) -> Iterator[Path]:
    """The checks of a store; links that lead out of it are not among them."""
    return files_within(store, FOLDER, "*.json")


def find(store: Path, key: str) -> Parity | None:
    """The passed check of a network and its data; None where there is none that can be read."""
    try:
        content = strict_json(_path(store, key).read_text(encoding="utf-8"))
        parity = Parity(**content["parity"])
        check_types(parity, "parity")
    except (OSError, *MISFIT):
        return None
    return parity if content.get("key") == key else None


def in_words(provenance: Mapping[str, Any]) -> str:
    """What a cell's provenance says of parity, for tables; empty where it says nothing."""
    try:
        parity = Parity(**provenance["parity"])
        check_types(parity, "parity")
    except MISFIT:
        return ""
    return (
        f"{parity.expected} of {parity.volumes} {parity.split} volumes, to {parity.difference:.1g} "
        f"(bound {parity.tolerance:.1g})"
    )


def _path(store: Path, key: str) -> Path:
    return store / FOLDER / f"{key[:16]}.json"
