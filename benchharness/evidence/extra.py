"""Packages of the extra `evidence`, imported where they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable


def _minisign() -> Any:
    import minisign

    return minisign


def _reportlab() -> Any:
    import reportlab

    return reportlab


def _cyclonedx() -> Any:
    import cyclonedx

    return cyclonedx


_PACKAGES: dict[str, Callable[[], Any]] = {
    "minisign": _minisign,
    "reportlab": _reportlab,
    "cyclonedx": _cyclonedx,
}


def needed(package: str, what: str) -> Any:
    """Import a package of the extra.

    Args:
        package: `minisign`, `reportlab` or `cyclonedx`.
        what: What it is for, in the plural.

    Raises:
        BenchError: When it is not installed.
    """
    try:
        return _PACKAGES[package]()
    except ImportError as error:
        raise BenchError(
            f"{what} need {package}, which is not installed. Type pip install "
            "'benchharness[evidence]'."
        ) from error
