"""Names and what they stand for."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from benchharness import registry
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGISTRIES: tuple[registry.Registry, ...] = ("models", "datasets", "attacks", "artefacts")


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read entry points anew, and keep what is imported here out of other tests."""
    registry.entries.cache_clear()
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    registry.entries.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def install(
    monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str, str], kind: str = "models"
) -> None:
    """Pretend that plug-ins (distribution, name, target) register models or another kind."""

    def entry_points(*, group: str) -> list[Any]:
        if group != f"benchharness.{kind}":
            return []
        return [
            SimpleNamespace(name=name, value=target, dist=SimpleNamespace(name=owner))
            for owner, name, target in points
        ]

    monkeypatch.setattr(registry, "entry_points", entry_points)


@pytest.mark.parametrize("name", REGISTRIES)
def test_built_in_names_resolve_to_import_strings(name: registry.Registry) -> None:
    for entry in registry.BUILT_IN[name]:
        found = registry.resolve(name, entry)
        assert found.source == "built in"
        module, colon, attribute = found.target.partition(":")
        assert module
        assert colon
        assert attribute


@pytest.mark.parametrize("name", REGISTRIES)
def test_groups_expand_to_names_that_are_there(name: registry.Registry) -> None:
    for group, members in registry.GROUPS[name].items():
        assert members
        assert set(members) <= registry.entries(name).keys(), group
        assert group not in registry.entries(name)
        assert registry.expand(name, (group,)) == members


def test_expanding_keeps_the_order_and_drops_repetitions() -> None:
    names = ("vesselmnist3d", "medmnist3d", "own.npz", "vesselmnist3d")
    expanded = registry.expand("datasets", names)
    assert expanded[0] == "vesselmnist3d"
    assert expanded[-1] == "own.npz"
    assert len(expanded) == len(set(expanded)) == 7


def test_an_unknown_name_lists_the_nearest_and_then_all() -> None:
    with pytest.raises(BenchError) as caught:
        registry.resolve("models", "resnet3d18")
    message = str(caught.value)
    assert message.startswith("unknown model 'resnet3d18'. Did you mean 'resnet3d_18'")
    for name in registry.BUILT_IN["models"]:
        assert name in message
    assert message.endswith("A 'module:attribute' import string works too.")


def test_an_unknown_dataset_may_have_meant_a_group() -> None:
    with pytest.raises(BenchError, match="Did you mean 'medmnist3d'"):
        registry.resolve("datasets", "medmist3d")


def test_a_plug_in_is_named_as_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, ("acme", "net", "json:dumps"))
    assert registry.resolve("models", "net").source == "plug-in acme"
    assert registry.load("models", "net")([1]) == "[1]"
    assert "net" not in registry.entries("datasets")


def test_plug_ins_join_all_and_artefacts_their_group(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = "tests.plugin.acme_bench"
    install(monkeypatch, ("acme", "fade", f"{plugin}:Fade"), kind="artefacts")
    assert registry.expand("artefacts", ("all",))[-1] == "fade"
    assert registry.expand("artefacts", ("general", "mr")).count("fade") == 1
    assert registry.members("artefacts", "general")[-1] == "fade"
    assert "fade" not in registry.expand("artefacts", ("mr",))
    registry.entries.cache_clear()
    install(monkeypatch, ("acme", "noise", f"{plugin}:Noise"), kind="attacks")
    assert registry.expand("attacks", ("all",))[-1] == "noise"


@pytest.mark.parametrize(
    ("points", "taken"),
    [
        ((("acme", "resnet3d_18", "a:b"),), "built in"),
        ((("one", "net", "a:b"), ("acme", "net", "c:d")), "plug-in one"),
    ],
)
def test_a_name_with_two_owners_is_an_error(
    monkeypatch: pytest.MonkeyPatch, points: tuple[tuple[str, str, str], ...], taken: str
) -> None:
    install(monkeypatch, *points)
    with pytest.raises(BenchError) as caught:
        registry.entries("models")
    name = points[-1][1]
    assert str(caught.value) == (
        f"the model name '{name}' of plug-in acme is already taken ({taken}). Rename its entry "
        "point or uninstall one of the two."
    )


def test_a_plug_in_cannot_take_the_name_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.GROUPS["models"], "every", ())
    install(monkeypatch, ("acme", "every", "a:b"))
    with pytest.raises(BenchError, match=r"'every' of plug-in acme is already taken \(a group\)"):
        registry.entries("models")


def test_an_import_string_needs_no_registration() -> None:
    entry = registry.resolve("models", "collections:OrderedDict")
    assert (entry.name, entry.source) == ("OrderedDict", "import string")
    assert registry.load("models", "collections:OrderedDict").__name__ == "OrderedDict"


@pytest.mark.parametrize("target", ["json:", ":dumps", "json", ".json:dumps", "a b:c", ":"])
def test_what_is_no_import_string_is_refused(target: str) -> None:
    with pytest.raises(BenchError) as caught:
        registry.import_target(target)
    assert str(caught.value) == (
        f"{target!r} is not an import string. Type 'package.module:attribute'."
    )


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(BenchError) as caught:
        registry.import_target("own_absent:factory")
    assert str(caught.value) == (
        "cannot import 'own_absent' for 'own_absent:factory': "
        "ModuleNotFoundError: No module named 'own_absent'."
    )


def test_an_attribute_that_is_not_there_lists_the_nearest() -> None:
    with pytest.raises(BenchError, match=r"unknown attribute of module 'json': 'dump_s'\. Did you"):
        registry.import_target("json:dump_s")


def test_the_working_directory_is_looked_at_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_net.py").write_text("def factory():\n    return 'mine'\n")
    (tmp_path / "json.py").write_text("raise RuntimeError('not this one')\n")
    monkeypatch.chdir(tmp_path)
    assert registry.import_target("own_net:factory")() == "mine"
    assert registry.import_target("json:dumps")([]) == "[]"
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def (", "SyntaxError"),
        ("undefined_name", "NameError: name 'undefined_name' is not defined"),
        ("import own_missing_too", "No module named 'own_missing_too'"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ],
)
def test_a_module_that_fails_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, reason: str
) -> None:
    (tmp_path / "own_broken.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="cannot import 'own_broken'") as caught:
        registry.import_target("own_broken:factory")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
