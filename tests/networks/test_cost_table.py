"""The table of costs, and that the documentation's numbers are those it gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from benchharness import registry
from benchharness.errors import BenchError
from benchharness.networks import building, cost_table
from benchharness.store.cells import ModelKey
from medvit3d import attention_keys

DOCUMENT = Path(__file__).parents[2] / "docs" / "medvit3d.md"


def test_a_row_a_network_and_a_table_a_size() -> None:
    noted: list[str] = []
    text = cost_table.markdown(["tests.samples:tiny"], (16, 20), "cpu", noted.append)
    assert noted == ["tiny at 16³", "tiny at 20³"]
    assert [line for line in text.splitlines() if line.startswith("###")] == ["### 16³", "### 20³"]
    rows = [line for line in text.splitlines() if line.startswith("| `tiny`")]
    assert len(rows) == 2
    for row in rows:
        _, parameters, flops, latency, memory = (part.strip() for part in row.split("|")[1:-1])
        assert parameters == "0.00"
        assert float(flops) >= 0
        assert float(latency) > 0
        assert float(memory) >= 0


@pytest.mark.parametrize("name", ["a_dict", "one_logit", "softmax"])
def test_a_network_that_returns_something_else_is_measured_too(name: str) -> None:
    text = cost_table.markdown([f"tests.returning:{name}"], (16,), "cpu")
    (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}`"))
    assert "failed" not in row


def test_every_network_is_measured_unless_some_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cost_table, "_row", lambda model, size, device: (model.name, "", "", "", "")
    )
    text = cost_table.markdown(None, (28,), "cpu")
    for name in registry.entries("models"):
        assert name in text


@pytest.mark.parametrize("text", ["", "28,", "8", "28.5", "x"])
def test_sizes_that_make_no_sense(text: str) -> None:
    with pytest.raises(BenchError, match="--sizes takes whole numbers from 16 up"):
        cost_table.parse_sizes(text)
    assert cost_table.parse_sizes("28, 64,28") == (28, 64)


def documented() -> dict[tuple[int, str], list[str]]:
    """Rows of the document's cost tables, by size and model."""
    found: dict[tuple[int, str], list[str]] = {}
    size = 0
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"### (\d+)³", line):
            size = int(heading[1])
        elif line.startswith("#"):
            size = 0
        elif size and line.startswith("| `"):
            name, *numbers = (part.strip() for part in line.split("|")[1:-1])
            found[size, name.strip("`")] = numbers
    return found


QUICK = ("medvit3d_n", "medvit3d_t", "resnet3d_18")
SLOW = sorted({name for _, name in documented()} - set(QUICK))


def test_the_documents_tables_speak_of_networks_that_are_there_at_both_sizes() -> None:
    names = {*QUICK, *SLOW}
    assert len(names) >= 11
    assert names <= set(registry.BUILT_IN["models"])
    assert set(documented()) == {(size, name) for size in (28, 64) for name in names}


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_the_documents_parameters_and_operations_are_true(name: str) -> None:
    model = ModelKey(name=name, factory=registry.BUILT_IN["models"][name])
    with torch.device("meta"):
        network = building.build_network(model, num_classes=2, in_channels=1)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    for size in (28, 64):
        flops = cost_table.flops_at(model, size)
        assert documented()[size, name][:2] == [f"{parameters / 1e6:.2f}", f"{flops / 1e9:.2f}"]


def test_the_documents_table_of_keys_is_true() -> None:
    assert attention_keys.table((28, 64)) in DOCUMENT.read_text(encoding="utf-8")
