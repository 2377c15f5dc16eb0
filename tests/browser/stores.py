"""Stores for the browser: made up, without training, with all that a page can show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchharness.report import write
from tests.factories import Made, store_of, whole_matrix
from tests.report.conftest import without_drawing

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("densenet3d_121", "medvit3d_n", "resnet3d_18", "unet3d")
HOSTILE = "<img src=x onerror=alert(1)>"
ARTEFACTS = ("bias_field", "motion")
LEVELS = (1, 3, 5)


def page(folder: Path) -> Path:
    """The page of four models, one of them with two training seeds, and suspect cells.

    A fifth has clean volumes alone, and a name that would run if it were not escaped.
    """
    cells = [made for model in MODELS for made in _of_model(model)]
    cells += [replace(made, seed=1) for made in _of_model(MODELS[0])]
    return written(folder, [*cells, Made(model=HOSTILE, n=24)])


def _of_model(model: str) -> list[Made]:
    """Nine cells; each model is somewhat better than the one before, the last one's PGD suspect."""
    better = 0.03 * MODELS.index(model)
    clean = Made(model=model, n=24, correct=0.8 + better)
    doubt = "gradients vanish" if model == MODELS[-1] else None
    attacked = [
        replace(clean, perturbation="pgd", severity=k / 255, correct=share + better)
        for k, share in ((2, 0.5), (8, 0.2))
    ]
    corrupted = [
        replace(clean, perturbation=name, severity=level, correct=0.8 - 0.08 * level + better)
        for name in ARTEFACTS
        for level in LEVELS
    ]
    return [clean, *(replace(made, failed_check=doubt) for made in attacked), *corrupted]


def many(folder: Path, models: int) -> Path:
    """A page of twenty cells a model."""
    names = [f"model_{number:02}" for number in range(models)]
    return written(folder, whole_matrix(models=names, n=12))


def written(folder: Path, cells: list[Made]) -> Path:
    """The page of some cells; its pictures are left out, since scripts draw the charts."""
    with without_drawing():
        return write(store_of(folder / "store", cells).directory).html
