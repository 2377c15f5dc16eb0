"""How any set of MedMNIST is fetched and loaded.

Yang et al., "MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D biomedical image
classification", Scientific Data 10, 41 (2023); the sizes above 28 are MedMNIST+. Addresses,
checksums and class names come from the `medmnist` package; the files are fetched here because its
own `download()` imports torchvision.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchharness.datasets import archive
from benchharness.datasets.base import Dataset
from benchharness.disk import fetching, user_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchharness.datasets.base import Modality

Factory = Callable[[Path | None], Dataset]
"""Loads a set from the folder of the archives, None for the usual one."""


def data_root(root: Path | None = None) -> Path:
    """The folder of the archives: `root`, else `BENCH_DATA_ROOT`, else `~/.medmnist`."""
    if root is not None:
        return user_path(root, what="--data-root")
    return user_path(os.environ.get("BENCH_DATA_ROOT") or "~/.medmnist", what="BENCH_DATA_ROOT")


def factories(
    sets: Mapping[str, tuple[Modality, str]],
    suffixes: Iterable[str],
    *,
    recipe: str,
    power: str,
) -> dict[str, Factory]:
    """Make the factories of published sets, each downloading its archive when absent.

    Args:
        sets: Modality and content by name in `medmnist.INFO`.
        suffixes: Of the names at each size: "" for 28 voxels a side, "_64" and so on for more.
        recipe: What to train with unless told otherwise.
        power: Sign of the dimension, "²" or "³".

    Returns:
        By name, such as `organmnist3d_64`.
    """
    return {
        f"{flag}{suffix}": _factory(
            flag,
            suffix,
            modality=modality,
            recipe=recipe,
            summary=f"{content}, {suffix[1:] or 28}{power}.",
        )
        for flag, (modality, content) in sets.items()
        for suffix in suffixes
    }


def _factory(flag: str, suffix: str, *, modality: Modality, recipe: str, summary: str) -> Factory:
    name = f"{flag}{suffix}"

    def load(root: Path | None = None) -> Dataset:
        info = information(flag)
        url, md5 = str(info[f"url{suffix}"]), str(info[f"MD5{suffix}"])
        path = data_root(root) / f"{name}.npz"
        if path.exists():
            fetching.clear(path.parent, path.suffix)
        else:
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

    load.__name__ = load.__qualname__ = name
    load.__doc__ = summary
    return load


def information(flag: str) -> dict[str, Any]:
    """A set's entry in the `medmnist` package: addresses, checksums, class names."""
    # Imported on use: the package imports pandas and scikit-image.
    from medmnist.info import INFO

    found: dict[str, Any] = INFO[flag]
    return found


def is_published(md5: str) -> bool:
    """Whether an MD5 is that of a published archive, of any set at any size."""
    from medmnist.info import INFO

    return any(
        value == md5
        for info in INFO.values()
        for key, value in info.items()
        if key.startswith("MD5")
    )


def _download(url: str, md5: str, path: Path) -> None:
    """Fetch an archive, as `fetching.download`.

    Raises:
        BenchError: When the address cannot be reached, the file is not the published one, or the
            folder cannot be written.
    """
    remedy = (
        f"Fetch it by hand and save it as {path}, or name the folder that holds it with "
        "--data-root or BENCH_DATA_ROOT."
    )
    fetching.download(url, path, known=f"md5:{md5}", remedy=remedy)
