"""Checkpoints of the zoo are measured by name, as the networks that they were trained as."""

from __future__ import annotations

import dataclasses
import io
import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchharness.cli import app
from benchharness.errors import BenchError
from benchharness.networks import zoo
from benchharness.networks.zoo import adding
from benchharness.run import config, planning, runner
from benchharness.run.progress import Display
from benchharness.run.subjects import subjects
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchharness.run.config import RunConfig
    from benchharness.run.summary import Summary

FLAGS: dict[str, Any] = {"attacks": "fgsm", "eps": "8/255"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_archive(tmp_path_factory.mktemp("data") / "data.npz")


def settings(data: Path, out: Path, **flags: Any) -> RunConfig:
    own = {"models": "tests.samples:tiny", "datasets": str(data), "device": "cpu", "out": out}
    return config.load(None, own | {"limit": 6} | flags)


def run(made: RunConfig) -> Summary:
    return runner.run(made, Display(Console(file=io.StringIO())))


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with four trained networks, measured."""
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        for name, rate in (("quick", 0.01), ("strong", 0.02)):
            short = dataclasses.replace(
                recipes.find("quick"), name=name, epochs=1, batch_size=24, learning_rate=rate
            )
            patch.setitem(recipes.RECIPES, name, short)
        summary = run(settings(data, out, recipes="quick,strong", seeds="0,1", **FLAGS))
    assert (summary.trained, summary.failures) == (4, ())
    return out


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of that store's checkpoints."""
    found = tmp_path_factory.mktemp("zoo")
    assert len(adding.add(trained, found, licence="CC0")) == 4
    return found


@pytest.fixture
def bare(folder: Path, tmp_path: Path) -> Path:
    """The same zoo before any weights are fetched."""
    found = tmp_path / "bare"
    found.mkdir()
    (found / "index.json").write_bytes((folder / "index.json").read_bytes())
    return found


def bench(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(done.exception, BenchError):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def results(out: Path) -> dict[str, Any]:
    return {one: (r.cell, r.metrics, r.predictions) for one, r in Store(out).records().items()}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_checkpoint_of_the_zoo_gives_the_records_of_the_one_trained_here(
    data: Path, trained: Path, folder: Path, tmp_path: Path, workers: int
) -> None:
    flags = FLAGS | {"zoo": folder, "models": "tiny@quick,tiny@strong", "seeds": "0,1"}
    summary = run(settings(data, tmp_path / "out", workers=workers, **flags))
    assert (summary.trained, summary.failures) == (0, ())
    assert results(tmp_path / "out") == results(trained)
    assert run(settings(data, trained, **flags)).evaluated == 0


def test_name_data_and_seed_pick_the_checkpoint(data: Path, folder: Path, tmp_path: Path) -> None:
    known = {(one.name, one.card.seed): one.card.sha256 for one in zoo.entries(folder)}
    flags = {"models": "tiny@strong", "seeds": "1", "zoo": folder}
    (job,) = planning.plan(settings(data, tmp_path, **flags)).jobs
    assert job.weights.checkpoint.sha256 == known["tiny@strong", 1]
    assert (job.weights.seed, job.weights.checkpoint.recipe_name) == (1, "strong")
    assert not job.weights.to_train


def test_sources_of_transfers_shares_and_heat_maps_take_the_zoo(
    data: Path, folder: Path, tmp_path: Path
) -> None:
    flags = FLAGS | {"models": "tiny@quick,tiny@strong", "zoo": folder}
    whole = planning.plan(settings(data, tmp_path, **flags | {"attacks": "transfer"}))
    assert {job.source is not None for job in whole.jobs} == {True, False}
    (subject,) = subjects(settings(data, tmp_path, **flags))
    assert [one.name for one in subject.networks] == ["tiny · quick", "tiny · strong"]
    for share in ("1/2", "2/2"):
        assert not run(settings(data, tmp_path / "out", shard=share, **flags)).failures
    planned = {cell.identity for cell in planning.plan(settings(data, tmp_path, **flags)).cells}
    assert set(Store(tmp_path / "out").records()) == planned


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"models": "tiny@quik"}, "unknown checkpoint of the zoo 'tiny@quik'. Did you mean 'tiny@"),
        ({"seeds": "0,2"}, "of training seeds 0,1, got 2. Type --seeds 0,1."),
        ({"recipes": "quick"}, "--recipes quick is for what is trained"),
        ({"models": "tiny@quick,tests.samples:tiny"}, "two models are called 'tiny'"),
        ({"models": "tiny@quick,tiny"}, "--models names tiny beside tiny@quick of the zoo"),
        ({"checkpoint": "tiny=w.pt"}, "--checkpoint names tiny beside tiny@quick of the zoo"),
        ({"init": "tiny=w.pt"}, "--init names tiny beside tiny@quick"),
        ({"outputs": "tiny=0"}, "--outputs names tiny beside tiny@quick"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_type(
    data: Path, folder: Path, tmp_path: Path, flags: dict[str, Any], said: str
) -> None:
    with pytest.raises(BenchError) as error:
        planning.plan(settings(data, tmp_path, **{"models": "tiny@quick", "zoo": folder} | flags))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_other_volumes_of_the_same_name_are_not_the_data_of_a_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    other = samples.write_archive(tmp_path / "data.npz", classes=3)
    with pytest.raises(BenchError, match="trained on other volumes called data"):
        planning.plan(settings(other, tmp_path, models="tiny@quick", zoo=folder))


def test_data_that_a_checkpoint_is_not_for_names_those_that_it_is(
    folder: Path, tmp_path: Path
) -> None:
    other = samples.write_archive(tmp_path / "other.npz", classes=3)
    with pytest.raises(BenchError, match="no tiny@quick on other, only on data"):
        planning.plan(settings(other, tmp_path, models="tiny@quick", zoo=folder))


def test_absent_weights_name_the_command_that_fetches_them(
    data: Path, folder: Path, bare: Path, tmp_path: Path
) -> None:
    flags = {"models": "tiny@quick", "zoo": bare}
    with pytest.raises(BenchError, match="Type 'bench zoo get tiny@quick'"):
        planning.plan(settings(data, tmp_path, **flags))
    code, said = bench("zoo", "get", "tiny@quick", "--zoo", bare)
    assert code == 2
    again = "bench train --models tests.samples:tiny --recipes quick --datasets data --seeds 0"
    assert again in said
    code, said = bench("zoo", "get", "tiny@quick", "--from", tmp_path, "--zoo", bare)
    assert code == 2
    assert "has no file tiny-quick-data-seed0-" in said
    code, said = bench("zoo", "get", "tiny@quick", "--from", folder, "--zoo", bare)
    assert code == 0
    assert said.count("fetched into") == 2
    assert planning.plan(settings(data, tmp_path, **flags)).jobs
    assert bench("zoo", "get", "tiny@quick", "--zoo", bare)[1].count("is there already") == 2


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_weights_come_from_a_page_and_are_held_against_their_digest(page: str, bare: Path) -> None:
    entry, *_ = zoo.find("tiny@quick", bare)
    path = zoo.fetch(entry, page, bare)
    assert zoo.located(entry, bare) == path
    changed = dataclasses.replace(
        entry, card=dataclasses.replace(entry.card, sha256="0" * 64), file=entry.file
    )
    path.unlink()
    with pytest.raises(BenchError, match=r"cannot download http.*hash of what came is"):
        zoo.fetch(changed, page, bare)
    assert not [one for one in bare.iterdir() if one.suffix == ".safetensors"]


def test_a_file_with_other_content_is_refused(folder: Path, bare: Path, data: Path) -> None:
    for entry in zoo.find("tiny@quick", bare):
        (bare / entry.file).write_bytes((folder / entry.file).read_bytes()[:-1])
    for act in (
        lambda: planning.plan(settings(data, bare, models="tiny@quick", zoo=bare)),
        lambda: zoo.fetch(entry, str(bare)),
    ):
        with pytest.raises(BenchError, match="is not the checkpoint that the zoo's index names"):
            act()


def test_the_folder_comes_from_the_option_or_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [one for one in zoo.entries() if one.card.model == "tiny"]
    monkeypatch.setenv("BENCH_ZOO", str(folder))
    assert "tiny@strong" in zoo.names(zoo.entries())
    code, said = bench("zoo", "list", "tiny@strong")
    assert code == 0
    assert said.count("tiny@strong") == 2
    assert "CC0" in said


def test_an_index_that_was_edited_is_refused(bare: Path) -> None:
    content = json.loads((bare / "index.json").read_text())
    for name, value in (("file", "../w.safetensors"), ("size", "big"), ("card", {"seed": 1})):
        entry = content["checkpoints"][0] | {name: value}
        (bare / "index.json").write_text(json.dumps(content | {"checkpoints": [entry]}))
        with pytest.raises(BenchError, match="cannot read the zoo's index"):
            zoo.entries(bare)
    (bare / "index.json").write_text(json.dumps(content | {"schema": 99}))
    with pytest.raises(BenchError, match="schema 99"):
        zoo.entries(bare)


def test_large_weights_are_named_and_left_out_of_the_package(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo.index, "package_folder", lambda: tmp_path)
    monkeypatch.setattr(adding, "LARGEST", 10)
    code, said = bench("zoo", "add", trained, "tiny@quick", "--licence", "CC0")
    assert (code, said.count("only named: tiny-quick-data-seed")) == (0, 2)
    assert [one.name for one in tmp_path.iterdir()] == ["index.json"]
    assert bench("zoo", "add", trained)[0] == 2
    code, said = bench("zoo", "add", trained, "tiny@medmnist", "--licence", "CC0")
    assert (code, "unknown checkpoint of the store 'tiny@medmnist'" in said) == (2, True)


def test_two_of_one_name_data_and_seed_are_refused(data: Path, tmp_path: Path) -> None:
    """A zoo keeps one of a name; whichever was added last would win without a word."""
    out = tmp_path / "out"
    for epochs in (1, 2):
        table = {"mine": {"base": "quick", "epochs": epochs}}
        assert not run(settings(data, out, recipes="mine", recipe=table)).failures
    code, said = bench("zoo", "add", out, "--to", tmp_path / "zoo", "--licence", "CC0")
    assert code == 2
    assert "the store has several tiny@mine on data of seed 0" in said
    folders = [path.name for path in out.glob("checkpoints/data/*")]
    assert len(folders) == 2
    assert all(name in said for name in folders)
    assert not (tmp_path / "zoo").exists()


def test_the_command_that_trains_a_network_again_names_what_it_needs(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    table = {"mine": {"base": "quick", "epochs": 1}}
    run(settings(data, tmp_path / "out", recipes="mine", recipe=table))
    (own,) = adding.add(tmp_path / "out", tmp_path / "zoo", licence="CC0")
    assert own.entry.source == (
        "bench train --models tests.samples:tiny --recipes mine --datasets data --seeds 0 "
        "--config FILE, which has [recipe.mine]"
    )
    entry = next(one for one in zoo.entries() if one.name == "medvit3d_n@quick")
    assert entry.retraining == (
        "bench train --models medvit3d_n --recipes quick --datasets phantom3d "
        f"--seeds {entry.card.seed}"
    )
    moved = dataclasses.replace(entry.card, transfer={"source": "ct", "shots": 8})
    carried = dataclasses.replace(entry, card=moved).retraining
    assert carried.endswith("with --train-on and what else carried it there (source ct, shots 8)")
