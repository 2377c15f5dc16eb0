"""Which way imports point inside report and comparison, those for type checkers included."""

from __future__ import annotations

from itertools import combinations

import grimp
import pytest

LAYERS = (
    ("cells",),
    ("collect", "scoring", "choice"),
    ("tables", "introduction", "charts", "joining"),
    ("parts",),
    ("plots", "explanations"),
    ("dataset", "page"),
    ("sections",),
    ("formats",),
    ("writing", "leaderboard", "quick", "site"),
    ("serving",),
)
"""The parts of the report, each line importing only lines above it."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("benchharness", exclude_type_checking_imports=False, cache_dir=None)


@pytest.mark.parametrize("package", ["benchharness.report", "benchharness.comparison"])
def test_no_module_imports_the_face_of_its_package(graph: grimp.ImportGraph, package: str) -> None:
    inside = {package, *graph.find_descendants(package)}
    assert len(inside) > 10
    assert not inside & graph.find_modules_that_directly_import(package)


@pytest.mark.parametrize(
    ("package", "other"),
    [
        (f"benchharness.{package}", f"benchharness.{other}")
        for package, other in (
            ("report", "comparison"),
            ("report", "evidence"),
            ("comparison", "evidence"),
            ("report", "run"),
            ("comparison", "run"),
        )
    ],
)
def test_reports_need_no_package_beside_or_above_them(
    graph: grimp.ImportGraph, package: str, other: str
) -> None:
    assert not graph.find_shortest_chains(importer=package, imported=other)


def test_the_parts_of_a_report_build_on_each_other_in_one_direction(
    graph: grimp.ImportGraph,
) -> None:
    parts = {part for line in LAYERS for part in line}
    assert {f"benchharness.report.{part}" for part in parts} == set(
        graph.find_children("benchharness.report")
    )
    lower_and_higher = combinations(LAYERS, 2)
    forbidden = [
        (low, high) for lower, higher in lower_and_higher for low in lower for high in higher
    ]
    forbidden += [(one, other) for line in LAYERS for one in line for other in line if one != other]
    for importer, imported in forbidden:
        chains = graph.find_shortest_chains(
            importer=f"benchharness.report.{importer}", imported=f"benchharness.report.{imported}"
        )
        assert not chains, sorted(chains)
