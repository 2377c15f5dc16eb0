"""`bench explain` from request to stored result, on small networks and data with known masks."""

from __future__ import annotations

import dataclasses
import json
import shutil
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from benchharness import explanation
from benchharness.errors import BenchError
from benchharness.explanation import Request, measures
from benchharness.explanation.gradcam import GradCAM
from benchharness.networks import checkpoints
from benchharness.networks.batches import as_float
from benchharness.report import explanations, write
from benchharness.run import config, runner
from benchharness.run.progress import Display
from benchharness.run.subjects import subjects
from benchharness.statistics import metrics
from benchharness.store import heatmaps
from benchharness.store.cells import ModelKey
from benchharness.training import recipes
from tests import samples

if TYPE_CHECKING:
    from benchharness.datasets import Dataset

HERE = "tests.explanation.test_explaining"


def masked(root: Path | None = None) -> Dataset:
    """The sample data with a cube that decides the class, and its mask."""
    plain = samples.dataset()
    splits = {}
    for name in ("train", "val", "test"):
        split = getattr(plain, name)
        draws = np.random.Generator(np.random.PCG64(len(name)))
        images = draws.integers(90, 130, split.volumes.shape).astype(np.uint8)
        masks = np.zeros((len(split), *split.volumes.shape[2:]), bool)
        for index, label in enumerate(split.labels):
            corner = draws.integers(0, 8, 3)
            place = tuple(slice(c, c + 4) for c in corner)
            masks[index][place] = True
            images[index, 0][masks[index]] += np.uint8(100 * label)
        splits[name] = dataclasses.replace(split, volumes=images, masks=masks)
    return dataclasses.replace(plain, name="masked", digest="sha256:masked", **splits)


def no_layer(num_classes: int, in_channels: int = 1) -> nn.Module:
    """A network that names no layer."""
    network = samples.tiny(num_classes, in_channels)
    del network.gradcam_layer
    return network


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained networks on the masked data."""
    out = tmp_path_factory.mktemp("explain") / "store"
    patch = pytest.MonkeyPatch()
    quick = dataclasses.replace(recipes.find("quick"), epochs=4, batch_size=8, learning_rate=0.02)
    patch.setitem(recipes.RECIPES, "quick", quick)
    runner.run(load(out), Display(_silent()))
    yield out
    patch.undo()


def _silent() -> Console:
    return Console(file=StringIO())


def load(out: Path, **flags: Any) -> config.RunConfig:
    settings = {
        "models": "tests.samples:tiny,tests.samples:wider",
        "datasets": f"{HERE}:masked",
        "out": out,
        "device": "cpu",
        "recipes": "quick",
    }
    return config.load(None, settings | flags)


def explain(
    out: Path, *, flags: dict[str, Any] | None = None, **asked: Any
) -> tuple[explanation.Explained, ...]:
    settings = {"attacks": "fgsm", "eps": "8/255", "artefacts": "bias_field", "severities": "3"}
    request = Request.checked(**asked)
    return explanation.explain(request, subjects(load(out, **(settings | (flags or {})))), out)


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    """A store of one's own to write to."""
    return Path(shutil.copytree(store, tmp_path / "store"))


@pytest.fixture(scope="module")
def explained(store: Path) -> explanation.Explained:
    (found,) = explain(store, worst=2)
    return found


def test_everything_asked_for_is_measured(explained: explanation.Explained) -> None:
    found = explained.found
    assert (found.dataset, found.count, found.total, found.target) == ("masked", 24, 24, "label")
    assert found.structure == pytest.approx(4**3 / 12**3)
    assert [network.name for network in found.networks] == ["tiny", "wider"]
    for network in found.networks:
        assert [one.condition for one in network.measured] == [
            "clean",
            "fgsm 8/255",
            "bias_field level 3",
        ]
        assert (network.layer, network.grid) == ("features.4", (6, 6, 6))
        assert network.measured[0].moved is None
        for one in network.measured:
            assert one.located.energy is not None
            assert one.located.pointing is not None
            assert one.located.pointing.n == one.located.energy.n == 24
        for one in network.measured[1:]:
            assert one.moved is not None
            assert 0 <= one.moved.value <= 2
            assert one.shift is not None
            assert 0 <= one.shift.value <= 3**0.5
        assert network.randomised.pointing is not None
        assert -1 <= network.similarity.value <= 1
        assert network.sane is (network.above_randomised.low > 0)
    assert found.box.energy is not None


def test_the_numbers_are_those_of_the_maps(store: Path, explained: explanation.Explained) -> None:
    """The clean row, from the checkpoint and the measures alone."""
    split = masked().test
    card = next((store / "checkpoints").rglob("tiny-*/model.safetensors"))
    classifier = checkpoints.load_classifier(
        ModelKey(name="tiny", factory="tests.samples:tiny"),
        card,
        num_classes=2,
        in_channels=1,
        device="cpu",
    )
    mapped = GradCAM(classifier, "features.4")(as_float(split.volumes, "cpu"), split.labels)
    (clean, *_) = explained.found.networks[0].measured
    assert clean.located.energy == measures.mean(measures.energy_inside(mapped.maps, split.masks))
    assert clean.located.pointing == measures.share(measures.hits(mapped.maps, split.masks))
    assert clean.accuracy.value == (mapped.logits.argmax(1) == split.labels).mean()
    box = measures.centre_box((12, 12, 12)).repeat(24, axis=0)
    assert explained.found.box.energy == measures.mean(measures.energy_inside(box, split.masks))


def test_training_is_what_the_sanity_check_sees(explained: explanation.Explained) -> None:
    tiny = explained.found.networks[0]
    assert tiny.randomised.energy != tiny.measured[0].located.energy
    assert tiny.above_randomised.value == pytest.approx(
        tiny.measured[0].located.energy.value - tiny.randomised.energy.value
    )
    failing = dataclasses.replace(
        tiny, above_randomised=dataclasses.replace(tiny.above_randomised, low=-0.1)
    )
    assert failing.sane is False
    assert dataclasses.replace(tiny, above_randomised=None).sane is None


def test_batches_change_nothing(copied: Path, explained: explanation.Explained) -> None:
    (again,) = explain(copied, worst=2, flags={"batch_size": 5})
    for one, other in zip(explained.found.networks, again.found.networks, strict=True):
        for left, right in zip(one.measured, other.measured, strict=True):
            assert left.located.pointing == right.located.pointing
            assert left.located.energy.value == pytest.approx(right.located.energy.value, abs=1e-5)
        assert one.randomised.energy.value == pytest.approx(other.randomised.energy.value, abs=1e-5)
    assert again.path.name == explained.path.name


def test_what_is_stored_is_read_back_and_reported(
    store: Path, explained: explanation.Explained
) -> None:
    ((path, found),) = heatmaps.read(store)
    assert (path, found) == (explained.path, explained.found)
    pictures = sorted(p.name for p in path.parent.glob("*.png"))
    assert pictures == sorted(picture.file for picture in found.pictures)
    assert len(pictures) == 2
    report = write(store)
    page, markdown = (
        report.html.read_text(encoding="utf-8"),
        report.markdown.read_text(encoding="utf-8"),
    )
    for text in ("Heat maps: masked", "Where networks look", "Sanity check", "centre box"):
        assert text in page
        assert text in markdown
    assert page.count("data:image/png;base64,") == 2
    for picture in found.pictures:
        stem = picture.file.removesuffix(".png").replace("-", "_")
        drawn = report.html.parent / "pictures" / f"heat_maps_{stem}.png"
        assert drawn.read_bytes() == (path.parent / picture.file).read_bytes()
        assert f"pictures/{drawn.name}" in markdown


def test_ids_choose_what_is_drawn_and_older_pictures_go(copied: Path) -> None:
    before = explain(copied, worst=2)[0]
    after = explain(copied, ids="sample/test/5, 11")[0]
    assert after.path == before.path
    assert [p.volume for p in after.found.pictures] == ["sample/test/5", "sample/test/11"]
    assert len(list(after.path.parent.glob("*.png"))) == 2
    assert after.found.networks == before.found.networks


def test_the_worst_have_the_lowest_margin(copied: Path) -> None:
    (found,) = explain(copied, worst=3, flags={"artefacts": None, "attacks": None})
    records = runner.Store(copied)
    margins = np.min(
        [
            metrics.margins(p.labels, p.logits)
            for record in records.records().values()
            for p in [records.predictions(record)]
        ],
        axis=0,
    )
    worst = masked().test.ids
    expected = [worst[index] for index in np.argsort(margins, kind="stable")[:3]]
    assert [picture.volume for picture in found.found.pictures] == expected


def test_the_predicted_class_and_another_layer(copied: Path) -> None:
    flags = {"models": "tests.samples:tiny", "attacks": None, "artefacts": None, "limit": 6}
    (found,) = explain(copied, target="predicted", layers=["tiny=features.0"], flags=flags)
    assert found.found.target == "predicted"
    assert (found.found.count, found.found.total) == (6, 24)
    (network,) = found.found.networks
    assert (network.layer, network.grid) == ("features.0", (12, 12, 12))


def test_without_masks_there_is_no_location(store: Path, tmp_path: Path) -> None:
    data = samples.write_archive(tmp_path / "data.npz")
    flags = {"models": "tests.samples:tiny", "datasets": str(data)}
    runner.train(load(tmp_path, **flags), Display(_silent()))
    (found,) = explain(tmp_path, worst=1, flags=flags)
    (network,) = found.found.networks
    assert (network.sane, network.above_box, found.found.structure) == (None, None, None)
    assert network.measured[0].located.energy is None
    assert network.similarity.n > 0
    json.dumps(json.loads(found.path.read_text(encoding="utf-8")), allow_nan=False)


def refusal(store: Path, *, flags: dict[str, Any] | None = None, **asked: Any) -> str:
    with pytest.raises(BenchError) as caught:
        explain(store, flags=flags, **asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_mistakes_are_one_line(store: Path, tmp_path: Path) -> None:
    missing = refusal(store, flags={"seeds": "7"})
    assert "no checkpoint of tiny on masked (recipe quick, seed 7)" in missing
    assert "bench train --models tiny" in missing
    assert "no test volume 'sample/test/99'. Did you mean" in refusal(store, ids="sample/test/99")
    assert "--ids and --worst both choose" in refusal(store, ids="1", worst=1)
    assert "--ids has an empty item" in refusal(store, ids="1,,2")
    assert "--worst must be at least 1, got 0" in refusal(store, worst=0)
    assert "--target is label or predicted, got 'both'" in refusal(store, target="both")
    assert "--layer takes model=layer" in refusal(store, layers=["features.0"])
    assert "names a model that is not explained" in refusal(store, layers=["other=x"])
    torch.save(samples.tiny(2).state_dict(), tmp_path / "w.pth")
    flags = {"models": f"{HERE}:no_layer", "checkpoint": f"no_layer={tmp_path / 'w.pth'}"}
    assert "'no_layer' names no layer" in refusal(store, flags=flags)
    torch.save(samples.nan_in_eval(2).state_dict(), tmp_path / "nan.pth")
    flags = {
        "models": "tests.samples:nan_in_eval",
        "checkpoint": f"nan_in_eval={tmp_path / 'nan.pth'}",
    }
    assert "'nan_in_eval': Grad-CAM at layer 'features.4' gave values" in refusal(
        store, flags=flags
    )
    named = refusal(store, layers=["tiny=head"])
    assert "Grad-CAM at layer 'head' failed" in named


def test_networks_are_left_as_they_were_by_the_whole_session(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[nn.Module] = []
    original = checkpoints.load_classifier

    def keep(*arguments: Any, **more: Any) -> Any:
        classifier = original(*arguments, **more)
        classifier.train()
        loaded.append(classifier)
        return classifier

    monkeypatch.setattr(checkpoints, "load_classifier", keep)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    explain(copied, worst=1)
    assert torch.equal(torch.rand(2), expected)
    assert len(loaded) == 2
    for classifier in loaded:
        for module in classifier.modules():
            assert module.training
            assert not module._forward_hooks
            assert not module._backward_hooks
        assert all(p.requires_grad and p.grad is None for p in classifier.parameters())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read .*Remove it and run bench explain again"),
        ('{"schema": 1}', "cannot read .*x.json: "),
        ('{"schema": 2}', "has schema 2, this benchharness reads up to 1"),
        ("[]", "cannot read"),
    ],
)
def test_a_damaged_result_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / heatmaps.FOLDER).mkdir()
    (tmp_path / heatmaps.FOLDER / "x.json").write_text(content)
    with pytest.raises(BenchError, match=message) as caught:
        heatmaps.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_store_without_heat_maps_has_no_such_section(tmp_path: Path) -> None:
    assert heatmaps.read(tmp_path) == ()
    assert explanations.sections(tmp_path) == ()
