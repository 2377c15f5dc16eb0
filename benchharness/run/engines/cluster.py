"""A connection to a Ray cluster, or to a Ray of this machine that is started for the run."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError
from benchharness.outside.containment import in_one_line
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_S = 5.0
"""Seconds until a port that takes connections has answered."""

_HEALTHY_S = 30.0
"""Seconds until a head has said that it is one. Left alone, Ray tries for three minutes."""

_LOST_S = 20.0
"""Seconds of silence after which a head is lost. Ray ends the whole process after a minute."""

_ASK_S = 2.0
_LEAVE_S = 10.0

_FORMS = "auto, HOST:PORT or ray://HOST:PORT"


def library() -> Any:
    """The package `ray`.

    Raises:
        BenchError: When it is not installed.
    """
    # Read when the package is imported: nothing is reported to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise BenchError(
            "--engine ray needs Ray. Install it: pip install 'benchharness[ray]'."
        ) from error
    return ray


class Connection:
    """A connection to a cluster.

    Args:
        address: As typed after `--address`; None starts a Ray of this machine, unless the
            environment variable RAY_ADDRESS names a cluster.

    Raises:
        BenchError: When the address has another form, or Ray is not installed or in use already.
    """

    def __init__(self, address: str | None) -> None:
        self.library = library()
        self.address = address or os.environ.get("RAY_ADDRESS") or None
        if self.address not in (None, "auto") and not _host_and_port(str(self.address)):
            raise BenchError(f"--address takes {_FORMS}, got {self.address!r}.")
        if self.library.is_initialized():
            raise BenchError(
                "this process is connected to Ray already, and a run makes its own connection. "
                "Call ray.shutdown() first."
            )
        self._watch: threading.Thread | None = None
        self._heard = time.monotonic()
        self._left = threading.Event()

    def open(self, code: Path | None, environment: dict[str, str]) -> None:
        """Connect.

        Args:
            code: Folder of modules for every worker; None where they need none.
            environment: Environment variables of every worker.

        Raises:
            BenchError: When there is no such cluster, or it does not fit this process.
        """
        if self.address is not None:
            self._probe(self.address)
        runtime: dict[str, Any] = {"env_vars": environment}
        if code is not None:
            runtime["working_dir"] = str(code)
        self._silence(quiet=True)
        try:
            self.library.init(
                address=self.address or "local",
                runtime_env=runtime,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if self.address else {"include_dashboard": False}),
            )
        except (Exception, SystemExit) as error:
            self._silence(quiet=False)
            raise BenchError(
                f"cannot use Ray at {self.address or 'this machine'}: {in_one_line(error)[:300]}. "
                f"--address takes {_FORMS} of a running cluster with this version of Ray."
            ) from error
        self._heard = time.monotonic()
        self._watch = threading.Thread(target=self._ask, daemon=True)
        self._watch.start()

    def rooms(self, cpus: float, gpus: float) -> list[int]:
        """How many workers of this size each node has room for."""
        sizes = {"CPU": cpus, "GPU": gpus}
        return [
            int(min(node["Resources"].get(name, 0) // size for name, size in sizes.items() if size))
            for node in self.library.nodes()
            if node["Alive"]
        ]

    def check(self) -> None:
        """Find out whether the cluster is still there.

        Raises:
            BenchError: When its head has not been heard of for too long.
        """
        silent = time.monotonic() - self._heard
        if silent > _LOST_S:
            raise BenchError(
                f"the head of the Ray cluster has not answered for {silent:.0f} s, so the run "
                "ends. What is recorded is kept: start the cluster and the same command again."
            )

    def close(self) -> None:
        """Leave the cluster, which ends if it was started for this run; lost or not."""
        self._left.set()
        if not self.library.is_initialized():
            self._silence(quiet=False)
            return
        # The head may be gone, and leaving would then wait for it.
        leaving = threading.Thread(target=self._leave, daemon=True)
        leaving.start()
        leaving.join(_LEAVE_S)
        self._silence(quiet=False)

    def _leave(self) -> None:
        with suppress(Exception):
            self.library.shutdown()

    def _ask(self) -> None:
        """Note again and again that the head answers."""
        while not self._left.wait(_ASK_S):
            with suppress(Exception):
                self.library.nodes()
                self._heard = time.monotonic()

    def _probe(self, address: str) -> None:
        """Find out in bounded time whether a cluster answers.

        Raises:
            BenchError: When it does not.
        """
        if place := _host_and_port(address):
            try:
                socket.create_connection(place, timeout=_ANSWER_S).close()
            except OSError as error:
                raise _nobody(address, error.strerror or "no answer") from error
        if address.startswith("ray://"):
            return
        asked = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
        try:
            subprocess.run(asked, timeout=_HEALTHY_S, check=True, capture_output=True, text=True)
        except subprocess.TimeoutExpired as error:
            raise _nobody(address, f"no answer within {_HEALTHY_S:.0f} s") from error
        except subprocess.CalledProcessError as error:
            last = error.stderr.strip().rpartition("\n")[2]
            raise _nobody(address, last.partition(". ")[0]) from error

    def _silence(self, *, quiet: bool) -> None:
        """Keep what Ray says of its processes off the terminal; every death is told by the run."""
        with suppress(AttributeError):
            self.library._private.worker._worker_logs_enabled = not quiet  # noqa: SLF001


def deaths(ray: Any) -> tuple[type[BaseException], ...]:
    """What Ray raises when an actor or its node is gone."""
    names = ("RayActorError", "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError")
    return tuple(getattr(ray.exceptions, name) for name in names if hasattr(ray.exceptions, name))


def cause(error: BaseException) -> str:
    """Why an actor is gone, in a line: Ray tells it in a page, of which the end tells most."""
    text = " ".join(str(getattr(error, "cause", None) or error).split())
    for told in ("Worker exit detail: ", "The actor is dead because ", "unavailable: "):
        _, found, rest = text.partition(told)
        if found:
            text = rest
            break
    named = re.findall(r"\b(?:ModuleNotFoundError|ImportError): .*", text)
    return (named[0] if named else text).partition(". ")[0].rstrip(".")[:300]


def _nobody(address: str, reason: str) -> BenchError:
    return BenchError(
        f"no Ray cluster answers at --address {address} ({one_line(reason)[:200]}). Check it with "
        f"ray status --address {address}, or leave --address out to use this machine alone."
    )


def _host_and_port(address: str) -> tuple[str, int] | None:
    match = re.fullmatch(r"(?:ray://)?([^\s/:]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", address)
    return None if match is None else (match[1].strip("[]"), int(match[2]))
