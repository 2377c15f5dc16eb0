"""One Ctrl-C ends a run, and the next ones do not end its clearing up."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class FirstInterrupt:
    """Lets the first Ctrl-C end the run, and no second one end its clearing up."""

    def __init__(self) -> None:
        self._before: object = None

    def begin(self) -> None:
        """Watch for a Ctrl-C, in the one thread that may."""
        found = signal.getsignal(signal.SIGINT)
        if callable(found) and threading.current_thread() is threading.main_thread():
            self._before = found
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert callable(self._before)
        self._before(number, frame)

    def end(self) -> None:
        """Put the handler back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]
