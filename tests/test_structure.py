"""The shape of the code: few files on the top level, short files and functions, no circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchharness", "medvit3d", "baselines")

LONGEST_FILE = 350
"""Lines of a file."""
LONGEST_BODY = 40
"""Lines of a function, from the first behind its docstring to its last."""
WHOLE = {"medvit3d/frozen.py", "benchharness/artefacts/mr.py", "benchharness/attacks/core/base.py"}
"""Files of one algorithm or one table, which may be longer."""
TOP_LEVEL = 8
"""Files on the top level of the harness."""

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def shown(path: Path) -> str:
    """The path below the repository, as people write it."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    last = body[-1].end_lineno
    assert last is not None
    return last - body[0].lineno + 1


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports anywhere: at its top, in functions, for typing."""
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{shown(path)} imports relatively"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return {name for name in found if name in MODULES}


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The names of one circle; empty where there is none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        return names
    return []


def test_few_files_lie_on_the_top_level() -> None:
    found = sorted(path.name for path in (ROOT / "benchharness").glob("*.py"))
    assert len(found) <= TOP_LEVEL, found


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_files_and_functions_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE or shown(path) in WHOLE
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert body_lines(node) <= LONGEST_BODY, f"{shown(path)}:{node.lineno} {node.name}"


def test_longer_files_are_there() -> None:
    assert {shown(path) for path in FILES} >= WHOLE


def test_no_circle_of_imports_lazy_and_typing_ones_included() -> None:
    arrows = {name: imported(path) - {name} for name, path in MODULES.items()}
    assert sum(map(len, arrows.values())) > 300
    assert circle(arrows) == []


def test_a_circle_would_be_found() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    assert circle({"a": {"b"}, "b": {"c"}}) == []


BY_NAME = {
    "benchharness/registry.py": "users type the names",
    "benchharness/explanation/gradcam.py": "MONAI, without the torchvision that it would import",
    "baselines/_monai.py": "MONAI, without the torchvision that it would import",
}
"""Files that import by name, and what."""


def test_no_other_module_imports_by_name() -> None:
    """`import_module` hides an arrow from the import contracts and from this file."""
    users = {
        shown(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if "import_module" in (getattr(node, part, "") for part in ("id", "attr", "name"))
    }
    assert users == set(BY_NAME)
