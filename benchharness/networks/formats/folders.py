"""Folders as Hugging Face writes them: `config.json`, `model.safetensors`; here or on the hub."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness import registry
from benchharness.canonical import Pairs, pairs, read_json
from benchharness.errors import BenchError
from benchharness.networks import calling
from benchharness.outside.containment import contained, in_one_line
from benchharness.outside.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "pytorch_model.safetensors", "model.pt")
_NAMING = ("model", "model_name", "architecture", "architectures", "model_type")
"""Keys of a config that may name a model."""
_LARGEST = 10**6
_HUB = re.compile(r"hf:/{1,2}([\w.-]+)/([\w.-]+)(?:@([\w./-]+))?")


def is_hub(path: Path) -> bool:
    """Whether a path is `hf://owner/name@revision`, of which a path keeps one slash."""
    return path.parts[:1] == ("hf:",)


def hub_name(text: str) -> str | None:
    """The name in `hf://owner/name@revision`; None for other text."""
    found = _HUB.fullmatch(text)
    return None if found is None else found[2]


def fetched(path: Path) -> Path:
    """A folder as it is, or the one of the hub after it was downloaded.

    Raises:
        BenchError: If huggingface-hub is not installed, or the hub does not give it.
    """
    if not is_hub(path):
        return path
    found = _HUB.fullmatch(path.as_posix())
    if found is None:
        raise BenchError(f"{path.as_posix()!r} is not hf://owner/name or hf://owner/name@revision.")
    owner, name, revision = found.groups()
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise BenchError(
            "hf:// needs huggingface-hub. Install it: pip install 'benchharness[hub]'."
        ) from error
    try:
        with contained():
            folder = snapshot_download(
                repo_id=f"{owner}/{name}", revision=revision, allow_patterns=[CONFIG, *_WEIGHTS]
            )
    except Exception as error:  # what the client raises has many classes
        raise BenchError(
            f"hf://{owner}/{name} cannot be had from the hub: {in_one_line(error)[:200]}."
        ) from error
    return Path(folder)


def origin(path: Path, folder: Path) -> str:
    """Where a fetched folder is from, in words; empty for one that was here."""
    if not is_hub(path):
        return ""
    commit = f" at commit {folder.name}" if re.fullmatch("[0-9a-f]{40}", folder.name) else ""
    return f"from hf://{'/'.join(path.parts[1:])}{commit}"


def weights(folder: Path) -> Path:
    """The file of weights in a folder.

    Raises:
        BenchError: If there is none, or they are split over several files.
    """
    for name in _WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    if any(folder.glob("*.index.json")):
        raise BenchError(
            f"the weights in {folder} are split over several files. Save them as one: "
            "save_pretrained(FOLDER, max_shard_size='100GB')."
        )
    raise BenchError(f"no checkpoint at {folder}: the folder has none of {', '.join(_WEIGHTS)}.")


def arguments(folder: Path, factory: Callable[..., Any]) -> Pairs:
    """What a folder's config says for a factory's parameters.

    The numbers of classes and of channels are left out: the dataset says them.

    Raises:
        BenchError: If the config cannot be read, or a value cannot be part of an identity.
    """
    try:
        names = list(calling.parameters(factory))
    except (TypeError, ValueError):
        return ()
    counts = {calling.role(names, calling.CLASSES), calling.role(names, calling.CHANNELS)}
    found = {
        name: value
        for name, value in config(folder).items()
        if name in names and name not in counts and value is not None
    }
    for name, value in found.items():
        if not _plain(value):
            raise BenchError(
                f"{folder / CONFIG}: {name} = {one_line(repr(value))[:60]} cannot be an argument. "
                "Write a factory that sets it, and name that after --models."
            )
    return pairs(found)


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_plain, value))
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def config(folder: Path) -> Mapping[str, Any]:
    """The config of a folder; empty where it has none.

    Raises:
        BenchError: If it cannot be read.
    """
    path = folder / CONFIG
    if not path.exists():
        return {}
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST} bytes")  # noqa: TRY301
        content = read_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BenchError(f"cannot read {path}: {' '.join(str(error).split())[:200]}.") from error
    if not isinstance(content, dict):
        raise BenchError(f"cannot read {path}: it is no JSON object.")
    return content


def named_model(folder: Path) -> registry.Entry:
    """The model that a folder's config names, among those that are built in or installed.

    An import string in a config is not followed: it could name any function.

    Raises:
        BenchError: If it names none of these.
    """
    said = list(_named(config(folder)))
    known = registry.entries("models")
    for name in said:
        if name in known:
            return known[name]
    what = f"names {', '.join(one_line(name)[:40] for name in said[:3])}" if said else "names none"
    raise BenchError(
        f"{folder / CONFIG} {what}, and no model of that name is known here. Name its class: "
        f"--models package.module:Class --checkpoint Class={folder}."
    )


def _named(content: Mapping[str, Any]) -> Iterator[str]:
    for key in _NAMING:
        value = content.get(key)
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str):
                yield name
