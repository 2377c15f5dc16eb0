"""The tables of a report as LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.parts import Section
    from benchharness.report.tables.layout import Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "ε": r"$\varepsilon$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "∞": r"$\infty$",
    "†": r"\textdagger{}",
    "[": "{[}",
    "]": "{]}",
}
"""Square brackets are braced, as LaTeX reads one after `\\\\` as an optional argument."""

_HEAD = "% Needs \\usepackage{booktabs}; names with Unicode characters need XeLaTeX or LuaLaTeX."


def document(sections: Sequence[Section]) -> str:
    """Write the tables of every section meant for print, one float each."""
    found = [
        content
        for section in sections
        if section.for_print
        for content in (*section.lead, *section.tables)
    ]
    return "\n\n".join([_HEAD, *map(table, found)]) + "\n"


def table(content: Table) -> str:
    """Write a table as a float that needs the package `booktabs` and nothing else."""
    names = "l" * (len(content.header) - 1)
    body = "\n".join(
        " & ".join(_escape(entry.text) + _superscript(entry.marks) for entry in row) + r" \\"
        for row in content.rows
    )
    notes = "\n".join(
        rf"\par\footnotesize {_superscript(note.sign)} {_escape(note.text)}"
        for note in content.notes
    )
    caption = f"{content.title}. {content.caption}".strip()
    return "\n".join(
        part
        for part in (
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape(caption)}}}",
            rf"\begin{{tabular}}{{l{names}}}",
            r"\toprule",
            " & ".join(_escape(heading) for heading in content.header) + r" \\",
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}",
            notes,
            r"\end{table}",
        )
        if part
    )


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(sign, sign) for sign in text)


def _superscript(marks: str) -> str:
    return rf"\textsuperscript{{{_escape(marks)}}}" if marks else ""
