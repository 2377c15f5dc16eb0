"""One figure for each volume: heat maps of every network, side by side for every condition.

The slices, axial, coronal and sagittal, go through the structure where it is known, else through
the peak of the networks' mean clean map. Only matplotlib's objects are used: no pyplot, no display.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchharness.explanation import measures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.gridspec import GridSpecBase
    from numpy.typing import NDArray

    Volume = NDArray[np.float32]
    Mask = NDArray[np.bool_]

VIEWS = ("axial", "coronal", "sagittal")
"""Slices across the first, second and third axis of a volume."""

_INCHES = 1.2
_RESOLUTION = 110
_BOX = "#00d84a"
_WRONG = "#c0392b"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One network's view of one volume under one condition."""

    volume: Volume
    """(D, H, W) in [0, 1]: what the network saw."""
    heat: Volume
    """(D, H, W), at least 0."""
    answer: str
    """The predicted class with its probability."""
    right: bool


def draw(
    title: str,
    conditions: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Panel]]],
    mask: Mask | None,
) -> bytes:
    """Draw one volume as PNG.

    Args:
        title: Above the figure.
        conditions: Names of the groups of columns, clean first.
        rows: Networks, each with a panel for every condition; the first row's volumes are shown
            once more without a map on top.
        mask: (D, H, W), true inside the structure, or None.
    """
    place = slices(mask, [panels[0].heat for _, panels in rows])
    views = [axis for axis in range(3) if _is_shown(rows[0][1][0].volume.shape, axis)]
    lines = len(rows) + 1
    width = _INCHES * len(conditions) * len(views) + 0.9
    height = _INCHES * 1.12 * lines + 0.75
    with mpl.rc_context({"font.size": 7, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=9, x=0.02, ha="left")
        outer = figure.add_gridspec(
            1,
            len(conditions),
            wspace=0.06,
            left=0.5 / width,
            right=1 - 0.08 / width,
            top=1 - 0.68 / height,
            bottom=0.05 / height,
        )
        for column, condition in enumerate(conditions):
            panels = [row[column] for _, row in rows]
            names = ["volume", *(name for name, _ in rows)] if column == 0 else [""] * lines
            grid = outer[column].subgridspec(lines, len(views), wspace=0.03, hspace=0.16)
            _group(figure, grid, panels, names, views, place, mask)
            box = outer[column].get_position(figure)
            _head(figure, condition, (box.x0 + box.x1) / 2, 1 - 0.42 / height)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=_RESOLUTION, metadata={"Software": None})
    return content.getvalue()


def _group(
    figure: Figure,
    grid: GridSpecBase,
    panels: Sequence[Panel],
    names: Sequence[str],
    views: Sequence[int],
    place: Sequence[int],
    mask: Mask | None,
) -> None:
    """Draw one condition: the first panel's volume, then a line of slices for every panel."""
    for line, (panel, name) in enumerate(zip([panels[0], *panels], names, strict=True)):
        for position, axis in enumerate(views):
            axes = figure.add_subplot(grid[line, position])
            _slice(axes, panel, axis, place[axis], mask, heat=line > 0)
            if line == 0:
                axes.set_title(VIEWS[axis], fontsize=6.5, pad=2, color="#555555")
            elif position == len(views) // 2:
                colour = "black" if panel.right else _WRONG
                axes.set_title(panel.answer, fontsize=6.5, pad=2, color=colour)
            if name and position == 0:
                axes.set_ylabel(name, fontsize=7)


def _head(figure: Figure, text: str, x: float, y: float) -> None:
    figure.text(x, y, text, ha="center", va="center", fontsize=8, weight="bold")


def slices(mask: Mask | None, heats: Sequence[Volume]) -> tuple[int, int, int]:
    """Where to cut: the largest cross-section of the structure, else the mean map's peak.

    Args:
        mask: (D, H, W), or None.
        heats: Clean maps (D, H, W) of the networks.
    """
    if mask is not None and mask.any():
        areas = [mask.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
        depth, height, width = (int(area.argmax()) for area in areas)
        return depth, height, width
    together = np.sum([normalised(heat) for heat in heats], axis=0)
    peak = measures.peaks(together[None])[0]
    if peak[0] < 0:
        peak = np.asarray(together.shape) // 2
    depth, height, width = (int(place) for place in peak)
    return depth, height, width


def normalised(heat: Volume) -> Volume:
    """A map divided by its maximum; an empty one stays 0."""
    top = heat.max()
    return heat / top if top > 0 else heat


def _is_shown(shape: tuple[int, ...], axis: int) -> bool:
    """Whether a slice across an axis is a plane: those of an image of depth 1 are lines."""
    return min(size for other, size in enumerate(shape) if other != axis) > 1


def _slice(
    axes: Axes, panel: Panel, axis: int, place: int, mask: Mask | None, *, heat: bool
) -> None:
    axes.imshow(np.take(panel.volume, place, axis), cmap="gray", vmin=0, vmax=1)
    if heat:
        plane = np.take(normalised(panel.heat), place, axis)
        # Where the map is low the volume shows through.
        axes.imshow(plane, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * np.sqrt(plane))
    if mask is not None and mask.any():
        first, last = _bounds(np.asarray(mask.any(axis=axis)))
        axes.add_patch(
            Rectangle(
                (first[1] - 0.5, first[0] - 0.5),
                last[1] - first[1] + 1,
                last[0] - first[0] + 1,
                fill=False,
                edgecolor=_BOX,
                linewidth=1.0,
            )
        )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bounds(shadow: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last (row, column) that is true in a plane."""
    rows, columns = np.flatnonzero(shadow.any(axis=1)), np.flatnonzero(shadow.any(axis=0))
    return (int(rows[0]), int(columns[0])), (int(rows[-1]), int(columns[-1]))
