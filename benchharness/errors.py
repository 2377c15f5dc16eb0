"""The errors that a user may see.

`BenchError` is the user's mistake: one line, exit code 2, no traceback. `CellError` is a failure of
one cell (a network returns NaN, an attack leaves its ball): it becomes an error record and the run
continues.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class BenchError(Exception):
    """A mistake that the user can correct.

    The message is one line that says what was wrong, what was received and what to type instead.
    """


class CellError(Exception):
    """One cell cannot be evaluated; the message becomes the text of its error record."""


def did_you_mean(name: str, known: Sequence[str], *, cutoff: float = 0.5) -> str:
    """` Did you mean 'x' or 'y'?` with the closest matches; empty without any.

    Args:
        name: What was received.
        known: Every accepted name.
        cutoff: Smallest similarity of a match, 0 to 1.
    """
    close = get_close_matches(name, known, n=3, cutoff=cutoff)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def unknown_name(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> BenchError:
    """Build the error for an unknown name.

    Args:
        kind: What was looked up, in the singular ("model", "config key").
        name: What was received.
        known: Every accepted name.
        hint: What else could be typed, as a full sentence.

    Returns:
        The error, which lists the closest matches first and then all names.
    """
    everything = sorted(known)
    listing = ", ".join(everything) or "none"
    tail = f" {hint}" if hint else ""
    return BenchError(
        f"unknown {kind} {name!r}.{did_you_mean(name, everything)} Known: {listing}.{tail}"
    )
