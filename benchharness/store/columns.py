"""Many like rows as columns of JSON: smaller than the rows, and several times as fast to read."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW = 4
"""A column with this many times more rows than different values is written as codes."""
_BLANK = " "


def pack(column: Sequence[Any]) -> object:
    """A column as JSON: plain values, texts joined by blanks, or codes of a few values."""
    values = list(dict.fromkeys(column))
    if len(values) == 1 < len(column):
        return {"all": values[0]}
    if len(values) * _FEW <= len(column):
        codes = {value: code for code, value in enumerate(values)}
        return {"of": values, "codes": [codes[value] for value in column]}
    if all(type(value) is str and value and _BLANK not in value for value in column):
        return {"texts": _BLANK.join(column)}
    return list(column)


def unpack(packed: Any, kinds: tuple[type, ...], count: int | None = None) -> list[Any]:
    """The values of a column.

    Args:
        packed: What `pack` gave, from JSON that anything may have changed.
        kinds: The types that its values may have.
        count: How many there are; None where all are different, so that the column tells.

    Raises:
        KeyError, TypeError, ValueError, IndexError: When it is no such column.
    """
    if isinstance(packed, list):
        column = packed
    elif "texts" in packed:
        column = packed["texts"].split(_BLANK)
    elif "all" in packed:
        if count is None:
            raise TypeError("one value for all, and nobody knows how many")
        column = list(repeat(packed["all"], count))
    else:
        column = list(map(packed["of"].__getitem__, packed["codes"]))
    if count not in (None, len(column)) or not set(map(type, column)) <= set(kinds):
        raise TypeError(f"not {count} values of {kinds}")
    return column
