"""What a user's code does to the process ends with the call."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import contained, in_one_line, loading
from tests import hostile

if TYPE_CHECKING:
    from collections.abc import Callable


def process() -> list[object]:
    """Everything that `hostile.trespass` changes."""
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
        torch.is_autocast_enabled("cpu"),
        float(torch.full((), 1e-40) * 1),
        np.geterr(),
        os.getcwd(),  # noqa: PTH109
        dict(os.environ),
        sys.getrecursionlimit(),
        sys.stdout,
        signal.getsignal(signal.SIGINT),
        random.getstate(),
        np.random.get_state()[1].tobytes(),  # type: ignore[union-attr,index]  # noqa: NPY002
        torch.get_rng_state().tolist(),
    ]


@pytest.mark.parametrize("error", [None, ValueError("told to fail"), SystemExit(0)])
def test_whatever_code_changes_is_put_back(error: BaseException | None) -> None:
    before = process()
    try:
        with contained():
            hostile.trespass()
            torch.set_default_device("meta")
            torch.set_grad_enabled(False)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if error is not None:
                raise error
    except (ValueError, CellError):
        assert error is not None
    assert process() == before


def test_another_kind_of_numpy_generator_is_taken_out_again() -> None:
    legacy = np.random
    before = legacy.get_bit_generator()  # type: ignore[attr-defined]
    with contained():
        legacy.set_bit_generator(np.random.PCG64(1))  # type: ignore[attr-defined]
    assert legacy.get_bit_generator() is before  # type: ignore[attr-defined]


class Departure(BaseException):
    """No Exception, and nothing that Python raises."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(0), "the code tried to leave with SystemExit: 0"),
        (SystemExit(), "the code tried to leave with SystemExit"),
        (KeyboardInterrupt(), "the code tried to leave with KeyboardInterrupt"),
        (GeneratorExit("x"), "the code tried to leave with GeneratorExit: x"),
        (Departure("two\nlines"), "the code tried to leave with Departure: two lines"),
    ],
)
def test_code_that_leaves_fails_as_a_cell(error: BaseException, text: str) -> None:
    with pytest.raises(CellError) as caught, contained(), contained():
        raise error
    assert str(caught.value) == text


def test_exceptions_pass_as_they_are() -> None:
    error = OSError(5, "told to fail")
    with pytest.raises(OSError, match="told to fail") as caught, contained():
        raise error
    assert caught.value is error


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(5)


def swallow() -> None:
    try:
        press_ctrl_c()
    except BaseException:
        return


def replace() -> None:
    try:
        press_ctrl_c()
    except BaseException as error:
        raise ValueError("something else") from error


@pytest.mark.parametrize("code", [press_ctrl_c, swallow, replace])
def test_a_persons_ctrl_c_ends_the_run_whatever_the_code_makes_of_it(
    code: Callable[[], None],
) -> None:
    with pytest.raises(KeyboardInterrupt), contained(), contained():
        code()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_contain_code_too() -> None:
    said: list[str] = []

    def work() -> None:
        try:
            with contained():
                sys.exit(1)
        except CellError as error:
            said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == ["the code tried to leave with SystemExit: 1"]


@pytest.mark.parametrize("error", [AttributeError("told\nto fail"), SystemExit(0)])
def test_what_is_raised_while_loading_is_one_line_for_the_user(error: BaseException) -> None:
    with (
        pytest.raises(BenchError, match=r"^attack 'x' cannot be used: .*\.$") as caught,
        loading("attack 'x'"),
    ):
        raise error
    assert "\n" not in str(caught.value)
    with pytest.raises(BenchError, match=r"^as it is$"), loading("attack 'x'"):
        raise BenchError("as it is")


def test_an_error_in_one_line_is_short() -> None:
    assert in_one_line(ValueError("a\n\n  b")) == "ValueError: a b"
    assert in_one_line(CellError("a\nb")) == "a b"
    assert in_one_line(ValueError()) == "ValueError"
    assert len(in_one_line(ValueError("x" * 10_000))) == 500
