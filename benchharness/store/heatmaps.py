"""The stored results of `bench explain`: one JSON file per dataset, one PNG per volume shown.

They are in the folder `explanations` of a store, beside its records. Reading them needs neither
torch nor the networks.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness.canonical import read_json
from benchharness.disk import explaining, leads_out, write_atomically
from benchharness.errors import BenchError
from benchharness.store.schema import newer

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
"""Version of the layout; raised when a reader of the old one would misread the new."""

FOLDER = "explanations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean or a share over volumes, with its 95 % interval."""

    value: float | None
    """None where no volume defines it."""
    low: float | None
    high: float | None
    n: int
    """Volumes that define it."""
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """How well maps find the structure; both None where the structure is not known."""

    pointing: Estimate | None
    """Share of volumes whose peak lies inside the structure."""
    energy: Estimate | None
    """Mean share of a map's sum inside the structure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One network's maps under one condition."""

    condition: str
    """`clean`, `pgd 8/255`, `motion level 3`."""
    accuracy: Estimate
    located: Located
    empty: int
    """Maps that are 0 everywhere; each counts as a miss without energy inside."""
    moved: Estimate | None
    """1 − Spearman's correlation with the clean map; None for clean."""
    shift: Estimate | None
    """Distance between the centroids of this map and the clean one, in fields of view; None for
    clean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkMaps:
    """Everything measured of one network."""

    name: str
    factory: str
    checkpoint: str
    """SHA-256 of the weights."""
    layer: str
    grid: tuple[int, int, int]
    """Grid (d, h, w) of the layer before interpolation."""
    measured: tuple[Measured, ...]
    """Clean first."""
    randomised: Located
    """The same architecture with random weights, on clean volumes."""
    similarity: Estimate
    """Spearman's correlation between maps of the trained and of the randomised network."""
    above_randomised: Estimate | None
    """Energy inside minus that of the randomised network, volume by volume."""
    above_box: Estimate | None
    """Energy inside minus that of the centre box, volume by volume."""

    @property
    def sane(self) -> bool | None:
        """Whether training put energy into the structure; None where the structure is not known.

        The sanity check of Adebayo et al. (NeurIPS 2018): a map that is as good with random weights
        explains nothing that the network learned.
        """
        if self.above_randomised is None or self.above_randomised.low is None:
            return None
        return self.above_randomised.low > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One drawn volume."""

    file: str
    """Name of the PNG in the same folder."""
    volume: str
    """The volume's id."""
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMaps:
    """The heat maps of some networks on one dataset."""

    dataset: str
    digest: str
    count: int
    """Volumes measured."""
    total: int
    """Volumes of the test split."""
    target: str
    """The class that is explained: `label` or `predicted`."""
    structure: float | None
    """Mean share of a volume that is structure, which is the energy of a uniform map."""
    box: Located
    """The centre-box baseline."""
    box_side: float
    """Side of that box as a fraction of the field of view."""
    randomised_networks: int
    """Independent draws of random weights; the volumes take turns over them."""
    networks: tuple[NetworkMaps, ...]
    pictures: tuple[Picture, ...]
    provenance: dict[str, Any]

    def to_json(self) -> str:
        """As indented JSON; NaN raises ValueError."""
        content = {"schema": SCHEMA} | asdict(self)
        return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> HeatMaps:
        """Rebuild from `to_json`.

        Raises:
            KeyError, TypeError: When parts are missing.
            ValueError: When it is of another schema.
        """
        rest = dict(content)
        if (schema := rest.pop("schema")) != SCHEMA:
            raise ValueError(f"its schema is {schema!r}, expected {SCHEMA}")
        return cls(
            **rest
            | {
                "box": _located(rest["box"]),
                "networks": tuple(_network(network) for network in rest["networks"]),
                "pictures": tuple(Picture(**picture) for picture in rest["pictures"]),
            }
        )


def write(directory: Path, stem: str, found: HeatMaps, pictures: Mapping[str, bytes]) -> Path:
    """Write pictures, then the JSON that names them; returns the path of the JSON.

    Pictures of an earlier result of the same stem are removed unless this one names them.

    Raises:
        BenchError: When the folder cannot be written.
    """
    folder = directory / FOLDER
    with explaining(f"to {folder}", "Pass another --out."):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pictures.items():
            write_atomically(folder / name, content)
        write_atomically(folder / f"{stem}.json", found.to_json().encode())
        for older in folder.glob(f"{stem}-*.png"):
            if older.name not in pictures:
                older.unlink()
    return folder / f"{stem}.json"


def read(directory: Path) -> tuple[tuple[Path, HeatMaps], ...]:
    """Every result in a store, sorted by file name; empty where nothing was explained.

    Raises:
        BenchError: When a result cannot be read or is of a newer schema.
    """
    return tuple(
        (path, _read(path, directory)) for path in sorted((directory / FOLDER).glob("*.json"))
    )


def _read(path: Path, directory: Path) -> HeatMaps:
    _refuse_links(path, directory)
    try:
        content = read_json(path.read_bytes())
        if isinstance(schema := content["schema"], int) and schema > SCHEMA:
            raise newer(str(path), schema, SCHEMA)
        return HeatMaps.from_json(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BenchError(
            f"cannot read {path}: {reason}. Remove it and run bench explain again."
        ) from error


def read_picture(path: Path, picture: Picture) -> bytes:
    """The PNG of a drawn volume.

    Args:
        path: The result that names it, as `read` gave it.
        picture: The picture.

    Raises:
        BenchError: When it cannot be read, or is not a file in the same folder.
    """
    if Path(picture.file).name != picture.file or "\0" in picture.file:
        raise BenchError(
            f"{path} names a picture outside its folder: {picture.file}. Remove {path} or run "
            "bench explain again."
        )
    where = path.parent / picture.file
    _refuse_links(where, path.parent.parent)
    try:
        content = where.read_bytes() if where.is_file() else None
    except OSError as error:
        raise BenchError(
            f"cannot read {where}: {error.strerror}. Remove {path} or run bench explain again."
        ) from error
    if content is None:
        raise BenchError(
            f"cannot read {where}: no such file. Remove {path} or run bench explain again."
        )
    return content


def _refuse_links(path: Path, directory: Path) -> None:
    if leads_out(path, directory):
        raise BenchError(
            f"{path} leads out of its store {directory}, so it is not read. Put the file itself "
            "there, or remove it."
        )


def _estimate(content: Mapping[str, Any] | None) -> Estimate | None:
    return None if content is None else Estimate(**content)


def _located(content: Mapping[str, Any]) -> Located:
    return Located(pointing=_estimate(content["pointing"]), energy=_estimate(content["energy"]))


def _measured(content: Mapping[str, Any]) -> Measured:
    return Measured(
        condition=content["condition"],
        accuracy=Estimate(**content["accuracy"]),
        located=_located(content["located"]),
        empty=content["empty"],
        moved=_estimate(content["moved"]),
        shift=_estimate(content["shift"]),
    )


def _network(content: Mapping[str, Any]) -> NetworkMaps:
    depth, height, width = content["grid"]
    return NetworkMaps(
        name=content["name"],
        factory=content["factory"],
        checkpoint=content["checkpoint"],
        layer=content["layer"],
        grid=(depth, height, width),
        measured=tuple(_measured(one) for one in content["measured"]),
        randomised=_located(content["randomised"]),
        similarity=Estimate(**content["similarity"]),
        above_randomised=_estimate(content["above_randomised"]),
        above_box=_estimate(content["above_box"]),
    )
