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

from benchharness import testing
from benchharness.errors import BenchError

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
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in members.items())
        for group, members in project["entry-points"].items()
    )
    files = {
        "acme_bench.py": (SOURCE / "acme_bench.py").read_text(encoding="utf-8"),
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


BROKEN = """
import torch
from torch import nn
from acme_bench import Fade, Noise


class Draws(nn.Module):
    def forward(self, volumes):
        return torch.softmax(torch.randn(len(volumes), 3), 1)


def net(num_classes, in_channels=1):
    return Draws()


class Waning(Fade):
    name = "waning"

    def apply(self, volume, severity, generator):
        return volume * (0.2 + 0.1 * severity)


class Greedy(Noise):
    name = "greedy"

    def perturb(self, batch):
        return batch.volumes + batch.severity * (len(batch.volumes) > 1)
"""


def contracts(installed: Path, *names: str) -> tuple[int, str]:
    """Test names of a plug-in as its author would, in a fresh process."""
    asked = [word for name in names for word in ("--bench-contracts", name)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "benchharness.testing", "--pyargs", "benchharness.testing.contracts", *asked),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": f"{installed}{os.pathsep}{SOURCE.parents[1]}"},
        cwd=installed,
    )
    return done.returncode, done.stdout + done.stderr


def test_it_holds_the_contracts_that_its_author_can_test(installed: Path) -> None:
    code, said = contracts(installed, "acme-bench")
    assert code == 0, said
    assert " passed" in said
    assert "skipped" not in said


def test_the_contracts_find_what_is_broken(installed: Path) -> None:
    (installed / "broken_bench.py").write_text(BROKEN)
    names = ("models:broken_bench:net", "artefacts:broken_bench:Waning")
    code, said = contracts(installed, *names, "attacks:broken_bench:Greedy")
    assert code == 1, said
    for test in (
        "test_model_returns_no_probabilities",
        "test_model_answers_the_same_twice_and_alone",
        "test_model_has_a_gradient_to_its_voxels",
        "test_artefact_grows_with_its_level",
        "test_attack_of_a_volume_does_not_depend_on_its_batch",
    ):
        assert f"::{test}[" in said, said


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("acme-bnech", "no distribution 'acme-bnech' is installed."),
        ("", "no distribution '' is installed."),
        ("numpy", "distribution 'numpy' has no entry points of benchharness."),
        ("model:x", "unknown kind 'model'. Did you mean 'models'"),
    ],
)
def test_what_to_test_must_be_there(item: str, message: str) -> None:
    with pytest.raises(BenchError) as caught:
        testing.named(item, "models")
    assert str(caught.value).startswith(message)


def test_what_to_test_may_be_an_import_string() -> None:
    assert testing.named("models:a.b:c", "models") == ["a.b:c"]
    assert testing.named("models:a.b:c", "attacks") == []
