"""How figures are set: the report's own style, one for papers, and any of matplotlib's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchharness.errors import BenchError, unknown_name

WIDTHS = {"column": 3.5, "page": 7.2}
"""Inches of one and of two columns, as most journals of this field set them (Nature: 3.5 and 7.2;
IEEE: 3.5 and 7.16; Elsevier: 3.54 and 7.48)."""

_NARROWEST = 1.7
"""Inches that a panel needs for its ticks."""

_REPORT: dict[str, Any] = {
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
    "xtick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.color": "#444444",
    "ytick.labelsize": 8,
}

_PAPER = _REPORT | {
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.titlesize": 7.5,
    "font.size": 7,
    "grid.linewidth": 0.5,
    "legend.fontsize": 7,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "xtick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 6.5,
    "ytick.major.width": 0.6,
}

OWN = {"report": _REPORT, "paper": _PAPER}
"""`report`: with a title, for a screen. `paper`: 7 pt and thin lines, without one, since a paper
has a caption."""

_ALWAYS: dict[str, Any] = {
    # Names are text, whatever they contain: a dollar sign begins no formula.
    "text.parse_math": False,
    "text.usetex": False,
    # Fonts of type 42 are embedded; many publishers refuse type 3.
    "pdf.fonttype": 42,
    # Words stay words, which an editor can change; outlines would take three times the space.
    "svg.fonttype": "none",
    # Without this the element ids of an SVG are hashes with a random salt.
    "svg.hashsalt": "benchharness",
}


def settings(style: str) -> Any:
    """Settings of matplotlib for a style, a dictionary that `rc_context` takes.

    Args:
        style: A key of `OWN`, a style that matplotlib has, or a file that ends in `.mplstyle`.

    Raises:
        BenchError: When there is none of that name, or the file cannot be read.
    """
    if style in OWN:
        return OWN[style] | _ALWAYS
    if style.endswith(".mplstyle"):
        return _REPORT | _of_file(Path(style)) | _ALWAYS
    from matplotlib import style as known

    if style not in known.available:
        names = (*OWN, *(name for name in known.available if not name.startswith("_")))
        raise unknown_name("style of figures", style, names)
    return _REPORT | _plain(known.library[style]) | _ALWAYS


def _plain(found: Any) -> dict[str, Any]:
    """Settings as a dictionary, whose keys matplotlib's type lists one by one."""
    return dict(found)


def _of_file(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = _plain(mpl.rc_params_from_file(path, use_default_template=False))
    except (OSError, ValueError, UnicodeDecodeError) as problem:
        raise BenchError(
            f"--style cannot read {path}: {problem}. Give one of {', '.join(OWN)}, a style of "
            "matplotlib, or a file of settings that ends in .mplstyle."
        ) from problem
    return found


def check(style: str, width: str) -> None:
    """Refuse a style or a width before any work is done.

    Raises:
        BenchError: When there is none of that name.
    """
    settings(style)
    inches(width)


def titled(style: str) -> bool:
    """Whether figures carry their title."""
    return style != "paper"


def inches(width: str) -> float:
    """A width in inches; 0 where the number of panels decides.

    Args:
        width: A key of `WIDTHS`, a number of inches, or nothing.

    Raises:
        BenchError: When it is none of these, or no width that a figure can have.
    """
    if not width:
        return 0.0
    if width in WIDTHS:
        return WIDTHS[width]
    try:
        found = float(width)
    except ValueError:
        found = 0.0
    if not _NARROWEST <= found <= 100:
        raise BenchError(
            f"--width got '{width}'. Type column ({WIDTHS['column']} inches), page "
            f"({WIDTHS['page']} inches), or a number of inches from {_NARROWEST} to 100."
        )
    return found


def across(width: str) -> int:
    """How many panels fit side by side."""
    return max(1, int(inches(width) // _NARROWEST)) if width else 4
