"""What a run is asked to do: a TOML file and flags become one frozen `RunConfig`.

Flags win over the file. Every key of the file is a flag's name; two kinds of table go further:
`[attack.NAME]` sets an attack's parameters and `[model.NAME]` a factory's `arguments` and the
`preprocessing` in front of it. An unknown key is an error.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness.canonical import Pairs, pairs
from benchharness.datasets.preparation import (
    Preparation,
    Window,
    parse_modality,
    parse_size,
    parse_spacing,
)
from benchharness.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchharness.datasets.base import Modality

DEFAULT_OUT = Path("results/local")
DEFAULT_DATASETS = ("phantom3d",)
DEFAULT_EPS = (2 / 255, 8 / 255)
DEFAULT_COUNTS = (4, 16)
DEFAULT_SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What a config file says of one model beyond its name."""

    arguments: Pairs = ()
    preprocessing: Pairs | None = None
    """None leaves it to the recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that `bench run` and `bench train` can be asked; validated, nothing resolved."""

    models: tuple[str, ...]
    datasets: tuple[str, ...] = DEFAULT_DATASETS
    attacks: tuple[str, ...] = ()
    eps: tuple[float, ...] = DEFAULT_EPS
    """Severities of L∞ and L2 attacks, each in [0, 1]."""
    counts: tuple[int, ...] = DEFAULT_COUNTS
    """Severities of the sparse attacks: voxels, slices or the side of a cube."""
    accuracy_only: bool = False
    """Whether an attack leaves out what is wrong when clean or at a smaller severity."""
    artefacts: tuple[str, ...] = ()
    severities: tuple[int, ...] = DEFAULT_SEVERITIES
    """Levels of the artefacts, each in 1..5."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds."""
    fast_artefacts: bool = False
    """Whether artefacts run on the device in batches where they can: other cells than the canonical
    ones, whose volumes they equal to 1e-4."""
    perturbation_seed: int = 0
    recipe: str | None = None
    """None trains each dataset with its default recipe."""
    limit: int | None = None
    """Evaluate a stratified subset of so many volumes; None evaluates all."""
    device: str = "auto"
    compile: bool = False
    """Whether networks are evaluated through `torch.compile`."""
    batch_size: int | None = None
    """None chooses by device and volume size."""
    out: Path = DEFAULT_OUT
    data_root: Path | None = None
    size: tuple[int, int, int] | None = None
    """Grid of volumes from a folder or a CSV, (D, H, W); None leaves it to `Preparation`."""
    spacing: tuple[float, float, float] | None = None
    """Theirs, (D, H, W) in mm; None fits the training volumes into the grid."""
    window: Window | None = None
    """Theirs; None leaves it to `Preparation`."""
    modality: Modality | None = None
    """Theirs; None leaves it to `Preparation`."""
    checkpoints: tuple[tuple[str, Path], ...] = ()
    """(`model` or `model@dataset`, file) for weights that the user brings."""
    train: bool = True
    """Whether missing checkpoints are trained or refused."""
    init: tuple[tuple[str | None, Path], ...] = ()
    """(model, file) of weights that training begins from; None stands for every model."""
    init_method: str = "centre"
    """How a network takes them over, where it offers several ways."""
    attack_parameters: tuple[tuple[str, Pairs], ...] = ()
    model_options: tuple[tuple[str, ModelOptions], ...] = ()

    @property
    def preparation(self) -> Preparation | None:
        """How volumes from a folder or a CSV are prepared; None when nothing was said of it."""
        names = ("size", "spacing", "window", "modality")
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        said = {name: value for name, value in given.items() if value is not None}
        return Preparation(**said) if said else None


def load(path: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """Merge a config file with flags and validate the result.

    Args:
        path: TOML file, or None.
        flags: Values by field name as the user typed them; None means not given.

    Raises:
        BenchError: For an unreadable file, an unknown key, or a value out of its range.
    """
    settings = _read(path) if path is not None else {}
    attack_tables = settings.pop("attack", {})
    model_tables = settings.pop("model", {})
    for key in settings:
        if key not in _PARSERS:
            raise unknown_name("config key", key, [*_PARSERS, "attack.NAME", "model.NAME"])
    settings |= {key: value for key, value in flags.items() if value is not None}
    parsed = {key: _PARSERS[key](key, value) for key, value in settings.items()}
    if not parsed.get("models"):
        raise BenchError("no models given. Name some: --models medvit3d_n,resnet3d_18.")
    if "init_method" in parsed and not parsed.get("init"):
        raise BenchError(
            f"--init-method {parsed['init_method']} has nothing to work on. Pass --init PATH too."
        )
    return RunConfig(
        **parsed,
        attack_parameters=tuple(
            (name, _parameters("attack", name, table))
            for name, table in _table("attack", "", attack_tables).items()
        ),
        model_options=tuple(
            (name, _model_options(name, _table("model", name, table)))
            for name, table in _table("model", "", model_tables).items()
        ),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise BenchError(f"cannot read config {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"config {path} is not valid TOML: {error}.") from error
    settings: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name in settings:
            raise BenchError(f"config {path} has {name!r} twice, with - and with _. Keep one.")
        settings[name] = value
    return settings


def _table(kind: str, name: str, value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    where = f"{kind}.{name}" if name else kind
    raise BenchError(
        f"config key {where!r} must be a table, got {value!r}. Write [{kind}.NAME] above its keys."
    )


def _model_options(name: str, table: dict[str, Any]) -> ModelOptions:
    for key in table:
        if key not in ("arguments", "preprocessing"):
            raise unknown_name("config key", f"model.{name}.{key}", ["arguments", "preprocessing"])
    owner = f"model.{name}"
    return ModelOptions(
        arguments=_parameters(owner, "arguments", table.get("arguments", {})),
        preprocessing=_parameters(owner, "preprocessing", table["preprocessing"])
        if "preprocessing" in table
        else None,
    )


def _parameters(kind: str, name: str, value: object) -> Pairs:
    """A table of parameters, each something that a cell's identity can hold."""
    table = _table(kind, name, value)
    for key, item in table.items():
        if not _is_value(item):
            raise BenchError(
                f"config key '{kind}.{name}.{key}' cannot be {item!r}. Write a text, a finite "
                "number, true, false or a list of such."
            )
    return pairs(table)


def _is_value(item: object) -> bool:
    if isinstance(item, list):
        return all(_is_value(part) for part in item)
    return isinstance(item, str | int) or (isinstance(item, float) and math.isfinite(item))


def _items(key: str, value: object) -> list[Any]:
    """The items of a list in TOML, or of a comma-separated text from a flag."""
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",")]
    if not isinstance(value, list | tuple):
        value = [value]
    if not value or any(item == "" for item in value):
        raise BenchError(f"{_flag(key)} has an empty item: {value!r}. Separate items by one comma.")
    return list(value)


def _names(key: str, value: object) -> tuple[str, ...]:
    names = _items(key, value)
    for name in names:
        if not isinstance(name, str):
            raise BenchError(f"{_flag(key)} takes names, got {name!r}.")
    return tuple(dict.fromkeys(names))


def _eps(key: str, value: object) -> tuple[float, ...]:
    return tuple(dict.fromkeys(_epsilon(key, item) for item in _items(key, value)))


def _epsilon(key: str, item: object) -> float:
    try:
        number = _number(item) if isinstance(item, str) else item
    except (ValueError, ZeroDivisionError, OverflowError):
        number = None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BenchError(f"{_flag(key)} takes numbers such as 8/255 or 0.03, got {item!r}.")
    if not 0 <= number <= 1:
        raise BenchError(
            f"{_flag(key)} must lie in [0, 1], the range of intensities, got {item}. "
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
            raise BenchError(f"{_flag(key)} takes levels 1 to 5, got {item!r}. Type 1-5 or 1,3,5.")
        low, high = int(ends[0]), int(ends[-1])
        levels += range(low, high + 1)
    return tuple(dict.fromkeys(levels))


def _whole(key: str, item: object) -> int:
    text = "" if isinstance(item, bool | float) else str(item).strip()
    if not text.removeprefix("-").isdecimal() or len(text) > _DIGITS:
        raise BenchError(f"{_flag(key)} takes whole numbers, got {item!r}.")
    return int(text)


def _naturals(key: str, value: object) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_natural(key, item) for item in _items(key, value)))


def _natural(key: str, value: object) -> int:
    number = _whole(key, value)
    if number < 0:
        raise BenchError(f"{_flag(key)} takes numbers from 0 up, got {value!r}.")
    return number


def _count(key: str, value: object) -> int:
    count = _whole(key, value)
    if count < 1:
        raise BenchError(f"{_flag(key)} must be at least 1, got {count}.")
    return count


def _batch_size(key: str, value: object) -> int | None:
    return None if value == "auto" else _count(key, value)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise BenchError(f"{_flag(key)} takes a text, got {value!r}.")
    return value


def _path(key: str, value: object) -> Path:
    return value if isinstance(value, Path) else Path(_text(key, value)).expanduser()


def _switch(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BenchError(f"{_flag(key)} is true or false, got {value!r}.")
    return value


def _checkpoints(key: str, value: object) -> tuple[tuple[str, Path], ...]:
    if isinstance(value, dict):
        value = [f"{name}={path}" for name, path in value.items()]
    given: dict[str, Path] = {}
    for item in _items(key, value):
        name, equals, path = str(item).partition("=")
        if not (name and equals and path):
            raise BenchError(f"{_flag(key)} takes model=path or model@dataset=path, got {item!r}.")
        if name in given:
            raise BenchError(f"{_flag(key)} names {name!r} twice. Keep one of its paths.")
        given[name] = Path(path).expanduser()
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
            raise BenchError(f"{_flag(key)} takes a path or model=path, got {item!r}.")
        if (name or None) in given:
            whom = f"{name!r}" if name else "every model"
            raise BenchError(f"{_flag(key)} is given twice for {whom}. Keep one of its paths.")
        given[name or None] = Path(path).expanduser()
    return tuple(given.items())


def _flag(key: str) -> str:
    return f"--{_FLAGS.get(key, key.replace('_', '-'))}"


def _size(_: str, value: object) -> tuple[int, int, int]:
    return parse_size(value)


def _spacing(_: str, value: object) -> tuple[float, float, float] | None:
    return parse_spacing(value)


def _window(_: str, value: object) -> Window:
    return Window.parse(value)


def _modality(_: str, value: object) -> Modality:
    return parse_modality(value)


_LEVELS = ("1", "2", "3", "4", "5")

_DIGITS = 18
"""Longer numbers are slips of the keyboard, and some readers of JSON would round them."""

_FLAGS = {"checkpoints": "checkpoint", "train": "no-train"}

_PARSERS: dict[str, Any] = {
    "models": _names,
    "datasets": _names,
    "attacks": _names,
    "eps": _eps,
    "counts": _naturals,
    "accuracy_only": _switch,
    "artefacts": _names,
    "severities": _levels,
    "seeds": _naturals,
    "fast_artefacts": _switch,
    "perturbation_seed": _natural,
    "recipe": _text,
    "limit": _count,
    "device": _text,
    "compile": _switch,
    "batch_size": _batch_size,
    "out": _path,
    "data_root": _path,
    "size": _size,
    "spacing": _spacing,
    "window": _window,
    "modality": _modality,
    "checkpoints": _checkpoints,
    "train": _switch,
    "init": _init,
    "init_method": _text,
}
