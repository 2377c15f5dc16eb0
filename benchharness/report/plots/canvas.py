"""Figures through matplotlib's objects alone: no pyplot, no global state, no display."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchharness.outside.escaping import one_line
from benchharness.report.parts import Plot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Score

# Okabe & Ito (2008), Color Universal Design, without black (the axes) and yellow (pale on white).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Six colours and seven markers have no common factor: 42 models differ in both together."""

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    # Names are text, whatever they contain: a dollar sign begins no formula.
    "text.parse_math": False,
    # Fonts of type 42, since many publishers refuse type 3.
    "pdf.fonttype": 42,
    # Without this the element ids of an SVG are hashes with a random salt.
    "svg.hashsalt": "benchharness",
    "xtick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.color": "#444444",
    "ytick.labelsize": 8,
}

_RESOLUTION = 180
ACROSS = 4
"""Panels side by side before a row is full."""

Panel = TypeVar("Panel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a model appears in every figure of a store."""

    model: str
    colour: str
    marker: str


def look(findings: Findings, model: str) -> Look:
    """The look of a model."""
    place = findings.models.index(model)
    return Look(
        model=model,
        colour=_COLOURS[place % len(_COLOURS)],
        marker=_MARKERS[place % len(_MARKERS)],
    )


class _Shown(Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=100)
        return png.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet(Generic[Panel]):
    """A figure of several panels, before it is rendered."""

    name: str
    """Stem of its files."""
    title: str
    caption: str
    looks: tuple[Look, ...]
    """The models of the legend."""
    panels: tuple[Panel, ...]
    across: int
    """How many panels are side by side."""
    draw: Callable[[Axes, Panel], None]
    """Draws a panel, its title and its horizontal axis."""
    label: Callable[[Panel], str]
    """What a panel's vertical axis shows, in [0, 1]."""


def drawn(sheet: Sheet[Panel]) -> Figure:
    """Draw a sheet as a figure that a user can restyle and save."""
    with mpl.rc_context(_STYLE):
        down = -(-len(sheet.panels) // sheet.across)
        size = (max(2.7 * sheet.across, 4.6), 2.5 * down + 1.2)
        figure = _Shown(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(down, sheet.across, squeeze=False, sharey="row")
        for index, axes in enumerate(grid.flat):
            if index >= len(sheet.panels):
                axes.set_axis_off()
                continue
            sheet.draw(axes, sheet.panels[index])
            axes.set_ylim(-0.02, 1.02)
            if index % sheet.across == 0:
                axes.set_ylabel(sheet.label(sheet.panels[index]))
        figure.suptitle(one_line(sheet.title), x=0.01, ha="left")
        _legend(figure, sheet.looks)
    return figure


def render(sheet: Sheet[Panel], *, pdf: bool = False) -> Plot:
    """Draw a sheet, as PNG and as SVG and, if asked, as PDF."""
    figure = drawn(sheet)
    with mpl.rc_context(_STYLE):
        png, svg, as_pdf = _saved(figure, pdf=pdf)
    return Plot(
        name=sheet.name, title=sheet.title, caption=sheet.caption, png=png, svg=svg, pdf=as_pdf
    )


def heading(axes: Axes, text: str) -> None:
    """Give a panel its title, text from outside."""
    axes.set_title(one_line(text))


def _legend(figure: Figure, looks: Sequence[Look]) -> None:
    handles = [Line2D([], [], color=own.colour, marker=own.marker) for own in looks]
    # A label that begins with an underscore would be left out of the legend.
    labels = [one_line(own.model) for own in looks]
    labels = [f"\u200a{label}" if label.startswith("_") else label for label in labels]
    columns = max(1, min(len(handles), int(figure.get_figwidth() // 2.2)))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False)


def _saved(figure: Figure, *, pdf: bool) -> tuple[bytes, bytes, bytes | None]:
    png, svg, as_pdf = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, and the tables spell it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(png, format="png", dpi=_RESOLUTION, metadata={"Software": None})
        # The layout just found holds for every format; finding it takes as long as drawing.
        figure.set_layout_engine("none")
        figure.savefig(svg, format="svg", metadata={"Date": None})
        if pdf:
            figure.savefig(as_pdf, format="pdf", metadata={"CreationDate": None})
    return png.getvalue(), svg.getvalue(), as_pdf.getvalue() if pdf else None


def point(axes: Axes, own: Look, place: float, score: Score) -> None:
    """Draw a score with its interval; a suspect one is hollow, and none without a value."""
    if score.value is None:
        return
    bars = None
    if score.low is not None and score.high is not None:
        bars = [[score.value - score.low], [score.high - score.value]]
    axes.errorbar(
        [place],
        [score.value],
        yerr=bars,
        color=own.colour,
        marker=own.marker,
        markerfacecolor="white" if score.suspect else own.colour,
        markersize=7,
        elinewidth=1.2,
        capsize=2.5,
    )


def line(axes: Axes, own: Look, points: Sequence[tuple[float, Score]], *, faint: bool) -> None:
    """Draw scores over a horizontal axis with a band; faint ones as a thin line alone."""
    places = [place for place, _ in points]
    values = [filled(score.value) for _, score in points]
    if faint:
        axes.plot(places, values, color=own.colour, linewidth=0.8, alpha=0.5)
        return
    lows = [filled(score.low) for _, score in points]
    highs = [filled(score.high) for _, score in points]
    axes.fill_between(places, lows, highs, color=own.colour, alpha=0.15, linewidth=0)
    axes.plot(places, values, color=own.colour, marker=own.marker)
    suspect = [(place, filled(score.value)) for place, score in points if score.suspect]
    axes.plot(
        [place for place, _ in suspect],
        [value for _, value in suspect],
        color=own.colour,
        linestyle="none",
        marker=own.marker,
        markerfacecolor="white",
    )


def filled(value: float | None) -> float:
    """A value as matplotlib takes it: NaN leaves a gap."""
    return float("nan") if value is None else value
