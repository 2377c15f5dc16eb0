"""From `bench run` to the record: outputs are found, said, kept in the identity, and used."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rich.console import Console

from benchharness import report
from benchharness.errors import BenchError
from benchharness.networks.fitting import FROM_PROBABILITIES, LOGIT
from benchharness.run import config, runner
from benchharness.run.planning import plan
from benchharness.run.progress import Display
from benchharness.store import cards
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import returning, samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.store.records import Record


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an archive, the weights of a network that solves it, and a short recipe."""
    monkeypatch.chdir(tmp_path)
    quick = dataclasses.replace(recipes.find("quick"), epochs=1, batch_size=16)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)
    samples.write_archive(tmp_path / "data.npz")
    torch.manual_seed(1)
    network = samples.tiny(2)
    with torch.no_grad():
        network.head.weight *= 20  # spreads the answers on both sides of zero
        volumes = torch.from_numpy(samples.volumes("test")[0][:, None]).float() / 255
        logits = network.eval()(volumes)
        network.head.bias -= logits.mean(0)
    torch.save(network.state_dict(), tmp_path / "tiny.pt")
    torch.save({f"inner.{k}": v for k, v in network.state_dict().items()}, tmp_path / "w.pt")
    return tmp_path


def settings(name: str, **flags: Any) -> config.RunConfig:
    own = name in returning.ANSWERS or name in returning.PROBABLE
    given = {
        "models": f"tests.returning:{name}",
        "checkpoint": [f"{name}={'w' if own else 'tiny'}.pt"],
        "datasets": "data.npz",
        "device": "cpu",
    }
    return config.load(flags.pop("file", None), given | flags)


def ran(asked: config.RunConfig) -> tuple[dict[str, Record], str]:
    """The records by perturbation, and what was said."""
    said = io.StringIO()
    summary = runner.run(asked, Display(Console(file=said, width=300)))
    assert summary.failures == ()
    records = Store(asked.out).records().values()
    return {record.cell.perturbation.name: record for record in records}, said.getvalue()


QUICKLY = ("a_tuple", "one_voxel_logit")
"""The answers that the default suite runs."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICKLY else pytest.mark.slow)
        for name in returning.ANSWERS
    ],
)
def test_any_network_gives_the_numbers_of_the_plain_one(name: str, tmp_path: Path) -> None:
    plain = ran(settings("a_tensor", out=tmp_path / "plain", attacks="fgsm"))[0]
    asked = settings(name, out=tmp_path / "own", attacks="fgsm")
    planned = plan(asked).cells
    records, _ = ran(asked)
    outputs = returning.ANSWERS[name][1]
    for perturbation, record in records.items():
        assert dict(record.cell.model.outputs) == outputs
        assert record.identity in {cell.identity for cell in planned}
        for metric in ("accuracy", "auc"):
            assert record.metrics[metric] == plain[perturbation].metrics[metric]
        assert not record.suspect
    assert ran(asked)[0] == records
    assert records["none"].cost is not None


def test_what_was_chosen_is_said_and_of_several_how_to_choose_another() -> None:
    read = "{name}: w.pt: read 11 tensors."
    notes = plan(settings("a_dict")).notes
    assert notes == (
        read.format(name="a_dict"),
        "a_dict returns dict of features (tensor (3, 4, 2, 2, 2)), out (tensor (3, 2)): its 'out' "
        "is taken as logits.",
    )
    _, note = plan(settings("two_heads")).notes
    assert "its 'coarse' is taken as logits. Its fine would fit as well" in note
    assert "--outputs two_heads=PLACE" in note
    assert plan(settings("a_tensor")).notes == (read.format(name="a_tensor"),)


def test_logits_beside_probabilities_are_taken() -> None:
    (cell,) = plan(settings("both")).cells
    assert dict(cell.model.outputs) == {"take": (1,)}


def test_the_flag_wins_over_the_config_and_a_models_own_over_that_for_all(here: Path) -> None:
    (here / "c.toml").write_text("[model.two_heads]\noutputs = 'fine'\n")
    file = here / "c.toml"

    def taken(**flags: Any) -> object:
        (cell,) = plan(settings("two_heads", **flags)).cells
        return dict(cell.model.outputs)["take"]

    assert taken() == ("coarse",)
    assert taken(file=file) == ("fine",)
    assert taken(file=file, outputs="coarse") == ("coarse",)
    assert taken(outputs=["coarse", "two_heads=fine"]) == ("fine",)
    (here / "c.toml").write_text("outputs = { two_heads = 'fine' }\n")
    assert taken(file=file) == ("fine",)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ("middle", "--outputs names what 'two_heads' does not return for a task of 2 classes: it "),
        ("probabilities", "--outputs names what 'two_heads' does not return"),
        ("two_head=fine", "--outputs names 'two_head', which is not among the models"),
        ("a..b", "--outputs takes what the network returns"),
        ("=fine", "--outputs takes WHAT or model=WHAT"),
        (["fine", "coarse"], "--outputs is given twice for every model"),
    ],
)
def test_a_wrong_flag_is_refused(outputs: Any, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        plan(settings("two_heads", outputs=outputs))


def test_a_wrong_key_is_refused(here: Path) -> None:
    (here / "c.toml").write_text("[model.two_heads]\noutputs = 1.5\n")
    with pytest.raises(BenchError, match=r"config key 'model.two_heads.outputs' takes what"):
        settings("two_heads", file=here / "c.toml")


@pytest.mark.parametrize("name", returning.PROBABLE)
def test_probabilities_are_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        runner.run(settings(name, out=tmp_path / "out"), Display(Console(file=io.StringIO())))
    said = str(caught.value)
    assert said.startswith(f"{name!r} returns ")
    assert f"Return what comes before the {'sigmoid' if name == 'sigmoid' else 'softmax'}" in said
    assert "--outputs probabilities" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name",
    [
        "sigmoid",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("softmax", "softmax_in_a_tuple")),
    ],
)
def test_the_logarithm_of_probabilities_is_marked_everywhere(name: str, tmp_path: Path) -> None:
    plain = ran(settings("a_tensor", out=tmp_path / "plain"))[0]
    assert not any(record.suspect for record in plain.values())
    asked = settings(name, outputs="probabilities", attacks="fgsm", artefacts="blur", severities=1)
    records, _ = ran(dataclasses.replace(asked, out=tmp_path / "out"))
    assert records.keys() == {"none", "fgsm", "blur", "full_range", "probe"}
    for record in records.values():
        assert any(doubt.startswith(FROM_PROBABILITIES) for doubt in record.doubts)
    assert records["none"].metrics["nll"] == pytest.approx(plain["none"].metrics["nll"], rel=1e-4)
    page = report.write(tmp_path / "out").markdown.read_text(encoding="utf-8")
    assert "its logits are from probabilities" in page
    assert "form = probabilities" in page


@pytest.mark.parametrize(
    ("name", "form"),
    [pytest.param("softmax", "logits", marks=pytest.mark.slow), ("sigmoid", "logit")],
)
def test_who_says_that_they_are_logits_is_believed_and_the_certificate_marks_it(
    name: str, form: str
) -> None:
    records, _ = ran(settings(name, outputs=form, attacks="pgd"))
    assert records["pgd"].suspect
    if form == "logit":
        assert any(doubt.startswith(LOGIT) for doubt in records["none"].doubts)


@pytest.mark.slow
def test_a_softmax_that_shows_up_later_is_marked() -> None:
    records, _ = ran(settings("late_softmax", attacks="pgd"))
    assert records["pgd"].suspect


@pytest.mark.parametrize("name", ["a_dict", "one_logit", "deep"])
def test_a_network_is_trained_through_its_outputs(name: str, here: Path) -> None:
    asked = settings(name, checkpoint=None, recipes="quick", out=here / "out")
    planned = plan(asked).cells
    records, _ = ran(asked)
    outputs = returning.ANSWERS.get(name, (None, {}))[1]
    (path,) = (here / "out").glob("checkpoints/*/*/model_card.json")
    card = cards.read(path.parent)
    assert card is not None
    assert card.outputs == {key: list(v) if type(v) is tuple else v for key, v in outputs.items()}
    assert planned[0].trained(card.sha256).identity == records["none"].identity
    assert card.key == records["none"].cell.model
    assert plan(asked).cells[0].identity == records["none"].identity
    assert np.isfinite(card.test_metrics["nll"] or 0)


def test_one_logit_of_random_weights_is_not_judged_before_it_is_trained() -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        plan(settings("one_logit", checkpoint=None, recipes="quick"))


@pytest.mark.parametrize("recipe", [None, "quick"])
def test_a_softmax_is_refused_before_it_is_trained(recipe: str | None) -> None:
    with pytest.raises(BenchError, match="'softmax' returns probabilities"):
        plan(settings("softmax", checkpoint=None, recipes=recipe))
