"""Stores for the browser: made up, without any training, and with everything that a page can show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchharness.report import write
from tests.factories import Made, store_of, whole_matrix
from tests.report.conftest import without_drawing

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("densenet3d_121", "medvit3d_n", "medvit3d_t", "resnet3d_18", "unet3d")
HOSTILE = "<img src=x onerror=alert(1)>"


def page(folder: Path) -> Path:
    """The page of five models, one of them with two training seeds, and one suspect cell."""
    cells = whole_matrix(models=MODELS, n=40) + whole_matrix(models=MODELS[:1], seeds=(1,), n=40)
    cells = [_told(made, place) for place, made in enumerate(cells)]
    cells.append(Made(model=HOSTILE, n=40))
    return written(folder, cells)


def many(folder: Path, models: int) -> Path:
    """A page of twenty cells a model."""
    names = [f"model_{number:02}" for number in range(models)]
    return written(folder, whole_matrix(models=names, n=12))


def written(folder: Path, cells: list[Made]) -> Path:
    """The page of some cells; its pictures are left out, since scripts draw the charts."""
    with without_drawing():
        return write(store_of(folder / "store", cells).directory).html


def _told(made: Made, place: int) -> Made:
    """Every model somewhat better than the one before, the first attack on the last suspect."""
    share = made.correct
    assert isinstance(share, float)
    better = share + 0.02 * MODELS.index(made.model)
    doubt = "gradients vanish" if (made.model, made.perturbation) == ("unet3d", "pgd") else None
    return replace(made, correct=min(0.98, better), failed_check=doubt)
