"""The index of the zoo: what there is, and the digest of each file."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness.disk import caches, user_path, write_atomically
from benchharness.errors import BenchError, unknown_name
from benchharness.store.cards import FROM_CONFIG, ModelCard
from benchharness.store.schema import MISFIT, newer, strict_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SCHEMA = 1
"""Version of the index's layout."""

FILE = "index.json"

_NAME = re.compile(r"[^:@/\\]+@[^:@/\\]+")
_WEIGHTS = re.compile(r"[^/\\]+\.safetensors")


_OURS = ("medvit3d.", "benchharness.")
"""Where the networks are that are known by name; others are typed as their import string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One checkpoint of the zoo."""

    card: ModelCard
    """How it was trained, on which data, and how well it does."""
    file: str
    """Name of the weights' file, in whichever folder or on whichever page it is."""
    size: int
    """Bytes of that file."""
    licence: str
    source: str
    """Where the checkpoint comes from, in words."""
    url: str = ""
    """The page that has the file; empty where none has."""

    @property
    def name(self) -> str:
        """What is typed after `--models`: model and recipe."""
        return f"{self.card.model}@{self.recipe}"

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return str(self.card.recipe["name"])

    @property
    def slot(self) -> tuple[str, str, int]:
        """What picks it: name, data and training seed."""
        return self.name, self.card.dataset_digest, self.card.seed

    @property
    def retraining(self) -> str:
        """What trains the network again, as a command and in words where one needs them."""
        card = self.card
        model = card.model if card.factory.startswith(_OURS) else card.factory
        said = (
            f"bench train --models {model} --recipes {self.recipe} --datasets {card.dataset} "
            f"--seeds {card.seed}"
        )
        if card.transfer:
            carried = ", ".join(f"{name} {value}" for name, value in card.transfer.items())
            return f"{said}, with --train-on and what else carried it there ({carried})"
        if str(card.recipe.get("source", "")).startswith(FROM_CONFIG):
            return f"{said} --config FILE, which has [recipe.{self.recipe}]"
        return said

    @classmethod
    def of(cls, card: ModelCard, *, size: int, licence: str, source: str) -> Entry:
        """The entry of a checkpoint, whose file is named after what it is and its digest."""
        recipe = card.recipe["name"]
        file = f"{card.model}-{recipe}-{card.dataset}-seed{card.seed}-{card.sha256[:8]}.safetensors"
        return cls(card=card, file=file, size=size, licence=licence, source=source)

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Entry:
        """Read what `to_content` gave.

        Raises:
            ValueError, TypeError: When it is no entry, or its card was edited.
        """
        card = ModelCard.from_json(json.dumps(content["card"]))
        found = cls(**{**content, "card": card})
        texts = (found.file, found.licence, found.source, found.url)
        if not all(isinstance(text, str) for text in texts) or type(found.size) is not int:
            raise TypeError("an entry has a value of another type")
        if not _WEIGHTS.fullmatch(found.file):
            raise ValueError(f"{found.file!r} is no name of a file of weights")
        return found

    def to_content(self) -> dict[str, Any]:
        """The entry as JSON holds it."""
        content = {name: getattr(self, name) for name in ("file", "size", "licence", "source")}
        content |= {"card": json.loads(self.card.to_json())}
        return content | ({"url": self.url} if self.url else {})


def package_folder() -> Path:
    """The folder of the index and the weights that come with the package."""
    return Path(str(resources.files("benchharness.networks.zoo") / "weights"))


def own_folder(folder: Path | None = None) -> Path:
    """The user's folder: `folder`, else `BENCH_ZOO`, else one in the user's cache."""
    if folder is not None:
        return user_path(folder, what="--zoo")
    if typed := os.environ.get("BENCH_ZOO"):
        return user_path(typed, what="BENCH_ZOO")
    return caches.cache_folder("zoo")


def entries(folder: Path | None = None) -> tuple[Entry, ...]:
    """Every checkpoint, by name, data and seed; those of the user's folder win.

    Args:
        folder: As for `own_folder`.

    Raises:
        BenchError: When an index cannot be read.
    """
    found = {
        entry.slot: entry
        for where in (package_folder(), own_folder(folder))
        for entry in read(where)
    }
    return tuple(sorted(found.values(), key=lambda one: (one.name, one.card.dataset, one.slot)))


def names(known: Iterable[Entry]) -> tuple[str, ...]:
    """The names of some checkpoints, each once."""
    return tuple(dict.fromkeys(entry.name for entry in known))


def is_name(typed: str) -> bool:
    """Whether a text after `--models` names a checkpoint of the zoo, known or not."""
    return bool(_NAME.fullmatch(typed))


def find(typed: str, folder: Path | None = None) -> tuple[Entry, ...]:
    """Every checkpoint of a name: one for each dataset and training seed.

    Raises:
        BenchError: When there is none, or an index cannot be read.
    """
    known = entries(folder)
    if found := tuple(entry for entry in known if entry.name == typed):
        return found
    model, _, recipe = typed.partition("@")
    hint = "'bench zoo list' says more."
    if recipe:
        hint = f"To train it type --models {model} --recipes {recipe}; {hint}"
    raise unknown_name("checkpoint of the zoo", typed, names(known), hint=hint)


def read(folder: Path) -> tuple[Entry, ...]:
    """The index of a folder; empty where it has none.

    Raises:
        BenchError: When it cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return ()
    try:
        content = strict_json(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or type(content["schema"]) is not int:
            raise TypeError("it is no index")
        if content["schema"] > SCHEMA:
            raise newer(f"index {path}", content["schema"], SCHEMA)
        return tuple(map(Entry.from_content, content["checkpoints"]))
    except (OSError, *MISFIT) as error:
        reason = " ".join(str(error).split())
        raise BenchError(
            f"cannot read the zoo's index {path}: {reason}. Put back the one that belongs there, "
            "or remove it."
        ) from error


def write(folder: Path, known: Sequence[Entry]) -> None:
    """Write the index of a folder."""
    content = {"schema": SCHEMA, "checkpoints": [entry.to_content() for entry in known]}
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    write_atomically(folder / FILE, text.encode() + b"\n")
