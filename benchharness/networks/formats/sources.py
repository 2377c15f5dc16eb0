"""Names after `--models` that are a file, a folder or a library, such as `onnx:FILE`.

A source gives the factory, the arguments and the file of weights, so that everything after it is as
for any model with `--checkpoint`. No path enters an identity: the same file moved gives the same
cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness.canonical import Pairs, pairs
from benchharness.disk import user_path
from benchharness.errors import BenchError
from benchharness.networks.formats import bundles, folders, intensities, libraries, programs
from benchharness.store.cells import ModelKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchharness.datasets.preparation import Window

_CODE = {"torchscript": "TorchScript", "pt2": "torch.export"}
"""Formats whose files run code when they are opened: one is a program, the other holds pickles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A name after `--models` in its parts, and what the run says beside it."""

    scheme: str
    rest: str
    name: str
    trust: bool
    window: Window | None
    mapping: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a name means."""

    model: ModelKey
    """Without preprocessing."""
    path: Path | None
    """Its weights; None where they are trained or given by `--checkpoint`."""
    preprocessing: Pairs | None = None
    """What the source says is done to a volume; None where it does not say."""
    notes: tuple[str, ...] = ()


def name_of(typed: str) -> str | None:
    """The name of the model that a source has; None where the text is no source.

    Raises:
        BenchError: When nothing follows the colon.
    """
    scheme, colon, rest = typed.partition(":")
    if not colon or scheme not in _SCHEMES:
        return None
    hub = folders.hub_name(typed)
    name = rest if scheme == "timm_3d" else (hub or Path(rest).name)
    name = name.removesuffix(Path(name).suffix) if scheme in _PROGRAMS else name
    if not name.strip("."):
        raise BenchError(f"--models has nothing after {scheme}: in {typed!r}. Type {_FORMS}.")
    return name


def find(typed: str, *, trust: bool, window: Window | None, mapping: bool = True) -> Source | None:
    """Find out what a source is; None where the text is none.

    Args:
        typed: What follows `--models`.
        trust: Whether files that run code may be opened.
        window: The one that the run's volumes are prepared with, if it says one.
        mapping: Whether a bundle's transforms are looked at; not where the user says what to do.

    Raises:
        BenchError: If there is no such file or folder, or it is not what it was called.
    """
    name = name_of(typed)
    if name is None:
        return None
    scheme, _, rest = typed.partition(":")
    asked = _Asked(scheme=scheme, rest=rest, name=name, trust=trust, window=window, mapping=mapping)
    return _SCHEMES[scheme](asked)


def _program(asked: _Asked) -> Source:
    scheme = asked.scheme
    if scheme in _CODE and not asked.trust:
        raise BenchError(
            f"{scheme}:{asked.rest} is a program, and opening a file of {_CODE[scheme]} runs what "
            "is in it. Add --trust if you know where it comes from."
        )
    path = user_path(asked.rest, what="--models")
    if not path.is_file():
        raise BenchError(f"no file at {path}. Check the path after {scheme}:.")
    return Source(model=ModelKey(name=asked.name, factory=programs.factory(scheme)), path=path)


def _hugging_face(asked: _Asked) -> Source:
    rest = asked.rest
    path = Path(f"hf:{rest}") if rest.startswith("//") else _folder(rest)
    entry = folders.named_model(folders.fetched(path))
    return Source(model=ModelKey(name=asked.name, factory=entry.target), path=path)


def _bundle(asked: _Asked) -> Source:
    name = asked.name
    bundle = bundles.read(_folder(asked.rest), trust=asked.trust)
    arguments: dict[str, Any] = {"definition": bundle.definition}
    if bundle.trusted:
        arguments["trusted"] = True
    settings: dict[str, Any] | None = None
    notes = []
    if asked.mapping and bundle.transforms is None:
        notes.append(f"{name}: the bundle says nothing of preprocessing, so there is none.")
    elif asked.mapping and bundle.transforms is not None:
        settings, grid = intensities.mapped(bundle.transforms, asked.window, model=name)
        said = ", ".join(f"{key} = {value}" for key, value in settings.items()) or "none"
        notes.append(f"{name}: preprocessing of the bundle, as it is done here: {said}.")
        if grid:
            left = " and ".join(grid)
            notes.append(f"{name}: {left} of the bundle are left to --spacing and --size.")
    return Source(
        model=ModelKey(name=name, factory=bundles.FACTORY, arguments=pairs(arguments)),
        path=bundle.weights,
        preprocessing=None if settings is None else pairs(settings),
        notes=tuple(notes),
    )


def _timm(asked: _Asked) -> Source:
    libraries.timm_3d_maker()
    return Source(
        model=ModelKey(
            name=asked.name, factory=libraries.TIMM_3D, arguments=(("name", asked.rest),)
        ),
        path=None,
    )


def _folder(text: str) -> Path:
    path = user_path(text, what="--models")
    if not path.is_dir():
        raise BenchError(f"no folder at {path}. Check the path given to --models.")
    return path


_PROGRAMS = ("onnx", "torchscript", "pt2")
_SCHEMES: Mapping[str, Callable[[_Asked], Source]] = {
    **dict.fromkeys(_PROGRAMS, _program),
    "hf": _hugging_face,
    "monai": _bundle,
    "timm_3d": _timm,
}
_FORMS = "onnx:FILE, torchscript:FILE, pt2:FILE, hf:FOLDER, monai:FOLDER or timm_3d:NAME"
