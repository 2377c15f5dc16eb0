"""Model cards: how a checkpoint was trained, and how well it does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


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
    """Always `val`."""
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

    def to_json(self) -> str:
        """The card as indented JSON."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"
