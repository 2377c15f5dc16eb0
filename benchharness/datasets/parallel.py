"""One task for every file, in threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import track

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    Item = TypeVar("Item")
    Result = TypeVar("Result")

_WORKERS = 8
"""More would not fit: a CT volume of 512 × 512 × 400 takes about 2 GB while it is prepared."""


def each(items: Sequence[Item], work: Callable[[Item], Result], what: str) -> list[Result]:
    """Apply `work` to every item, in order, with a progress bar on a terminal.

    Args:
        items: What to work on.
        work: Called once for each, from several threads.
        what: The bar's text.
    """
    console = Console(stderr=True)
    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as threads:
        try:
            return list(
                track(
                    threads.map(work, items),
                    description=escape(what),
                    total=len(items),
                    console=console,
                    transient=True,
                    disable=not console.is_terminal,
                )
            )
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
