"""A report that follows a run: its page on an address of this machine, written anew as cells come.

The page is the one that `writing` writes. What is served asks every two seconds whether there is a
newer one, and loads it when no panel is open; the file on disk asks nothing.
"""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

from benchharness.canonical import sha256
from benchharness.errors import BenchError
from benchharness.report.collect import NothingToReportError
from benchharness.report.writing import write
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.report.choice import Choice
    from benchharness.report.writing import Draw

HOST = "127.0.0.1"
"""Nobody else's machine can reach it."""
PORT = 8200
_LOOK_S = 1.0
"""Seconds between two looks at the records."""

_WATCH = """<script>
setInterval(async () => {
  try {
    const newest = await (await fetch("version", {cache: "no-store"})).text();
    if (newest !== "%s" && !document.querySelector("dialog[open]")) location.reload();
  } catch (_) { /* The server has ended; the page stays. */ }
}, 2000);
</script>
</body>"""
_WAITING = (
    "<!doctype html><html lang='en'><meta charset='utf-8'><title>Waiting</title>"
    "<body><p>No cell is recorded yet. This page shows the report as soon as one is.</p></body>"
)


class Live:
    """The newest page of a store.

    Args:
        store_dir: Folder of the records.
        choice: As for `writing.write`.
        draw: As for `writing.write`.
        processes: As for `writing.write`.
    """

    def __init__(
        self, store_dir: Path, choice: Choice, draw: Draw | None = None, processes: int = 1
    ) -> None:
        self._records = Store(store_dir).lines
        self._write = partial(write, store_dir, choice=choice, draw=draw, processes=processes)
        self._seen: tuple[int, int] | None = None
        self.page, self.version = b"", ""
        self._show(_WAITING)

    def look(self) -> bool:
        """Write the report if the records have changed; returns whether there is a newer page.

        A store without a cell that could be reported is waited for.
        """
        try:
            found = self._records.stat()
        except OSError:
            return False
        state = (found.st_size, found.st_mtime_ns)
        if state == self._seen:
            return False
        self._seen = state
        before = self.version
        try:
            self._show(self._write().html.read_text(encoding="utf-8"))
        except NothingToReportError:
            return False
        return self.version != before

    def _show(self, text: str) -> None:
        version = sha256(text.encode())
        head, _, tail = text.rpartition("</body>")
        self.page, self.version = (head + _WATCH % version + tail).encode(), version


def serve(live: Live, port: int, say: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C.

    Args:
        live: What to serve.
        port: Of this machine; 0 takes a free one.
        say: Prints a line.

    Raises:
        BenchError: When the port cannot be used, or the report cannot be written.
    """
    with server(live, port) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        say(f"page: http://{HOST}:{listening.server_port}/ (Ctrl-C ends it)")
        try:
            while True:
                began = time.monotonic()
                if live.look():
                    say(f"written anew: {live.version[:8]}")
                # A run needs the processor more than its page does.
                time.sleep(max(_LOOK_S, time.monotonic() - began))
        except KeyboardInterrupt:
            return
        finally:
            listening.shutdown()


def server(live: Live, port: int) -> ThreadingHTTPServer:
    """A server of two addresses, `/` and `/version`, that is not listening yet.

    Raises:
        BenchError: When the port cannot be used.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in (HOST, "localhost"):
                # A page of the web whose name leads here must not read what is measured.
                self.send_error(HTTPStatus.FORBIDDEN)
            elif self.path == "/":
                self._send(live.page, "text/html")
            elif self.path == "/version":
                self._send(live.version.encode(), "text/plain")
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Requests are nobody's business."""

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except (OSError, OverflowError) as error:
        raise BenchError(
            f"port {port} cannot be used: {error}. Type --port 0 for one that is free."
        ) from error
