"""Where commands write: standard output and standard error, and text exactly as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

from benchharness.outside.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType


class SafeConsole(Console):
    """A console to which no text can send control characters, wherever it comes from."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does; only rich's own controls reach the terminal as such."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else printable(segment.text)
            yield segment if shown == segment.text else Segment(shown, segment.style)


out = SafeConsole()
err = SafeConsole(stderr=True)


def say(text: object, *, to: Console = out) -> None:
    """Print one line of text as it is: no markup, no emoji codes, no colours, no wrapping."""
    shown = printable(str(text))
    to.print(shown, markup=False, emoji=False, highlight=False, soft_wrap=True)
