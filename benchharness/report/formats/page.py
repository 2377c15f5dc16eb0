"""The report as one self-contained page: it loads nothing, and opens offline."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.parts import Section


def document(title: str, introduction: Sequence[str], sections: Sequence[Section]) -> str:
    """Write the page.

    Args:
        title: Of the page.
        introduction: Paragraphs below the title.
        sections: In their order.
    """
    environment = Environment(
        loader=PackageLoader("benchharness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Images by their data, not inline SVG: the ids inside several SVGs would collide.
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("report.html").render(
        title=title, introduction=introduction, sections=sections
    )


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
