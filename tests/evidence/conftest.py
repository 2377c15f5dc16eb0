"""Small runs and claims files for evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchharness.evidence import claims_file
from benchharness.evidence.gathering import gather
from benchharness.store import metadata
from benchharness.store.predictions import Predictions
from tests.factories import Made, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchharness.evidence.gathering import Evidence

PRODUCT = """
[product]
name = "Finder"
release = "1.4"
intended_use = "Finds what is there."
author = "A. Author"
date = 2026-11-26
"""


def claim(**changes: Any) -> str:
    """One claim as TOML; accuracy of at least a half on clean volumes unless told otherwise."""
    ordinary = {
        "name": '"first"',
        "text": '"It is right."',
        "metric": '"accuracy"',
        "condition": '"clean"',
        "population": '"all"',
        "bound": "0.5",
        "confidence": "0.95",
    }
    keys = {key: value for key, value in (ordinary | changes).items() if value is not None}
    return "[[claims]]\n" + "".join(
        f"{key.removesuffix('_')} = {value}\n" for key, value in keys.items()
    )


@dataclass(frozen=True, kw_only=True)
class WithVal(Made):
    """A clean cell that keeps its validation predictions: `bench run` keeps them."""

    val_labels: tuple[int, ...] = ()
    val_scores: tuple[float, ...] = ()
    """Probabilities of the second class."""

    def predictions(self) -> Predictions:
        found = super().predictions()
        if not self.val_labels:
            return found
        scores = np.asarray(self.val_scores)
        odds = np.log(scores / (1 - scores))
        val = Predictions(
            ids=np.asarray([f"val/{n}" for n in range(len(scores))]),
            labels=np.asarray(self.val_labels, np.int64),
            logits=np.stack([np.zeros_like(odds), odds], axis=1).astype(np.float32),
        )
        return replace(found, validation=val)


@pytest.fixture
def evidence(tmp_path: Path) -> Callable[..., Evidence]:
    """What claims come to on a run of these cells."""

    def gathered(
        cells: list[Made],
        claims: str,
        *,
        groups: str = "",
        columns: Mapping[str, list[str]] | None = None,
    ) -> Evidence:
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        store_of(folder, cells)
        if columns:
            key, ids = cells[0].cell().dataset, cells[0].predictions().ids.tolist()
            table = tuple((name, tuple(texts)) for name, texts in columns.items())
            metadata.keep(folder, key.digest, ids, table)
        path = tmp_path / "claims.toml"
        path.write_text(PRODUCT + groups + claims, encoding="utf-8")
        return gather(folder, claims_file.read(path))

    return gathered
