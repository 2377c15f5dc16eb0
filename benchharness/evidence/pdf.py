"""The evidence as a PDF, with reportlab: it needs no browser and no system library."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from benchharness.evidence.extra import needed
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.parts import Section
    from benchharness.report.tables.layout import Table

_FONT, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_INK, _SOFT, _LINE, _SHADE = "#1c2024", "#5c6670", "#c4cbd2", "#f1f3f5"
_VERDICTS = {"met": "#1b6e3c", "not met": "#a3231f", "not shown": "#7a5200"}
"""Colours of verdicts, which their words tell as well; each has a contrast above 5 on white."""
_MARGIN = 42
_SIZE, _LEADING = 7.5, 9.5
_TOGETHER = 110
"""Points that a heading and the first rows below it need."""
_PADDING = 6
"""Of reportlab's frame, on either side."""


def document(
    title: str, cover: Sequence[tuple[str, str]], sections: Sequence[Section], *, footer: str
) -> bytes:
    """A cover on A4, then every table over the width of the page, landscape.

    Args:
        title: On the cover.
        cover: Names and texts below it.
        sections: In their order.
        footer: On every page, before its number.

    Raises:
        BenchError: When reportlab is not installed.
    """
    needed("reportlab", "PDFs")
    from reportlab.lib.pagesizes import A4, landscape
    from reportlab.platypus import PageBreak, SimpleDocTemplate

    _fonts()
    width, height = landscape(A4)
    buffer = io.BytesIO()
    made = SimpleDocTemplate(
        buffer,
        pagesize=(width, height),
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=title,
        author=dict(cover).get("Author", ""),
        invariant=1,
    )

    def draw(canvas: Any, page: Any) -> None:
        canvas.setFont(_FONT, 7)
        canvas.setFillColor(_SOFT)
        canvas.drawString(_MARGIN, 24, one_line(footer)[:150])
        canvas.drawRightString(width - _MARGIN, 24, f"Page {page.page}")

    room = width - 2 * (_MARGIN + _PADDING)
    flow = [*_cover(title, cover, room), PageBreak()]
    for section in sections:
        flow += _section(section, room)
    made.build(flow, onFirstPage=draw, onLaterPages=draw)
    return buffer.getvalue()


@cache
def _fonts() -> None:
    """Register DejaVu Sans, which matplotlib brings and which has the field's signs."""
    import matplotlib
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (_FONT, _BOLD):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))


def _paragraph(text: str, **style: Any) -> Any:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    settings = {
        "fontName": _FONT,
        "fontSize": _SIZE,
        "leading": _LEADING,
        "textColor": _INK,
        "splitLongWords": 1,
    }
    return Paragraph(escape(one_line(text)), ParagraphStyle("text", **(settings | style)))


def _cover(title: str, cover: Sequence[tuple[str, str]], room: float) -> Iterator[Any]:
    from reportlab.platypus import Spacer, Table

    yield Spacer(1, 30)
    yield _paragraph(title, fontName=_BOLD, fontSize=24, leading=30)
    yield Spacer(1, 22)
    rows = [
        (
            _paragraph(name, textColor=_SOFT, fontSize=10, leading=14),
            _paragraph(text, fontSize=10, leading=14),
        )
        for name, text in cover
    ]
    yield Table(rows, colWidths=(170, room - 170), style=_style(head=False), hAlign="LEFT")


def _section(section: Section, room: float) -> Iterator[Any]:
    from reportlab.platypus import CondPageBreak, Spacer

    yield CondPageBreak(_TOGETHER)
    yield _paragraph(section.title, fontName=_BOLD, fontSize=14, leading=20)
    if section.text:
        yield _paragraph(section.text, textColor=_SOFT, spaceAfter=4)
    for table in (*section.lead, *section.tables):
        yield from _table(table, room)
        yield Spacer(1, 14)


def _table(table: Table, room: float) -> Iterator[Any]:
    from reportlab.platypus import CondPageBreak, LongTable

    # Not keepWithNext: a table of several pages would leave the page of its heading empty.
    yield CondPageBreak(_TOGETHER)
    yield _paragraph(table.title, fontName=_BOLD, fontSize=9.5, leading=13, spaceBefore=4)
    if table.caption:
        yield _paragraph(table.caption, textColor=_SOFT, spaceAfter=3)
    head = [_paragraph(name, fontName=_BOLD) for name in table.header]
    body = [
        [_paragraph(entry.plain, textColor=_VERDICTS.get(entry.plain, _INK)) for entry in row]
        for row in table.rows
    ]
    if not body:
        yield _paragraph("None.")
        return
    yield LongTable(
        [head, *body],
        colWidths=_widths(table, room),
        repeatRows=1,
        style=_style(head=True),
        splitInRow=1,
    )
    for note in table.notes:
        yield _paragraph(f"{note.sign} {note.text}", textColor=_SOFT)


def _widths(table: Table, room: float) -> list[float]:
    """Room for the longest word of each column, and the rest by how much there is to say."""
    columns = list(zip(table.header, *([e.plain for e in row] for row in table.rows), strict=True))
    least = [min(_widest_word(texts), 110.0) for texts in columns]
    wish = [max(min(max(map(len, texts)), 160) ** 0.75, 4.0) for texts in columns]
    left = max(room - sum(least), 0.0)
    widths = [own + left * part / sum(wish) for own, part in zip(least, wish, strict=True)]
    return [width * room / sum(widths) for width in widths]


def _widest_word(texts: Sequence[str]) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    words = {word for text in texts for word in text.split()} or {""}
    return max(float(stringWidth(word, _BOLD, _SIZE)) for word in words) + 9


def _style(*, head: bool) -> list[tuple[Any, ...]]:
    style: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ]
    if head:
        style += [
            ("BACKGROUND", (0, 0), (-1, 0), _SHADE),
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, _INK),
        ]
    return style
