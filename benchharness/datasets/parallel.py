"""One task for every file, in threads."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from typing import TypeVar

    Item = TypeVar("Item")
    Result = TypeVar("Result")

_WORKERS = 8
"""More would not fit: a CT volume of 512 × 512 × 400 takes about 2 GB while it is prepared."""


def each(items: Sequence[Item], work: Callable[[Item], Result], what: str) -> list[Result]:
    """Apply `work` to every item, in order, as `flowing`; all results are in memory."""
    return list(flowing(items, work, what))


def flowing(items: Sequence[Item], work: Callable[[Item], Result], what: str) -> Iterator[Result]:
    """Apply `work` to every item, in order, with a progress bar on a terminal.

    Only some results wait in memory at a time, however slowly they are taken.

    Args:
        items: What to work on.
        work: Called once for each, from several threads.
        what: The bar's text.
    """
    console = Console(stderr=True)
    workers = min(_WORKERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as threads:
        try:
            yield from track(
                _in_order(threads, items, work, 2 * workers),
                description=escape(what),
                total=len(items),
                console=console,
                transient=True,
                disable=not console.is_terminal,
            )
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _in_order(
    threads: Executor, items: Sequence[Item], work: Callable[[Item], Result], ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(threads.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
