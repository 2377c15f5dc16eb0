"""The pipeline of the committed tables: stages, what is missing, and the page made of records."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchharness.run import runner
from benchharness.run.config import load
from benchharness.run.progress import Display
from benchharness.store import baseline
from benchharness.store.folder import Store
from benchharness.store.merging import merge
from tests import samples
from tests.factories import Made, store_of
from tests.results import __main__ as command
from tests.results import page
from tests.results.missing import missing, table
from tests.results.stages import CONFIG, QUESTIONS, configs, stages

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.config import RunConfig


def test_each_question_is_asked_of_one_training_seed_before_the_others() -> None:
    asked = [name for name, file, _ in stages() if file in QUESTIONS]
    assert asked == sorted(asked, key=lambda name: name.partition(", seeds ")[2])
    assert len(asked) == 2 * len(QUESTIONS) > 0
    names = [name for name, *_ in stages()]
    assert names[: len(asked)] == asked
    assert len(set(names)) == len(names)


def test_the_stages_after_the_questions_are_the_whole_matrix_small_networks_first() -> None:
    found = [config for _, config in configs()][2 * len(QUESTIONS) :]
    whole = load(CONFIG, {})
    small = [one for one in found if set(one.models) <= set(whole.models)]
    assert found[: len(small)] == small
    for key in ("datasets", "attacks", "seeds", "models"):
        assert {item for one in small for item in getattr(one, key)} == set(getattr(whole, key))
    assert all(one.recipes == whole.recipes for one in found)
    assert all(one.artefacts == ("all",) for one in found)


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, RunConfig]]:
    """One stage that was run, one that adds an attack, and one whose data is absent."""
    folder = tmp_path_factory.mktemp("stages")
    data = samples.write_archive(folder / "data.npz")
    own = {
        "models": "tests.samples:tiny",
        "datasets": str(data),
        "device": "cpu",
        "out": folder / "out",
        "limit": 4,
        "recipes": "quick",
        "eps": "8/255",
    }
    made = [
        ("first", load(None, own | {"attacks": "fgsm"})),
        ("second", load(None, own | {"attacks": "fgsm,pgd"})),
        ("third", load(None, own | {"datasets": str(folder / "absent.npz")})),
    ]
    assert not runner.run(made[0][1], Display(Console(file=io.StringIO()))).failures
    return made


def test_what_is_missing_is_counted_once_and_costed_from_what_was_measured(
    two_stages: list[tuple[str, RunConfig]],
) -> None:
    first, second, third = missing(two_stages)
    assert (first.missing, first.trainings, first.seconds) == (0, 0, 0.0)
    assert first.cells > 1
    assert (second.cells, second.missing) == (1, 1)
    assert second.seconds is not None
    assert second.seconds > 0
    assert "absent.npz" in third.why
    said = table([first, second, third])
    assert f"1 of {first.cells + 1} cells are missing." in said
    assert "| third | – | – | – | cannot be planned:" in said


def test_records_without_weights_count_as_measured_and_are_no_reason_to_train(
    two_stages: list[tuple[str, RunConfig]], tmp_path: Path
) -> None:
    packed, clone = tmp_path / "records.zip", tmp_path / "clone"
    baseline.save(Store(two_stages[0][1].out), packed)
    merge([packed], clone)
    first, second = missing(
        (name, dataclasses.replace(config, out=clone)) for name, config in two_stages[:2]
    )
    assert (first.missing, first.trainings, first.seconds) == (0, 0, 0.0)
    assert (second.missing, second.trainings) == (1, 1)


def test_a_fresh_clone_begins_with_the_packed_records_and_passes_over_complete_stages(
    two_stages: list[tuple[str, RunConfig]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    packed, clone = tmp_path / "records.zip", tmp_path / "clone"
    baseline.save(Store(two_stages[0][1].out), packed)
    here = [(name, dataclasses.replace(config, out=clone)) for name, config in two_stages]
    for name, value in (("PACKED", packed), ("HOME", clone), ("configs", lambda: here)):
        monkeypatch.setattr(command, name, value)
    monkeypatch.setattr("sys.argv", ["results", "run"])
    command.main()
    said = capsys.readouterr().out
    assert "stage: first: complete" in said
    assert "stage: second: 1 of " in said
    assert "absent.npz" in said
    assert not next(missing(here[1:])).missing


def test_a_store_without_records_has_an_unknown_cost(
    two_stages: list[tuple[str, RunConfig]], tmp_path: Path
) -> None:
    (stage,) = missing([("empty", dataclasses.replace(two_stages[0][1], out=tmp_path))])
    assert (stage.missing, stage.trainings, stage.seconds) == (stage.cells, 1, None)


def made(folder: Path) -> Path:
    cells = []
    for model, correct in (("resnet3d_18", 0.95), ("medvit3d_n", 0.6)):
        for recipe, robust in (("quick", 0.1), ("adv_pgd", 0.7)):
            own = {"model": model, "recipe": recipe, "n": 200}
            cells.append(Made(correct=correct, **own))
            cells.append(Made(correct=robust, perturbation="pgd", severity=4 / 255, **own))
    packed = folder / "records.zip"
    baseline.save(store_of(folder / "store", cells), packed)
    return packed


def test_the_page_is_made_of_the_packed_records(tmp_path: Path) -> None:
    packed = made(tmp_path)
    text = page.render(packed)
    assert "## adrenalmnist3d" in text
    for row in ("| resnet3d_18 · adv_pgd | 33.20", "| ResNet-18 + ACS | 0.839 |"):
        assert row in " ".join(text.split())
    assert (
        "- L∞ attacks: not told from the best: `medvit3d_n · adv_pgd`, `resnet3d_18 · adv_pgd`; "
        "worse than the best of them: `medvit3d_n · quick`, `resnet3d_18 · quick`."
    ) in text
    assert "--recipes adv_pgd --datasets adrenalmnist3d --seeds 0" in page.checkpoints(packed)
    assert text == page.render(packed)
    page.draw(packed, tmp_path / "plots")
    (picture,) = (tmp_path / "plots").iterdir()
    assert f"(../results/medmnist3d/plots/{picture.name})" in text


def test_a_page_is_begun_and_then_only_changed_between_its_markers(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    page.write(path, "first", blank="# Title\n")
    path.write_text(path.read_text() + "\nFindings in words.\n")
    page.write(path, "second", blank="# Other\n")
    assert path.read_text() == (
        f"# Title\n\n{page.START}\n\nsecond\n\n{page.END}\n\nFindings in words.\n"
    )
