"""Every option that is also a config key, said once: its flag, type, panel and meaning.

A command names the keys it takes (`takes`) and receives the values that were typed, for
`run.config.load`. Defaults come from `RunConfig`; the help shows them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from benchharness.datasets.preparation import Preparation
from benchharness.run.config import RunConfig
from benchharness.run.values import as_typed, flag

Given = Mapping[str, Any]
"""What was typed, by config key; a key that was not given is absent."""

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file with the same keys; flags win."),
]


class Panel(StrEnum):
    """The groups of options in a help text, in their order."""

    MODELS = "Models"
    DATA = "Data"
    ATTACKS = "Attacks"
    ARTEFACTS = "Artefacts"
    TRAINING = "Training"
    OUTPUT = "Output"
    DEVICE = "Device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option, under the name of its config key."""

    key: str
    """A field of `RunConfig`."""
    panel: Panel
    metavar: str = ""
    """What follows the flag; empty for a switch."""
    help: str
    kind: Any = str
    """Type of what follows the flag; `list[str]` may be repeated, `bool` is a switch."""
    aliases: tuple[str, ...] = ()
    """Other spellings of the flag, understood everywhere and left out of the help."""
    unset: str = ""
    """What happens without the option, where the field's default cannot say it."""

    @property
    def flag(self) -> str:
        """The flag, such as `--batch-size`."""
        return flag(self.key)

    @property
    def default(self) -> str:
        """What happens without the option, as a person would type it.

        Empty for a switch, which is off, and for what must be given.
        """
        found = _DEFAULTS[self.key]
        if self.kind is bool or found is MISSING:
            return ""
        return self.unset or ("none" if found == () else as_typed(found))

    def parameter(self, default: str) -> inspect.Parameter:
        """The option as a parameter of a Typer command."""
        shown = f"{self.help} Default: {default}." if default else self.help
        info = typer.Option(
            self.flag,
            help=shown,
            rich_help_panel=self.panel,
            metavar=self.metavar or None,
            show_default=False,
        )
        switch = self.kind is bool
        kind: Any = self.kind if switch else self.kind | None
        return inspect.Parameter(
            self.key,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if switch else None,
            annotation=Annotated[kind, info],
        )

    def given(self, typed: object) -> object:
        """The value for `run.config.load`; None where the option was not typed."""
        if self.kind is bool:
            # A switch reverses the default: `--no-train` makes `train` false.
            return not _DEFAULTS[self.key] if typed else None
        return None if typed == [] else typed


_DEFAULTS: Mapping[str, Any] = {
    field.name: getattr(Preparation(), field.name, field.default) for field in fields(RunConfig)
}
"""Of each field; how volumes from files are prepared is up to `Preparation`."""

OPTIONS: Mapping[str, Option] = {
    option.key: option
    for option in (
        Option(
            key="models",
            panel=Panel.MODELS,
            metavar="NAMES",
            help="Names, package.module:factory, or files such as onnx:FILE, separated by commas.",
        ),
        Option(
            key="checkpoint",
            panel=Panel.MODELS,
            metavar="MODEL=PATH",
            kind=list[str],
            help="Your own weights: model=path, model@dataset=path or model#seed=path. Repeatable.",
            aliases=("--checkpoints",),
        ),
        Option(
            key="trust",
            panel=Panel.MODELS,
            kind=bool,
            help="Open files that can run code: TorchScript, .pt2, expressions of MONAI bundles.",
        ),
        Option(
            key="datasets",
            panel=Panel.DATA,
            metavar="NAMES",
            help="Names, groups, or paths of an .npz file, a folder or a CSV.",
            aliases=("--dataset",),
        ),
        Option(
            key="limit",
            panel=Panel.DATA,
            metavar="N",
            kind=int,
            help="Evaluate only N test volumes, stratified by class.",
            unset="all",
        ),
        Option(
            key="data_root",
            panel=Panel.DATA,
            metavar="FOLDER",
            kind=Path,
            help="Folder of the MedMNIST archives.",
            unset="$BENCH_DATA_ROOT, else ~/.medmnist",
        ),
        Option(
            key="size",
            panel=Panel.DATA,
            metavar="VOXELS",
            help="Grid of volumes from a folder or CSV: 28, or 16,64,64.",
        ),
        Option(
            key="spacing",
            panel=Panel.DATA,
            metavar="MM",
            help="Spacing of that grid in mm: 1.5, or 3,1,1, or fit.",
            unset="fit",
        ),
        Option(
            key="window",
            panel=Panel.DATA,
            metavar="WINDOW",
            help="Intensities that become 0 and 1: percentiles:LOW,HIGH or ct:LEVEL,WIDTH.",
        ),
        Option(
            key="modality",
            panel=Panel.DATA,
            metavar="NAME",
            help="What these volumes show: mri, ct, x-ray, …",
            unset="unknown",
        ),
        Option(
            key="attacks",
            panel=Panel.ATTACKS,
            metavar="NAMES",
            help="Attacks, separated by commas, or all.",
            aliases=("--attack",),
        ),
        Option(
            key="eps",
            panel=Panel.ATTACKS,
            metavar="NUMBERS",
            help="Budgets of L∞ and L2 attacks, from 0 to 1.",
        ),
        Option(
            key="counts",
            panel=Panel.ATTACKS,
            metavar="NUMBERS",
            help="Budgets of sparse attacks: voxels, slices or the side of a cube.",
        ),
        Option(
            key="accuracy_only",
            panel=Panel.ATTACKS,
            kind=bool,
            help="Skip volumes that are misclassified when clean or at a smaller budget; no AUC.",
        ),
        Option(
            key="perturbation_seed",
            panel=Panel.ATTACKS,
            metavar="SEED",
            kind=int,
            help="Seed of attacks and artefacts.",
        ),
        Option(
            key="artefacts",
            panel=Panel.ARTEFACTS,
            metavar="NAMES",
            help="Artefacts, separated by commas, or all, mr, ct, general, geometric.",
            aliases=("--artifacts", "--artefact", "--artifact"),
        ),
        Option(
            key="severities",
            panel=Panel.ARTEFACTS,
            metavar="LEVELS",
            help="Levels of the artefacts, such as 1-5 or 1,3,5.",
            aliases=("--severity",),
        ),
        Option(
            key="fast_artefacts",
            panel=Panel.ARTEFACTS,
            kind=bool,
            help="Compute artefacts in batches on the device where possible; separate cells.",
        ),
        Option(
            key="seeds",
            panel=Panel.TRAINING,
            metavar="SEEDS",
            help="Training seeds, such as 0,1,2.",
        ),
        Option(
            key="recipe",
            panel=Panel.TRAINING,
            metavar="NAME",
            help="How to train: quick, medmnist or medmnist2d.",
            unset="the dataset's own",
        ),
        Option(
            key="init",
            panel=Panel.TRAINING,
            metavar="PATH",
            kind=list[str],
            help="Weights to start training from: path or model=path. May be repeated.",
        ),
        Option(
            key="init_method",
            panel=Panel.TRAINING,
            metavar="NAME",
            help="How a network adopts them; MedViT-3D takes centre or mean.",
        ),
        Option(
            key="train",
            panel=Panel.TRAINING,
            kind=bool,
            help="Refuse to train missing checkpoints.",
        ),
        Option(
            key="out",
            panel=Panel.OUTPUT,
            metavar="FOLDER",
            kind=Path,
            help="Folder of records, predictions and checkpoints.",
        ),
        Option(
            key="device",
            panel=Panel.DEVICE,
            metavar="NAME",
            help="auto, cpu, cuda or cuda:1.",
        ),
        Option(
            key="batch_size",
            panel=Panel.DEVICE,
            metavar="N",
            help="Volumes per forward pass, or auto.",
            unset="auto",
        ),
        Option(
            key="compile",
            panel=Panel.DEVICE,
            kind=bool,
            help="Evaluate through torch.compile, with CUDA graphs on a GPU.",
        ),
    )
}

PREPARATION = tuple(field.name for field in fields(Preparation))
"""Keys that say how volumes from a folder or a CSV become a grid."""

TRAINING = ("seeds", "recipe", "init", "init_method")
"""Keys that say which checkpoint is meant, and how it is trained if it is missing."""

_SPELLINGS = {
    alias.removeprefix("--"): option.flag.removeprefix("--")
    for option in OPTIONS.values()
    for alias in option.aliases
}


def spelling(name: str) -> str:
    """The one name of an option: `artefacts` for `artifacts`, `attacks` for `attack`."""
    return _SPELLINGS.get(name, name)


def takes(
    *keys: str, without_config: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add shared options to a command, by their config keys.

    The command receives what was typed (`Given`) as its first argument. Its other parameters are
    the options that it alone has.

    Args:
        keys: Of `OPTIONS`, in the order of the help text.
        without_config: Other defaults where there is no config file. The help shows them; the
            command applies them.
    """
    shown = {key: OPTIONS[key].default for key in keys}
    for key, value in (without_config or {}).items():
        shown[key] = f"{value}, or {shown[key]} with --config"

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [OPTIONS[key].parameter(shown[key]) for key in keys]
        parameters += [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in own]

        @functools.wraps(command)
        def wrapper(**typed: Any) -> None:
            values = {key: OPTIONS[key].given(typed.pop(key)) for key in keys}
            command({key: value for key, value in values.items() if value is not None}, **typed)

        # Typer builds the options from these two.
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapper

    return decorate
