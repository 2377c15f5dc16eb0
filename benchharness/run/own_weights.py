"""Weights that the user brings: what `--checkpoint model#seed@dataset=path` means for a network.

A name without a dataset holds for every dataset, one with a dataset for that one alone, where it
wins. A name with a seed is one of several networks of a model; without one there is one network.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """A file or folder of weights."""

    path: Path
    part: str = ""
    """Which of several weights in it are meant; empty where nothing was said."""

    @classmethod
    def of(cls, typed: Path) -> WeightsFile:
        """Split `file.pt::part`; a file that has this very name is taken whole."""
        name, sign, part = typed.name.rpartition("::")
        if not (sign and name and part) or typed.exists():
            return cls(path=typed)
        return cls(path=typed.with_name(name), part=part)

    def __str__(self) -> str:
        return f"{self.path}::{self.part}" if self.part else str(self.path)


Files = tuple[tuple[int | None, WeightsFile], ...]
"""(training seed, file); the seed is None where the name has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWeights:
    """One file and the networks that it is for."""

    typed: str
    """The name before `=`, for messages."""
    model: str
    seed: int | None
    dataset: str | None
    """As typed; None means every dataset."""
    file: WeightsFile


def parse(typed: str) -> tuple[str, int | None, str | None]:
    """Split `model#seed@dataset`; seed and dataset may be missing.

    Raises:
        BenchError: When a part is empty or the seed is no number from 0 up.
    """
    rest, at, dataset = typed.partition("@")
    model, sign, seed = rest.partition("#")
    if not model or (at and not dataset):
        raise BenchError(f"--checkpoint has an empty name in {typed!r}. Type {_FORMS}.")
    if sign and not (seed.isascii() and seed.isdecimal() and len(seed) <= _DIGITS):
        raise BenchError(
            f"--checkpoint takes a training seed after #, got {typed!r}. Type {_FORMS}."
        )
    return model, int(seed) if sign else None, dataset if at else None


def own_weights(
    checkpoints: Iterable[tuple[str, Path]],
    models: Mapping[str, str],
    sources: Mapping[str, Path] | None = None,
) -> tuple[OwnWeights, ...]:
    """The files of a run.

    Args:
        checkpoints: What was typed before `=`, and the file.
        models: Of every model of the run, as typed and by its name: its name.
        sources: Name and file of every model that is a file itself.

    Raises:
        BenchError: For a model that is not among those of the run, or is a file itself.
    """
    sources = sources or {}
    found = [
        OwnWeights(typed=name, model=name, seed=None, dataset=None, file=WeightsFile(path=path))
        for name, path in sources.items()
    ]
    for typed, path in checkpoints:
        model, seed, dataset = parse(typed)
        if model not in models:
            raise stranger("--checkpoint", "model", model, models)
        name = models[model]
        if name in sources:
            raise BenchError(
                f"--checkpoint {typed}={path} is for a model that is a file itself "
                f"({sources[name]}). Leave it out."
            )
        file = WeightsFile.of(path)
        own = OwnWeights(typed=typed, model=name, seed=seed, dataset=dataset, file=file)
        found.append(own)
    return tuple(found)


def stranger(option: str, kind: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for an option that names a model or dataset which is not part of this run."""
    names = sorted(set(known))
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    nearest = f" Did you mean {close[0]!r}?" if close else ""
    return BenchError(
        f"{option} names {name!r}, which is not among the {kind}s of this run "
        f"({', '.join(names)}).{nearest} Correct it, or add it to --{kind}s."
    )


def check_datasets(given: Iterable[OwnWeights], datasets: Iterable[tuple[str, ...]]) -> None:
    """Refuse a dataset that is not part of the run.

    Args:
        given: What the user brings.
        datasets: Of every dataset, what it may be called: as typed, and by its name.
    """
    names = [name for each in datasets for name in each]
    for own in given:
        if own.dataset is not None and own.dataset not in names:
            raise stranger("--checkpoint", "dataset", own.dataset, names)


def choose(
    given: Iterable[OwnWeights], model: str, dataset: tuple[str, ...], seeds: Sequence[int]
) -> Files:
    """The files for one model on one dataset; none where it is trained by a recipe.

    Args:
        given: What the user brings.
        model: Name of the model.
        dataset: What the dataset may be called.
        seeds: The training seeds of the run.

    Raises:
        BenchError: When two files are for one network, or files and seeds do not match.
    """
    general, special = (
        _by_seed(own for own in given if own.model == model and _is_for(own, dataset, special))
        for special in (False, True)
    )
    chosen = special if None in special or (None in general and special) else general | special
    if not chosen:
        return ()
    if None in chosen:
        return ((None, chosen[None]),)
    wanted, brought = set(seeds), {seed for seed in chosen if seed is not None}
    for seed in sorted(wanted ^ brought):
        told = f"--seeds has {_series(wanted)}, --checkpoint has {_series(brought)} for {model}"
        if seed in wanted:
            raise BenchError(f"{told}. Add --checkpoint {model}#{seed}=PATH, or leave {seed} out.")
        raise BenchError(f"{told}. Type --seeds {_series(brought)}.")
    return tuple((seed, chosen[seed]) for seed in seeds)


def _is_for(own: OwnWeights, dataset: tuple[str, ...], special: bool) -> bool:
    return own.dataset in dataset if special else own.dataset is None


def _by_seed(several: Iterable[OwnWeights]) -> dict[int | None, WeightsFile]:
    found: dict[int | None, list[OwnWeights]] = defaultdict(list)
    for own in several:
        found[own.seed].append(own)
    for same in found.values():
        if len(same) > 1:
            names = " and ".join(own.typed for own in same)
            raise BenchError(f"--checkpoint {names} are for the same network. Keep one.")
    if None in found and len(found) > 1:
        names = ", ".join(own.typed for same in found.values() for own in same)
        raise BenchError(
            f"--checkpoint {names}: one has no seed and another has. Give each its seed, such as "
            f"{found[None][0].model}#0=PATH."
        )
    return {seed: same[0].file for seed, same in found.items()}


def _series(seeds: Iterable[int]) -> str:
    return ",".join(map(str, sorted(seeds)))


_FORMS = "model=path, model@dataset=path or model#seed=path"
_DIGITS = 18
