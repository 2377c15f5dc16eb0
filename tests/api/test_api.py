"""`benchharness` from Python: the engine of the command line, behind calls."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from typer.testing import CliRunner

import benchharness as bh
from benchharness import cli
from benchharness.outside import containment
from benchharness.report.formats.volumes import COLUMNS
from benchharness.statistics import metrics
from benchharness.store.folder import Store
from tests import attacked
from tests.attacks.attack_networks import Tiny

if TYPE_CHECKING:
    from pathlib import Path

ATTACKED: dict[str, Any] = {
    "attacks": ["pgd"],
    "eps": ["2/255", "16/255"],
    "attack": {"pgd": {"steps": 2}},
    "device": "cpu",
    "progress": False,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("task")
    return attacked.save_task(folder, {"train": 16, "val": 8, "test": 24})


@pytest.fixture(scope="module")
def net(data: tuple[Path, Path]) -> nn.Module:
    network = Tiny(attacked.CLASSES)
    network.load_state_dict(torch.load(data[1], weights_only=True))
    return network


@pytest.fixture(scope="module")
def result(
    data: tuple[Path, Path], net: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> bh.Result:
    out = tmp_path_factory.mktemp("store")
    return bh.benchmark(net, data[0], artefacts=["blur"], severities=[3], out=out, **ATTACKED)


def test_a_module_is_measured_as_the_command_line_measures_its_file(
    data: tuple[Path, Path], result: bh.Result, tmp_path: Path
) -> None:
    config = tmp_path / "bench.toml"
    config.write_text("[attack.pgd]\nsteps = 2\n", encoding="utf-8")
    words = (
        f"run --config {config} --models tests.attacked:honest --datasets {data[0]} "
        f"--checkpoint honest={data[1]} --attacks pgd --eps 2/255,16/255 --artefacts blur "
        f"--severities 3 --device cpu --out {tmp_path / 'cli'}"
    )
    done = CliRunner().invoke(cli.app, words.split())
    assert done.exit_code == 0, done.output
    typed = bh.load_records(tmp_path / "cli").set_index(["perturbation", "severity"])
    called = bh.load_records(result).set_index(["perturbation", "severity"])
    assert len(typed) == len(called) == 7
    for name in metrics.NAMES:
        assert typed[name].equals(called[name].reindex(typed.index)), name


def test_the_frame_has_a_row_a_cell_with_intervals(result: bh.Result) -> None:
    frame = result.frame()
    assert list(frame["perturbation"]) == ["clean", "pgd", "pgd", "blur"]
    assert set(frame["model"]) == {"Tiny"}
    assert (frame["accuracy_low"] <= frame["accuracy"]).all()
    assert (frame["accuracy"] <= frame["accuracy_high"]).all()
    assert (frame["accuracy_low"] < frame["accuracy_high"]).all()
    assert frame["accuracy"][0] > frame["accuracy"][2]


def test_the_volumes_have_a_row_a_volume_and_cell(result: bh.Result) -> None:
    frame, volumes = result.frame(), result.volumes()
    assert list(volumes.columns) == list(COLUMNS)
    own = volumes[volumes["identity"].isin(frame["identity"])]
    assert len(own) == 4 * 24
    for _, cell in frame.iterrows():
        rows = own[own["identity"] == cell["identity"]]
        assert rows["correct"].mean() == pytest.approx(cell["accuracy"])
        assert ((rows["margin"] > 0) == rows["correct"]).all()
        assert (rows["correct"] == (rows["label"] == rows["prediction"])).all()
    clean, strong = (
        own[own["identity"] == frame["identity"][place]].set_index("id") for place in (0, 2)
    )
    assert not clean["broken"].any()
    assert (strong["broken"] == (clean["correct"] & ~strong["correct"])).all()
    assert strong["broken"].any()


def test_a_second_call_runs_nothing(
    data: tuple[Path, Path], net: nn.Module, result: bh.Result
) -> None:
    again = bh.benchmark(net, data[0], out=result.directory, **ATTACKED)
    assert again.summary.evaluated == 0
    assert list(again.frame()["perturbation"]) == ["clean", "pgd", "pgd"]


def test_the_report_and_the_notebook_show_the_overview(result: bh.Result, tmp_path: Path) -> None:
    page = result.report(tmp_path / "report")
    assert page.read_text(encoding="utf-8").count("<table") > 3
    shown = result._repr_html_()
    assert shown.count("<table") == 1
    assert "Tiny" in shown
    assert "pgd 16/255" in shown


class Scaled(nn.Module):
    """Its scale is neither a weight nor printed."""

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__()
        self.network = network
        self.scale = scale

    def forward(self, volumes: Tensor) -> Tensor:
        logits: Tensor = self.network(volumes) * self.scale
        return logits


def cells(result: bh.Result) -> set[str]:
    return set(result.summary.identities)


def test_what_changes_a_network_changes_its_cells(
    data: tuple[Path, Path], net: nn.Module, tmp_path: Path
) -> None:
    def measured(network: nn.Module, **settings: Any) -> bh.Result:
        return bh.benchmark(network, data[0], out=tmp_path, progress=False, **settings)

    first = measured(Scaled(net, 1.0))
    assert cells(measured(Scaled(copy.deepcopy(net), 1.0))) == cells(first)
    assert not cells(measured(Scaled(net, -1.0))) & cells(first)
    other = copy.deepcopy(net)
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    assert not cells(measured(Scaled(other, 1.0))) & cells(first)
    assert not cells(measured(Scaled(net, 1.0), preprocessing={"scale": 0.5})) & cells(first)


def test_later_changes_of_the_object_change_nothing(
    data: tuple[Path, Path], net: nn.Module, tmp_path: Path
) -> None:
    network = copy.deepcopy(net).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = bh.benchmark(network, data[0], out=tmp_path, progress=False)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    (record,) = Store(tmp_path).records().values()
    assert record.metrics["accuracy"] == result.frame()["accuracy"][0]


def test_several_models_names_and_datasets(
    data: tuple[Path, Path], net: nn.Module, tmp_path: Path
) -> None:
    result = bh.benchmark(
        {"mine": net, "scaled": Scaled(net, 2.0)}, [data[0]], out=tmp_path, progress=False
    )
    assert sorted(result.frame()["model"]) == ["mine", "scaled"]
    compared = bh.compare(result, result, base_model="mine", new_model="scaled")
    assert compared.verdict == "indistinguishable"
    assert len(compared.frame()) == 1
    assert "mine" in compared._repr_markdown_()


def local_factory(scale: float) -> Any:
    def build(num_classes: int, in_channels: int = 1) -> nn.Module:
        return Scaled(Tiny(num_classes, in_channels), scale)

    return build


def test_a_factory_is_trained(data: tuple[Path, Path], tmp_path: Path) -> None:
    settings: dict[str, Any] = {"recipes": "quick", "out": tmp_path, "progress": False}
    (trained,) = bh.train(local_factory(1.0), data[0], **settings)
    assert trained.card.model == "build"
    assert trained.card.recipe["name"] == "quick"
    logits = trained.classifier().predict(torch.zeros(2, 1, 8, 8, 8), 2)
    assert logits.shape == (2, attacked.CLASSES)
    result = bh.benchmark(local_factory(1.0), data[0], **settings)
    assert result.summary.trained == 0
    assert result.frame()["checkpoint"][0] == trained.card.sha256
    assert bh.benchmark(local_factory(2.0), data[0], **settings).summary.trained == 1


def test_a_factory_of_a_module_is_known_by_its_import_string(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    from tests.attacked import honest

    bh.benchmark(honest, data[0], recipes="quick", out=tmp_path, progress=False)
    (record,) = Store(tmp_path).records().values()
    assert record.cell.model.factory == "tests.attacked:honest"


def test_a_module_that_another_process_was_given_is_refused_in_words(result: bh.Result) -> None:
    record = next(iter(Store(result.directory).records().values()))
    code = (
        "from benchharness.networks import given\n"
        f"given.build(2, **{dict(record.cell.model.arguments)!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "was handed over as an object" in done.stderr


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (3, {}, "a model is a torch.nn.Module"),
        ("tests.attacked:honset", {}, "Did you mean 'honest'"),
        ("tests.attacked:honest", {"preprocessing": {"scale": 2}}, "is for a module or a factory"),
        ("tests.attacked:honest", {"epz": "2/255"}, "unknown config key 'epz'"),
        ("tests.attacked:honest", {"attacks": "pgf"}, "Did you mean 'pgd'"),
    ],
)
def test_mistakes_are_errors_that_say_what_to_type(
    data: tuple[Path, Path], tmp_path: Path, model: Any, settings: dict[str, Any], message: str
) -> None:
    model = [model] if model == 3 else model
    with pytest.raises(bh.BenchError, match=message):
        bh.benchmark(model, data[0], out=tmp_path, progress=False, **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_fails_is_a_failure_and_no_exception(
    data: tuple[Path, Path], net: nn.Module, tmp_path: Path
) -> None:
    class Broken(nn.Module):
        def forward(self, volumes: Tensor) -> Tensor:
            raise ZeroDivisionError("never mind")

    result = bh.benchmark([net, Broken()], data[0], out=tmp_path, progress=False)
    assert len(result.failures) == 1
    assert "never mind" in result.failures[0]
    frame = result.frame().set_index("model")
    assert frame["status"].to_dict() == {"Tiny": "ok", "Broken": "error"}


def test_nothing_global_changes(
    data: tuple[Path, Path], net: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    settings = [one.read() for one in containment._settings(importing=False)]
    style, backend = dict(mpl.rcParams), mpl.get_backend()
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    result = bh.benchmark(net, data[0], out=tmp_path, **ATTACKED)
    result.report()
    assert [one.read() for one in containment._settings(importing=False)] == settings
    assert (dict(mpl.rcParams), mpl.get_backend()) == (style, backend)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_standard_error(
    data: tuple[Path, Path], net: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bh.benchmark(net, data[0], out=tmp_path)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Tiny" in shown.err
    assert "known by the digests of its code" in shown.err


def test_an_attack_is_one_call(net: nn.Module) -> None:
    volumes = torch.rand(3, 1, 8, 8, 8)
    labels = torch.tensor([0, 1, 2])
    classifier = bh.Classifier(net, num_classes=attacked.CLASSES)
    adversarial = bh.attacks.PGD(steps=2)(classifier, volumes, labels, severity=8 / 255)
    assert (adversarial.volumes - volumes).abs().max() <= 8 / 255 + 1e-6
    again = bh.attacks.PGD(steps=2)(
        classifier, volumes, labels, severity=8 / 255, ids=["0", "1", "2"], seed=0
    )
    assert torch.equal(again.volumes, adversarial.volumes)


def test_figures_can_be_restyled(result: bh.Result, tmp_path: Path) -> None:
    for figure in (
        bh.plots.against_parameters(result),
        bh.plots.over_severities(result, "linf"),
    ):
        assert isinstance(figure, Figure)
        figure.axes[0].set_title("My own title")
        figure.savefig(tmp_path / "figure.svg")
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(bh.BenchError, match=r"unknown family 'lnf'.*Did you mean 'linf'"):
        bh.plots.over_severities(result, "lnf")
    with pytest.raises(bh.BenchError, match="no attack on data reports the linf norm"):
        bh.plots.norms_needed(result)
    with pytest.raises(bh.BenchError, match="unknown dataset 'other'"):
        bh.plots.against_parameters(result, "other")


def test_every_public_name_is_there() -> None:
    for name in bh.__all__:
        assert getattr(bh, name) is not None
        assert name in dir(bh)
    with pytest.raises(AttributeError, match="attribute benchmrk"):
        bh.benchmrk  # noqa: B018


def test_importing_it_is_quick() -> None:
    code = "import sys, benchharness; assert 'torch' not in sys.modules; print('ok')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "ok\n", done.stderr
