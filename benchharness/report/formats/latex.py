"""The tables of a report as LaTeX, for pdflatex: alone, or inside a paper.

Every table keeps within the width and the height of the text: headings wrap, long texts break,
tables with many columns or rows are set in parts, and what is still too wide is scaled.
"""

from __future__ import annotations

import textwrap
from functools import cache
from typing import TYPE_CHECKING

from benchharness.outside.escaping import one_line
from benchharness.report.formats.latex_text import breakable, escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.parts import Section
    from benchharness.report.tables.layout import Entry, Note, Table

_HEAD = r"""% Compile this file with pdflatex, or \input it into a paper.
% The paper needs \usepackage{booktabs,graphicx}.
\expandafter\ifx\csname @notprerr\endcsname\documentclass
\def\benchend{}
\else
\documentclass{article}
\usepackage{booktabs,graphicx}
\def\benchend{\end{document}}
\begin{document}
\fi
\providecommand{\toprule}{\hline}
\providecommand{\midrule}{\hline}
\providecommand{\bottomrule}{\hline}
\providecommand{\resizebox}[3]{#3}"""

_WIDTH = 344.0
"""Points that a line of an article offers, of which a few are left as a margin."""
_SCALED = 1.08
"""How much wider a table may be before it is split; it is then scaled to the line."""
_GAP = 5.0
"""Points between two columns."""
_LONGEST = 150.0
"""Points beyond which a column of words breaks its lines."""
_NARROWEST = 110.0
"""Points of a column whose lines break, into which any word goes that does not."""
_MOST = 400
"""Signs of a text in a cell, beyond which it is cut."""
_LINES = 44
"""Lines of a table on a page, with its caption."""
_FLOATS = 12
"""LaTeX gives up when many floats wait for their page: they are put out every so many."""
_NOTES = 14
"""Lines of notes that a table has room for; more follow it as text."""


_WIDTHS = dict.fromkeys(".,:;[]()|!'ijl", 2.5) | dict.fromkeys("frst -", 3.2) | {"m": 7.0, "w": 6.2}
"""Points of signs that are narrower or wider than most."""


def document(sections: Sequence[Section]) -> str:
    """Write the tables of every section meant for print, as floats."""
    found = [
        content
        for section in sections
        if section.for_print
        for content in (*section.lead, *section.tables)
    ]
    parts = [part for content in found for part in _parts(content)]
    for place in range(len(parts) - len(parts) % _FLOATS, 0, -_FLOATS):
        parts.insert(place, r"\clearpage")
    return "\n\n".join([_HEAD, *parts, r"\benchend"]) + "\n"


def table(content: Table) -> str:
    """Write a table as one float, or as several where a page has no room for it."""
    return "\n\n".join(_parts(content))


def _parts(content: Table) -> list[str]:
    blocks = [_Block(content, columns) for columns in _columns(content)]
    notes, after = _notes(content.notes)
    pages = list(_pages(blocks, max(10, _LINES - _caption_lines(content))))
    floats = [
        _float(
            content,
            "\n\\par\\smallskip\n".join(block.tabular(rows) for block, rows in page),
            notes if place == len(pages) - 1 else "",
            continued=place > 0,
        )
        for place, page in enumerate(pages)
    ]
    return [part for part in (*floats, after) if part]


def _float(content: Table, body: str, notes: str, *, continued: bool) -> str:
    caption = f"{content.title}. {content.caption}".strip()
    if continued:
        caption = f"{content.title} (continued)."
    return "\n".join(
        part
        for part in (
            r"\begin{table}[htbp]",
            r"\centering\sloppy\footnotesize\setlength{\tabcolsep}{2.5pt}",
            r"\addtocounter{table}{-1}" if continued else "",
            rf"\caption{{{breakable(caption)}}}",
            body,
            notes,
            r"\end{table}",
        )
        if part
    )


def _caption_lines(content: Table) -> int:
    return 2 + round(_points(f"{content.title}. {content.caption}") * 1.25 / _WIDTH)


def _notes(notes: Sequence[Note]) -> tuple[str, str]:
    """The notes for inside the float and for after it, of which one is empty."""
    lines = [
        rf"\par\raggedright {_superscript(note.sign)} {breakable(note.text)}" for note in notes
    ]
    if not lines:
        return "", ""
    text = "\n".join(lines)
    height = sum(1 + int(_points(note.text) / _WIDTH) for note in notes)
    if height <= _NOTES:
        return text, ""
    return "", f"{{\\footnotesize\\sloppy\n{text}\\par}}"


class _Block:
    """Some columns of a table, beside each other in one tabular.

    Args:
        content: The table.
        columns: Places of the columns.
    """

    def __init__(self, content: Table, columns: Sequence[int]) -> None:
        self._rows = len(content.rows)
        self._content = content
        self._columns = columns
        self._widths = {column: _width(content, column) for column in columns}
        self._broken = [column for column, width in self._widths.items() if width is None]
        spare = _WIDTH - _GAP * len(columns) - sum(w for w in self._widths.values() if w)
        self._share = max(_NARROWEST, spare / max(1, len(self._broken)))
        headings = (_wrapped(content.header[column], content, column) for column in columns)
        self._head = 2 + max(map(len, headings))

    def height(self, rows: range) -> int:
        """How many lines some rows take under their headings."""
        return self._head + sum(map(self._row, rows))

    def parts(self, lines: int) -> Iterator[range]:
        """The rows in parts that so many lines hold."""
        first = 0
        for row in range(self._rows):
            if row > first and self.height(range(first, row + 1)) > lines:
                yield range(first, row)
                first = row
        yield range(first, self._rows)

    def _row(self, row: int) -> int:
        texts = (self._content.rows[row][column].text for column in self._broken)
        return max((1 + int(1.15 * _points(_cut(text)) / self._share) for text in texts), default=1)

    def tabular(self, rows: range) -> str:
        """Some rows under the headings."""
        columns = "".join(
            "l" if width is not None else rf"p{{{self._share:.0f}pt}}"
            for width in self._widths.values()
        )
        head = " & ".join(self._heading(column) for column in self._columns)
        body = [
            " & ".join(self._entry(self._content.rows[row][c], c) for c in self._columns)
            for row in rows
        ]
        # \raggedright takes the double backslash for itself.
        end = r"\tabularnewline" if self._broken else r"\\"
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", f"{head} {end}", r"\midrule"]
        lines += [f"{line} {end}" for line in body]
        lines += [r"\bottomrule", r"\end{tabular}"]
        text = "\n".join(lines)
        return (
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
            + text
            + "}"
        )

    def _heading(self, column: int) -> str:
        text, width = self._content.header[column], self._widths[column]
        if width is None:
            return _paragraph(text)
        lines = _wrapped(text, self._content, column)
        if len(lines) == 1:
            return escape(text)
        return r"\shortstack[l]{" + r"\\".join(map(escape, lines)) + "}"

    def _entry(self, entry: Entry, column: int) -> str:
        if self._widths[column] is None:
            return _paragraph(entry.text, entry.marks)
        return escape(entry.text) + _superscript(entry.marks)


def _columns(content: Table) -> Iterator[list[int]]:
    """The columns of each block; every block begins with the names of the rows."""
    names = list(range(content.names))
    start = sum((_width(content, column) or _LONGEST) + _GAP for column in names)
    block, used = [*names], start
    for column in range(content.names, len(content.header)):
        width = (_width(content, column) or _LONGEST) + _GAP
        if used + width > _WIDTH * _SCALED and len(block) > len(names):
            yield block
            block, used = [*names], start
        block.append(column)
        used += width
    yield block


def _pages(blocks: Sequence[_Block], lines: int) -> Iterator[list[tuple[_Block, range]]]:
    """Which rows of which blocks each float holds."""
    page: list[tuple[_Block, range]] = []
    used = 0
    for block in blocks:
        for rows in block.parts(lines):
            height = block.height(rows)
            if page and used + height > lines:
                yield page
                page, used = [], 0
            page.append((block, rows))
            used += height
    yield page


def _width(content: Table, column: int) -> float | None:
    """Points of a column as wide as its widest text; None where its texts are to break."""
    entries = [row[column] for row in content.rows]
    widest = max((_points(entry.text) + 4 * len(entry.marks) for entry in entries), default=0.0)
    words = not any(entry.order is not None for entry in entries)
    if words and widest > _LONGEST:
        return None
    return max(widest, *map(_points, _wrapped(content.header[column], content, column)))


def _wrapped(heading: str, content: Table, column: int) -> list[str]:
    longest = max((len(row[column].text) for row in content.rows), default=0)
    return textwrap.wrap(heading, max(longest, 10), break_long_words=False) or [heading]


def _points(text: str) -> float:
    """About how wide a text is in Computer Modern of eight points."""
    return sum(map(_points_of_sign, one_line(text)))


@cache
def _points_of_sign(sign: str) -> float:
    if not sign.isascii() and escape(sign).startswith(r"\texttt"):
        return 28.0  # spelled, as U+4E2D
    return _WIDTHS.get(sign, 4.3 if sign.isdigit() or sign.islower() else 6.4)


def _cut(text: str) -> str:
    """A text that has room on a page; the page and the Markdown show all of it."""
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _paragraph(text: str, marks: str = "") -> str:
    return rf"\raggedright {breakable(_cut(text), 16)}{_superscript(marks)}"


def _superscript(marks: str) -> str:
    return rf"\textsuperscript{{{escape(marks)}}}" if marks else ""
