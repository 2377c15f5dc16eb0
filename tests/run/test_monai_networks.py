"""From a saved file of a MONAI network to a clean and a PGD number, in one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from benchharness.store.folder import Store
from tests import monai_networks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Bench = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("vit", {"take": (0,)}),
        pytest.param("swin", {"trailing": True}, marks=pytest.mark.slow),
    ],
)
def test_one_command_gives_a_clean_and_a_pgd_number(
    bench: Bench, tmp_path: Path, name: str, outputs: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    network = getattr(monai_networks, name)(4, 1)
    torch.save(network.state_dict(), "weights.pt")
    command = f"run --models tests.monai_networks:{name} --checkpoint {name}=weights.pt"
    code, said, err = bench(
        *command.split(), *["--attacks", "pgd", "--eps", "8/255", "--limit", "3"]
    )
    assert code == 0, said + err
    records = Store(tmp_path / "results" / "local").records().values()
    found = {record.cell.perturbation.name: record for record in records}
    for perturbation in ("none", "pgd"):
        assert found[perturbation].metrics["accuracy"] is not None
        assert dict(found[perturbation].cell.model.outputs) == outputs
    assert f"{name} returns " in said
