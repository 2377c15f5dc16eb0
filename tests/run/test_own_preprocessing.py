"""What a config writes in front of a network reaches its plan, its identity and its numbers."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from rich.console import Console

from benchharness.errors import BenchError
from benchharness.networks.preprocessing import Preprocessing
from benchharness.run import config, runner
from benchharness.run.planning import plan
from benchharness.run.progress import Display
from benchharness.store.folder import Store
from tests import samples

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.store.records import Record


def leaves(given: Tensor) -> Tensor:
    sys.exit("the function leaves")


def doubled(given: Tensor) -> Tensor:
    return given * 2


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    samples.write_archive(tmp_path / "data.npz")
    torch.manual_seed(1)
    torch.save(samples.tiny(2).state_dict(), tmp_path / "tiny.pt")
    torch.save(samples.tiny(2, 3).state_dict(), tmp_path / "rgb.pt")
    return tmp_path


def settings(table: str, weights: str = "tiny.pt") -> config.RunConfig:
    text = f"[model.tiny]\npreprocessing = {{ {table} }}\n"
    Path("c.toml").write_text(text, encoding="utf-8")
    given = {
        "models": "tests.samples:tiny",
        "checkpoint": [f"tiny={weights}"],
        "datasets": "data.npz",
        "device": "cpu",
    }
    return config.load(Path("c.toml"), given)


def only(asked: config.RunConfig) -> Record:
    runner.run(asked, Display(Console(file=io.StringIO())))
    (cell,) = plan(asked).cells
    return Store(asked.out).records()[cell.identity]


@pytest.mark.parametrize(
    ("table", "weights"),
    [
        ('size = [8, 8, 8], resize = "area", zscore = "nonzero"', "tiny.pt"),
        ("percentiles = [1, 99], minmax = true", "tiny.pt"),
        ("repeat_channels = 3, mean = [0.4, 0.5, 0.6], std = [0.2, 0.2, 0.3]", "rgb.pt"),
        ('callable = "tests.run.test_own_preprocessing:doubled"', "tiny.pt"),
    ],
)
def test_the_record_says_what_was_done_and_its_numbers_follow(table: str, weights: str) -> None:
    asked = settings(table, weights)
    record = only(asked)
    assert record.status == "ok", record.error
    written = dict(asked.model_options)["tiny"].preprocessing
    assert dict(record.cell.model.preprocessing) == dict(written or ())
    network = samples.tiny(2, 3 if weights == "rgb.pt" else 1)
    network.load_state_dict(torch.load(weights))
    images, _ = samples.volumes("test")
    made = Preprocessing.checked(dict(written or ()))
    with torch.no_grad():
        own = network.eval()(made(torch.from_numpy(images[:, None]).float() / 255))
    found = Store(asked.out).predictions(record).logits
    torch.testing.assert_close(torch.tensor(found), own, rtol=1e-4, atol=1e-5)


def test_a_function_that_leaves_is_an_error_of_its_cells() -> None:
    record = only(settings('callable = "tests.run.test_own_preprocessing:leaves"'))
    assert record.status == "error"
    assert "the function leaves" in (record.error or "")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("mean = [0.1, 0.2]", "'mean' has 2 numbers, and the network sees 1 channels of data"),
        ('zscore = "brain"', "preprocessing 'zscore' cannot be 'brain'. Write zscore = "),
        ('callable = "tests.run.nowhere:f"', "cannot import 'tests.run.nowhere'"),
        ("repeat_channels = 3", "checkpoint .* does not fit model 'tiny': .* expected"),
    ],
)
def test_what_cannot_be_is_refused_by_the_plan(table: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        plan(settings(table))


def test_identities_are_those_of_what_differs_from_nothing() -> None:
    def identity(table: str) -> str:
        (cell,) = plan(settings(table)).cells
        return cell.identity

    nothing = identity("")
    for same in ("scale = 1", "mean = [0]", "std = 1.0", "minmax = false", "repeat_channels = 1"):
        assert identity(same) == nothing
    others = {identity(t) for t in ("minmax = true", 'zscore = "all"', 'zscore = "nonzero"')}
    assert len(others | {nothing}) == 4
