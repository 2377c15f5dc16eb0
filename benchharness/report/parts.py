"""What a report is made of: sections of tables, plots and pictures."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchharness.report.charts.chart import Chart
    from benchharness.report.tables.layout import Table


LONGEST_SLUG = 60
"""Several make a file's name, of which file systems allow 255 bytes."""


def slug(text: str) -> str:
    """A label as a file's name: lower case, with underscores for everything unusual.

    Where letters would be lost or the name be too long, a digest keeps names apart.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    lost = any(sign.isalnum() and not sign.isascii() for sign in text)
    if plain and not lost and len(plain) <= LONGEST_SLUG:
        return plain
    mark = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{plain[:LONGEST_SLUG]}_{mark}".lstrip("_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure of numbers, rendered."""

    name: str
    """Stem of its files."""
    title: str
    caption: str
    still: bytes
    """An SVG: what the page shows where no script runs, and in print."""
    files: tuple[tuple[str, bytes], ...]
    """By format, those that were asked for."""
    chart: Chart
    """What it shows, as data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that is not a plot of numbers."""

    name: str
    """Stem of its file."""
    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report, as the page and the Markdown show it."""

    title: str
    text: str = ""
    lead: tuple[Table, ...] = ()
    """Tables above the plots."""
    charts: tuple[Chart, ...] = ()
    """Figures as data, in their place between both groups of tables."""
    plots: tuple[Plot, ...] = ()
    """The charts, once they are drawn."""
    tables: tuple[Table, ...] = ()
    """Tables below them."""
    pictures: tuple[Picture, ...] = ()
    """Below everything."""
    for_print: bool = True
    """Whether its tables belong in a paper, and so in the LaTeX file."""

    @property
    def anchor(self) -> str:
        """The target of links to the section."""
        return slug(self.title)
