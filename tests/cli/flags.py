"""The table of all flags in docs/reference/command-line.md, from the options themselves.

python -m tests.cli.flags
"""

from __future__ import annotations

import inspect
from enum import EnumType
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer
from typer.core import TyperArgument

from benchharness.cli import app
from benchharness.cli.explain import WITHOUT_CONFIG
from benchharness.cli.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.cli.option import Option, Panel

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
START, END = "<!-- flags -->", "<!-- end -->"


def commands() -> dict[str, Any]:
    """Every command by what is typed after `bench`: `run`, `baseline save`."""
    return dict(_commands("", typer.main.get_command(app)))


def _commands(prefix: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(f"{prefix}{name} ", command)
        else:
            yield f"{prefix}{name}", command


def is_shared(parameter: Any) -> bool:
    """Whether a command took this parameter from the table of options."""
    option = OPTIONS.get(parameter.name)
    return option is not None and getattr(parameter, "rich_help_panel", None) == option.panel


def takers(key: str) -> list[str]:
    """The commands that take an option."""
    return [
        name
        for name, command in commands().items()
        if any(is_shared(parameter) and parameter.name == key for parameter in command.params)
    ]


def render() -> str:
    """Markdown: a table for each panel of shared options, then the rest by command."""
    parts = [
        section
        for panel, options in groupby(OPTIONS.values(), lambda option: option.panel)
        for section in (f"### {panel}", _shared(panel, list(options)))
    ]
    parts += ["### Other options and arguments, by command", _own()]
    return "\n\n".join(parts)


def _shared(panel: Panel, options: list[Option]) -> str:
    rows = [
        (
            ", ".join(_code(flag) for flag in (option.flag, *option.aliases)),
            _code(option.key),
            option.help,
            _default(option),
            ", ".join(takers(option.key)),
        )
        for option in options
    ]
    return _table(("flag", "config key", "meaning", "default", "commands"), rows)


def _default(option: Option) -> str:
    if not option.default:
        return "off" if option.kind is bool else "required"
    usual = option.default if option.unset or option.default == "none" else _code(option.default)
    if option.key in WITHOUT_CONFIG:
        return f"{usual}; explain without `--config`: {_code(WITHOUT_CONFIG[option.key])}"
    return usual


def _own() -> str:
    rows = [
        (_code(name), _code(_typed(command, parameter)), parameter.help, _own_default(parameter))
        for name, command in commands().items()
        for parameter in command.params
        if not is_shared(parameter) and parameter.name != "help"
    ]
    return _table(("command", "flag or argument", "meaning", "default"), rows)


def _typed(command: Any, parameter: Any) -> str:
    """What is typed: `--flag`, `NAME` or `this|that`."""
    if isinstance(parameter, TyperArgument):
        return "|".join(_choices(command, parameter.name)) or parameter.name.upper()
    return ", ".join(parameter.opts)


def _choices(command: Any, name: str) -> list[str]:
    annotation = inspect.signature(command.callback, eval_str=True).parameters[name].annotation
    kind = get_args(annotation)[0]
    return [choice.value for choice in kind] if isinstance(kind, EnumType) else []


def _own_default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default is None:
        return ""
    return "off" if parameter.default is False else _code(str(parameter.default))


def _code(text: str) -> str:
    return f"`{text}`"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def fill(page: str) -> str:
    """The page with the tables between its marks."""
    before, mark, rest = page.partition(START)
    _, end, after = rest.partition(END)
    assert mark
    assert end
    return f"{before}{START}\n\n{render()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8")))
