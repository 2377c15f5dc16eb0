"""Canonical JSON, digests and frozen parameters: what an identity is made of."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Value = str | int | float | bool | None | tuple["Value", ...]
"""What a parameter may be: a JSON scalar, or a tuple of values."""

Pairs = tuple[tuple[str, Value], ...]
"""Named parameters, sorted by name: a mapping that can be hashed and compared."""


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: object) -> str:
    """Write `value` as JSON with sorted keys and no blanks; NaN and infinity raise ValueError."""
    return _ENCODER.encode(value)


def read_json(content: str | bytes) -> Any:
    """Read JSON that may be damaged or hostile.

    Raises:
        ValueError: When it is no JSON, or is nested so deeply that no parser reads it.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, as 64 hexadecimal digits."""
    return sha256(canonical_json(value).encode())


def sha256(content: bytes) -> str:
    """SHA-256 of some bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def pairs(values: Mapping[str, Any]) -> Pairs:
    """Freeze a mapping of parameters; lists become tuples, keys are sorted."""

    def freeze(value: Any) -> Value:
        return tuple(freeze(item) for item in value) if isinstance(value, list | tuple) else value

    return tuple((name, freeze(values[name])) for name in sorted(values))
