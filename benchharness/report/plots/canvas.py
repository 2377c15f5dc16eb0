"""Charts through matplotlib's objects alone: no pyplot, no global state, no display."""

from __future__ import annotations

import io
import textwrap
import warnings
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from benchharness.errors import BenchError
from benchharness.outside.escaping import one_line
from benchharness.report.choice import EVERYTHING
from benchharness.report.parts import Plot
from benchharness.report.plots import styles
from benchharness.report.plots.drawing import draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchharness.report.charts.chart import Chart
    from benchharness.report.charts.looks import Look
    from benchharness.report.choice import Choice

_RESOLUTION = 180
_PANEL = (2.7, 2.5)
"""Inches of a panel where no width is asked for."""
_ROW = 0.34
"""Inches of a condition's row."""
_TITLE_LINE = 0.25
"""Inches of a further line of the title."""
_LETTER = 0.64
"""Width of a letter of the title, in its size."""
_METADATA = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


class _Shown(Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png", dpi=100)
        return png.getvalue()


def drawn(chart: Chart, choice: Choice = EVERYTHING) -> Figure:
    """Draw a chart as a figure that a user can restyle and save.

    Raises:
        BenchError: When there is nothing to see, or the style cannot be read.
    """
    panels = chart.shown
    if not panels:
        raise BenchError(f"there is nothing to draw for '{chart.title}'. Run its cells first.")
    with mpl.rc_context(styles.settings(choice.style)):
        across = min(len(panels), chart.across, styles.across(choice.width))
        down = -(-len(panels) // across)
        width, height = _size(chart, choice, across, down)
        title = _title(chart, choice, width)
        height += _TITLE_LINE * title.count("\n")
        figure = _Shown(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(down, across, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(panels):
                axes.set_axis_off()
                continue
            draw(axes, chart, panels[index])
            if index % across and chart.kind != "conditions":
                axes.set_yticklabels([])
                if panels[index].y == panels[index - 1].y:
                    axes.set_ylabel("")
        if title:
            figure.suptitle(title, x=0.01, ha="left")
        if len(chart.looks) > 1 or chart.kind == "dumbbell":
            _legend(figure, chart.looks)
    return figure


def render(chart: Chart, choice: Choice = EVERYTHING) -> Plot:
    """Draw a chart in the formats that were chosen, and as SVG for the page."""
    figure = drawn(chart, choice)
    with mpl.rc_context(styles.settings(choice.style)):
        files = _saved(figure, dict.fromkeys((*choice.formats, "svg")))
    return Plot(
        name=chart.name,
        title=chart.title,
        caption=chart.caption,
        still=files["svg"],
        files=tuple((kind, files[kind]) for kind in choice.formats),
        chart=chart,
    )


def _title(chart: Chart, choice: Choice, width: float) -> str:
    """The title on as many lines as it needs; empty where a style has none."""
    if not styles.titled(choice.style):
        return ""
    points = FontProperties(size=mpl.rcParams["figure.titlesize"]).get_size_in_points()
    return "\n".join(textwrap.wrap(one_line(chart.title), int(72 * width / (_LETTER * points))))


def _size(chart: Chart, choice: Choice, across: int, down: int) -> tuple[float, float]:
    """Width and height in inches."""
    width = styles.inches(choice.width) or max(_PANEL[0] * across, 4.6)
    extra = 0.3 if chart.kind == "conditions" else 0.0
    if chart.kind == "conditions":
        rows = len(chart.panels[0].x.ticks)
        row = max(_ROW, 0.07 * len(chart.looks))
        return max(width, 4.6) if not choice.width else width, row * rows + 1.2 + extra
    panel = min(_PANEL[1], 0.95 * width / across) if choice.width else _PANEL[1]
    per_row = max(1, int(width // 2.2))
    return width, panel * down + 0.6 + 0.2 * -(-len(chart.looks) // per_row)


def _legend(figure: Figure, looks: Sequence[Look]) -> None:
    handles = [Line2D([], [], color=own.colour, marker=own.marker) for own in looks]
    # A label that begins with an underscore would be left out of the legend.
    labels = [one_line(own.model) for own in looks]
    labels = [f"\u200a{label}" if label.startswith("_") else label for label in labels]
    columns = max(1, min(len(handles), int(figure.get_figwidth() // 2.2)))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False)


def _saved(figure: Figure, formats: Iterable[str]) -> dict[str, bytes]:
    files = {}
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, and the tables spell it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for kind in formats:
            file = io.BytesIO()
            # `savefig` would draw everything twice, the first time for a layout.
            _PRINTED[kind](figure, file)
            files[kind] = file.getvalue()
            # The layout just found holds for every format; finding it takes as long as drawing.
            figure.set_layout_engine("none")
    return files


def _print_png(figure: Figure, file: io.BytesIO) -> None:
    figure.set_dpi(_RESOLUTION)
    FigureCanvasAgg(figure).print_png(file, metadata=_METADATA["png"])  # type: ignore[no-untyped-call]


def _print_svg(figure: Figure, file: io.BytesIO) -> None:
    FigureCanvasSVG(figure).print_svg(file, metadata=_METADATA["svg"])  # type: ignore[no-untyped-call]


def _print_pdf(figure: Figure, file: io.BytesIO) -> None:
    FigureCanvasPdf(figure).print_pdf(file, metadata=_METADATA["pdf"])  # type: ignore[no-untyped-call]


_PRINTED = {"png": _print_png, "svg": _print_svg, "pdf": _print_pdf}
