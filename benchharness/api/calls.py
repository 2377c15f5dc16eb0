"""The harness as Python calls: the same engine, store, resume and certificates as `bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchharness import comparison
from benchharness.api import models
from benchharness.api.results import Comparison, Result, Trained
from benchharness.errors import BenchError, unknown_name
from benchharness.run import runner
from benchharness.run.config import GivenModel, RunConfig, load
from benchharness.run.cutting import share_of_trainings
from benchharness.run.progress import Display
from benchharness.store.cells import CLEAN
from benchharness.store.opening import open_source

if TYPE_CHECKING:
    from benchharness.api.models import Models

Datasets = str | PathLike[str] | Sequence[str | PathLike[str]]

_OUT = Path("results/local")


def benchmark(
    model: Models,
    dataset: Datasets = "phantom3d",
    *,
    attacks: str | Sequence[str] = (),
    eps: object = None,
    artefacts: str | Sequence[str] = (),
    preprocessing: Mapping[str, object] | None = None,
    out: str | PathLike[str] = _OUT,
    progress: bool = True,
    **settings: object,
) -> Result:
    """Measure networks on clean, attacked and corrupted volumes; what is recorded is not run again.

    Args:
        model: A trained `nn.Module`, a factory `(num_classes, in_channels=1) -> nn.Module` to be
            trained by a recipe, or a name as for `bench run --models`; several as a list, or as a
            dict from the name to show. A module is measured with the weights it has now and is left
            as it is. It is known by the digests of its weights and of its code.
        dataset: A name, a folder or a CSV, as for `--datasets`; several as a list.
        attacks: Names of attacks or groups.
        eps: Budgets in [0, 1] for the L∞ and L2 attacks, such as `["2/255", 8 / 255]`.
        artefacts: Names of artefacts or groups.
        preprocessing: What each module or factory expects in front of it, as in a config's
            `[model.NAME]` table. Volumes are in [0, 1] before it.
        out: The store's folder.
        progress: Whether to show what is being done.
        **settings: Any other key of a config file, such as `limit=64`, `severities=[1, 3]`,
            `seeds=[0, 1]`, `recipes="quick"`, `checkpoint={"medvit3d_n": "w.pt"}`, or `workers=4`
            for models given by name.

    Returns:
        The cells of this call. Cells that failed are named in `failures`.

    Raises:
        BenchError: For anything a user can get wrong; nothing has been written then.
    """
    asked = {"attacks": attacks or None, "eps": eps, "artefacts": artefacts or None, **settings}
    config = _config(model, dataset, asked, preprocessing, Path(out))
    summary = runner.run(config, _display(progress))
    return Result(directory=config.out, summary=summary)


def train(
    model: Models,
    dataset: Datasets = "phantom3d",
    *,
    preprocessing: Mapping[str, object] | None = None,
    out: str | PathLike[str] = _OUT,
    progress: bool = True,
    **settings: object,
) -> tuple[Trained, ...]:
    """Train what is missing, by a recipe, as `bench train` does.

    Args:
        model: A factory or a name; several as for `benchmark`.
        dataset: As for `benchmark`.
        preprocessing: As for `benchmark`.
        out: The store's folder; `benchmark` with the same one finds the checkpoints.
        progress: Whether to show what is being done.
        **settings: Any other key of a config file, such as `recipes="quick"`, `seeds=[0, 1]`.

    Returns:
        One checkpoint for each model, dataset and training seed.

    Raises:
        BenchError: For anything a user can get wrong, and when a training failed.
    """
    config = _config(model, dataset, settings, preprocessing, Path(out))
    summary = runner.train(config, _display(progress))
    if summary.failures:
        raise BenchError(f"{len(summary.failures)} trainings failed, first: {summary.failures[0]}.")
    return tuple(
        Trained(weights=job.weights, data=job.dataset)
        for job in share_of_trainings(config).jobs
        if any(cell.perturbation == CLEAN for cell in job.cells)
    )


def compare(base: str | PathLike[str], new: str | PathLike[str], **settings: Any) -> Comparison:
    """Say whether NEW is worse than BASE, as `bench compare` does.

    Args:
        base: The reference: a result, the folder of a run or the file of a baseline.
        new: What is compared with it.
        **settings: Fields of `benchharness.comparison.Settings`, such as `tolerance=0.02`,
            `metrics=("auc",)`, `base_model="resnet3d_18"`, `new_model="medvit3d_n"`,
            `base_recipe="quick"`, `new_recipe="adv_pgd"`.

    Raises:
        BenchError: When the two have no model in common, or a setting is out of its range.
    """
    try:
        chosen = comparison.Settings(**settings)
    except TypeError:
        known = [field.name for field in fields(comparison.Settings)]
        unknown = next(name for name in settings if name not in known)
        raise unknown_name("setting", unknown, known) from None
    base, new = Path(base), Path(new)
    found = comparison.compare(
        open_source(base), open_source(new), chosen, names=chosen.called(str(base), str(new))
    )
    return Comparison(found=found)


def _display(progress: bool) -> Display:
    """Bars in a terminal and in a notebook with ipywidgets, else lines; on standard error."""
    return Display(Console(stderr=True, quiet=not progress, markup=False, emoji=False))


def _config(
    model: Models,
    dataset: Datasets,
    settings: Mapping[str, object],
    preprocessing: Mapping[str, object] | None,
    out: Path,
) -> RunConfig:
    """The config of a call, for which the weights of modules are in the store already."""
    names, objects = models.sorted_out(model)
    tables = dict(settings)
    if preprocessing is not None:
        if not objects:
            raise BenchError(
                "preprocessing= is for a module or a factory. For a name write model={'NAME': "
                "{'preprocessing': {…}}}."
            )
        own: Any = tables.get("model", {})
        said = {
            one.name: {**own.get(one.name, {}), "preprocessing": preprocessing} for one in objects
        }
        tables["model"] = {**own, **said}
    config = load(
        None,
        {
            **tables,
            "models": names or None,
            "datasets": _texts(dataset),
            "out": str(out),
        },
        given=[
            GivenModel(name=one.name, factory=one.factory, arguments=one.arguments)
            for one in objects
        ],
    )
    kept = tuple((one.name, path) for one in objects if (path := models.stored(one, config.out)))
    return replace(config, checkpoint=(*config.checkpoint, *kept))


def _texts(dataset: Datasets) -> list[str]:
    several = [dataset] if isinstance(dataset, str | PathLike) else list(dataset)
    return [str(fspath(one)) for one in several]
