"""One table of a TOML file, from which every key is taken once and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator


class Fields:
    """The keys of a table.

    Args:
        content: What TOML gave.
        source: The file, for messages.
        place: The table's own name, such as `claims[2]`; empty for the whole file.
    """

    def __init__(self, content: dict[str, Any], source: str, place: str) -> None:
        self._left = dict(content)
        self._asked: dict[str, None] = {}
        self.source, self._place = source, place

    @property
    def names(self) -> Collection[str]:
        """The keys that were not taken yet."""
        return self._left.keys()

    def wrong(self, key: str, received: object, expected: str) -> BenchError:
        """The error for a value: the key, what was received, what to type."""
        shown = received if received == "nothing" else repr(received)
        return BenchError(f"{self.source}: {self._named(key)} got {shown}; type {expected}.")

    def _named(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key

    def take(self, key: str, kind: type | tuple[type, ...], expected: str) -> Any:
        """A value of a type; a truth value is no number."""
        self._asked[key] = None
        if key not in self._left:
            close = did_you_mean(key, sorted(self._left), cutoff=0.7)
            raise BenchError(
                f"{self.source}: {self._named(key)} is missing; type {expected}."
                + close.replace("Did you mean", "Is it written as")
            )
        value = self._left.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(key, value, expected)
        return value

    def text(self, key: str, **default: Any) -> Any:
        """A text that is not empty."""
        if "default" in default and key not in self._left:
            self._asked[key] = None
            return default["default"]
        value = self.take(key, str, "a text in quotes")
        if not value.strip():
            raise self.wrong(key, value, "a text that is not empty")
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts."""
        self._asked[key] = None
        if key not in self._left:
            return default
        values = self.take(key, list, 'a list such as ["site"]')
        if not all(isinstance(value, str) and value for value in values):
            raise self.wrong(key, values, 'a list of texts such as ["site"]')
        return tuple(dict.fromkeys(values))

    def whole(self, key: str, default: int | None) -> int | None:
        """A whole number of at least 0."""
        self._asked[key] = None
        if key not in self._left:
            return default
        value: int = self.take(key, int, "a whole number")
        if value < 0:
            raise self.wrong(key, value, "a whole number of at least 0")
        return value

    def number(
        self,
        key: str,
        low: float,
        high: float,
        expected: str,
        *,
        open_low: bool = False,
        open_high: bool = False,
    ) -> float:
        """A number between two others, which belong to the range unless they are open."""
        value = float(self.take(key, (int, float), expected))
        above = value > low if open_low else value >= low
        below = value < high if open_high else value <= high
        if not (above and below):
            raise self.wrong(key, value, expected)
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """Numbers that rise."""
        expected = "numbers that rise, such as [40, 60, 80]"
        values = self.take(key, list, expected)
        if not values or not all(type(value) in (int, float) for value in values):
            raise self.wrong(key, values, expected)
        if sorted(set(values)) != values:
            raise self.wrong(key, values, expected)
        return tuple(float(value) for value in values)

    def budget(self, key: str) -> float:
        """A budget of an attack: 0.03, or a fraction such as `8/255` in quotes."""
        expected = 'a budget such as "8/255" or 0.03'
        value = self.take(key, (int, float, str), expected)
        try:
            above, _, below = str(value).partition("/")
            found = float(above) / float(below or 1)
        except (ValueError, ZeroDivisionError):
            raise self.wrong(key, value, expected) from None
        if not 0 < found <= 1:
            raise self.wrong(key, value, f"{expected}, above 0 and up to 1")
        return found

    def one_of(self, key: str, known: Iterable[str]) -> str:
        """One of some words."""
        names = tuple(known)
        value: str = self.take(key, str, f"one of {', '.join(names)}")
        if value not in names:
            expected = f"one of {', '.join(names)}"
            raise self.wrong(key, value, expected + did_you_mean(value, names).rstrip("?. "))
        return value

    def only_key(self, known: Collection[str]) -> str:
        """The key of a table that has one, out of some."""
        listing = ", ".join(known) or "none: [groups] names no column"
        if len(self._left) != 1:
            raise BenchError(
                f"{self.source}: {self._place} got {dict(self._left)!r}; type one key out of "
                f"{listing}."
            )
        (key,) = self._left
        if key not in known:
            close = did_you_mean(key, sorted(known))
            raise BenchError(
                f"{self.source}: unknown key {self._named(key)}.{close} Known: {listing}."
            )
        return key

    def word_or_table(self, key: str) -> Fields | str:
        """A text, or a table of its own."""
        value = self.take(key, (str, dict), "a word in quotes or a table in braces")
        return value if isinstance(value, str) else Fields(value, self.source, self._named(key))

    def table(self, key: str, *, optional: bool = False) -> Fields:
        """A table; one that is optional and missing has no keys."""
        self._asked[key] = None
        if optional and key not in self._left:
            return Fields({}, self.source, self._named(key))
        content = self.take(key, dict, f"a table that begins with [{key}]")
        return Fields(content, self.source, self._named(key))

    def tables(self, key: str) -> Iterator[Fields]:
        """The tables of a list, at least one."""
        expected = f"at least one table that begins with [[{key}]]"
        values = self.take(key, list, expected)
        if not values or not all(isinstance(value, dict) for value in values):
            raise self.wrong(key, values, expected)
        for number, value in enumerate(values, start=1):
            yield Fields(value, self.source, f"{key}[{number}]")

    def end(self) -> None:
        """Refuse keys that nothing asked for."""
        for key in self._left:
            known = sorted(self._asked)
            raise BenchError(
                f"{self.source}: unknown key {self._named(key)}.{did_you_mean(key, known)} "
                f"Known: {', '.join(known)}."
            )
