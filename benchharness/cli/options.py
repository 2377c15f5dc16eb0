"""The shared options of commands, each said once in `table`.

A command names the keys it takes (`takes`) and receives the values that were typed, for
`run.config.load`. Defaults come from `RunConfig`; the help shows them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchharness import datasets
from benchharness.cli.table import TABLE

if TYPE_CHECKING:
    from benchharness.cli.option import Option

Given = Mapping[str, Any]
"""What was typed, by config key; a key that was not given is absent."""

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file with the same keys; flags win."),
]

OPTIONS: Mapping[str, Option] = {option.key: option for option in TABLE}
"""By config key."""

PREPARATION = datasets.OPTIONS
"""Keys that say how volumes from a folder or a CSV become a grid."""

SOURCES = ("train_on", "adapt", "shots", "select")
TRAINING = ("seeds", "recipes", *SOURCES, "init", "init_method")
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
