"""A run that is killed with SIGKILL at any moment and started again gives the same numbers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchharness.store.folder import Store
from tests import samples

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
KILLS = 10


def command(data: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-c", "from benchharness.cli import main; main()", "run"),
        *("--models", "tests.samples:tiny,tests.samples:wider", "--datasets", str(data)),
        *("--attacks", "fgsm,pgd", "--artefacts", "motion,bias_field,ghosting"),
        *("--recipe", "quick", "--device", "cpu", "--out", str(out)),
    ]


def start(data: Path, out: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(data, out), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )


def contents(out: Path) -> dict[str, tuple[dict[str, float | None], bytes]]:
    store = Store(out)
    return {
        identity: (record.metrics, store.predictions(record).logits.tobytes())
        for identity, record in store.records().items()
    }


def kill_when(process: subprocess.Popen[bytes], out: Path, moment: str, pause: float) -> None:
    """Kill a process `pause` seconds after the first sign of `moment` in its folder."""
    signs = {
        "training": lambda: any(out.glob("checkpoints/*/*")),
        "evaluating": lambda: (out / "records.jsonl").exists(),
    }
    while process.poll() is None and not signs[moment]():
        time.sleep(0.01)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_ten_kills_lose_nothing(tmp_path: Path) -> None:
    data = samples.write_archive(tmp_path / "data.npz")
    assert start(data, tmp_path / "whole").wait() == 0
    moments = random.Random(0)
    inside_training = 0
    for number in range(KILLS):
        out = tmp_path / "killed"
        finished_before = len(list(out.rglob("model_card.json")))
        moment = "training" if number < 3 else "evaluating"
        kill_when(start(data, out), out, moment, moments.uniform(0, 1.0 if number < 3 else 2.5))
        if number < 3 and len(list(out.rglob("model_card.json"))) == finished_before:
            inside_training += 1
        Store(out).records()
    assert inside_training >= 1
    assert start(data, tmp_path / "killed").wait() == 0
    whole, killed = contents(tmp_path / "whole"), contents(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    # Clean, two attacks at two budgets, three artefacts at five levels, and the control.
    assert len(whole) == 2 * (1 + 4 + 15 + 3)
    for identity, (metrics, logits) in whole.items():
        assert killed[identity][0] == metrics
        assert killed[identity][1] == logits
    before = (tmp_path / "killed" / "records.jsonl").read_bytes()
    assert start(data, tmp_path / "killed").wait() == 0
    assert (tmp_path / "killed" / "records.jsonl").read_bytes() == before
    assert not any(path.name.endswith(".partial") for path in (tmp_path / "whole").rglob("*"))
