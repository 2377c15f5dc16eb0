"""Model cards: what is known about a trained checkpoint, and whether it is in its own folder.

A checkpoint's folder is named after what was trained: the end of its name is a digest of factory,
arguments, preprocessing, outputs, dataset, recipe and seed. The card beside the weights says all of
these again, so a card that was edited, or moved into the folder of another training, shows.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness.canonical import digest, pairs
from benchharness.disk import LONGEST_NAME, file_sha256, leads_out
from benchharness.errors import BenchError
from benchharness.store.cells import ModelKey
from benchharness.store.schema import MISFIT, check_types, strict_json

if TYPE_CHECKING:
    from benchharness.canonical import Pairs

WEIGHTS = "model.safetensors"
CARD = "model_card.json"
START = "start"
"""Setting of a recipe that starts from another: the digest of that one's settings."""

FROM_CONFIG = "a config file"
"""How the source of a recipe begins that the harness does not have."""
SOURCE_VAL, TARGET_VAL, NO_SPLIT = "source val", "target val", "none"
"""Splits that weights carried from a source are chosen on."""

_LARGEST = {"brier": 2.0, "nll": math.inf}
"""The ends of the metrics' ranges; all others end at 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """How a checkpoint was trained and how well it does; the JSON beside its weights."""

    model: str
    factory: str
    arguments: dict[str, Any]
    preprocessing: dict[str, Any]
    dataset: str
    dataset_digest: str
    num_classes: int
    in_channels: int
    recipe: dict[str, Any]
    seed: int
    selection_split: str
    """`val`; where a source is carried to a target `source val`, `target val`, or `none`, where the
    last epoch is kept."""
    selection_epoch: int
    """Epoch whose weights were kept, counted from 1."""
    val_metrics: dict[str, float | None]
    """Metrics of the kept weights on the val split."""
    test_metrics: dict[str, float | None]
    """Clean metrics of the kept weights on the whole test split, measured once, after selection."""
    sha256: str
    """Digest of the weights file."""
    provenance: dict[str, Any]
    initial_weights: dict[str, Any] | None = None
    """File, digest and method of the initial weights, what the network did with them and which
    parameters kept their random values; None if all weights began at random."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """How its logits are taken from what it returns; empty, and not written, where it returns
    them."""
    start: dict[str, Any] = field(default_factory=dict)
    """Recipe and digest of the weights that training began with, where another recipe made them;
    empty, and not written, where none did."""
    ended: str = ""
    """Why the training ended before its last epoch; empty, and not written, where it did not."""
    transfer: dict[str, Any] = field(default_factory=dict)
    """How weights came from a source to `dataset`, the target: `train_on` and its digest, `adapt`,
    `shots`, `select`; empty, and not written, where they were trained on `dataset` alone."""

    def to_json(self) -> str:
        """The card as indented JSON, with the digest of everything else in it."""
        content = asdict(self)
        for name in ("outputs", "start", "ended", "transfer"):
            if not content[name]:
                del content[name]
        content["digest"] = digest(content)
        return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read what `to_json` gave; cards of earlier versions have no digest.

        Raises:
            ValueError, TypeError: When it is no card, or was edited.
        """
        content = strict_json(text)
        if not isinstance(content, dict):
            raise TypeError("it is no JSON object")
        expected = content.pop("digest", None)
        card = cls(**content)
        check_types(card, "card")
        if expected is not None and expected != digest(content):
            raise ValueError("it was edited, its digest differs")
        return card

    @property
    def key(self) -> ModelKey:
        """The network that was trained."""
        return ModelKey(
            name=self.model,
            factory=self.factory,
            arguments=pairs(self.arguments),
            preprocessing=pairs(self.preprocessing),
            outputs=pairs(self.outputs),
        )

    @property
    def settings(self) -> Pairs:
        """The recipe and initial weights, as they enter identities."""
        # A recipe's two texts for people are no setting.
        found = {k: v for k, v in self.recipe.items() if k not in ("source", "summary")}
        if self.initial_weights is not None:
            found["init_method"] = self.initial_weights["method"]
            found["init_sha256"] = self.initial_weights["sha256"]
            if part := self.initial_weights.get("part"):
                found["init_part"] = part
        return pairs(found | self.transfer)

    @property
    def folder(self) -> Path:
        """The folder that this card belongs in, relative to that of all checkpoints."""
        return folder(self.key, self.dataset, self.dataset_digest, self.settings, self.seed)


def folder(model: ModelKey, dataset: str, dataset_digest: str, recipe: Pairs, seed: int) -> Path:
    """The folder of a training's checkpoint, relative to that of all checkpoints.

    Another value of any argument gives another folder.

    Raises:
        BenchError: When a name is too long for a file system.
    """
    key = digest(
        {
            **model.numbers(),
            "dataset": dataset_digest,
            "recipe": recipe,
            "seed": seed,
        }
    )
    own = f"{model.name}-{dict(recipe)['name']}-seed{seed}-{key[:8]}"
    for what, name, part in (("dataset", dataset, dataset), ("model", model.name, own)):
        size = len(part.encode(errors="surrogatepass"))
        if size > LONGEST_NAME:
            raise BenchError(
                f"the name of {what} {name[:40]!r}… makes a folder's name of {size} bytes, and "
                f"file systems take {LONGEST_NAME}. Give it a shorter one."
            )
    return Path(dataset) / own


def read(directory: Path) -> ModelCard | None:
    """The card of a finished checkpoint, held against its folder and its weights.

    Returns:
        The card; None where there is none yet.

    Raises:
        BenchError: If the card cannot be read, is not this folder's, or its weights are not those
            it describes.
    """
    path, weights = directory / CARD, directory / WEIGHTS
    if not path.exists():
        return None
    # directory is DATASET/TRAINING in the folder of all checkpoints.
    if any(leads_out(part, directory.parent.parent) for part in (path, weights)):
        raise BenchError(
            f"{directory} leads out of the folder of checkpoints through a link, so it is not "
            f"read. Put the files themselves there, or remove {directory} to train it anew."
        )
    card = parse(path)
    if wrong := fault(card, directory):
        raise BenchError(
            f"model card {path} is not that of its folder: {wrong}. Put back the folder that "
            f"belongs there, or remove {directory} to train it anew."
        )
    if file_sha256(weights, what="checkpoint") != card.sha256:
        raise BenchError(
            f"{weights} is not the file its model card describes (SHA-256 differs). "
            f"Remove {directory} to train it anew."
        )
    return card


def parse(path: Path) -> ModelCard:
    """Read a card alone.

    Raises:
        BenchError: If it cannot be read or was edited.
    """
    try:
        return ModelCard.from_json(path.read_text(encoding="utf-8"))
    except (OSError, *MISFIT) as error:
        reason = " ".join(str(error).split())
        raise BenchError(
            f"cannot read model card {path}: {reason}. Remove {path.parent} to train it anew."
        ) from error


def _selected_on(card: ModelCard) -> tuple[str, ...]:
    """The splits that the weights of such a training may have been chosen on."""
    if card.recipe.get("keep") == "last":
        return (NO_SPLIT,)
    if not card.transfer:
        return ("val",)
    return (TARGET_VAL if card.transfer.get("select") == "target_val" else SOURCE_VAL,)


def fault(card: ModelCard, directory: Path) -> str:
    """What in a card contradicts the folder it is in, or itself; empty if nothing."""
    try:
        place = card.folder
    except (BenchError, *MISFIT) as error:
        return f"it names no training ({' '.join(str(error).split())})"
    if directory.name != place.name:
        return (
            "its model, factory, arguments, preprocessing, outputs, dataset digest, recipe and "
            f"seed belong in {place.name}"
        )
    if directory.parent.name != place.parent.name:
        return f"it is of dataset {card.dataset!r}"
    expected = _selected_on(card)
    if card.selection_split not in expected:
        return (
            f"its weights were selected on split {card.selection_split!r}, expected "
            f"{' or '.join(map(repr, expected))}"
        )
    epochs = card.recipe.get("epochs", card.selection_epoch)
    if not 1 <= card.selection_epoch <= epochs:
        return f"it keeps epoch {card.selection_epoch} of {epochs}"
    if card.num_classes < 2 or card.in_channels < 1:
        return f"it has {card.num_classes} classes and {card.in_channels} channels"
    for name, value in (*card.val_metrics.items(), *card.test_metrics.items()):
        if value is not None and not 0 <= value <= _LARGEST.get(name, 1.0):
            return f"its {name} is {value}"
    return ""
