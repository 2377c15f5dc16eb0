"""Mutated command lines and config files end in one line and a documented exit code.

Most trainings and long runs are planned and then skipped, so that thousands fit in minutes; what is
short runs in full.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchharness import cli
from benchharness.networks import cost_table
from benchharness.run import forecast, runner
from benchharness.run.forecast import Forecast
from benchharness.run.planning import plan
from benchharness.run.summary import Summary
from benchharness.store import baseline
from benchharness.store.folder import Store
from tests import samples
from tests.factories import small_matrix, store_of

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.config import RunConfig

NOTHING = Summary(evaluated=0, recorded=0, trained=0, failures=())

CODES = {0, 1, 2, 130}
"""3 is a fault of this program."""

MODEL = ("--models", "tests.samples:tiny", "--device", "cpu", "--datasets", "data.npz")
OWN = ("--checkpoint", "tiny=w.pt")
LINES: list[tuple[str, ...]] = [
    ("run", *MODEL, *OWN),
    ("run", *MODEL, *OWN, "--limit", "3", "--out", "out", "--batch-size", "2"),
    ("run", *MODEL, "--recipe", "quick", "--attacks", "pgd,fgsm", "--eps", "2/255", "--dry-run"),
    ("run", *MODEL, *OWN, "--artefacts", "mr", "--severities", "1-2", "--dry-run", "--verbose"),
    ("run", *MODEL, "--seeds", "0,1", "--checkpoint", "tiny#0=w.pt", "--checkpoint", "tiny#1=v.pt"),
    ("run", "--config", "bench.toml"),
    ("run", "--config", "bench.toml", "--dry-run", "--counts", "4", "--accuracy-only"),
    ("run", *MODEL, "--datasets", "volumes.csv", "--size", "16", "--spacing", "fit", "--dry-run"),
    ("train", *MODEL, "--seeds", "0", "--init", "tiny=w.pt", "--init-method", "mean"),
    ("explain", *MODEL, *OWN, "--ids", "test/3", "--target", "label", "--layer", "tiny=head"),
    ("report", "store"),
    ("list", "artefacts"),
    ("costs", "--models", "tests.samples:tiny", "--sizes", "16"),
    ("leaderboard", "store", "b.zip", "--format", "csv"),
    ("compare", "store", "b.zip", "--tolerance", "0.1", "--alpha", "0.05", "--format", "json"),
    ("compare", "b.zip", "store", "--base-model", "net", "--new-seed", "0", "--strict"),
    ("ci", "--config", "bench.toml", "--baseline", "b.zip", "--out", "ci", "--max-minutes", "1"),
    ("baseline", "save", "store", "c.zip"),
    ("baseline", "show", "b.zip"),
    ("records", "verify", "store"),
    ("records", "merge", "store", "b.zip", "--out", "merged"),
    ("reference", "store", "--out", "ref", "--seed", "0"),
    ("cache", "info"),
]
TOML = """\
models = ["tests.samples:tiny"]
checkpoint = { tiny = "w.pt" }
datasets = ["data.npz"]
attacks = ["pgd"]
eps = ["2/255", 0.5]
artefacts = ["blur"]
severities = [1, "3-4"]
seeds = [0]
limit = 3
device = "cpu"
batch-size = 2

[attack.pgd]
steps = 3

[model.tiny]
arguments = { width = 6 }
preprocessing = { mean = 0.5, std = 0.25 }
"""
SCRAPS = [
    *("", " ", "-", "--", "=", "@", "#", "0", "-1", "1e999", "nan", "9" * 5000, "0x" + "f" * 5000),
    *("[/x]", "[red]", "x" * 300, "~nosuchuser/x", "/dev/full", "/proc/self", ".", "data.npz/x"),
    *("builtins:dict", "tests.samples:none", "json:dumps", "tiny@", "tiny#0=w.pt", "tiny@dat=w.pt"),
    *("\ud800", "\udcff", "é", "\u202e", "\x1b[31m", "a\nb", "all", "store", "volumes.csv"),
    *(
        "true",
        "[]",
        "{}",
        "1979-05-27",
        "[" * 200 + "]" * 200,
        "'x'",
        "none",
        "auto",
        "a,,b",
        "1/0",
    ),
    *(
        "--help",
        "--strict",
        "--no-train",
        "--resume",
        "--compile=x",
        "--fast-artefacts",
        "--limit=0",
    ),
]
LETTERS = "abex019.,:=@#-_[]{}'\"\n\t \\é∞\x00"

scraps = st.sampled_from(SCRAPS)


@st.composite
def texts(draw: st.DrawFn, text: str) -> str:
    """A text with some letters replaced, removed or repeated."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(len(text), start + 12)))
        put = draw(st.one_of(st.text(LETTERS, max_size=3), st.just(text[start:stop] * 2), scraps))
        text = text[:start] + put + text[stop:]
    return text


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command line with some words replaced, removed, moved, added or misspelt."""
    words = list(draw(st.sampled_from(LINES)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(words)))
        action = draw(st.sampled_from(("put", "scrap", "drop", "text", "swap", "other")))
        if action == "put":
            words.insert(place, draw(scraps))
        elif action == "other":
            words[place:place] = draw(st.sampled_from(LINES))[-2:]
        elif place < len(words):
            if action == "drop":
                del words[place]
            elif action == "scrap":
                words[place] = draw(scraps)
            elif action == "text":
                words[place] = draw(texts(words[place]))
            else:
                words[place], words[0] = words[0], words[place]
    # An argument of a process holds no NUL.
    return [word.replace("\0", "") for word in words]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A config file with lines or values replaced, or letters."""
    rows = TOML.splitlines()
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(rows) - 1))
        key, equals, _ = rows[place].partition(" = ")
        rows[place] = draw(
            st.sampled_from(
                (
                    "",
                    f"{key}{equals}{draw(scraps)}",
                    f'{key}{equals}"{draw(scraps)}"',
                    f"{draw(scraps)}{equals}1",
                    rows[place] + "\n" + rows[place],
                    draw(texts(rows[place])),
                )
            )
        )
    return "\n".join(rows).encode(errors="surrogatepass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command lines name: data, weights, a store, a baseline, a list of volumes."""
    here = tmp_path_factory.mktemp("fuzz")
    samples.write_archive(here / "data.npz")
    for seed, name in enumerate(("w.pt", "v.pt")):
        torch.manual_seed(seed)
        torch.save(samples.tiny(2).state_dict(), here / name)
    store_of(here / "store", small_matrix(n=20))
    baseline.save(Store(here / "store"), here / "b.zip")
    (here / "volumes.csv").write_text("path,label,split\na\0b.npy,0,train\nb.npy,1,test\n")
    return here


@pytest.fixture(autouse=True)
def short(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip what would take long, after everything that can be refused is checked."""
    run, time_it, costs = runner.run, forecast.forecast, cost_table.markdown

    def run_if_short(config: RunConfig, display: Any, **more: Any) -> Summary:
        planned = plan(config)
        if len(planned.cells) > 3 or any(job.weights.to_train for job in planned.jobs):
            return NOTHING
        return run(config, display, **more)

    def time_if_small(planned: Any, *rest: Any) -> Any:
        small = all(job.weights.model.name == "tiny" for job in planned.jobs)
        return (
            time_it(planned, *rest)
            if small
            else Forecast(rows=(), corruption_seconds=0, corruption_bytes=0)
        )

    def costs_if_small(models: Any, sizes: Any, *rest: Any) -> str:
        small = models == ["tests.samples:tiny"] and max(sizes) <= 32
        return costs(models, sizes, *rest) if small else ""

    monkeypatch.setattr(runner, "run", run_if_short)
    monkeypatch.setattr(runner, "train", lambda config, _: plan(config) and NOTHING)
    monkeypatch.setattr(forecast, "forecast", time_if_small)
    monkeypatch.setattr(cost_table, "markdown", costs_if_small)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")


def ends(words: list[str]) -> None:
    """Call the command and judge how it ends."""
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    before = sys.argv, sys.path[:]
    sys.argv = ["bench", *words]
    code: object = 0
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv, sys.path[:] = before
    said, complaint = (_text(stream) for stream in (out, error))
    assert code in CODES, complaint
    assert "Traceback" not in said + complaint
    if code == 2 and "Usage: bench" not in said + complaint:
        last = complaint.splitlines()[-1:]
        assert last, "nothing was said"
        assert last[0].startswith(("bench: ", "Gate: ")), complaint


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def fuzzed(count: int) -> Any:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@fuzzed(60)
@given(lines())
def test_command_lines(words: list[str]) -> None:
    ends(words)


@fuzzed(40)
@given(files())
def test_config_files(folder: Path, content: bytes) -> None:
    (folder / "bench.toml").write_bytes(content)
    ends(["run", "--config", "bench.toml", "--dry-run"])


@pytest.mark.slow
@fuzzed(1400)
@given(lines())
def test_many_command_lines(words: list[str]) -> None:
    ends(words)


@pytest.mark.slow
@fuzzed(600)
@given(files())
def test_many_config_files(folder: Path, content: bytes) -> None:
    (folder / "bench.toml").write_bytes(content)
    ends(["run", "--config", "bench.toml", "--dry-run"])
