"""A real wheel of a plug-in, installed and used in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parent / "plugin"

USE = """
import json
import torch
from benchharness import artefacts, attacks, datasets, registry
from benchharness.cli import catalogue
from benchharness.networks.building import build_network
from benchharness.store.cells import ModelKey
from benchharness.networks.batches import as_float
from benchharness.networks.classifier import Classifier

names = {
    "models": "acme_net",
    "datasets": "acme_cubes",
    "attacks": "acme_noise",
    "artefacts": "acme_fade",
}
entries = {kind: registry.resolve(kind, name) for kind, name in names.items()}
model = ModelKey(name="acme_net", factory=entries["models"].target)
network = build_network(model, num_classes=2, in_channels=1)
dataset = datasets.load("acme_cubes")
classifier = Classifier(network, num_classes=dataset.num_classes)
volumes, labels = as_float(dataset.test.volumes, "cpu"), torch.from_numpy(dataset.test.labels)
attack = attacks.build("acme_noise", {"share": 0.5})
outcome = attack(classifier, volumes, labels, severity=0.1, ids=dataset.test.ids, seed=0)
artefact = artefacts.build("acme_fade")
faded = artefact(volumes[1], severity=5, id=dataset.test.ids[1], seed=0)
rows = {kind: catalogue.catalogue(kind).rows for kind in ("attacks", "artefacts")}
print(json.dumps({
    "sources": {kind: entry.source for kind, entry in entries.items()},
    "targets": {kind: entry.target for kind, entry in entries.items()},
    "logits": list(classifier.predict(dataset.test.volumes, 4).shape),
    "norm": float(outcome.norms.max()),
    "faded": float(faded.volume.max()),
    "listed": [row[0] for kind in rows for row in rows[kind] if row[0].startswith("acme")],
    "from": artefact.__class__.__module__,
}))
"""


def wheel(folder: Path) -> Path:
    """Write the plug-in as a wheel, as PEP 427 asks, with its pyproject's metadata."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in members.items())
        for group, members in project["entry-points"].items()
    )
    files = {
        "acme_bench.py": (SOURCE / "acme_bench.py").read_text(),
        f"{stem}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        ),
        f"{stem}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"{stem}.dist-info/entry_points.txt": points,
    }
    record = f"{stem}.dist-info/RECORD"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*files, record]))
    return path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in installed by pip."""
    folder = tmp_path_factory.mktemp("plugin")
    target = folder / "site"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install"),
            *("--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel(folder))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def used(installed: Path) -> dict[str, Any]:
    """What a fresh process finds that has the plug-in on its path."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USE],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(installed)},
        cwd=installed.parent,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_names_resolve_and_say_where_they_come_from(used: dict[str, Any]) -> None:
    assert set(used["sources"].values()) == {"plug-in acme-bench"}
    assert used["targets"] == {
        "models": "acme_bench:net",
        "datasets": "acme_bench:cubes",
        "attacks": "acme_bench:Noise",
        "artefacts": "acme_bench:Fade",
    }


def test_it_is_listed(used: dict[str, Any]) -> None:
    assert used["listed"] == ["acme_noise", "acme_fade"]


def test_it_works_like_what_is_built_in(used: dict[str, Any]) -> None:
    assert used["from"] == "acme_bench"
    assert used["logits"] == [8, 2]
    assert 0.045 < used["norm"] <= 0.05 + 1e-6
    assert used["faded"] == pytest.approx(150 / 255 / 2, abs=1e-4)
