"""docs/ci/array.sbatch and docs/ci/matrix.yml: their commands run in their order on one machine."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples
from tests.docs import diagrams

if TYPE_CHECKING:
    from collections.abc import Callable

yaml = pytest.importorskip("yaml")

CI = diagrams.DOCS / "ci"
SCRIPT, WORKFLOW = CI / "array.sbatch", CI / "matrix.yml"

NOTED = """#!/bin/sh
# Notes a call, a line each; arguments are separated by tabs.
(IFS='	'; echo "$*") >> "$CALLS"
"""
SBATCH = """#!/bin/sh
# Notes a submission and answers as sbatch --parsable does, on a cluster with a name.
echo "$*" >> "$SUBMITTED"
echo "$(wc -l < "$SUBMITTED");cluster"
"""
CONFIG = """
models = ["tests.samples:tiny", "tests.samples:wider"]
datasets = "data.npz"
artefacts = "bias_field"
severities = [1, 5]
recipes = "quick"
"""


@pytest.fixture
def folder(
    bench: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working folder, with a config, data, and stand-ins for `bench` and `sbatch`."""
    assert bench
    samples.write_archive(tmp_path / "data.npz")
    (tmp_path / "bench.toml").write_text(CONFIG)
    (tmp_path / "bin").mkdir()
    for name, content in (("bench", NOTED), ("sbatch", SBATCH)):
        (tmp_path / "bin" / name).write_text(content)
        (tmp_path / "bin" / name).chmod(0o755)
    quick = dataclasses.replace(recipes.find("quick"), epochs=2, batch_size=8)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)
    return tmp_path


def shell(folder: Path, *command: str, **variables: str) -> list[list[str]]:
    """Run a command and return the calls of `bench` that it made."""
    calls = folder / "calls"
    calls.unlink(missing_ok=True)
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "SUBMITTED": str(folder / "submitted"),
        **variables,
    }
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    if not calls.exists():
        return []
    return [line.split("\t") for line in calls.read_text(encoding="utf-8").splitlines()]


def done(bench: Callable[..., tuple[int, str, str]], calls: list[list[str]]) -> str:
    """Do what was called, in this process; what the last one said."""
    said = ""
    assert calls
    for words in calls:
        code, said, error = bench(*words)
        assert code == 0, error
    return said


@pytest.fixture
def whole(folder: Path, bench: Callable[..., tuple[int, str, str]]) -> Store:
    """A run of the same config in one piece."""
    done(bench, [["run", "--config", "bench.toml", "--device", "cpu", "--out", "whole"]])
    return Store(folder / "whole")


def same(joined: Path, whole: Store) -> bool:
    found, expected = Store(joined).records(), whole.records()
    assert len(expected) == 2 * 3
    assert {i: (r.metrics, r.predictions) for i, r in found.items()} == {
        i: (r.metrics, r.predictions) for i, r in expected.items()
    }
    return (joined / "report" / "report.html").is_file()


def test_the_script_is_sound_and_submits_its_stages_in_order(folder: Path) -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert shell(folder, "bash", str(SCRIPT)) == []
    gpu = "--gres=gpu:1"
    assert (folder / "submitted").read_text(encoding="utf-8").splitlines() == [
        f"--parsable --array=1-16 {gpu} {SCRIPT} train",
        f"--parsable --dependency=afterok:1 {SCRIPT} weights",
        f"--parsable --dependency=afterok:2 --array=1-16 {gpu} {SCRIPT} run",
        f"--parsable --dependency=afterany:3 {SCRIPT} report",
    ]


def test_its_stages_give_what_one_run_gives(
    folder: Path, bench: Callable[..., tuple[int, str, str]], whole: Store
) -> None:
    shell(folder, "bash", str(SCRIPT), SHARES="3", GPU="")
    said = ""
    for line in (folder / "submitted").read_text(encoding="utf-8").splitlines():
        *options, script, stage = line.split()
        array = next((o for o in options if o.startswith("--array=")), "--array=1-1")
        first, last = map(int, array.removeprefix("--array=").split("-"))
        assert "--gres=gpu:1" not in options
        for task in range(first, last + 1):
            variables = {"SHARES": "3", "DEVICE": "cpu", "SLURM_ARRAY_TASK_ID": str(task)}
            calls = shell(folder, "bash", script, stage, **variables)
            said = done(bench, calls[:-1]) if len(calls) > 1 else said
            assert "absent" not in said
            done(bench, calls[-1:])
    assert len(list((folder / "results" / "array").glob("share-*"))) == 3
    assert same(folder / "results" / "array" / "all", whole)


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return found


def test_the_workflow_gives_what_one_run_gives(
    workflow: dict[str, Any],
    folder: Path,
    bench: Callable[..., tuple[int, str, str]],
    whole: Store,
) -> None:
    artifacts = folder / "artifacts"
    shares = workflow["jobs"]["train"]["strategy"]["matrix"]["share"]
    assert shares == workflow["jobs"]["run"]["strategy"]["matrix"]["share"]
    assert shares == list(range(1, workflow["env"]["SHARES"] + 1))
    for name, job in workflow["jobs"].items():
        for share in job.get("strategy", {}).get("matrix", {}).get("share", [1]):
            work = folder / f"{name}-{share}"  # Each job begins in a folder of its own.
            for step in job["steps"]:
                _step(step, str(share), work, artifacts, bench, workflow["env"])
    assert same(artifacts / "results", whole)


def _step(
    step: dict[str, Any],
    share: str,
    work: Path,
    artifacts: Path,
    bench: Callable[..., tuple[int, str, str]],
    variables: dict[str, Any],
) -> None:
    """Do a step as GitHub does."""
    work.mkdir(exist_ok=True)
    given = {
        key: str(value).replace("${{ matrix.share }}", share)
        for key, value in step.get("with", {}).items()
    }
    action = step.get("uses", "").partition("@")[0]
    if action == "actions/upload-artifact":
        (work / given["path"]).rename(_made(artifacts) / given["name"])
    elif action == "actions/download-artifact":
        for found in artifacts.glob(given["pattern"]):
            place = work / given["path"]
            place.mkdir(parents=True, exist_ok=True)
            (place / found.name).symlink_to(found)
    elif step.get("name") not in (None, "Install"):
        folder = work.parent
        values = {key: str(value) for key, value in variables.items()} | {"SHARE": share}
        assert "${{" not in step["run"]
        environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **values}
        environment["CALLS"] = str(work / "calls")
        subprocess.run(["bash", "-e", "-c", step["run"]], cwd=work, env=environment, check=True)
        (line,) = (work / "calls").read_text(encoding="utf-8").splitlines()
        (work / "calls").unlink()
        for name in ("bench.toml", "data.npz"):
            if not (work / name).exists():
                (work / name).symlink_to(folder / name)
        before = Path.cwd()
        os.chdir(work)
        try:
            said = done(bench, [line.split("\t")])
        finally:
            os.chdir(before)
        assert "absent" not in said or step["name"] == "Join the checkpoints"


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_the_page_shows_both_files_as_they_are() -> None:
    page = (diagrams.DOCS / "how-to" / "slurm.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|yaml)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert blocks == [path.read_text(encoding="utf-8") for path in (SCRIPT, WORKFLOW)]
    assert "not on Slurm" in page
    assert "not on GitHub" in page


def test_what_runs_a_pull_request_can_write_nothing(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
