"""Settings that people give, held against the type and range that a dataclass declares for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError

if TYPE_CHECKING:
    import dataclasses

KINDS: dict[str, tuple[type, str]] = {
    "bool": (bool, "true or false"),
    "float": (float, "a number"),
    "int": (int, "a whole number"),
    "str": (str, "text"),
}
"""Types of settings by annotation, with their names in messages."""


def checked(where: str, declared: str, field: dataclasses.Field[Any], value: Any) -> Any:
    """Return a value in its declared type; a whole number becomes a number where that is asked.

    Args:
        where: What the value is, for messages.
        declared: A key of `KINDS`.
        field: Its metadata may hold a range, `low` and `high`, both ends included.
        value: As it was given.

    Raises:
        BenchError: When it has another type, or is out of range.
    """
    kind, words = KINDS[declared]
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise BenchError(f"{where} must be {words}, received {value!r}.")
    low, high = field.metadata.get("low", -math.inf), field.metadata.get("high", math.inf)
    if kind in (int, float) and not low <= value <= high:
        bounds = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise BenchError(f"{where} must be {bounds}, received {value!r}.")
    return value
