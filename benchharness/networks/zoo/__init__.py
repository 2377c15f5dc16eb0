"""Trained checkpoints by name, such as `medvit3d_n@quick`: an index, and files named by digest.

The index holds the model card of every checkpoint, so that nothing but the weights is fetched.
"""

from benchharness.networks.zoo.files import fetch, located
from benchharness.networks.zoo.index import (
    Entry,
    entries,
    find,
    is_name,
    names,
    own_folder,
    package_folder,
)

__all__ = [
    "Entry",
    "entries",
    "fetch",
    "find",
    "is_name",
    "located",
    "names",
    "own_folder",
    "package_folder",
]
