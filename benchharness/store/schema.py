"""The schema of a record's line: strict parsing, migration from older versions, checks of types."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache, partial
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
    from collections.abc import Hashable

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
        payload: dict[str, Any] = strict_json(line)
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
    # The same names in every record take the memory of one.
    found = {sys.intern(name): value for name, value in members}
    if len(found) < len(members):
        raise ValueError("an object has a key twice")
    return found


_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant,
    parse_float=_finite,
    object_pairs_hook=_without_repetitions,
)


def strict_json(text: str) -> Any:
    """Read JSON; NaN, infinity and an object that has a key twice raise ValueError."""
    return _DECODER.decode(text)


_SCALARS = (str, int, float, bool, NoneType)


_Fits = Callable[[Any, str], bool]
"""Whether a value fits an annotation; a dataclass inside that does not is named by a TypeError."""


def check_types(value: Any, where: str = "record") -> None:
    """Check the fields of a dataclass, and of dataclasses inside it, against their annotations.

    Raises:
        TypeError: When a value does not fit; the message names the field.
    """
    for part, fits in _fields(type(value)):  # type: ignore[arg-type]  # classes can be hashed
        found, name = getattr(value, part), f"{where}.{part}"
        if not fits(found, name):
            raise TypeError(f"{name} is {found!r}")


@cache
def _fields(kind: Hashable) -> tuple[tuple[str, _Fits], ...]:
    # `Pairs` contains a string annotation, which has to be resolved in the module that defines it.
    annotations = get_type_hints(kind, localns=vars(canonical))
    names = [part.name for part in fields(kind)]  # type: ignore[arg-type]
    return tuple((name, _fits(annotations[name])) for name in names)


def _fits(annotation: Any) -> _Fits:
    """The check for an annotation, made once, since a store has many records."""
    if annotation is float:
        return lambda value, _: (
            type(value) is float or (type(value) is int and abs(value) <= sys.float_info.max)
        )
    if annotation in _SCALARS:
        return lambda value, _: type(value) is annotation
    if annotation is Any or isinstance(annotation, ForwardRef):
        return lambda *_: True
    if is_dataclass(annotation):
        return partial(_fits_dataclass, annotation)  # type: ignore[arg-type]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return lambda value, _: value in inner
    parts = [_fits(part) for part in inner if part is not ...]
    if origin in (UnionType, Union):
        return lambda value, where: any(fits(value, where) for fits in parts)
    if origin is tuple and inner[-1] is ...:
        every = parts[0]
        return lambda value, where: (
            isinstance(value, tuple) and all(every(item, where) for item in value)
        )
    if origin is tuple:
        return lambda value, where: (
            isinstance(value, tuple)
            and len(value) == len(parts)
            and all(fits(item, where) for fits, item in zip(parts, value, strict=True))
        )
    member = parts[1]
    return lambda value, where: (
        isinstance(value, dict) and all(member(item, where) for item in value.values())
    )


def _fits_dataclass(kind: type, value: Any, where: str) -> bool:
    if not isinstance(value, kind):
        return False
    check_types(value, where)
    return True
