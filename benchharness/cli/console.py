"""Where commands write: standard output and standard error, and text exactly as it is.

Names, paths and messages come from outside and are data: nothing here reads markup or emoji codes
in them, control characters are spelled out, and a terminal that cannot show a sign gets the nearest
one in ASCII.
"""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment

from benchharness.outside.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import ConsoleOptions, RenderableType
    from rich.text import Text

_NEAREST = {
    **dict.fromkeys("–—−‑", "-"),
    "×": "x",
    "·": "-",
    "…": "...",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "±": "+-",
    "∞": "inf",
    "√": "sqrt ",
    "⁄": "/",
    "ε": "eps",
    "δ": "delta",
    "α": "alpha",
    "σ": "sigma",
}
"""How signs of ours read in ASCII, where Unicode knows no decomposition."""


class SafeConsole(Console):
    """Prints what it is given, tables and progress included, with control characters in letters."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Render as rich does; only rich's own controls reach the terminal as such."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Spell out control characters, then render as rich does."""
        # Before a table measures how wide its columns are.
        return super().render_str(printable(text), **settings)


out = SafeConsole(markup=False, emoji=False)
err = SafeConsole(stderr=True, markup=False, emoji=False)


def say(text: object, *, to: Console = out) -> None:
    """Print one line of text as it is: no markup, no emoji codes, no colours, no wrapping."""
    to.print(printable(str(text)), markup=False, emoji=False, highlight=False, soft_wrap=True)


def in_bytes(count: float) -> str:
    """A size for people: `812 B`, `4.1 kB`, `2.3 GB`, in powers of 1000."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def speak_any_encoding() -> None:
    """Make standard output and error take every text, whatever their encoding is."""
    codecs.register_error("bench.nearest", _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="bench.nearest")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in ASCII; an error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(map(_ascii, signs)), error.end


def _ascii(sign: str) -> str:
    plain = "".join(
        part if part.isascii() else _NEAREST.get(part, "")
        for part in unicodedata.normalize("NFKD", sign)
    )
    return plain or sign.encode("ascii", "backslashreplace").decode()
