"""What nodes need besides data and weights: the same packages, and code of the person's own.

Installed packages have to be on the nodes in the same version. Modules that were imported from a
folder of the person's own, as `module:attribute` or by such a module, are copied there.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.store.provenance import package_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

LIMIT = 100 * 2**20
"""Bytes of code; more is data that lies beside it."""

_OURS = ("benchharness", "medvit3d", "baselines")


def gather(modules: Iterable[str], folder: Path) -> tuple[str, ...]:
    """Copy modules that are not installed, and what they imported from their own folder.

    A package is copied whole, a module alone. What code imports only later has to lie in a package
    that is copied anyway.

    Args:
        modules: Names of imported modules.
        folder: Where to; it is empty.

    Returns:
        Names of the modules and packages at the top that were copied.

    Raises:
        BenchError: When they are too large.
    """
    asked = {name.partition(".")[0] for name in modules}
    loaded = {
        name: place
        for name, module in list(sys.modules.items())
        if "." not in name and name not in _OURS
        for place in _place(module)
    }
    roots = {loaded[name].parent for name in asked if name in loaded}
    found = {name: place for name, place in loaded.items() if place.parent in roots}
    size = sum(map(_size, found.values()))
    if size > LIMIT:
        raise BenchError(
            f"the code of {', '.join(sorted(found))} has {size / 2**20:.0f} MiB with what lies "
            f"beside it, and at most {LIMIT // 2**20} are sent to every node. Move data out of its "
            "folder, or install it on the nodes as a package."
        )
    for name, place in found.items():
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, folder / place.name)
    return tuple(sorted(found))


def _place(module: ModuleType) -> Iterator[Path]:
    """The folder or file of a module that is not installed; none for others."""
    paths = [*getattr(module, "__path__", [])] or [getattr(module, "__file__", None)]
    if module.__name__ == "__main__" or len(paths) != 1 or paths[0] is None:
        return
    path = Path(paths[0]).resolve()
    installed = (Path(one).resolve() for one in sysconfig.get_paths().values())
    if path.exists() and not any(path.is_relative_to(one) for one in installed):
        yield path


def _size(place: Path) -> int:
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(path.stat().st_size for path in files if path.is_file())


def expected(modules: Iterable[str]) -> dict[str, str]:
    """What has to be the same on a node, by what it is called.

    Args:
        modules: Names of imported modules, whose packages have to be there where they are not
            copied.
    """
    owners = packages_distributions()
    tops = sorted({name.partition(".")[0] for name in modules} - set(_OURS))
    packages = {one for top in tops for one in owners.get(top, ())}
    return {name: _version(name) for name in ("Python", "benchharness", "torch", *sorted(packages))}


def difference(expected: Mapping[str, str]) -> str:
    """What is not the same here, in words; empty where all is."""
    lines = (
        f"{name} {found or 'missing'} instead of {wanted}"
        for name, wanted in expected.items()
        if (found := _version(name)) != wanted
    )
    return ", ".join(lines)


def _version(name: str) -> str:
    """The version of a package here; empty where it is missing."""
    if name == "Python":
        return ".".join(platform.python_version_tuple()[:2])
    if name == "benchharness":
        return f"{package_version()} (sources {_sources()[:8]})"
    try:
        # A build for another device has the same version.
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return ""


def _sources() -> str:
    """Digest of our own code: two checkouts may have one version."""
    found = hashlib.sha256()
    for name in _OURS:
        spec = find_spec(name)
        assert spec is not None
        root = Path((spec.submodule_search_locations or [""])[0])
        for path in sorted(root.rglob("*.py")):
            found.update(f"{name}/{path.relative_to(root).as_posix()}\n".encode())
            found.update(path.read_bytes())
    return found.hexdigest()
