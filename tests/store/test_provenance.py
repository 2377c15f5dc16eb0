"""Where and with what a number was made."""

from __future__ import annotations

import json
import platform
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import benchharness
from benchharness.store import provenance

ROOT = Path(__file__).parents[2]

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fresh() -> Iterator[None]:
    """What is looked up once only is looked up anew."""
    for cached in (provenance.versions, provenance._processor):
        cached.cache_clear()
    yield
    for cached in (provenance.versions, provenance._processor):
        cached.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_versions_are_those_installed() -> None:
    found = provenance.versions()
    assert found["python"] == platform.python_version()
    assert found["benchharness"] == benchharness.__version__
    assert found["torch"] == version("torch")
    assert {"numpy", "torchattacks", "torchio", "scikit-learn"} <= found.keys()


def test_the_version_is_written_in_one_place() -> None:
    written = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    assert provenance.package_version() == benchharness.__version__ == written
    sources = (ROOT / "benchharness").rglob("*.py")
    assert not [str(path) for path in sources if f'"{written}"' in path.read_text(encoding="utf-8")]


def test_a_copy_that_was_not_installed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(provenance, "version", none)
    assert provenance.package_version() == "not installed"


@pytest.mark.usefixtures("fresh")
def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_torch(package: str) -> str:
        if package != "torch":
            raise PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(provenance, "version", only_torch)
    assert provenance.versions().keys() == {"python", "benchharness", "torch"}


def test_the_time_is_utc_to_the_second() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", provenance.now())


def test_everything_is_plain_json_and_has_a_name() -> None:
    found = provenance.collect("cpu")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["device"] == "cpu"
    assert found["threads"] == torch.get_num_threads()
    assert all(isinstance(found[key], str) and found[key] for key in ("device_name", "platform"))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\nmodel name\t: other\n", "Some CPU: 3 GHz"),
        ("", "CPU"),
    ],
)
def test_the_processor_is_named_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch, listing: str, expected: str
) -> None:
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: listing)
    assert provenance.device_name("cpu") == expected


@pytest.mark.usefixtures("fresh")
def test_elsewhere_the_processor_is_named_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", absent)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "some64")
    assert provenance.device_name("cpu") == "some64"
