"""The page that follows a run: newer when cells are recorded, served to this machine alone."""

from __future__ import annotations

import http.client
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from benchharness.errors import BenchError
from benchharness.report import serving
from benchharness.report.choice import Choice
from benchharness.report.serving import Live, serve, server
from benchharness.store.folder import Store
from tests.factories import Made, store_of
from tests.report.conftest import without_drawing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLEAN = Made(n=12)


def add(folder: Path, made: Made) -> None:
    store = Store(folder)
    with store.writing():
        made.save(store)


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with without_drawing():
        yield Live(tmp_path / "store", Choice.of(formats=["png"], volumes=0))


def ask(port: int, path: str, host: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection(serving.HOST, port, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_is_new_only_when_the_records_are(live: Live, tmp_path: Path) -> None:
    waiting = live.version
    assert not live.look()
    assert b"No cell is recorded yet" in live.page
    store_of(tmp_path / "store", [replace(CLEAN, error="NaN logits")])
    assert not live.look()
    assert live.version == waiting
    add(tmp_path / "store", CLEAN)
    assert live.look()
    first = live.version
    assert first != waiting
    assert not live.look()
    add(tmp_path / "store", replace(CLEAN, perturbation="pgd", severity=8 / 255))
    assert live.look()
    assert live.version != first
    assert b"8/255" in live.page
    assert live.version.encode() in live.page


def test_the_file_on_disk_asks_nobody(live: Live, tmp_path: Path) -> None:
    store_of(tmp_path / "store", [CLEAN])
    live.look()
    assert b'fetch("version"' in live.page
    assert 'fetch("version"' not in (tmp_path / "store" / "report" / "report.html").read_text()


def test_two_addresses_for_this_machine_alone(live: Live, tmp_path: Path) -> None:
    store_of(tmp_path / "store", [CLEAN])
    live.look()
    with server(live, 0) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        port = listening.server_port
        assert ask(port, "/") == (200, live.page.decode())
        assert ask(port, "/version") == (200, live.version)
        assert ask(port, "/", f"localhost:{port}")[0] == 200
        assert ask(port, "/records.jsonl")[0] == 404
        assert ask(port, "/../records.jsonl")[0] == 404
        assert ask(port, "/", f"evil.example:{port}")[0] == 403
        listening.shutdown()


def test_ctrl_c_ends_it_and_a_taken_port_is_named(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_of(tmp_path / "store", [CLEAN])
    said: list[str] = []

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.time, "sleep", interrupted)
    serve(live, 0, said.append)
    assert said[0].startswith("page: http://127.0.0.1:")
    assert said[1] == f"written anew: {live.version[:8]}"
    with server(live, 0) as taken, pytest.raises(BenchError, match="Type --port 0"):
        server(live, taken.server_port)
