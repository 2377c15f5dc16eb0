"""The errors that a user may see.

`BenchError` is the user's mistake: one line, exit code 2, no traceback. `CellError` is a failure of
one cell (a network returns NaN, an attack leaves its ball): it becomes an error record and the run
continues.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class BenchError(Exception):
    """A mistake that the user can correct.

    The message is one line that says what was wrong, what was received and what to type instead.
    """


class CellError(Exception):
    """One cell cannot be evaluated; the message becomes the text of its error record."""


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
    close = get_close_matches(name, everything, n=3, cutoff=0.5)
    nearest = f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
    listing = ", ".join(everything) or "none"
    tail = f" {hint}" if hint else ""
    return BenchError(f"unknown {kind} {name!r}.{nearest} Known: {listing}.{tail}")
