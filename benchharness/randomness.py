"""Generators seeded from names, never from global state.

The draws for a (volume, perturbation, severity, seed) depend only on these names, so every model
sees the same corrupted volumes, and batch size, order and worker count change no bit.
"""

from __future__ import annotations

import hashlib
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from benchharness.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

Name = str | int | float | None


def seed_of(*names: Name) -> int:
    """Hash names to a seed in [0, 2⁶³)."""
    hashed = hashlib.sha256(canonical_json(names).encode()).digest()
    return int.from_bytes(hashed[:8], "big") >> 1


def torch_generator(*names: Name) -> torch.Generator:
    """A generator for these names, always on the CPU so that every device sees the same bits."""
    import torch

    return torch.Generator("cpu").manual_seed(seed_of(*names))


def numpy_generator(*names: Name) -> np.random.Generator:
    """A NumPy generator (PCG64) for these names."""
    return np.random.Generator(np.random.PCG64(seed_of(*names)))


@contextmanager
def isolated(*names: Name) -> Iterator[None]:
    """Run third-party code that draws from global generators, then restore them.

    Inside, the global generators of Python, NumPy and torch (on every device) are seeded from the
    names; afterwards each has the state it had before.
    """
    import torch

    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    seed = seed_of(*names)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
