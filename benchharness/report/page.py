"""One self-contained page: it loads nothing, and opens offline."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchharness.report.plots import slug

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.layout import Table
    from benchharness.report.plots import Plot


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that was drawn elsewhere."""

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
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    """Tables below them."""
    pictures: tuple[Picture, ...] = ()
    """Last."""

    @property
    def anchor(self) -> str:
        """What a link to the section ends in."""
        return slug(self.title)


def render(title: str, introduction: Sequence[str], sections: Sequence[Section]) -> str:
    """Write the page.

    Args:
        title: Of the page.
        introduction: Paragraphs above the table of contents.
        sections: In their order.
    """
    environment = Environment(
        loader=PackageLoader("benchharness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # An image by its data, not inline: the ids inside several SVGs would otherwise collide.
    environment.filters["data_uri"] = lambda svg: (
        "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    )
    environment.filters["png_uri"] = lambda png: (
        "data:image/png;base64," + base64.b64encode(png).decode()
    )
    return environment.get_template("report.html").render(
        title=title, introduction=introduction, sections=sections
    )
