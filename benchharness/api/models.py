"""Models as a Python call names them: names of the registry, modules and factories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from benchharness.errors import BenchError
from benchharness.networks import checkpoints, fingerprint, given
from benchharness.store.cards import WEIGHTS

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.networks.given import Given

Model = str | nn.Module | Callable[..., nn.Module]
Models = Model | Sequence[Model] | Mapping[str, Model]


def sorted_out(model: Models) -> tuple[list[str], list[Given]]:
    """Names, and objects under the name to show.

    Raises:
        BenchError: When something is neither a name, a module nor a factory.
    """
    if isinstance(model, str | nn.Module) or callable(model):
        model = [model]
    pairs = model.items() if isinstance(model, Mapping) else ((None, one) for one in model)
    names: list[str] = []
    objects: list[Given] = []
    for name, one in pairs:
        if isinstance(one, str) and name in (None, one):
            names.append(one)
        elif isinstance(one, nn.Module):
            objects.append(_renamed(given.network(one), name))
        elif callable(one):
            objects.append(_renamed(given.factory(one), name))
        else:
            raise BenchError(
                f"a model is a torch.nn.Module, a factory (num_classes, in_channels=1) or a name, "
                f"got {one!r}. A name cannot be given another one."
            )
    return names, objects


def _renamed(one: Given, name: str | None) -> Given:
    return one if name is None else replace(one, name=name)


def stored(one: Given, out: Path) -> Path | None:
    """Where a module's weights are, written unless they are there; None for a factory."""
    if one.weights is None:
        return None
    folder = out / "given" / f"{one.name}-{fingerprint.of_weights(one.weights)[:16]}"
    if not (folder / WEIGHTS).is_file():
        checkpoints.save(folder, one.weights)
    return folder / WEIGHTS
