"""The schema of a record's line: strict parsing, migration from older versions, checks of types."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ForwardRef,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from benchharness import canonical
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

SCHEMA = 1
"""Version of the record's layout; raised when a reader of the old one would misread the new."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""For each older schema the step that turns a line's JSON into that of the next schema.

A change that raises `SCHEMA` adds the step from the previous one. A step that changes what an
identity is computed from also writes the new `identity`. Lines are migrated when read, never
rewritten.
"""


MISFIT = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)
"""What is raised when a record is built from JSON that is no record."""


def parse(line: str) -> dict[str, Any]:
    """Read a line as JSON and bring it to the current schema.

    NaN, infinity and duplicate keys are refused.

    Raises:
        BenchError: When the line is no JSON object with a schema, or its schema is newer.
    """
    try:
        payload: dict[str, Any] = json.loads(
            line,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_without_repetitions,
        )
        found = payload["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BenchError(f"not a record: {error}.") from error
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise BenchError(f"not a record: its schema is {found!r}, expected {SCHEMA}.")
    if found > SCHEMA:
        raise newer("the store", found, SCHEMA)
    try:
        for step in range(found, SCHEMA):
            payload = MIGRATIONS[step](payload) | {"schema": step + 1}
    except MISFIT as error:
        reason = f"{type(error).__name__}: {error}"
        raise BenchError(f"not a record of schema {found}: {reason}.") from error
    return payload


def newer(what: str, found: int, known: int) -> BenchError:
    """The error for a file that a later version of this package wrote.

    Args:
        what: What it is, for the message: `the store`, `baseline b.zip`.
        found: Its schema.
        known: The newest schema that can be read.
    """
    return BenchError(
        f"{what} has schema {found}, this benchharness reads up to {known}. "
        "Upgrade with 'pip install --upgrade benchharness'."
    )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _without_repetitions(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("an object has a key twice")
    return found


_SCALARS = (str, int, float, bool, NoneType)


@cache
def _annotations(kind: Hashable) -> dict[str, Any]:
    # `Pairs` contains a string annotation, which has to be resolved in the module that defines it.
    return get_type_hints(kind, localns=vars(canonical))


def check_types(value: Any, where: str = "record") -> None:
    """Check the fields of a dataclass, and of dataclasses inside it, against their annotations.

    Raises:
        TypeError: When a value does not fit; the message names the field.
    """
    annotations = _annotations(type(value))  # type: ignore[arg-type]  # classes can be hashed
    for part in fields(value):
        found, name = getattr(value, part.name), f"{where}.{part.name}"
        if not _fits(found, annotations[part.name], name):
            raise TypeError(f"{name} is {found!r}")


def _fits(value: Any, annotation: Any, where: str) -> bool:
    if annotation is float and type(value) is int:
        return abs(value) <= sys.float_info.max
    if annotation in _SCALARS:
        return type(value) is annotation
    if annotation is Any or isinstance(annotation, ForwardRef):
        return True
    if is_dataclass(annotation):
        if not isinstance(value, annotation):  # type: ignore[arg-type]
            return False
        check_types(value, where)
        return True
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (UnionType, Union):
        return any(_fits(value, option, where) for option in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple and inner[-1] is ...:
        return isinstance(value, tuple) and all(_fits(item, inner[0], where) for item in value)
    if origin is tuple:
        return (
            isinstance(value, tuple)
            and len(value) == len(inner)
            and all(map(_fits, value, inner, [where] * len(inner)))
        )
    return isinstance(value, dict) and all(_fits(item, inner[1], where) for item in value.values())
