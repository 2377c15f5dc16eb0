"""The networks of the registry as honest members: trained checkpoints of a store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchharness.store.cards import CARD
from tests.masking.measure import Measured, results, run

if TYPE_CHECKING:
    from collections.abc import Sequence


def trained(store: Path) -> tuple[Path, ...]:
    """Folders of the checkpoints that are finished."""
    return tuple(sorted(card.parent for card in store.glob(f"checkpoints/*/*/{CARD}")))


def name_of(checkpoint: Path) -> str:
    """What a checkpoint is called in the tables."""
    card = json.loads((checkpoint / CARD).read_text(encoding="utf-8"))
    return f"{card['model']} ({card['recipe']['name']} on {card['dataset']})"


def measure(checkpoint: Path, stores: Path, limit: int, suites: Sequence[str]) -> Measured:
    """Run one checkpoint of a store, from a copy; takes up what it finds."""
    card = json.loads((checkpoint / CARD).read_text(encoding="utf-8"))
    folder = stores / checkpoint.name
    copy = results(folder, suites[0]) / "checkpoints" / Path(*checkpoint.parts[-2:])
    if not copy.exists():
        shutil.copytree(checkpoint, copy)
    flags = {
        "models": card["model"],
        "datasets": card["dataset"],
        "recipes": card["recipe"]["name"],
        "train": False,
        "limit": limit,
        "eps": "2/255,8/255",
    }
    return run(name_of(checkpoint), folder, flags, suites)
