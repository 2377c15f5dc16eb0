"""What nodes must have, and the code that is copied to them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from benchharness import registry
from benchharness.errors import BenchError
from benchharness.run.engines import user_code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULES = {
    "my_nets.py": "import my_layers\nimport my_package.inner\nfrom torch import nn\n"
    "def net(num_classes, in_channels=1): return my_layers.layer()\n",
    "my_layers.py": "def layer(): return 3\n",
    "my_package/__init__.py": "",
    "my_package/inner.py": "",
    "my_package/later.py": "",
    "my_package/settings.json": "{}",
    "my_unused.py": "",
    "data.npz": "not code",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a person's modules, in which a run was started."""
    folder = tmp_path / "own"
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


def test_modules_of_the_persons_own_are_copied_with_what_they_import(
    own: Path, tmp_path: Path
) -> None:
    registry.import_target("my_nets:net")
    copied = tmp_path / "copied"
    copied.mkdir()
    found = user_code.gather(["my_nets", "benchharness.attacks.pgd", "torch.nn"], copied)
    assert found == ("my_layers", "my_nets", "my_package")
    names = {path.relative_to(copied).as_posix() for path in copied.rglob("*") if path.is_file()}
    assert names == MODULES.keys() - {"my_unused.py", "data.npz"}
    code = "import my_nets; print(my_nets.net(2))"
    done = subprocess.run([sys.executable, "-c", code], cwd=copied, capture_output=True, text=True)
    assert done.stdout == "3\n"


def test_built_in_code_alone_needs_no_copy(tmp_path: Path) -> None:
    assert user_code.gather(["benchharness.attacks.pgd", "medvit3d.variants"], tmp_path) == ()
    assert not list(tmp_path.iterdir())


def test_data_beside_code_is_not_sent_in_bulk(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.import_target("my_nets:net")
    monkeypatch.setattr(user_code, "LIMIT", 5)
    with pytest.raises(BenchError, match="my_layers, my_nets, my_package has 0 MiB"):
        user_code.gather(["my_nets"], tmp_path / "copied")


def test_the_same_packages_are_expected_of_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = user_code.expected(["torchio.transforms", "tests.samples", "medvit3d.variants"])
    assert list(wanted) == ["Python", "benchharness", "torch", "torchio"]
    assert wanted["torchio"] == version("torchio")
    assert "+" not in wanted["torch"]
    assert user_code.difference(wanted) == ""


def test_what_differs_on_a_node_is_said_in_one_line() -> None:
    wanted = {"Python": "3.1", "torch": "1.0", "no_such_package": "2.0"}
    found = user_code.difference(wanted)
    assert found.startswith(f"Python 3.{sys.version_info.minor} instead of 3.1, torch ")
    assert found.endswith(" instead of 1.0, no_such_package missing instead of 2.0")
