"""The six sets of MedMNIST3D at 28³ and 64³, and how any set of MedMNIST is fetched and loaded.

Yang et al., "MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 10, 41 (2023). Addresses, checksums and class names come from the
`medmnist` package; the files are fetched here because its own `download()` imports torchvision.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pooch

from benchharness.datasets import archive
from benchharness.datasets.base import Dataset, Modality
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

MODALITIES: dict[str, Modality] = {
    "organmnist3d": "ct",
    "nodulemnist3d": "ct",
    "fracturemnist3d": "ct",
    "adrenalmnist3d": "shape",
    "vesselmnist3d": "shape",
    "synapsemnist3d": "electron microscopy",
}
"""What the volumes are; adrenal and vessel are binary masks, every voxel 0 or 255."""


def data_root(root: Path | None = None) -> Path:
    """The folder of the archives: `root`, else `BENCH_DATA_ROOT`, else `~/.medmnist`."""
    if root is not None:
        return root.expanduser()
    return Path(os.environ.get("BENCH_DATA_ROOT") or "~/.medmnist").expanduser()


def factory(
    flag: str, suffix: str, *, modality: Modality, recipe: str, summary: str
) -> Callable[[Path | None], Dataset]:
    """Make the factory of one published set at one size.

    Args:
        flag: Name of the set in `medmnist.INFO`.
        suffix: "" for 28 voxels a side, "_64" and so on for more.
        modality: What the volumes are.
        recipe: What to train with unless told otherwise.
        summary: First line of the factory's documentation.
    """

    def load(root: Path | None = None) -> Dataset:
        name = f"{flag}{suffix}"
        info = _information(flag)
        url, md5 = str(info[f"url{suffix}"]), str(info[f"MD5{suffix}"])
        path = data_root(root) / f"{name}.npz"
        if not path.exists():
            _download(url, md5, path)
        found = archive.read(path, name=name, md5=md5)
        labels = info["label"]
        return Dataset(
            name=name,
            classes=tuple(str(labels[str(index)]) for index in range(len(labels))),
            modality=modality,
            digest=f"md5:{found.md5}",
            default_recipe=recipe,
            train=found.train,
            val=found.val,
            test=found.test,
        )

    load.__name__ = load.__qualname__ = f"{flag}{suffix}"
    load.__doc__ = summary
    return load


def _factory(flag: str, suffix: str) -> Callable[[Path | None], Dataset]:
    size = "64³" if suffix else "28³"
    return factory(
        flag,
        suffix,
        modality=MODALITIES[flag],
        recipe="medmnist",
        summary=f"Load {flag} at {size} from `root`, downloading it when absent.",
    )


def _information(flag: str) -> dict[str, Any]:
    # Imported on use: the package imports pandas and scikit-image.
    from medmnist.info import INFO

    information: dict[str, Any] = INFO[flag]
    return information


def _download(url: str, md5: str, path: Path) -> None:
    """Fetch an archive with a progress bar; what arrives incomplete never gets the final name.

    Raises:
        BenchError: When the address cannot be reached, what came is not the published file, or
            the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            url,
            known_hash=f"md5:{md5}",
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=60),
        )
    except (OSError, ValueError) as error:
        response = getattr(error, "response", None)
        if response is not None:  # pooch leaves the connection of a refused request open
            response.close()
        reason = " ".join(str(error).split())
        raise BenchError(
            f"cannot download {url} ({reason}). Fetch it by hand and save it as {path}, or name "
            "the folder that holds it with --data-root or BENCH_DATA_ROOT."
        ) from error


organmnist3d = _factory("organmnist3d", "")
organmnist3d_64 = _factory("organmnist3d", "_64")
nodulemnist3d = _factory("nodulemnist3d", "")
nodulemnist3d_64 = _factory("nodulemnist3d", "_64")
fracturemnist3d = _factory("fracturemnist3d", "")
fracturemnist3d_64 = _factory("fracturemnist3d", "_64")
adrenalmnist3d = _factory("adrenalmnist3d", "")
adrenalmnist3d_64 = _factory("adrenalmnist3d", "_64")
vesselmnist3d = _factory("vesselmnist3d", "")
vesselmnist3d_64 = _factory("vesselmnist3d", "_64")
synapsemnist3d = _factory("synapsemnist3d", "")
synapsemnist3d_64 = _factory("synapsemnist3d", "_64")
