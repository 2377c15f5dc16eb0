"""What a user should know of a plan: what was left out, read or taken for what, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.datasets import Dataset
    from benchharness.run.config import RunConfig
    from benchharness.run.weights import Weights


def limit(config: RunConfig, dataset: Dataset) -> list[str]:
    """Say where `--limit` limits nothing."""
    if config.limit is None or config.limit <= len(dataset.test):
        return []
    return [
        f"--limit {config.limit} is more than {dataset.name} has: all {len(dataset.test)} test "
        "volumes are evaluated."
    ]


def given(config: RunConfig, networks: Sequence[Weights]) -> list[str]:
    """Say what a network that was handed over as an object is known by."""
    names = {given.name for given in config.given}
    found = {own.model.name: own for own in networks}
    return [
        f"{name} was handed over as an object and is known by the digests of its code "
        f"({str(dict(own.model.arguments)['code'])[:8]}) and its weights "
        f"({own.checkpoint.sha256[:8]})."
        for name, own in found.items()
        if name in names and "code" in dict(own.model.arguments) and own.checkpoint.sha256
    ]


def unrepeated(config: RunConfig, networks: Sequence[Weights]) -> list[str]:
    """Say which networks several `--seeds` do not repeat.

    Raises:
        BenchError: When that is all of them.
    """
    if len(config.seeds) < 2:
        return []
    single = {own.model.name: own.path for own in networks if own.seed is None}
    seeds = ",".join(map(str, config.seeds))
    lines = [
        f"--checkpoint {name}={path} is one network, so --seeds {seeds} measures it once. For one "
        f"file a seed type --checkpoint {name}#{config.seeds[0]}=PATH and so on."
        for name, path in single.items()
    ]
    if lines and all(own.seed is None for own in networks):
        raise BenchError(f"{lines[0]} Else leave --seeds out.")
    return lines


def readings(networks: Sequence[Weights]) -> list[str]:
    """How the weights that the user brought were read, a line a network."""
    found = {
        f"{own.model.name}: {own.path.name}: {own.reading}." for own in networks if own.reading
    }
    return sorted(found)


def outputs(networks: Sequence[Weights]) -> list[str]:
    """How logits are taken from what networks return."""
    return list(dict.fromkeys(own.note for own in networks if own.note))
