"""What one option is that is also a config key: its flag, type, panel and meaning."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchharness.datasets.preparation import Preparation
from benchharness.run.config import RunConfig
from benchharness.run.values import as_typed, flag

if TYPE_CHECKING:
    from collections.abc import Mapping


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
