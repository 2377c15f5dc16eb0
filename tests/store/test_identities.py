"""Identities are those of the committed records, byte for byte: from lines, and from plans."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchharness.canonical import canonical_json
from benchharness.run.config import load
from benchharness.run.planning import plan
from benchharness.store import reference
from benchharness.store.cells import CONTROL_FAMILY, Cell, PerturbationKey
from benchharness.store.records import Record

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
RAISED = {"square3d": 2, "autoattack3d": 2}
"""Attacks whose version has risen since their committed cells were measured."""


def committed() -> dict[str, list[str]]:
    """The lines of all committed records, by their file."""
    found = {
        str(path.relative_to(ROOT)): path.read_text("utf-8").splitlines()
        for path in sorted(RESULTS.glob("*/records.jsonl"))
        if path.parent.name not in ("local", "ci")
    }
    for path in sorted(RESULTS.glob("baseline/*.zip")):
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("records.jsonl").decode().splitlines()
        found[str(path.relative_to(ROOT))] = lines
    return found


COMMITTED = committed()


def test_there_are_committed_records() -> None:
    assert set(COMMITTED) >= {
        "results/attacks/records.jsonl",
        "results/quickstart/records.jsonl",
        "results/baseline/phantom3d.zip",
    }
    assert sum(map(len, COMMITTED.values())) >= 100


@pytest.mark.parametrize("where", COMMITTED)
def test_a_committed_line_is_read_and_written_byte_for_byte(where: str) -> None:
    for line in COMMITTED[where]:
        payload = json.loads(line)
        cell = Cell.from_json(payload["cell"])
        assert cell.identity == payload["identity"]
        assert canonical_json(cell.to_json()) == canonical_json(payload["cell"])
        assert Record.from_line(line).to_line() == line


def identities_of(lines: list[str]) -> set[str]:
    """Identities of recorded results that today's attacks would plan; controls are others."""
    found = [(one["identity"], one["cell"]["perturbation"]) for one in map(json.loads, lines)]
    current = {
        name for name, of in found if of["family"] != CONTROL_FAMILY and of["name"] not in RAISED
    }
    assert len(current) > 1
    return current


def planned_identities(flags: dict[str, Any], config: Path | None, lines: list[str]) -> set[str]:
    """Identities that a plan gives its results once their checkpoints are the committed ones."""
    weights = {}
    for line in lines:
        cell = json.loads(line)["cell"]
        weights[cell["model"]["name"], cell["dataset"]["name"]] = cell["checkpoint"]["sha256"]
    cells = plan(load(config, flags)).cells
    assert all(cell.pending for cell in cells)
    for cell in cells:
        name, version = cell.perturbation.name, cell.perturbation.version
        assert version == RAISED.get(name, version)
    return {
        cell.trained(weights[cell.model.name, cell.dataset.name]).identity
        for cell in cells
        if cell.perturbation.family != CONTROL_FAMILY and cell.perturbation.name not in RAISED
    }


def test_the_quickstart_plans_the_committed_cells(tmp_path: Path) -> None:
    lines = COMMITTED["results/quickstart/records.jsonl"]
    flags = {
        "models": "medvit3d_t,resnet3d_18",
        "attacks": "pgd",
        "artefacts": "motion,bias_field,ghosting",
        "out": tmp_path,
    }
    assert planned_identities(flags, None, lines) == identities_of(lines)


def test_the_attacks_on_the_phantom_plan_the_committed_cells(tmp_path: Path) -> None:
    lines = [
        line
        for line in COMMITTED["results/attacks/records.jsonl"]
        if json.loads(line)["cell"]["dataset"]["name"] == "phantom3d"
    ]
    flags = {"datasets": "phantom3d", "out": tmp_path}
    config = RESULTS / "attacks" / "bench.toml"
    assert planned_identities(flags, config, lines) == identities_of(lines)


@pytest.mark.skipif(
    not (Path(os.environ.get("BENCH_DATA_ROOT", "/nowhere")) / "vesselmnist3d.npz").exists(),
    reason="no MedMNIST archives under BENCH_DATA_ROOT",
)
def test_the_attacks_on_real_volumes_plan_the_committed_cells(tmp_path: Path) -> None:
    lines = COMMITTED["results/attacks/records.jsonl"]
    config = RESULTS / "attacks" / "bench.toml"
    assert planned_identities({"out": tmp_path}, config, lines) == identities_of(lines)


@pytest.mark.parametrize("path", sorted(reference.folder().glob("*.json")), ids=lambda p: p.stem)
def test_a_reference_names_its_perturbations_by_the_same_digests(path: Path) -> None:
    card = json.loads(path.read_text("utf-8"))
    assert card["perturbations"]
    for entry in card["perturbations"]:
        settings = {key: value for key, value in entry.items() if key != "digest"}
        settings["parameters"] = tuple(
            (name, tuple(value) if isinstance(value, list) else value)
            for name, value in settings["parameters"]
        )
        assert reference.perturbation_digest(PerturbationKey(**settings)) == entry["digest"]
