"""From a name to a dataset."""

import sys
import types

import pytest

from benchharness import datasets
from benchharness.errors import BenchError


def plugin(monkeypatch, value):
    module = types.ModuleType("own_datasets")
    module.factory = value
    monkeypatch.setitem(sys.modules, "own_datasets", module)
    return "own_datasets:factory"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("phantom3d", False),
        ("package.module:factory", False),
        ("own.npz", True),
        ("folder/own", True),
        ("../own.npz", True),
    ],
)
def test_a_path_is_told_from_a_name(name, expected):
    assert datasets.is_path(name) is expected


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(BenchError, match=r"unknown dataset 'adrenalmnist'\. Did you mean"):
        datasets.load("adrenalmnist")


def test_a_factory_is_given_the_root(monkeypatch, tmp_path):
    seen = []
    with pytest.raises(BenchError, match="returned NoneType; it must return a benchharness"):
        datasets.load(plugin(monkeypatch, seen.append), tmp_path)
    assert seen == [tmp_path]


def test_a_name_that_is_no_factory_is_refused(monkeypatch):
    with pytest.raises(BenchError, match="is not a factory: got 3, expected a function"):
        datasets.load(plugin(monkeypatch, 3))
