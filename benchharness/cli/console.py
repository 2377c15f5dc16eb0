"""Where commands write: standard output and standard error, and text exactly as it is."""

from __future__ import annotations

from rich.console import Console

out = Console()
err = Console(stderr=True)


def say(text: object, *, to: Console = out) -> None:
    """Print one line of text as it is: no markup, no emoji codes, no colours, no wrapping."""
    to.print(str(text), markup=False, emoji=False, highlight=False, soft_wrap=True)
