"""Digests of the code that a number rests on: of whole packages as they are installed."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from benchharness.disk import file_sha256


def package(name: str) -> str | None:
    """SHA-256 over the Python files of an installed package, by their paths and digests.

    Nothing of it is imported.

    Returns:
        None where no such package is found, as for a module of a working directory that is gone.
    """
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None:
        return None
    if not found.submodule_search_locations:
        return file_sha256(Path(found.origin), what="module")
    root = Path(found.origin).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def code(factory: str) -> dict[str, str]:
    """Digests of this package and of the one that builds the network, by name.

    Args:
        factory: `package.module:attribute`; what is no import string is left out.
    """
    names = dict.fromkeys(("benchharness", factory.partition(":")[0].partition(".")[0]))
    found = {name: package(name) for name in names if name.isidentifier()}
    return {name: digest for name, digest in found.items() if digest is not None}
