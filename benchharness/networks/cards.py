"""Model cards: what a trained checkpoint says about itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a trained checkpoint says of itself; the JSON beside its weights."""

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
    """Clean metrics of the kept weights on the whole test split; measured once, after selection."""
    sha256: str
    """Digest of the weights file."""
    provenance: dict[str, Any]
    initial_weights: dict[str, Any] | None = None
    """File, digest and method of the weights that training began from, and what they left at its
    drawn value; None where all was drawn."""

    def to_json(self) -> str:
        """The card as indented JSON."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"
