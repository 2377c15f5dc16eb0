"""The report as GitHub's Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tabulate import tabulate

from benchharness.outside import escaping

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.parts import Plot, Section
    from benchharness.report.tables.layout import Table


def document(title: str, introduction: Sequence[str], sections: Sequence[Section]) -> str:
    """Write the whole report; figures and pictures are links to their files.

    Args:
        title: Of the report.
        introduction: Paragraphs below it.
        sections: In their order.
    """
    parts = [f"# {escaping.markdown(title)}", *map(escaping.markdown_block, introduction)]
    for section in sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## {escaping.markdown(section.title)}"
    if section.text:
        yield escaping.markdown_block(section.text)
    yield from map(table, section.lead)
    for plot in section.plots:
        yield _figure(plot)
    yield from map(table, section.tables)
    for picture in section.pictures:
        yield f"![{_alternative(picture.title)}](pictures/{picture.name}.png)"
        yield escaping.markdown_block(picture.caption)


def _figure(plot: Plot) -> str:
    """A figure where a format was chosen that Markdown shows, else a link to its file."""
    chosen = [kind for kind, _ in plot.files]
    kind = next((one for one in ("png", "svg", "pdf") if one in chosen), "csv")
    link = f"[{_alternative(plot.title)}](plots/{plot.name}.{kind})"
    return f"!{link}" if kind in ("png", "svg") else link


def table(content: Table) -> str:
    """Write a table under its title, a heading of the third level."""
    body = tabulate(
        [[escaping.markdown(entry.plain) for entry in row] for row in content.rows],
        headers=[escaping.markdown(heading) for heading in content.header],
        tablefmt="github",
        disable_numparse=True,
    )
    notes = "\n".join(f"- {note.sign} {escaping.markdown(note.text)}" for note in content.notes)
    return "\n\n".join(
        part
        for part in (
            f"### {escaping.markdown(content.title)}",
            escaping.markdown_block(content.caption),
            body,
            notes,
        )
        if part
    )


def _alternative(text: str) -> str:
    """The words for a picture, inside square brackets."""
    return re.sub(r"(?<!\\)[\[\]]", r"\\\g<0>", escaping.markdown(text))
