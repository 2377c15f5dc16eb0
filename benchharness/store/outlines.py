"""What a plan holds that several stores share: `plans/DIGEST.json` of each of them.

Every share of `bench run --shard` keeps the outline of the whole plan, so that a merge can say what
is absent without the plan's config. Cells are named as they were before any training, which a
record can tell of itself.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.canonical import digest
from benchharness.disk import explaining, files_within, write_atomically
from benchharness.errors import BenchError
from benchharness.store.schema import MISFIT, check_types, strict_json

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from benchharness.store.cells import Cell, CheckpointKey

FOLDER = "plans"

_DIGITS = 16
"""Of an identity in an outline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A plan in shares."""

    count: int
    """How many shares there are."""
    work: tuple[tuple[str, int, str], ...]
    """(key, share from 1, name for people) of each cell or training."""


def key_of(cell: Cell) -> str:
    """What a cell is known by, before and after its checkpoints are trained."""
    perturbation = cell.perturbation
    if (source := perturbation.source) is not None:
        source = replace(source, checkpoint=_untrained(source.checkpoint))
        perturbation = replace(perturbation, source=source)
    planned = replace(cell, checkpoint=_untrained(cell.checkpoint), perturbation=perturbation)
    return planned.identity[:_DIGITS]


def _untrained(checkpoint: CheckpointKey) -> CheckpointKey:
    return checkpoint if checkpoint.recipe is None else replace(checkpoint, sha256=None)


def key_of_training(checkpoint: Path) -> str:
    """What a training is known by: its checkpoint's folder, which names data and network."""
    return f"{checkpoint.parent.name}/{checkpoint.name}"


def keep(directory: Path, outline: Outline) -> None:
    """Write an outline into a store, unless it is there.

    Raises:
        BenchError: When it cannot be written.
    """
    content = {"shares": outline.count, "work": outline.work}
    path = directory / FOLDER / f"{digest(content)[:_DIGITS]}.json"
    with explaining(str(path), "Make room there, or name another folder with --out."):
        if path.is_file():
            return
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, (json.dumps(content, ensure_ascii=False) + "\n").encode())


def files(directory: Path) -> Iterator[Path]:
    """The files of a store; links that lead out of it are not among them."""
    return files_within(directory, FOLDER, "*.json")


def read(path: Path) -> Outline:
    """Read an outline.

    Raises:
        BenchError: When it is none.
    """
    try:
        content = strict_json(path.read_text(encoding="utf-8"))
        count, work = content["shares"], content["work"]
        outline = Outline(count=count, work=tuple(map(tuple, work)))
        check_types(outline, "outline")
        if not all(1 <= share <= count for _, share, _ in outline.work):
            raise ValueError("a share is not there")
    except (OSError, *MISFIT) as error:
        raise BenchError(
            f"{path} is no outline of a plan. Remove it; the next run of its share writes it anew."
        ) from error
    return outline


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """What a plan holds and some stores together do not."""

    names: tuple[str, ...]
    of: int
    """How much the plan holds."""
    shares: tuple[str, ...]
    """From which shares it is: `3/16 (12 of 40)`."""


def absent(outline: Outline, present: Container[str]) -> Absent | None:
    """What of a plan is not there; None where everything is."""
    missing = [(share, name) for key, share, name in outline.work if key not in present]
    if not missing:
        return None
    planned = Counter(share for _, share, _ in outline.work)
    counted = Counter(share for share, _ in missing)
    return Absent(
        names=tuple(name for _, name in missing),
        of=len(outline.work),
        shares=tuple(
            f"{share}/{outline.count} ({counted[share]} of {planned[share]})"
            for share in sorted(counted)
        ),
    )
