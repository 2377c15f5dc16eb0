"""Damage to the files of a folder, drawn at random: what disks, people and other programs do."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Draws = np.random.Generator


def _flip(path: Path, _: list[Path], draws: Draws) -> None:
    content = bytearray(path.read_bytes())
    for place in draws.integers(0, len(content), draws.integers(1, 4)):
        content[place] ^= 1 << int(draws.integers(8))
    path.write_bytes(bytes(content))


def _truncate(path: Path, _: list[Path], draws: Draws) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(draws.integers(0, len(content)))])


def _swap(path: Path, others: list[Path], draws: Draws) -> None:
    other = others[int(draws.integers(len(others)))]
    mine = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(mine)


def _garbage(path: Path, _: list[Path], draws: Draws) -> None:
    texts = (
        b"[]",
        b"{}",
        b"null",
        b'{"digest": 3, "spacing": {}}',
        b'{"digest": "../../x\\u0000", "spacing": [1], "sha256": "0"}',
        b"[" * 100_000,
        b"\xff\xfe\x00",
        draws.bytes(300),
    )
    path.write_bytes(texts[int(draws.integers(len(texts)))])


def _other_arrays(path: Path, _: list[Path], draws: Draws) -> None:
    """Well-formed archives that hold something else."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            held: dict[str, Any] = {name: found[name] for name in found.files}
    except Exception:
        held = {"volumes": np.zeros(3)}
    names = sorted(held)
    name = names[int(draws.integers(len(names)))]
    other = held[names[int(draws.integers(len(names)))]]
    choices = (
        other,
        np.zeros_like(held[name]),
        np.asarray(3),
        np.asarray("x"),
        held[name][..., :0] if held[name].ndim else np.zeros(0),
    )
    held[name] = choices[int(draws.integers(len(choices)))]
    if draws.random() < 0.2:
        del held[name]
    with path.open("wb") as stream:
        (np.savez if draws.random() < 0.7 else np.savez_compressed)(stream, **held)


def _remove(path: Path, _: list[Path], draws: Draws) -> None:
    path.unlink()


MUTATIONS: tuple[Callable[[Path, list[Path], Draws], None], ...] = (
    _flip,
    _flip,
    _truncate,
    _swap,
    _garbage,
    _other_arrays,
    _remove,
)


def mutate(folder: Path, pristine: Path, pattern: str, draws: Draws) -> str:
    """Put a folder back as it was, then damage one of its files; says what was done."""
    for path in pristine.iterdir():
        shutil.copy(path, folder / path.name)
    paths = sorted(path for path in folder.iterdir() if path.name.endswith(tuple(pattern.split())))
    path = paths[int(draws.integers(len(paths)))]
    mutation = MUTATIONS[int(draws.integers(len(MUTATIONS)))]
    same_kind = [other for other in paths if other.suffix == path.suffix and other != path]
    mutation(path, same_kind, draws)
    return f"{mutation.__name__} of {path.name}"
