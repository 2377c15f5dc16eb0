"""From what a person typed to a checked value: one parser per key of a `RunConfig`.

Every parser takes both the text of a flag and a TOML value. Its messages name the flag.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from benchharness.datasets.preparation import (
    Window,
    parse_bits,
    parse_channels,
    parse_classes,
    parse_modality,
    parse_size,
    parse_spacing,
)
from benchharness.disk import user_path
from benchharness.errors import BenchError
from benchharness.networks.asked import Asked
from benchharness.run import own_weights
from benchharness.run.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchharness.datasets.base import Modality


Engine = Literal["local", "ray"]
"""Where workers are: on this machine, or on a Ray cluster."""

_LEVELS = ("1", "2", "3", "4", "5")

_DIGITS = 18
"""Longer numbers are typing mistakes, and some readers of JSON would round them."""

_MOST = 10**4
"""GPUs of a worker."""

_FLAGS = {"train": "no-train"}
"""Keys whose flag has another name."""


def flag(key: str) -> str:
    """The flag that sets a key: `--batch-size` for `batch_size`."""
    return f"--{_FLAGS.get(key, key.replace('_', '-'))}"


def as_typed(value: object) -> str:
    """Write a default the way a person types it: `2/255,8/255`, `1-5`, `28`, `ct:40,400`."""
    if isinstance(value, tuple):
        texts = [as_typed(item) for item in value]
        if texts == list(_LEVELS):
            return f"{_LEVELS[0]}-{_LEVELS[-1]}"
        return texts[0] if len(texts) > 1 and len(set(texts)) == 1 else ",".join(texts)
    if isinstance(value, float):
        steps = round(value * 255)
        return f"{steps}/255" if value == steps / 255 else f"{value:g}"
    return str(value)


def _items(key: str, value: object) -> list[Any]:
    """The items of a list in TOML, or of a comma-separated text from a flag."""
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",")]
    if not isinstance(value, list | tuple):
        value = [value]
    if not value or any(item == "" for item in value):
        raise BenchError(f"{flag(key)} has an empty item: {value!r}. Separate items by one comma.")
    return list(value)


def _names(key: str, value: object) -> tuple[str, ...]:
    names = _items(key, value)
    for name in names:
        if not isinstance(name, str):
            raise BenchError(f"{flag(key)} takes names, got {name!r}.")
    return tuple(dict.fromkeys(names))


def _eps(key: str, value: object) -> tuple[float, ...]:
    return tuple(dict.fromkeys(_epsilon(key, item) for item in _items(key, value)))


def _epsilon(key: str, item: object) -> float:
    try:
        number = _number(item) if isinstance(item, str) else item
    except (ValueError, ZeroDivisionError, OverflowError):
        number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BenchError(f"{flag(key)} takes numbers such as 8/255 or 0.03, got {item!r}.")
    if not 0 <= number <= 1:
        raise BenchError(
            f"{flag(key)} must lie in [0, 1], the range of intensities, got {item}. "
            "For 8 grey levels of 255 type 8/255."
        )
    return float(number) + 0.0  # -0.0 becomes 0.0: one severity, one identity


def _number(text: str) -> float:
    text = text.replace(" ", "")
    return float(Fraction(text)) if "/" in text else float(text)


def _levels(key: str, value: object) -> tuple[int, ...]:
    levels: list[int] = []
    for item in _items(key, value):
        ends = [end.strip() for end in str(item).split("-", maxsplit=1)]
        if not all(end in _LEVELS for end in ends) or ends[0] > ends[-1]:
            raise BenchError(f"{flag(key)} takes levels 1 to 5, got {item!r}. Type 1-5 or 1,3,5.")
        low, high = int(ends[0]), int(ends[-1])
        levels += range(low, high + 1)
    return tuple(dict.fromkeys(levels))


def _whole(key: str, item: object) -> int:
    text = "" if isinstance(item, bool | float) else str(item).strip()
    if not text.removeprefix("-").isdecimal() or len(text) > _DIGITS:
        raise BenchError(f"{flag(key)} takes whole numbers, got {item!r}.")
    return int(text)


def _naturals(key: str, value: object) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_natural(key, item) for item in _items(key, value)))


def _natural(key: str, value: object) -> int:
    number = _whole(key, value)
    if number < 0:
        raise BenchError(f"{flag(key)} takes numbers from 0 up, got {value!r}.")
    return number


def _count(key: str, value: object) -> int:
    count = _whole(key, value)
    if count < 1:
        raise BenchError(f"{flag(key)} must be at least 1, got {count}.")
    return count


def _batch_size(key: str, value: object) -> int | None:
    return None if value == "auto" else _count(key, value)


def _workers(key: str, value: object) -> int | Literal["auto"]:
    return "auto" if value == "auto" else _count(key, value)


def _engine(key: str, value: object) -> Engine:
    if value not in get_args(Engine):
        raise BenchError(f"{flag(key)} takes {' or '.join(get_args(Engine))}, got {value!r}.")
    found: Engine = value  # type: ignore[assignment]
    return found


def _share(key: str, value: object) -> float:
    """A whole number, or a part of one."""
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number < _MOST or (number > 1 and not number.is_integer()):
        raise BenchError(f"{flag(key)} takes a whole number, or a part such as 0.5, got {value!r}.")
    return number


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise BenchError(f"{flag(key)} takes text, got {value!r}.")
    return value


def _path(key: str, value: object) -> Path:
    return user_path(value if isinstance(value, Path) else _text(key, value), what=flag(key))


def _switch(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BenchError(f"{flag(key)} is true or false, got {value!r}.")
    return value


def _checkpoints(key: str, value: object) -> tuple[tuple[str, Path], ...]:
    if isinstance(value, dict):
        items = [(name, "=", _text(f"{key}.{name}", path)) for name, path in value.items()]
    else:
        items = [str(item).partition("=") for item in _items(key, value)]
    given: dict[str, Path] = {}
    for name, equals, path in items:
        if not (name and equals and path):
            raise BenchError(
                f"{flag(key)} takes model=path, model@dataset=path or model#seed=path, got "
                f"{name + equals + path!r}."
            )
        own_weights.parse(name)
        if name in given:
            raise BenchError(f"{flag(key)} names {name!r} twice. Keep one of its paths.")
        given[name] = user_path(path, what=flag(key))
    return tuple(given.items())


def _outputs(key: str, value: object) -> tuple[tuple[str | None, Asked], ...]:
    """What every model returns (`probabilities`), or one (`model=0`)."""
    if isinstance(value, dict):
        value = [f"{name}={what}" for name, what in value.items()]
    given: dict[str | None, Asked] = {}
    for item in _items(key, value):
        name, equals, what = str(item).rpartition("=")
        if (name or None) in given:
            raise BenchError(f"{flag(key)} is given twice for {name or 'every model'}. Keep one.")
        if equals and not name:
            raise BenchError(f"{flag(key)} takes WHAT or model=WHAT, got {item!r}.")
        given[name or None] = Asked.parse(what, flag=flag(key))
    return tuple(given.items())


def _init(key: str, value: object) -> tuple[tuple[str | None, Path], ...]:
    """Files for every model (`path`) or for one (`model=path`)."""
    if isinstance(value, dict):
        value = [f"{name}={path}" for name, path in value.items()]
    given: dict[str | None, Path] = {}
    for item in [value] if isinstance(value, str | Path) else _items(key, value):
        # A path may hold an equals sign; a model's name holds no slash.
        name, equals, path = str(item).partition("=")
        if not equals or "/" in name:
            name, path = "", str(item)
        if not path:
            raise BenchError(f"{flag(key)} takes a path or model=path, got {item!r}.")
        if (name or None) in given:
            model = repr(name) if name else "every model"
            raise BenchError(f"{flag(key)} is given twice for {model}. Keep one of its paths.")
        given[name or None] = user_path(path, what=flag(key))
    return tuple(given.items())


def _size(_: str, value: object) -> tuple[int, int, int]:
    return parse_size(value)


def _spacing(_: str, value: object) -> tuple[float, float, float] | None:
    return parse_spacing(value)


def _window(_: str, value: object) -> Window:
    return Window.parse(value)


def _modality(_: str, value: object) -> Modality:
    return parse_modality(value)


def _bits(_: str, value: object) -> Literal[8, 16]:
    return parse_bits(value)


def _channels(_: str, value: object) -> int | tuple[str, ...]:
    return parse_channels(value)


def _shard(_: str, value: object) -> Shard:
    return Shard.parse(value)


def _classes(_: str, value: object) -> tuple[str, ...]:
    return parse_classes(value)


def _shots(key: str, value: object) -> tuple[int | str, ...]:
    """Numbers of volumes, each once, and `all`."""
    items = (item if item == "all" else _natural(key, item) for item in _items(key, value))
    return tuple(dict.fromkeys(items))


def _select(key: str, value: object) -> Literal["source_val", "target_val"]:
    if value not in ("source_val", "target_val"):
        raise BenchError(f"{flag(key)} takes source_val or target_val, got {value!r}.")
    return value


def _precision(_: str, value: object) -> Literal["float32", "bf16"]:
    if value not in ("float32", "bf16"):
        raise BenchError(f"unknown precision {value!r}. Type float32 or bf16.")
    return value


PARSERS: Mapping[str, Callable[[str, object], Any]] = {
    "models": _names,
    "checkpoint": _checkpoints,
    "outputs": _outputs,
    "trust": _switch,
    "zoo": _path,
    "datasets": _names,
    "limit": _count,
    "data_root": _path,
    "size": _size,
    "spacing": _spacing,
    "window": _window,
    "modality": _modality,
    "bits": _bits,
    "channels": _channels,
    "classes": _classes,
    "attacks": _names,
    "eps": _eps,
    "counts": _naturals,
    "accuracy_only": _switch,
    "perturbation_seed": _natural,
    "artefacts": _names,
    "severities": _levels,
    "fast_artefacts": _switch,
    "seeds": _naturals,
    "recipes": _names,
    "train_on": _names,
    "adapt": _names,
    "shots": _shots,
    "select": _select,
    "init": _init,
    "init_method": _text,
    "train": _switch,
    "checkpoints_from": _path,
    "shard": _shard,
    "out": _path,
    "device": _text,
    "workers": _workers,
    "engine": _engine,
    "address": _text,
    "cpus_per_worker": _count,
    "gpus_per_worker": _share,
    "batch_size": _batch_size,
    "compile": _switch,
    "precision": _precision,
}
"""How to read each key: (key, what was written) → the value of its field in `RunConfig`."""
