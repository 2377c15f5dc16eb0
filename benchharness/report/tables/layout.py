"""Tables as data: scores and texts laid out, before any format."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.report.cells.score import Score
from benchharness.store.records import NOT_APPLICABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DASH = "–"
SUSPECT = "†"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One field of a table."""

    text: str
    order: float | None = None
    """What to sort by; None sorts by the text."""
    marks: str = ""
    """Signs of the notes that explain it."""

    @property
    def plain(self) -> str:
        """The text followed by its signs, for formats without superscripts."""
        return f"{self.text} {self.marks}".strip()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row before it is laid out."""

    names: tuple[str, ...]
    """What the row is about, such as a model and a perturbation."""
    fields: tuple[Score | float | None, ...]
    """Scores, or plain quantities such as millions of parameters."""


def number(score: Score) -> str:
    """Write a score: `0.842 [0.77, 0.90]`, `0.842` without an interval, a dash without a value."""
    if score.value is None:
        return "n/a" if score.gap.startswith(NOT_APPLICABLE) else DASH
    if score.low is None or score.high is None:
        return f"{score.value:.3f}"
    return f"{score.value:.3f} [{score.low:.2f}, {score.high:.2f}]"


def score_table(
    title: str, header: Iterable[str], lines: Sequence[Line], *, caption: str = ""
) -> Table:
    """Lay out scores; every gap and suspicion becomes a note below the table."""
    signs: dict[str, str] = {}
    suspicions: dict[str, None] = {}

    def entry(line: Line, found: Score | float | None) -> Entry:
        if not isinstance(found, Score):
            return Entry(text=DASH if found is None else f"{found:,.2f}", order=found)
        said = found.gap or found.remark
        marks = signs.setdefault(said, _letter(len(signs))) if said else ""
        if found.suspect:
            marks += SUSPECT
            suspicions[f"Suspect, not ranked: {', '.join(line.names)}: {found.suspect}."] = None
        return Entry(text=number(found), order=found.value, marks=marks)

    rows = tuple(
        (*(Entry(text=name) for name in line.names), *(entry(line, f) for f in line.fields))
        for line in lines
    )
    notes = (
        *(Note(sign=SUSPECT, text=text) for text in suspicions),
        *(Note(sign=sign, text=f"{reason.rstrip('.')}.") for reason, sign in signs.items()),
    )
    return Table(title=title, header=tuple(header), rows=rows, caption=caption, notes=notes)


def text_table(
    title: str,
    header: Iterable[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    wordy: bool = True,
) -> Table:
    """Lay out plain texts, None as a dash; see `Table.wordy`."""
    return Table(
        title=title,
        header=tuple(header),
        rows=tuple(tuple(Entry(text=DASH if f is None else str(f)) for f in row) for row in rows),
        caption=caption,
        wordy=wordy,
    )


def _letter(index: int) -> str:
    turn, place = divmod(index, len(string.ascii_lowercase))
    return string.ascii_lowercase[place] + (str(turn) if turn else "")
