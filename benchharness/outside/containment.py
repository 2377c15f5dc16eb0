"""What a user's code does to this process ends with the call.

Networks, factories, attacks, artefacts and datasets that a user names are code. They may raise,
call `sys.exit`, or change settings of the process on which other networks' numbers depend. Every
call into such code goes through `contained`.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from benchharness.errors import BenchError, CellError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType

_LONGEST = 500
"""Characters of an error that a record keeps."""


def in_one_line(error: BaseException) -> str:
    """An error as `Type: text` in one line; the text alone of a `CellError`."""
    text = " ".join(str(error).split())
    named = text if isinstance(error, CellError) else f"{type(error).__name__}: {text}"
    return named.removesuffix(": ")[:_LONGEST]


def contained(*, importing: bool = False) -> Containment:
    """Call a user's code and put the process back as it was before.

    Put back are the global generators of Python, NumPy and torch; torch's default dtype, default
    device, gradient mode, number of threads, and its deterministic, cuDNN, autocast and precision
    settings; NumPy's handling of floating-point errors; the working directory, the environment, the
    standard streams and the handler of Ctrl-C.

    Exceptions pass as they are: the caller knows what they mean. Anything else that the code raises
    (`SystemExit`, a `KeyboardInterrupt` of its own) becomes a `CellError`. A real Ctrl-C passes,
    even if the code tries to swallow it.

    Calls may be nested. Threads, files and whatever `os._exit` does are beyond it.

    Args:
        importing: Whether the code is a module being imported, whose changes of the environment are
            meant to last.
    """
    return Containment(importing=importing)


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Call a user's code before anything runs; whatever it raises is refused in one line.

    Args:
        what: What the code is, for the message: `attack 'shift'`.

    Raises:
        BenchError: When the code raised anything; a `BenchError` of its own passes.
    """
    try:
        with contained():
            yield
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"{what} cannot be used: {in_one_line(error)}.") from error


class Containment:
    """The context manager of `contained`."""

    def __init__(self, *, importing: bool) -> None:
        self._importing = importing

    def __enter__(self) -> Self:
        self._generators = list(_generators())
        self._settings = [(one, one.read()) for one in _settings(importing=self._importing)]
        self._interrupts = _Interrupts()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        own = self._interrupts.end()
        for setting, before in self._settings:
            if setting.read() != before:
                setting.put_back(before)
        for put_back in self._generators:
            put_back()
        if own:
            raise KeyboardInterrupt from error
        if error is not None and not isinstance(error, Exception):
            raise CellError(f"the code tried to leave with {in_one_line(error)}") from error


class _Interrupts:
    """Tells a Ctrl-C of the person from a `KeyboardInterrupt` that code raises itself."""

    def __init__(self) -> None:
        self._seen = False
        self._before: Callable[[int, FrameType | None], Any] | None = None
        found = signal.getsignal(signal.SIGINT)
        # Only the main thread may set handlers, and only it is interrupted.
        if callable(found) and threading.current_thread() is threading.main_thread():
            self._before = found
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        assert self._before is not None
        try:
            self._before(number, frame)
        except KeyboardInterrupt:
            self._seen = True
            raise

    def end(self) -> bool:
        """Put the handler back; whether a person pressed Ctrl-C meanwhile."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        return self._seen


def _generators() -> Iterator[Callable[[], object]]:
    """For every global generator, a call that puts it back to its present state."""
    # NumPy's global generator may be exchanged for one of another kind; its stubs do not know that.
    legacy: Any = np.random
    python, bits, numpy = random.getstate(), legacy.get_bit_generator(), legacy.get_state()
    yield lambda: random.setstate(python)
    yield lambda: legacy.set_bit_generator(bits)
    yield lambda: legacy.set_state(numpy)
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return
    cpu = torch.get_rng_state()
    yield lambda: torch.set_rng_state(cpu)
    if torch.cuda.is_initialized():
        cuda = torch.cuda.get_rng_state_all()
        yield lambda: torch.cuda.set_rng_state_all(cuda)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """Something of the process that code can change."""

    read: Callable[[], Any]
    put_back: Callable[[Any], object]


def _settings(*, importing: bool) -> Iterator[_Setting]:
    yield _Setting(read=_working_directory, put_back=_return_to)
    yield _Setting(read=sys.getrecursionlimit, put_back=sys.setrecursionlimit)
    yield _Setting(read=np.geterr, put_back=lambda before: np.seterr(**before))
    for name in ("stdin", "stdout", "stderr"):
        yield _of_attribute(sys, name)
    if not importing:
        yield _Setting(read=lambda: dict(os.environ), put_back=_restore_environment)
    # Nothing of torch can have changed before it is imported, and reports never import it.
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        yield from _torch_settings(torch)


def _torch_settings(torch: Any) -> Iterator[_Setting]:
    yield _Setting(read=torch.get_default_dtype, put_back=torch.set_default_dtype)
    yield _Setting(
        read=torch.get_default_device,
        put_back=lambda before: torch.set_default_device(None if before.type == "cpu" else before),
    )
    yield _Setting(read=torch.is_grad_enabled, put_back=torch.set_grad_enabled)
    yield _Setting(read=torch.get_num_threads, put_back=torch.set_num_threads)
    yield _Setting(
        read=torch.get_float32_matmul_precision, put_back=torch.set_float32_matmul_precision
    )
    yield _Setting(
        read=lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        put_back=lambda before: torch.use_deterministic_algorithms(before[0], warn_only=before[1]),
    )
    yield _Setting(read=torch.is_anomaly_enabled, put_back=torch.autograd.set_detect_anomaly)
    yield _Setting(read=_flushes_denormals, put_back=torch.set_flush_denormal)
    for name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        yield _of_attribute(torch.backends.cudnn, name)
    for device in ("cpu", "cuda"):
        yield _autocast(torch, device)


def _autocast(torch: Any, device: str) -> _Setting:
    def put_back(before: tuple[bool, Any]) -> None:
        torch.set_autocast_enabled(device, before[0])
        torch.set_autocast_dtype(device, before[1])

    return _Setting(
        read=lambda: (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)),
        put_back=put_back,
    )


def _of_attribute(owner: object, name: str) -> _Setting:
    return _Setting(
        read=lambda: attrgetter(name)(owner), put_back=lambda before: setattr(owner, name, before)
    )


def _flushes_denormals() -> bool:
    return bool(np.float32(1e-40) * np.float32(1) == 0)


def _working_directory() -> str | None:
    with suppress(OSError):
        return os.getcwd()  # noqa: PTH109
    return None


def _return_to(folder: str | None) -> None:
    with suppress(OSError):
        if folder is not None:
            os.chdir(folder)


def _restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
