"""The settings of a run: a TOML file and flags become one frozen `RunConfig`.

Flags win over the file, whose keys are the fields of `RunConfig`. Three kinds of table say what
flags cannot: `[attack.NAME]` sets an attack's parameters, `[recipe.NAME]` makes a recipe,
`[model.NAME]` has a factory's `arguments`, the `preprocessing` in front of it and the `outputs`
behind it. An unknown key is an error.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchharness.canonical import Pairs, pairs
from benchharness.datasets.preparation import Preparation
from benchharness.errors import BenchError, unknown_name
from benchharness.networks.asked import NOTHING, Asked
from benchharness.run.values import PARSERS, flag
from benchharness.store.carried import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchharness.datasets.base import Modality
    from benchharness.datasets.preparation import Window
    from benchharness.run.shards import Shard
    from benchharness.run.values import Engine


_DEEPEST = 16
"""Tables and lists inside one another in a config file."""

_LARGEST = 10**6
"""Bytes of a config file."""

_OF_MODELS = ("arguments", "outputs", "preprocessing")
"""Keys of a table `[model.NAME]`."""

_BITS = 64
"""Of a whole number in a config file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What a config file says about one model beyond its name."""

    arguments: Pairs = ()
    preprocessing: Pairs | None = None
    """None leaves it to the recipe."""
    outputs: Asked = NOTHING
    """What is known of what the network returns; `--outputs` wins over it."""
    zoo: tuple[str, ...] = ()
    """Names of the zoo's checkpoints that are measured, such as `medvit3d_n@quick`; none for a
    network that is trained or brought. A config file names them under `models`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenModel:
    """A network that a Python call brings as an object; a file and flags can only name one."""

    name: str
    factory: str
    """Import string."""
    arguments: Pairs = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Every setting of `bench run` and `bench train`; validated, nothing resolved.

    The defaults here are the only ones: the help texts show them.
    """

    models: tuple[str, ...]
    checkpoint: tuple[tuple[str, Path], ...] = ()
    """(`model`, `model@dataset` or either with `#seed` after the model, file) for weights that the
    user brings."""
    outputs: tuple[tuple[str | None, Asked], ...] = ()
    """(model, what its logits are taken from); a model of None means every model."""
    trust: bool = False
    """Whether files that run code when they are opened may be opened."""
    zoo: Path | None = None
    """Folder of the zoo's checkpoints beyond those of the package; None leaves it to
    `zoo.own_folder`."""
    datasets: tuple[str, ...] = ("phantom3d",)
    limit: int | None = None
    """Evaluate only this many volumes, stratified by class; None evaluates all."""
    data_root: Path | None = None
    """Folder of the MedMNIST archives; None leaves it to `datasets.load`."""
    size: tuple[int, int, int] | None = None
    """Grid of volumes from a folder or a CSV, (D, H, W); None leaves it to `Preparation`."""
    spacing: tuple[float, float, float] | None = None
    """Spacing of that grid, (D, H, W) in mm; None fits the training volumes into the grid."""
    window: Window | None = None
    """Which of their intensities become 0 and 1; None leaves it to `Preparation`."""
    modality: Modality | None = None
    """What they show; None leaves it to `Preparation`."""
    bits: Literal[8, 16] | None = None
    """Of a voxel of that grid; None leaves it to `Preparation`."""
    channels: int | tuple[str, ...] | None = None
    """How many channels each file holds, or columns of a CSV; None for one channel."""
    classes: tuple[str, ...] | None = None
    """Names of the classes in the order of their labels; None leaves it to the data."""
    attacks: tuple[str, ...] = ()
    eps: tuple[float, ...] = (2 / 255, 8 / 255)
    """Severities of L∞ and L2 attacks, each in [0, 1]."""
    counts: tuple[int, ...] = (4, 16)
    """Severities of the sparse attacks: voxels, slices or the side of a cube."""
    accuracy_only: bool = False
    """Whether an attack skips volumes that are wrong when clean or at a smaller severity."""
    perturbation_seed: int = 0
    """Seed of attacks and artefacts."""
    artefacts: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Levels of the artefacts, each in 1..5."""
    fast_artefacts: bool = False
    """Whether artefacts run on the device in batches where they can. These are other cells than the
    canonical ones, whose volumes they equal to 1e-4."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds."""
    recipes: tuple[str, ...] = ()
    """How to train; none trains each dataset with its default recipe."""
    train_on: tuple[str, ...] = ()
    """Sources: datasets whose labels are learned from, or `none` for few volumes from scratch; none
    given trains on each of `datasets` itself."""
    adapt: tuple[str, ...] = ("none",)
    """How a source is adapted to unlabelled volumes of the target."""
    shots: tuple[int | str, ...] = (0,)
    """Labelled volumes of the target that are learned from after the source; `all` for all."""
    select: Literal["source_val", "target_val"] = "source_val"
    """The split that weights are chosen on where they come from a source."""
    init: tuple[tuple[str | None, Path], ...] = ()
    """(model, file) of weights that training starts from; a model of None means every model."""
    init_method: str = "centre"
    """How a network adopts these weights, where it offers several ways."""
    train: bool = True
    """Whether missing checkpoints are trained or refused."""
    checkpoints_from: Path | None = None
    """A store whose checkpoints are used where `out` has none; nothing is written there."""
    shard: Shard | None = None
    """The share of the plan that is run; None for all of it."""
    out: Path = Path("results/local")
    device: str = "auto"
    workers: int | Literal["auto"] | None = None
    """Processes that share the work; None takes one for each of several devices, else this one."""
    engine: Engine = "local"
    """Where the processes are: on this machine, or on a Ray cluster."""
    address: str | None = None
    """Of the cluster; None starts a Ray of this machine for the run."""
    cpus_per_worker: int = 1
    """Cores that each worker takes on a cluster, and its threads."""
    gpus_per_worker: float | None = None
    """GPUs, or a part of one; None takes one where `device` is a GPU, else none."""
    batch_size: int | None = None
    """None chooses by device and volume size."""
    compile: bool = False
    """Whether networks are evaluated through `torch.compile`."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the passes through which attacks take gradients; whatever decides is float32."""
    attack_parameters: tuple[tuple[str, Pairs], ...] = ()
    model_options: tuple[tuple[str, ModelOptions], ...] = ()
    recipe_options: tuple[tuple[str, Pairs], ...] = ()
    """Recipes that a config file makes from others, by name."""
    recipes_left_out: tuple[str, ...] = ()
    """Recipes that the config file asks for and a flag does not; their tables are no mistake."""
    given: tuple[GivenModel, ...] = ()
    """Models beyond those that `models` names."""

    @property
    def preparation(self) -> Preparation | None:
        """How volumes from a folder or a CSV are prepared; None when no option concerns it."""
        given: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in fields(Preparation)
        }
        said = {name: value for name, value in given.items() if value is not None}
        return Preparation(**said) if said else None


def load(
    path: Path | None, flags: Mapping[str, Any], *, given: Sequence[GivenModel] = ()
) -> RunConfig:
    """Merge a config file with flags and validate the result.

    Args:
        path: TOML file, or None.
        flags: Values by key of the file, as the user typed them; None means not given.
        given: Models that are handed over as objects.

    Raises:
        BenchError: For an unreadable file, an unknown key, or a value out of its range.
    """
    settings = _read(path) if path is not None else {}
    asked = settings.get("recipes")
    settings |= {key: value for key, value in flags.items() if value is not None}
    attack_tables = settings.pop("attack", {})
    model_tables = settings.pop("model", {})
    recipe_tables = settings.pop("recipe", {})
    if isinstance(recipe_tables, str | list | tuple):
        raise BenchError(
            f"config key 'recipe' is for tables [recipe.NAME], got {recipe_tables!r}. "
            "Name what to train with under recipes."
        )
    for key in settings:
        if key not in PARSERS:
            tables = ("attack.NAME", "model.NAME", "recipe.NAME")
            raise unknown_name("config key", key, [*PARSERS, *tables])
    parsed = {key: PARSERS[key](key, value) for key, value in settings.items()}
    if not parsed.setdefault("models", ()) and not given:
        raise BenchError("no models given. Name some: --models medvit3d_n,resnet3d_18.")
    if "init_method" in parsed and not parsed.get("init"):
        raise BenchError(
            f"--init-method {parsed['init_method']} has nothing to work on. Pass --init PATH too."
        )
    _check_sources(parsed)
    return RunConfig(
        **parsed,
        recipes_left_out=_left_out(asked, parsed.get("recipes", ())),
        attack_parameters=tuple(
            (name, _parameters("attack", name, table))
            for name, table in _table("attack", "", attack_tables).items()
        ),
        model_options=tuple(
            (name, _model_options(name, _table("model", name, table)))
            for name, table in _table("model", "", model_tables).items()
        ),
        recipe_options=tuple(
            (name, _parameters("recipe", name, table))
            for name, table in _table("recipe", "", recipe_tables).items()
        ),
        given=tuple(given),
    )


def _left_out(asked: object, kept: Sequence[str]) -> tuple[str, ...]:
    """What a file's recipes name beside those kept; what a flag overrides may be anything."""
    names = asked if isinstance(asked, list) else [asked]
    return tuple(name for name in names if isinstance(name, str) and name not in kept)


def _check_sources(parsed: Mapping[str, Any]) -> None:
    """Refuse what is said of sources where there are none."""
    idle = [flag(key) for key in ("adapt", "shots", "select") if key in parsed]
    if idle and not parsed.get("train_on"):
        raise BenchError(
            f"{idle[0]} is about a source, and there is none. Add --train-on DATASET, or take it "
            "out."
        )
    if SCRATCH in parsed.get("train_on", ()) and not any(parsed.get("shots", ())):
        raise BenchError("--train-on none learns from few volumes of the target. Add --shots 16.")


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise BenchError(f"config {path} has more than {_LARGEST} bytes. Is it another file?")
        content = tomllib.loads(text.decode())
    except OSError as error:
        raise BenchError(f"cannot read config {path}: {error.strerror}.") from error
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as error:  # tomllib's own, a bad encoding, or a number of too many digits
        raise BenchError(f"config {path} is not valid TOML: {error}.") from error
    _check_values(path, content)
    settings: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name in settings:
            raise BenchError(f"config {path} has {name!r} twice, with - and with _. Keep one.")
        settings[name] = value
    return settings


def _check_values(path: Path, content: dict[str, Any]) -> None:
    """Refuse what no message could show: endless numbers and endless nesting."""
    todo: list[tuple[str, object, int]] = [("", content, 0)]
    while todo:
        name, value, depth = todo.pop()
        if depth > _DEEPEST:
            raise _too_deep(path)
        if isinstance(value, dict):
            todo += [(str(key), inner, depth + 1) for key, inner in value.items()]
        elif isinstance(value, list):
            todo += [(name, inner, depth + 1) for inner in value]
        elif isinstance(value, int) and value.bit_length() > _BITS:
            raise BenchError(
                f"config {path} has a number of {value.bit_length()} bits under {name!r}. Write "
                f"one of at most {_BITS}."
            )


def _too_deep(path: Path) -> BenchError:
    return BenchError(
        f"config {path} is nested more than {_DEEPEST} deep. The deepest key there is, such as "
        "model.NAME.preprocessing.size, needs four levels."
    )


def _table(kind: str, name: str, value: object) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    where = f"{kind}.{name}" if name else kind
    raise BenchError(
        f"config key {where!r} must be a table, got {value!r}. Write [{kind}.NAME] above its keys."
    )


def _model_options(name: str, table: dict[str, Any]) -> ModelOptions:
    owner = f"model.{name}"
    for key in table:
        if key not in _OF_MODELS:
            raise unknown_name("config key", f"{owner}.{key}", _OF_MODELS)
    outputs = NOTHING
    if "outputs" in table:
        outputs = Asked.parse(table["outputs"], flag=f"config key '{owner}.outputs'")
    return ModelOptions(
        arguments=_parameters(owner, "arguments", table.get("arguments", {})),
        preprocessing=_parameters(owner, "preprocessing", table["preprocessing"])
        if "preprocessing" in table
        else None,
        outputs=outputs,
    )


def _parameters(kind: str, name: str, value: object) -> Pairs:
    """Check that a cell's identity can hold every value of a table."""
    table = _table(kind, name, value)
    for key, item in table.items():
        if not _is_value(item):
            raise BenchError(
                f"config key '{kind}.{name}.{key}' cannot be {item!r}. Write text, a finite "
                "number, true, false or a list of these."
            )
    return pairs(table)


def _is_value(item: object) -> bool:
    if isinstance(item, list):
        return all(_is_value(part) for part in item)
    return isinstance(item, str | int) or (isinstance(item, float) and math.isfinite(item))
