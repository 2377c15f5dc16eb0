"""From the checkpoints of a store to entries of the zoo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.disk import explaining
from benchharness.errors import BenchError, unknown_name
from benchharness.networks import checkpoints
from benchharness.networks.zoo import files, index
from benchharness.networks.zoo.index import Entry
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LARGEST = 8 * 10**6
"""Bytes of a file that comes with the package; larger ones are for a folder or a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of one checkpoint."""

    entry: Entry
    copied: bool
    """Whether its weights were copied; otherwise only the index names them."""


def add(
    store: Path,
    to: Path | None = None,
    *,
    wanted: Sequence[str] = (),
    licence: str,
    source: str = "",
    url: str = "",
) -> tuple[Added, ...]:
    """Put the checkpoints of a store into a zoo; one of the same name, data and seed is replaced.

    Args:
        store: Folder that `bench run` or `bench train` wrote to.
        to: Folder of the zoo; None for the package's own, which takes no weights above `LARGEST`.
        wanted: Names such as `medvit3d_n@quick`; none takes all.
        licence: Of the weights.
        source: Where they come from; empty for the command that trains them.
        url: The page that has the files, or will.

    Raises:
        BenchError: When the store has no such checkpoint, or one cannot be read or written.
    """
    target = index.package_folder() if to is None else to
    found = _of_store(store, licence=licence, source=source, url=url)
    known = {entry.name for entry, _ in found}
    for name in wanted:
        if name not in known:
            raise unknown_name("checkpoint of the store", name, known)
    found = [(entry, weights) for entry, weights in found if not wanted or entry.name in wanted]
    _refuse_rivals(entry for entry, _ in found)
    kept = {entry.slot: entry for entry in index.read(target)}
    added = []
    for entry, weights in found:
        copied = to is not None or entry.size <= LARGEST
        if copied:
            files.copy(weights, target / entry.file, entry)
        before = kept.get(entry.slot)
        if before is not None and before.file != entry.file:
            (target / before.file).unlink(missing_ok=True)
        kept[entry.slot] = entry
        added.append(Added(entry=entry, copied=copied))
    with explaining(f"index {target / index.FILE}"):
        index.write(target, sorted(kept.values(), key=lambda one: one.file))
    return tuple(added)


def _refuse_rivals(entries: Iterable[Entry]) -> None:
    """Refuse checkpoints of which a zoo could keep only one.

    Raises:
        BenchError: When two have the same name, data and seed, as settings or sources differ.
    """
    found: dict[tuple[str, str, int], Entry] = {}
    for entry in entries:
        if entry.slot in found:
            raise BenchError(
                f"the store has several {entry.name} on {entry.card.dataset} of seed "
                f"{entry.card.seed}, with other settings or from other sources: "
                f"{found[entry.slot].card.folder} and {entry.card.folder}. A zoo keeps one of a "
                "name; give a copy of the store without the folders of the others."
            )
        found[entry.slot] = entry


def _of_store(store: Path, *, licence: str, source: str, url: str) -> list[tuple[Entry, Path]]:
    """The entries that a store's finished checkpoints make, with their files."""
    found = []
    for path in sorted(Store(store).checkpoints.glob(f"*/*/{checkpoints.CARD}")):
        weights = path.with_name(checkpoints.WEIGHTS)
        if not weights.is_file():  # a card that is kept without its weights
            continue
        card = checkpoints.read_card(path.parent)
        assert card is not None
        entry = Entry.of(card, size=weights.stat().st_size, licence=licence, source=source)
        found.append((replace(entry, source=source or entry.retraining, url=url), weights))
    if not found:
        raise BenchError(
            f"{store} has no finished checkpoints with weights. Give the --out of a bench train "
            "or bench run."
        )
    return found
