"""`claims.toml` → claims; whatever is wrong in it is one line that names the key."""

from __future__ import annotations

import datetime
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

from benchharness.errors import BenchError, unknown_name
from benchharness.evidence.claims import (
    AT_A_POINT,
    METRICS,
    Claim,
    Claims,
    Condition,
    Groups,
    Point,
    Population,
    Product,
    Subject,
)
from benchharness.evidence.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_T = TypeVar("_T")

_NORMS = ("linf", "l2")
_RULES = ("sensitivity", "specificity", "threshold")


def read(path: Path) -> Claims:
    """Read a claims file.

    Raises:
        BenchError: When it cannot be read, or a key is unknown, missing or has a wrong value.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"cannot read claims {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise BenchError(f"{path} is not TOML: {reason}. Mend that line.") from error
    return parse(content, str(path))


def parse(content: dict[str, Any], source: str = "claims.toml") -> Claims:
    """Check what TOML gave.

    Raises:
        BenchError: As `read`; the message names `source`.
    """
    top = Fields(content, source, "")
    product, subject = _product(top.table("product")), _subject(top.table("subject", optional=True))
    groups = _groups(top.table("groups", optional=True))
    claims = tuple(_claim(table, groups) for table in top.tables("claims"))
    top.end()
    names = [claim.name for claim in claims]
    for name in names:
        if names.count(name) > 1:
            raise BenchError(
                f"{source}: two claims have the name {name!r}. Give each a name of its own."
            )
    return Claims(product=product, subject=subject, groups=groups, claims=claims)


def _product(given: Fields) -> Product:
    day = given.take("date", datetime.date, "a date such as 2026-11-26, without quotes")
    found = Product(
        name=given.text("name"),
        release=given.text("release"),
        intended_use=given.text("intended_use"),
        author=given.text("author"),
        date=day.date() if isinstance(day, datetime.datetime) else day,
        licence=given.text("licence", default=""),
    )
    given.end()
    return found


def _subject(given: Fields) -> Subject:
    found = Subject(
        model=given.text("model", default=None),
        dataset=given.text("dataset", default=None),
        recipe=given.text("recipe", default=None),
        seed=given.whole("seed", default=None),
    )
    given.end()
    return found


def _groups(given: Fields) -> Groups:
    columns = given.texts("columns", default=())
    bands = given.table("bands", optional=True)
    cut = tuple((name, bands.numbers(name)) for name in tuple(bands.names))
    smallest = given.whole("smallest", default=20)
    given.end()
    both = set(columns) & {name for name, _ in cut}
    if both:
        raise BenchError(
            f"{given.source}: groups.columns and groups.bands both name {min(both)!r}. "
            "Take it out of one."
        )
    assert smallest is not None
    return Groups(columns=columns, bands=cut, smallest=smallest)


def _claim(given: Fields, groups: Groups) -> Claim:
    metric = given.one_of("metric", METRICS)
    point = _either(given, "operating_point", _point) if "operating_point" in given.names else None
    found = Claim(
        name=given.text("name"),
        text=given.text("text"),
        metric=metric,
        label=given.whole("class", default=None),
        point=point,
        condition=_either(given, "condition", _condition),
        population=_either(given, "population", lambda own: _population(own, groups)),
        bound=given.number(
            "bound", 0, 1, "a share above 0 and up to 1, such as 0.9", open_low=True
        ),
        confidence=given.number(
            "confidence", 0.5, 1, "at least 0.5 and below 1, such as 0.95", open_high=True
        ),
    )
    given.end()
    _check(found, given)
    return found


def _check(claim: Claim, given: Fields) -> None:
    """Refuse what does not go together."""
    needs = claim.metric in AT_A_POINT
    if needs and claim.point is None:
        raise given.wrong("operating_point", "nothing", f'one for {claim.metric}, such as "youden"')
    if not needs and claim.point is not None:
        raise given.wrong(
            "operating_point", str(claim.point), f"none, since {claim.metric} has no threshold"
        )
    if claim.label is not None and claim.metric in ("accuracy", "balanced_accuracy"):
        raise given.wrong(
            "class", claim.label, f"none, since {claim.metric} is over all classes; take it out"
        )


def _either(given: Fields, key: str, read: Callable[[Fields | str], _T]) -> _T:
    """A value that is a word or a table."""
    return read(given.word_or_table(key))


def _point(own: Fields | str) -> Point:
    if isinstance(own, str):
        if own != "youden":
            raise unknown_name(
                "operating_point", own, ("youden",), hint="Or type { sensitivity = 0.9 }."
            )
        return Point(rule="youden")
    rule = own.only_key(_RULES)
    value = own.number(rule, 0, 1, "a share between 0 and 1", open_low=True, open_high=True)
    own.end()
    return Point(rule=rule, value=value)  # type: ignore[arg-type]


def _condition(own: Fields | str) -> Condition:
    if isinstance(own, str):
        if own != "clean":
            raise unknown_name("condition", own, ("clean",), hint="Or type { artefacts = 3 }.")
        return Condition(kind="clean")
    only = own.texts("only", default=())
    if "attacks" in own.names:
        condition = Condition(
            kind="attacks",
            severity=own.budget("attacks"),
            norm=own.one_of("norm", _NORMS),
            only=only,
        )
    else:
        expected = "a whole level from 1 to 5, or attacks with a norm"
        level = own.number("artefacts", 1, 5, expected)
        if level != int(level):
            raise own.wrong("artefacts", level, expected)
        condition = Condition(kind="artefacts", severity=level, only=only)
    own.end()
    return condition


def _population(own: Fields | str, groups: Groups) -> Population:
    columns = (*groups.columns, *(name for name, _ in groups.bands))
    if isinstance(own, str):
        if own == "all":
            return Population()
        word, _, column = own.partition(" ")
        if word != "each" or column not in columns:
            known = ("all", *(f"each {name}" for name in columns))
            raise unknown_name("population", own, known, hint="Columns are named in [groups].")
        return Population(column=column)
    column = own.only_key(columns)
    group = own.text(column)
    own.end()
    return Population(column=column, group=group)
