"""How many keys attention sees: the reason why the default reduction is spatial."""

from functools import cache

import pytest

from medvit3d import attention_keys
from medvit3d.variants import NANO, TINY

counted = cache(attention_keys.attention_keys)
"""Each network runs once for all tests."""


@pytest.mark.parametrize(
    ("size", "reduction", "expected"),
    [
        (28, "sequence", [(64, 1), (8, 1), (8, 1), (1, 1)]),
        (28, "spatial", [(64, 64), (8, 8), (8, 8), (1, 1)]),
        (64, "sequence", [(512, 8), (64, 8), (64, 8), (8, 8)]),
        (64, "spatial", [(512, 64), (64, 64), (64, 64), (8, 8)]),
    ],
)
def test_keys_of_the_tiny_network(size, reduction, expected):
    found = counted(size, reduction, TINY)
    assert [(queries, keys) for _, queries, keys in found] == expected
    assert found[0][0] == "stages.1.3"


def test_sizes_that_a_reduction_cannot_serve_are_refused():
    with pytest.raises(ValueError, match=r"use larger volumes or spatial_reduction='spatial'"):
        attention_keys.attention_keys(16, "sequence", NANO)


def test_the_command_prints_the_table(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["attention_keys"])
    monkeypatch.setattr(attention_keys, "attention_keys", counted)
    attention_keys.main()
    said = capsys.readouterr().out
    assert said == f"{attention_keys.table((28, 64))}\n"
    lines = said.splitlines()
    assert len(lines) == 5
    assert lines[2] == "| 2 | 1 | 64 | 1 | 64 | 512 | 8 | 64 |"
