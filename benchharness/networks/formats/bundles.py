"""MONAI bundles: a folder with the network in `configs/`, its weights in `models/`.

The network is built by MONAI's own parser. A config may hold expressions and name any function,
which is code: without trust only MONAI's networks with plain arguments are built.
"""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from benchharness import registry
from benchharness.canonical import canonical_json
from benchharness.errors import BenchError, CellError
from benchharness.outside.containment import contained, in_one_line
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FACTORY = f"{__name__}:network"

_CONFIGS = ("inference", "evaluate", "test", "train")
_SUFFIXES = (".json", ".yaml", ".yml")
_NETWORK = "network_def"
_WEIGHTS = ("model.pt", "model.pth", "model.safetensors")
_PREPROCESSING = (
    *("preprocessing", "transforms", "test_transforms", "val_transforms"),
    *("validate::preprocessing", "train::deterministic_transforms"),
)
_LARGEST = 10**6
"""Bytes of a config, and of the part of it that the network is made of."""
_MOST = 10**4
"""Values that the network is made of."""
_SETTINGS = {"_target_", "_disabled_", "_requires_", "_desc_", "_mode_"}
_REFERENCE = re.compile(r"@([\w:#]+)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """What a bundle says of its network."""

    definition: str
    """JSON of `network_def` and all it refers to; it enters identities, and holds no path."""
    trusted: bool
    """Whether building it may run code of the bundle."""
    weights: Path
    transforms: tuple[Mapping[str, Any], ...] | None
    """What the bundle does to its volumes, in order; None where it does not say."""


def read(folder: Path, *, trust: bool) -> Bundle:
    """Read a bundle's config and find its weights.

    Args:
        folder: With `configs` and `models`.
        trust: Whether expressions and other functions than MONAI's networks are allowed.

    Raises:
        BenchError: If it is no bundle, or building its network would run code and is not trusted.
    """
    path, config = _config(folder)
    parts = _parts(config, path)
    definition = canonical_json(parts)
    if len(definition) > _LARGEST:
        raise BenchError(f"bundle config {path} defines a network in more than {_LARGEST} bytes.")
    reason = next(_code(parts), "")
    if reason and not trust:
        raise BenchError(
            f"bundle config {path} {reason}, which is code. Add --trust to run it, if you know "
            "where it comes from."
        )
    return Bundle(
        definition=definition,
        trusted=bool(reason),
        weights=_weights(folder),
        transforms=_transforms(config),
    )


def network(
    num_classes: int,  # noqa: ARG001
    in_channels: int = 1,  # noqa: ARG001
    *,
    definition: str,
    trusted: bool = False,
) -> nn.Module:
    """Build the network of a bundle; the definition says how many classes and channels it has.

    Raises:
        CellError: If it cannot be built, or would run code and is not trusted.
    """
    from monai.bundle.config_parser import ConfigParser

    parts = json.loads(definition)
    if not trusted:
        if reason := next(_code(parts), ""):
            raise CellError(f"the bundle's definition {reason}, which is code")
        parts = _with_full_names(parts)
    made = ConfigParser(parts, globals=None if trusted else False).get_parsed_content(_NETWORK)
    if not isinstance(made, nn.Module):
        raise CellError(f"the bundle's {_NETWORK} is {type(made).__name__}, expected a network")
    return made


def _config(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The first config that defines a network."""
    from monai.bundle.config_parser import ConfigParser

    names = [f"{name}{suffix}" for name in _CONFIGS for suffix in _SUFFIXES]
    found = [folder / "configs" / name for name in names]
    for path in (path for path in found if path.is_file()):
        try:
            if path.stat().st_size > _LARGEST:
                raise ValueError(f"it has more than {_LARGEST} bytes")  # noqa: TRY301
            with contained():
                config = ConfigParser.load_config_file(path)
        except Exception as error:  # what parsers raise for damaged files has many classes
            raise BenchError(f"cannot read bundle config {path}: {in_one_line(error)}.") from error
        if isinstance(config, dict) and _NETWORK in config:
            return path, config
    raise BenchError(
        f"{folder} is no MONAI bundle: none of {', '.join(names[:3])} … in its folder configs has "
        f"{_NETWORK!r}. Name the folder that holds configs and models."
    )


def _parts(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """`network_def` and every top-level entry that it refers to, over any number of steps."""
    parts: dict[str, Any] = {}
    todo = [_NETWORK]
    count = 0
    while todo:
        name = todo.pop()
        if name in parts or name not in config:
            continue
        parts[name] = config[name]
        for value in _values(config[name]):
            count += 1
            if count > _MOST:
                raise BenchError(f"bundle config {path} defines a network of over {_MOST} values.")
            if isinstance(value, str):
                todo += [re.split("::|#", found)[0] for found in _REFERENCE.findall(value)]
    return parts


def _values(value: Any) -> Iterator[Any]:
    """A value and everything in it."""
    todo = [value]
    while todo:
        value = todo.pop()
        yield value
        if isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list):
            todo += value


def _code(parts: Mapping[str, Any]) -> Iterator[str]:
    """What in a definition would run code, in words."""
    for value in _values(dict(parts)):
        if isinstance(value, str) and value.startswith(("$", "%")):
            yield f"computes {one_line(value)[:60]!r}"
        elif isinstance(value, dict) and "_target_" in value:
            target, mode = value["_target_"], value.get("_mode_", "default")
            if mode != "default" or _monai_name(target) is None:
                yield f"builds {one_line(str(target))[:60]!r}, no network of MONAI"


def _monai_name(target: object) -> str | None:
    """The full name of one of MONAI's network modules; None for everything else."""
    from monai.networks import blocks, layers, nets

    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        return None
    module, _, name = target.rpartition(".")
    if module.startswith("monai.networks."):
        try:
            owners = [registry.import_target(f"{module}:{name}")]
        except BenchError:
            return None
    else:
        owners = [] if module else [getattr(one, name, None) for one in (nets, blocks, layers)]
    for owner in owners:
        if inspect.isclass(owner) and issubclass(owner, nn.Module):
            return f"{owner.__module__}.{owner.__qualname__}"
    return None


def _with_full_names(value: Any) -> Any:
    """A definition whose targets need no search through all of MONAI."""
    if isinstance(value, list):
        return [_with_full_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _with_full_names(item) for key, item in value.items()}
    if "_target_" in made:
        made["_target_"] = _monai_name(made["_target_"]) or made["_target_"]
    return made


def _weights(folder: Path) -> Path:
    for name in _WEIGHTS:
        if (folder / "models" / name).is_file():
            return folder / "models" / name
    script = folder / "models" / "model.ts"
    if script.is_file():
        raise BenchError(
            f"{folder} has a TorchScript program and no weights of its network. Type --models "
            f"torchscript:{script} --trust."
        )
    raise BenchError(f"{folder} has no weights. Put them into models/{_WEIGHTS[0]}.")


def _transforms(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...] | None:
    for name in _PREPROCESSING:
        value: Any = config
        for key in name.split("::"):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, dict):
            value = value.get("transforms")
        if isinstance(value, list):
            return tuple(one if isinstance(one, dict) else {} for one in value)
    return None
