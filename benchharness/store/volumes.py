"""Pictures of volumes that perturbations broke: one JSON file per cell, in the folder `volumes`.

They lie beside a store's records, and reading them needs neither torch nor the networks.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchharness.canonical import read_json
from benchharness.disk import explaining, leads_out, write_atomically
from benchharness.errors import BenchError
from benchharness.store.schema import newer

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
"""Version of the layout; raised when a reader of the old one would misread the new."""

FOLDER = "volumes"

_IMAGE = re.compile(r"data:image/(?:webp|png);base64,[A-Za-z0-9+/]+={0,2}")
_IDENTITY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One volume under one cell: centre slices along three axes, side by side, as data URIs."""

    volume: str
    """Its id."""
    label: str
    """Name of its class."""
    answer: str
    """Name of the class that the network took the perturbed volume for."""
    clean: str
    perturbed: str
    difference: str
    """Perturbed minus clean: grey is 0, white `peak`, black −`peak`."""
    peak: float
    """The largest difference in these slices, in [0, 1]."""
    map: str = ""
    """Grad-CAM of the label over the perturbed slices; empty where nothing was explained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What is drawn of a cell."""

    identity: str
    asked: tuple[str, ...]
    """Ids of the volumes that were made again; one of them that was not broken is not drawn."""
    drawn: tuple[Drawn, ...]


def write(directory: Path, pictures: Pictures) -> None:
    """Keep the pictures of a cell.

    Raises:
        BenchError: When the store's folder cannot be written.
    """
    path = _path(directory, pictures.identity)
    content = {"schema": SCHEMA} | asdict(pictures)
    with explaining(f"to {path.parent}", "Type --volumes 0 for a report without volumes."):
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        write_atomically(path, f"{text}\n".encode())


def read(directory: Path, identity: str) -> Pictures | None:
    """The pictures of a cell; None where there are none.

    Raises:
        BenchError: When the file cannot be read, or holds what is no picture.
    """
    path = _path(directory, identity)
    if leads_out(path, directory):
        raise BenchError(f"{path} leads out of its store {directory}. Remove it.")
    try:
        if not path.is_file():
            return None
        content = read_json(path.read_bytes())
        if isinstance(schema := content.pop("schema"), int) and schema > SCHEMA:
            raise newer(str(path), schema, SCHEMA)
        drawn = tuple(Drawn(**one) for one in content["drawn"])
        found = Pictures(identity=content["identity"], asked=tuple(content["asked"]), drawn=drawn)
        _check(found, identity)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BenchError(
            f"cannot read {path}: {reason}. Remove it and run bench report again."
        ) from error
    return found


def _check(found: Pictures, identity: str) -> None:
    """Refuse pictures of another cell, and what a page would load from elsewhere.

    Raises:
        ValueError: When there is such.
    """
    if found.identity != identity:
        raise ValueError(f"it is of cell {found.identity[:12]}")
    for one in found.drawn:
        pictures = (one.clean, one.perturbed, one.difference, *filter(None, [one.map]))
        if not all(_IMAGE.fullmatch(picture) for picture in pictures):
            raise ValueError(f"a picture of {one.volume} is none")


def _path(directory: Path, identity: str) -> Path:
    assert _IDENTITY.fullmatch(identity), identity
    return directory / FOLDER / f"{identity}.json"
