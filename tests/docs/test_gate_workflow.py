"""docs/ci/gate.yml, as a repository that merely depends on the library would copy it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

FILE = Path(__file__).parents[2] / "docs" / "ci" / "gate.yml"
GH = """#!/bin/sh
# Lists one comment per line of $IDS, and notes every other call.
case "$*" in
  *--paginate*) cat "$IDS" ;;
  *) echo "$*" >> "$CALLS" ;;
esac
"""


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def steps(workflow: dict[str, Any], job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = workflow["jobs"][job]["steps"]
    return found


def test_nothing_of_this_repository_is_taken_for_granted(workflow: dict[str, Any]) -> None:
    commands = "\n".join(step.get("run", "") for step in steps(workflow, "gate"))
    assert "make " not in commands
    assert ".venv" not in commands
    assert "docs/ci" not in FILE.read_text(encoding="utf-8")
    assert 'pip install "$BENCHHARNESS"' in commands


def test_the_gate_is_strict(workflow: dict[str, Any]) -> None:
    (command,) = (s["run"] for s in steps(workflow, "gate") if "bench ci" in s.get("run", ""))
    assert "--strict" in command
    assert "--allow-missing" not in command
    assert "auc" in workflow["env"]["METRIC"]


def test_the_job_that_runs_a_pull_request_can_write_nothing(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    gate, comment = workflow["jobs"]["gate"], workflow["jobs"]["comment"]
    assert "permissions" not in gate
    assert "token" not in str(gate)
    assert steps(workflow, "gate")[0]["with"] == {"persist-credentials": False}
    assert comment["permissions"] == {"pull-requests": "write"}
    assert "checkout" not in str(comment)
    assert "head.repo.full_name == github.repository" in comment["if"]
    assert "pull_request_target" not in FILE.read_text(encoding="utf-8")
    # What an event says must reach a shell as a variable, never as a part of its text.
    assert not any("${{" in s.get("run", "") for s in steps(workflow, "comment"))


@pytest.mark.parametrize(
    ("body", "ids", "call"),
    [
        ("### Robustness: worse\n", "", "--method POST repos/o/r/issues/7/comments"),
        ("### Robustness: worse\n", "11\n12\n", "--method PATCH repos/o/r/issues/comments/11"),
        (None, "", "--method POST repos/o/r/issues/7/comments"),
        (
            "### Robustness: worse\n\n<details>" + "x" * 70_000 + "</details>\n",
            "11\n",
            "--method PATCH repos/o/r/issues/comments/11",
        ),
    ],
    ids=["first", "updated", "not measured", "too long"],
)
def test_there_is_one_comment_and_it_is_updated(
    workflow: dict[str, Any], tmp_path: Path, body: str | None, ids: str, call: str
) -> None:
    if body is not None:
        (tmp_path / "robustness" / "gate").mkdir(parents=True)
        (tmp_path / "robustness" / "gate" / "comparison.md").write_text(body)
    (tmp_path / "ids").write_text(ids)
    fake = tmp_path / "bin" / "gh"
    fake.parent.mkdir()
    fake.write_text(GH)
    fake.chmod(0o755)
    script = steps(workflow, "comment")[-1]["run"]
    variables = {
        "PATH": f"{fake.parent}:{os.environ['PATH']}",
        "IDS": str(tmp_path / "ids"),
        "CALLS": str(tmp_path / "calls"),
        "REPOSITORY": "o/r",
        "NUMBER": "7",
        "RUN": "https://example.org/run",
    }
    subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=tmp_path, env=variables, check=True
    )
    assert (tmp_path / "calls").read_text(encoding="utf-8") == f"api {call} -F body=@comment.md\n"
    written = (tmp_path / "comment.md").read_text(encoding="utf-8")
    assert written.startswith("<!-- benchharness gate -->\n### Robustness: ")
    assert len(written) < 65_536
    assert ("not measured" in written) == (body is None)
    assert "https://example.org/run" in written
