"""The table of options agrees with the config, the parsers, the help texts and the written page."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchharness import comparison, explanation
from benchharness.cli.console import say
from benchharness.cli.explain import WITHOUT_CONFIG
from benchharness.cli.option import Panel
from benchharness.cli.options import OPTIONS
from benchharness.datasets.preparation import Preparation
from benchharness.errors import BenchError
from benchharness.run.config import RunConfig
from benchharness.run.values import PARSERS
from tests.cli import flags

if TYPE_CHECKING:
    from collections.abc import Callable

    Bench = Callable[..., tuple[int, str, str]]

TABLES = {"attack_parameters", "model_options", "recipe_options", "recipes_left_out", "given"}
"""Fields that follow from a config file alone; no flag sets them."""

CONFIGURED = ("run", "train", "check", "explain", "ci")

IN_WORDS = {
    "train_on": "each dataset itself",
    "limit": "all",
    "zoo": "$BENCH_ZOO, else the user's cache",
    "data_root": "$BENCH_DATA_ROOT, else ~/.medmnist",
    "modality": "unknown",
    "channels": "one channel",
    "classes": "sorted",
    "recipes": "the dataset's own",
    "workers": "1, or one for each device",
    "checkpoints_from": "none",
    "shard": "all of it",
    "address": "$RAY_ADDRESS, else this machine alone",
    "gpus_per_worker": "1 with --device cuda, else 0",
}
"""Defaults of None or nothing that cannot be typed."""

TYPED: dict[str, tuple[str, Any]] = {
    "models": ("a,b", "a,b"),
    "checkpoint": ("a=w.pth", ["a=w.pth"]),
    "outputs": ("a=0", ["a=0"]),
    "trust": ("", True),
    "zoo": ("zoo", Path("zoo")),
    "datasets": ("d", "d"),
    "train_on": ("s", "s"),
    "adapt": ("coral", "coral"),
    "shots": ("0,16", "0,16"),
    "select": ("target_val", "target_val"),
    "limit": ("3", 3),
    "data_root": ("data", Path("data")),
    "size": ("16", "16"),
    "spacing": ("1.5", "1.5"),
    "window": ("ct:40,400", "ct:40,400"),
    "modality": ("ct", "ct"),
    "bits": ("8", "8"),
    "channels": ("4", "4"),
    "classes": ("a,b", "a,b"),
    "attacks": ("pgd", "pgd"),
    "eps": ("0.1", "0.1"),
    "counts": ("2", "2"),
    "accuracy_only": ("", True),
    "perturbation_seed": ("1", 1),
    "artefacts": ("mr", "mr"),
    "severities": ("2", "2"),
    "fast_artefacts": ("", True),
    "seeds": ("0,1", "0,1"),
    "recipes": ("quick,adv_pgd", "quick,adv_pgd"),
    "init": ("w.pth", ["w.pth"]),
    "init_method": ("mean", "mean"),
    "train": ("", False),
    "checkpoints_from": ("weights", Path("weights")),
    "shard": ("3/16", "3/16"),
    "out": ("out", Path("out")),
    "device": ("cpu", "cpu"),
    "workers": ("2", "2"),
    "engine": ("ray", "ray"),
    "address": ("auto", "auto"),
    "cpus_per_worker": ("2", 2),
    "gpus_per_worker": ("0.5", 0.5),
    "batch_size": ("4", "4"),
    "compile": ("", True),
    "precision": ("bf16", "bf16"),
}
"""What is typed after each flag, and what arrives."""


@pytest.fixture
def given(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Call a command and return the values that it passes on to be checked."""
    seen: dict[str, Any] = {}

    def load(_: Path | None, values: dict[str, Any]) -> RunConfig:
        seen.clear()
        seen.update(values)
        raise BenchError("seen.")

    monkeypatch.setattr("benchharness.run.config.load", load)

    def call(*arguments: str) -> dict[str, Any]:
        assert bench(*arguments) == (2, "", "bench: seen.\n")
        return dict(seen)

    return call


def required(command: str) -> tuple[str, ...]:
    needed = {"ci": ("--config", "c.toml", "--baseline", "b"), "check": ("--expect", "auc=1")}
    return needed.get(command, ())


def taken(command: str) -> dict[str, Any]:
    """The shared options of a command as Typer built them, by key."""
    parameters = flags.commands()[command].params
    return {p.name: p for p in parameters if flags.is_shared(p)}


def test_options_parsers_and_fields_are_the_same_keys_in_the_same_order() -> None:
    names = [field.name for field in fields(RunConfig) if field.name not in TABLES]
    assert list(OPTIONS) == names
    assert list(PARSERS) == names
    assert {field.name for field in fields(RunConfig)} == {*names, *TABLES}


@pytest.mark.parametrize("key", [key for key in OPTIONS if key != "train"])
def test_a_key_is_a_flag(key: str) -> None:
    option = OPTIONS[key]
    assert f"--{key.replace('_', '-')}" in (option.flag, *option.aliases)


@pytest.mark.parametrize("command", CONFIGURED)
def test_a_default_in_the_help_is_the_default_of_the_field(command: str) -> None:
    defaults = {field.name: field.default for field in fields(RunConfig)}
    assert taken(command)
    for key, parameter in taken(command).items():
        shown = re.findall(r" Default: (.*)\.$", parameter.help)
        if defaults[key] is MISSING or isinstance(defaults[key], bool):
            assert shown == []
            continue
        text = shown[0]
        if command == "explain" and key in WITHOUT_CONFIG:
            first, _, text = text.removesuffix(" with --config").partition(", or ")
            assert first == WITHOUT_CONFIG[key]
            assert PARSERS[key](key, first)
        expected = getattr(Preparation(), key, defaults[key])
        if expected in (None, ()) and key in IN_WORDS:
            assert text == IN_WORDS[key]
        elif expected == ():
            assert text == "none"
        else:
            assert PARSERS[key](key, text) == expected


@pytest.mark.parametrize("command", CONFIGURED)
def test_what_is_typed_arrives_under_its_key(
    given: Callable[..., dict[str, Any]], command: str
) -> None:
    typed: list[str] = []
    for key in taken(command):
        text, _ = TYPED[key]
        typed += [OPTIONS[key].flag, *([text] if text else [])]
    found = given(command, *required(command), *typed)
    assert found == {key: TYPED[key][1] for key in taken(command)}


@pytest.mark.parametrize("command", CONFIGURED)
def test_what_is_not_typed_leaves_the_file_its_say(
    given: Callable[..., dict[str, Any]], command: str
) -> None:
    assert given(command, *(required(command) or ("--config", "c.toml"))) == {}


def test_run_takes_every_option() -> None:
    assert list(taken("run")) == list(OPTIONS)


def test_explain_shows_one_budget_and_one_level_unless_told(
    given: Callable[..., dict[str, Any]],
) -> None:
    assert given("explain") == {"eps": "8/255", "severities": "3"}
    assert given("explain", "--eps", "0.1") == {"eps": "0.1", "severities": "3"}
    assert given("explain", "--severity", "1", "--config", "c.toml") == {"severities": "1"}


@pytest.mark.parametrize(
    ("alias", "key"),
    [(alias, option.key) for option in OPTIONS.values() for alias in option.aliases],
)
def test_another_spelling_is_the_same_option(
    given: Callable[..., dict[str, Any]], alias: str, key: str
) -> None:
    for command in flags.takers(key):
        text, value = TYPED[key]
        assert given(command, *required(command), alias, text)[key] == value


def test_no_spelling_is_anothers_flag() -> None:
    names = [name for option in OPTIONS.values() for name in (option.flag, *option.aliases)]
    assert len(set(names)) == len(names)


def test_the_american_spelling_can_be_listed(bench: Bench) -> None:
    assert bench("list", "artifacts") == bench("list", "artefacts")


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_shows_whole_flags_in_panels(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, said, _ = bench("run", "--help")
    assert code == 0
    assert max(map(len, said.splitlines())) <= width
    assert re.findall(r"─ (\w+) ─", said) == ["Options", *Panel]
    panel, found = "", {}
    for line in said.splitlines():
        panel = next(iter(re.findall(r"─ (\w+) ─", line)), panel)
        for flag in re.findall(r"^│ (--[a-z-]+) ", line):
            found[flag] = panel
    own = dict.fromkeys(("--config", "--dry-run", "--verbose", "--help"), "Options")
    assert found == {option.flag: option.panel for option in OPTIONS.values()} | own


def test_defaults_that_the_commands_state_are_those_of_the_code() -> None:
    commands = flags.commands()
    for name in ("compare", "ci"):
        stated = {parameter.name: parameter.default for parameter in commands[name].params}
        assert stated["tolerance"] == comparison.Settings().tolerance
        assert stated["alpha"] == comparison.Settings().alpha
    helps = {parameter.name: parameter.help for parameter in commands["explain"].params}
    (worst,) = [field.default for field in fields(explanation.Request) if field.name == "worst"]
    assert helps["worst"].endswith(f"Default: {worst}.")


def test_the_page_of_flags_is_what_the_options_say() -> None:
    page = flags.PAGE.read_text(encoding="utf-8")
    assert flags.fill(page) == page, "run `python -m tests.cli.flags`"
    for option in OPTIONS.values():
        assert f"`{option.flag}`" in page


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = "results/[bold]:smile: " + 300 * "x"
    say(text)
    assert capsys.readouterr().out == f"{text}\n"
