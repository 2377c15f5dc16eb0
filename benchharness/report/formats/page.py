"""The report as one self-contained page: it loads nothing, and opens offline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchharness.outside.escaping import printable
from benchharness.report.formats import embedding
from benchharness.report.page import charts, payload, runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchharness.report.page import Opening
    from benchharness.report.parts import Section
    from benchharness.report.tables.layout import Table


PAGE = 5_000_000
"""Bytes that a page stays below; volumes fill what everything else leaves."""
_DATA = "\x00data\x00"
"""Where the page's data go. No text of a page has a NUL: `_shown` shows it as a sign."""


def document(
    title: str,
    introduction: Sequence[str],
    sections: Sequence[Section],
    opening: Opening | None = None,
) -> str:
    """Write the page.

    Args:
        title: Of the page.
        introduction: Paragraphs below the title.
        sections: In their order.
        opening: The first screen and the data of `window.bench`; None leaves both out.
    """
    drawn = charts.charts(sections)
    text = (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            introduction=introduction,
            sections=sections,
            opening=opening,
            data=Markup(_DATA),
            # The text is vl-convert's, and was made to stand in an element of this kind.
            runtime=Markup(runtime.script()) if drawn else "",
        )
    )
    if opening is None:
        return text.replace(_DATA, payload.script_json({"charts": drawn}))
    data = payload.script_json(opening.data | {"charts": drawn})
    shown = opening.volumes(PAGE - len(text.encode()) - len(data.encode()))
    return text.replace(_DATA, f'{data[:-1]},"volumes":{payload.script_json(shown)}}}')


def fragment(tables: Iterable[Table]) -> str:
    """Tables as HTML without a page around them, for a notebook."""
    module = _environment().get_template("table.html").module
    return "".join(str(module.show(table)) for table in tables)  # type: ignore[attr-defined]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("benchharness.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = embedding.data_uri
    environment.filters["svg_uri"] = embedding.svg_uri
    environment.filters["order"] = _order
    return environment


def _shown(value: object) -> object:
    """Control characters and lone surrogates of any text are shown; Jinja escapes the rest."""
    return printable(value) if type(value) is str else value


def _order(value: float | None) -> str:
    """What a cell sorts by, as JavaScript reads it; empty where its value is missing."""
    if value is None:
        return ""
    return f"{'-' if value < 0 else ''}Infinity" if math.isinf(value) else repr(float(value))
