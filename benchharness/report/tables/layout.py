"""Tables as data: scores and texts laid out, before any format."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING

from benchharness.report.cells.score import Score
from benchharness.report.tables.numbers import decimals, fixed, quantity
from benchharness.store.records import NOT_APPLICABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DASH = "–"
INAPPLICABLE = "n/a"
SUSPECT = "†"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One field of a table."""

    text: str
    order: float | None = None
    """What to sort by; None sorts by the text."""
    marks: str = ""
    """Signs of the notes that explain it."""
    href: str = ""
    """Where a page's link leads; empty for none."""
    code: bool = False
    """Whether it is a command, which a page sets as such."""

    @property
    def plain(self) -> str:
        """The text followed by its signs, for formats without superscripts."""
        return f"{self.text} {self.marks}".strip()

    @property
    def empty(self) -> bool:
        """Whether it stands for a missing value, which sorts last in both directions."""
        return self.order is None and self.text in (DASH, INAPPLICABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a sign in a table means."""

    sign: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as every format shows it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str = ""
    notes: tuple[Note, ...] = ()
    wordy: bool = False
    """Whether its texts may be broken over several lines."""
    names: int = 1
    """How many columns say what a row is about; where a table is split they are repeated."""
    kinds: tuple[str, ...] = ()
    """The words that choose it: what it shows, and of which family."""
    about: tuple[str, ...] = ()
    """The perturbation of each row, empty where a row has none; () where no row has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row before it is laid out."""

    names: tuple[str | int, ...]
    """What the row is about, such as a model and a perturbation."""
    fields: tuple[Score | float | None, ...]
    """Scores, or plain quantities such as millions of parameters."""
    about: str = ""
    """The perturbation, for those who choose rows by it."""


def number(score: Score) -> str:
    """Write a score: `0.842 [0.765, 0.901]`, `0.842` without an interval, a dash without a value.

    An interval has as many decimals as its number.
    """
    if score.value is None or math.isnan(score.value):
        return INAPPLICABLE if score.gap.startswith(NOT_APPLICABLE) else DASH
    places = decimals(score.value)
    if score.low is None or score.high is None:
        return fixed(score.value, places)
    low, high = fixed(score.low, places), fixed(score.high, places)
    return f"{fixed(score.value, places)} [{low}, {high}]"


def cell(field: object) -> Entry:
    """A field of a table of texts: None is a dash, and a number carries what it sorts by."""
    if isinstance(field, Entry):
        return field
    if isinstance(field, bool):
        return Entry(text=str(field))
    if isinstance(field, Real):
        value = float(field)
        if math.isnan(value):
            return Entry(text=DASH)
        return Entry(
            text=str(field) if isinstance(field, Integral) else quantity(value), order=value
        )
    return Entry(text=DASH if field is None else str(field))


def score_table(
    title: str,
    header: Iterable[str],
    lines: Sequence[Line],
    *,
    caption: str = "",
    kinds: tuple[str, ...] = (),
) -> Table:
    """Lay out scores; every gap and suspicion becomes a note below the table."""
    signs: dict[str, str] = {}
    suspicions: dict[str, None] = {}

    def entry(line: Line, found: Score | float | None) -> Entry:
        if not isinstance(found, Score):
            return cell(None if found is None else float(found))
        said = found.gap or found.remark
        marks = signs.setdefault(said, _letter(len(signs))) if said else ""
        if found.suspect:
            marks += SUSPECT
            names = ", ".join(map(str, line.names))
            suspicions[f"Suspect, not ranked: {names}: {found.suspect}."] = None
        return Entry(text=number(found), order=_order(found.value), marks=marks)

    rows = tuple(
        (*map(cell, line.names), *(entry(line, field) for field in line.fields)) for line in lines
    )
    notes = (
        *(Note(sign=SUSPECT, text=text) for text in suspicions),
        *(Note(sign=sign, text=f"{reason.rstrip('.')}.") for reason, sign in signs.items()),
    )
    return Table(
        title=title,
        header=tuple(header),
        rows=rows,
        caption=caption,
        notes=notes,
        names=len(lines[0].names) if lines else 1,
        kinds=kinds,
        about=tuple(line.about for line in lines),
    )


def text_table(
    title: str,
    header: Iterable[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    wordy: bool = True,
    kinds: tuple[str, ...] = (),
    about: tuple[str, ...] = (),
) -> Table:
    """Lay out texts and plain numbers; see `cell` and `Table.wordy`."""
    return Table(
        title=title,
        header=tuple(header),
        rows=tuple(tuple(map(cell, row)) for row in rows),
        caption=caption,
        wordy=wordy,
        kinds=kinds,
        about=about,
    )


def chosen(table: Table, words: Sequence[str]) -> Table | None:
    """A table if words choose it: whole by its kinds, or else its rows about a perturbation.

    Args:
        table: The table.
        words: Kinds, or perturbations; `pgd` stands for `pgd (steps=20)` too.

    Returns:
        The table with the rows and notes that are left; None where none are.
    """
    if set(table.kinds) & set(words):
        return table
    rows = tuple(
        row
        for row, about in zip(table.rows, table.about, strict=bool(table.about))
        if about and any(about == word or about.startswith(f"{word} ") for word in words)
    )
    if not rows:
        return None
    marks = "".join(entry.marks for row in rows for entry in row)
    return replace(table, rows=rows, notes=tuple(n for n in table.notes if n.sign in marks))


def _order(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _letter(index: int) -> str:
    turn, place = divmod(index, len(string.ascii_lowercase))
    return string.ascii_lowercase[place] + (str(turn) if turn else "")
