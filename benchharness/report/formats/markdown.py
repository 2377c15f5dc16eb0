"""The report as GitHub's Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.parts import Section
    from benchharness.report.tables.layout import Table


def document(title: str, introduction: Sequence[str], sections: Sequence[Section]) -> str:
    """Write the whole report; figures and pictures are links to their files.

    Args:
        title: Of the report.
        introduction: Paragraphs below it.
        sections: In their order.
    """
    parts = [f"# {title}", *introduction]
    for section in sections:
        parts += _section(section)
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.title}"
    if section.text:
        yield section.text
    yield from map(table, section.lead)
    for plot in section.plots:
        yield f"![{plot.title}](plots/{plot.name}.png)"
    yield from map(table, section.tables)
    for picture in section.pictures:
        yield f"![{picture.title}](pictures/{picture.name}.png)"
        yield picture.caption


def table(content: Table) -> str:
    """Write a table under its title, a heading of the third level."""
    body = tabulate(
        [[entry.plain.replace("|", r"\|") for entry in row] for row in content.rows],
        headers=[heading.replace("|", r"\|") for heading in content.header],
        tablefmt="github",
        disable_numparse=True,
    )
    notes = "\n".join(f"- {note.sign} {note.text}" for note in content.notes)
    return "\n\n".join(
        part for part in (f"### {content.title}", content.caption, body, notes) if part
    )
