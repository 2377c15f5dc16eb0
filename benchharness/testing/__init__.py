"""A pytest plug-in for authors of plug-ins: the contract tests of the harness, on their own names.

    pytest -p benchharness.testing --pyargs benchharness.testing.contracts --bench-contracts my-dist

`--bench-contracts` (or `bench_contracts` in pytest's settings) lists distributions, whose entry
points are all tested, or `models:NAME`, `datasets:NAME`, `attacks:NAME` and `artefacts:NAME`, where
NAME is registered or an import string. Needs pytest, which the harness itself does not.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import get_args

import pytest

from benchharness.errors import BenchError, unknown_name
from benchharness.registry import Registry

pytest.register_assert_rewrite("benchharness.testing.contracts")

_OPTION = "bench_contracts"
_GROUP = "benchharness."
KINDS: tuple[Registry, ...] = get_args(Registry)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--bench-contracts` and the setting of that name."""
    told = "distributions or KIND:NAME whose contracts benchharness.testing.contracts tests"
    parser.getgroup("benchharness").addoption("--bench-contracts", action="append", help=told)
    parser.addini(_OPTION, told, type="args", default=[])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each contract test every name of its kind: `model_name`, `attack_name` and so on."""
    for kind in KINDS:
        fixture = f"{kind[:-1]}_name"
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, _names(metafunc.config, kind))


def _names(config: pytest.Config, kind: Registry) -> list[str]:
    asked = [*(config.getoption("--bench-contracts") or []), *config.getini(_OPTION)]
    if not asked:
        raise pytest.UsageError("name what to test: --bench-contracts my-distribution.")
    try:
        return list(dict.fromkeys(name for item in asked for name in named(item, kind)))
    except BenchError as error:
        raise pytest.UsageError(str(error)) from error


def named(item: str, kind: Registry) -> list[str]:
    """The names of one kind that an item of the option stands for.

    Raises:
        BenchError: When there is no such distribution or kind.
    """
    owner, colon, name = item.partition(":")
    if colon:
        if owner not in KINDS:
            raise unknown_name("kind", owner, KINDS, hint="Type models:my_package.nets:my_net.")
        return [name] if owner == kind else []
    try:
        points = distribution(item).entry_points
    except (PackageNotFoundError, ValueError) as error:
        raise BenchError(
            f"no distribution {item!r} is installed. Install it, or type KIND:NAME, such as "
            "models:my_package.nets:my_net."
        ) from error
    if not any(point.group.startswith(_GROUP) for point in points):
        raise BenchError(f"distribution {item!r} has no entry points of benchharness.")
    return [point.name for point in points if point.group == f"{_GROUP}{kind}"]
