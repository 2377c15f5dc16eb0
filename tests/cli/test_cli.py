"""The command line: flags arrive, mistakes are one line and exit code 2, failures exit code 1."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchharness.cli import console
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable

    Bench = Callable[..., tuple[int, str, str]]

SMALL = ("run", "--models", "tests.samples:tiny", "--device", "cpu", "--recipe", "quick")


@pytest.fixture(autouse=True)
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = dataclasses.replace(recipes.find("quick"), epochs=2, batch_size=16, learning_rate=0.01)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return samples.write_archive(tmp_path / "data.npz")


def test_run_report_and_list(bench: Bench, data: Path, tmp_path: Path) -> None:
    run = (*SMALL, "--datasets", data, "--attacks", "fgsm", "--artifacts", "bias_field")
    code, said, _ = bench(*run, "--severities", "1-2", "--eps", "8/255")
    assert code == 0
    assert "6 cells run, 0 were recorded already, 1 checkpoints trained" in said
    code, said, _ = bench(*run, "--severities", "1-2", "--eps", "8/255")
    assert "0 cells run, 6 were recorded already, 0 checkpoints trained" in said
    code, said, _ = bench("report")
    assert code == 0
    assert "tiny" in said
    assert (tmp_path / "results" / "local" / "report" / "report.html").stat().st_size > 10_000
    for kind in ("models", "datasets", "attacks", "artefacts"):
        code, said, _ = bench("list", kind)
        assert code == 0
        assert {"models": "medvit3d_t", "datasets": "medmnist3d_64 = "}.get(kind, kind[:3]) in said


def test_list_is_readable_at_80_columns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "_width", 80)
    code, said, _ = bench("list", "artefacts")
    assert code == 0
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said
    lines = said.splitlines()
    start = lines.index("motion")
    assert [line.split()[0] for line in lines[start + 1 : start + 3]] == ["group", "what"]
    assert "geometric = affine, elastic" in said


def test_list_tells_what_an_attack_costs_and_which_tasks_it_takes(bench: Bench) -> None:
    _, said, _ = bench("list", "attacks")
    lines = [line.strip() for line in said.splitlines()]
    targeted = lines[lines.index("apgd_t") : lines.index("fab")]
    assert "classes          4 or more" in targeted
    passes = "304 forward, 303 backward with 4 classes; 910 forward, 909 backward with 11"
    assert f"passes a volume  {passes}" in targeted
    single = lines[lines.index("fgsm") : lines.index("pgd")]
    assert "classes          2 or more" in single
    assert "passes a volume  1 forward, 1 backward" in single
    checks = "checks           3 forward a volume"
    assert f"{checks}; 184 forward, 16 backward for 8 volumes of a cell" in single
    assert checks in lines[lines.index("square3d") : lines.index("square3d_l2")]


@pytest.mark.usefixtures("whole_controls")
def test_dry_run_says_what_would_run_and_writes_nothing(
    bench: Bench, data: Path, tmp_path: Path
) -> None:
    run = (*SMALL, "--datasets", data, "--attacks", "pgd", "--dry-run")
    code, said, _ = bench(*run, "--verbose")
    assert code == 0
    assert said.count("to run once trained tiny · quick · data") == 6
    code, said, _ = bench(*run)
    assert "to run once trained" not in said
    # Per volume: clean 1, and twice 10 steps with 1 comparing and 3 checking passes; the control's
    # 100 steps with 7 looks and 2 more; twice the probe, with a look between its parts; and once
    # every val volume, for the thresholds. Of each attacked cell, eight volumes are watched. Twice,
    # for its cells and its controls, the network's behaviour, outputs and gradient.
    assert "6 cells to run, 1 checkpoints to train first" in said
    forward = 24 * (1 + 2 * 14 + (100 + 7 + 2 + 3) + 2 * (4 + 3 + 30 + 102 + 3)) + 24
    backward = 24 * (2 * 10 + 100 + 2 * (1 + 10))
    forward, backward = forward + 3 * 8 * 23, backward + 3 * 8 * 2
    forward, backward = forward + 2 * (30 + 59 + 680), backward + 2 * 160
    assert f"{forward:,} forward and {backward:,} backward passes" in said
    assert not (tmp_path / "results").exists()


def test_dry_run_says_time_disk_and_controls_by_model_and_dataset(
    bench: Bench, data: Path, tmp_path: Path
) -> None:
    two = ("run", "--models", "tests.samples:tiny,tests.samples:wider", "--device", "cpu")
    run = (*two, "--recipe", "quick", "--datasets", data, "--attacks", "pgd", "--seeds", "0,1")
    code, said, error = bench(*run, "--artefacts", "blur", "--severities", "1,2", "--dry-run")
    assert (code, error) == (0, "")
    rows = [line.split() for line in said.splitlines() if line.startswith((" tiny ", " wider "))]
    # Each of two seeds: clean, two budgets, two levels, a control at ε = 1 and two probes.
    assert [row[:6] for row in rows] == [
        ["tiny", "data", "16", "0", "2", "6"],
        ["wider", "data", "16", "0", "2", "6"],
    ]
    assert all(re.fullmatch(r"\d+ (s|min) [\d.]+ kB", " ".join(row[6:])) for row in rows)
    assert re.search(r"^about \d+ (s|min) on cpu, [\d.]+ kB under --out$", said, re.MULTILINE)
    assert re.search(r"^of that, 12 control cells: at most \d+ (s|min), since", said, re.MULTILINE)
    # Two levels of 24 volumes of 12³ voxels in two bytes, once for all networks.
    assert f"and {24 * 12**3 * 2 * 2 / 1000:.0f} kB in the cache" in said
    assert not (tmp_path / "results").exists()


def test_dry_run_survives_a_network_that_cannot_run(bench: Bench, data: Path) -> None:
    run = ("run", "--models", "tests.samples:tiny,tests.cli.test_cli:broken", "--device", "cpu")
    code, said, error = bench(*run, "--datasets", data, "--dry-run")
    assert (code, error) == (0, "")
    assert re.search(r"^ broken +data .* unknown", said, re.MULTILINE)
    assert "broken on data cannot be timed: RuntimeError: no forward" in said
    assert "without what cannot be timed" in said


class _Broken(torch.nn.Linear):
    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        if volumes.is_meta:
            return volumes.new_empty(len(volumes), 2)
        raise RuntimeError("no forward")


def broken(num_classes: int, in_channels: int = 1) -> torch.nn.Module:
    return _Broken(in_channels, num_classes)


def test_verbose_belongs_to_dry_run(bench: Bench, data: Path, tmp_path: Path) -> None:
    assert_refused(bench(*SMALL, "--datasets", data, "--verbose"), "Add --dry-run", tmp_path)


def test_flags_win_over_the_config_file(bench: Bench, data: Path, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(
        'models = ["tests.samples:tiny"]\nattacks = ["fgsm", "pgd"]\neps = ["1/255"]\n'
        'recipes = "quick"\n[attack.pgd]\nsteps = 3\n'
    )
    run = ("run", "--config", "bench.toml", "--datasets", data, "--eps", "4/255")
    code, _, _ = bench(*run, "--device", "cpu", "--out", "out")
    assert code == 0
    found = {
        record.cell.perturbation.name: record.cell.perturbation
        for record in Store(Path("out")).records().values()
    }
    assert found["fgsm"].severity == 4 / 255
    assert dict(found["pgd"].parameters)["steps"] == 3


def test_train_alone_makes_the_checkpoint_that_run_uses(
    bench: Bench, data: Path, tmp_path: Path
) -> None:
    train = ("train", "--models", "tests.samples:tiny", "--datasets", data, "--recipe", "quick")
    code, said, _ = bench(*train, "--device", "cpu", "--seeds", "0,1")
    assert (code, "2 checkpoints trained" in said) == (0, True)
    code, said, _ = bench(*SMALL, "--datasets", data, "--no-train", "--seeds", "0,1")
    assert "2 cells run, 0 were recorded already, 0 checkpoints trained" in said


def test_training_from_initial_weights(bench: Bench, data: Path, tmp_path: Path) -> None:
    state = {"conv.weight": torch.ones(4, 1, 3, 3, 3), "conv.bias": torch.zeros(4)}
    torch.save(state, tmp_path / "w.pth")
    train = ("train", "--models", "tests.training.test_initialisation:willing", "--datasets", data)
    train = (*train, "--recipe", "quick", "--device", "cpu", "--init", "w.pth")
    code, said, _ = bench(*train)
    assert (code, "1 checkpoints trained" in said) == (0, True)
    (card,) = (tmp_path / "results").rglob("model_card.json")
    told = json.loads(card.read_text(encoding="utf-8"))["initial_weights"]
    assert (told["file"], told["summary"]) == ("w.pth", "one convolution taken over")
    run = ("run", *train[1:], "--no-train")
    assert bench(*run)[0] == 0
    assert bench("run", *train[1:-2], "--no-train")[0] == 2


def test_explain_maps_what_was_trained(bench: Bench, data: Path, tmp_path: Path) -> None:
    one = ("--models", "tests.samples:tiny", "--datasets", data, "--recipe", "quick")
    one = (*one, "--device", "cpu")
    result = bench("explain", *one)
    assert_refused(result, "no checkpoint of tiny on data .*Train it with bench train", tmp_path)
    assert bench("run", *one)[0] == 0
    asked = ("--attack", "fgsm", "--artefact", "bias_field", "--ids", "test/3", "--limit", "6")
    code, said, error = bench("explain", *one, *asked)
    assert (code, error) == (0, "")
    assert "1 pictures beside it. bench report results/local shows them." in said
    (found,) = (tmp_path / "results" / "local" / "explanations").glob("*.json")
    (network,) = json.loads(found.read_text(encoding="utf-8"))["networks"]
    conditions = [measured["condition"] for measured in network["measured"]]
    assert conditions == ["clean", "fgsm 8/255", "bias_field level 3"]
    assert bench("report")[0] == 0
    page = (tmp_path / "results" / "local" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Heat maps: data" in page


def test_costs_prints_markdown(bench: Bench, tmp_path: Path) -> None:
    code, said, noted = bench("costs", "--models", "tests.samples:tiny", "--sizes", "16,18")
    assert code == 0
    assert said.count("| `tiny`") == 2
    assert noted == "tiny at 16³\ntiny at 18³\n"
    assert_refused(bench("costs", "--sizes", "4"), "--sizes takes whole numbers", tmp_path)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _not_an_archive(path: Path) -> None:
    path.write_text("hello")


def _pickled(path: Path) -> None:
    np.savez(path, train_images=np.asarray([{"a": 1}], dtype=object))


@pytest.mark.parametrize("damage", [_truncated, _empty, _not_an_archive, _pickled])
def test_a_damaged_archive_is_one_line(
    bench: Bench, data: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(data)
    assert_refused(bench(*SMALL, "--datasets", data), str(data.name), tmp_path)


def test_a_wrong_md5_is_one_line(bench: Bench, data: Path, tmp_path: Path) -> None:
    data.rename(tmp_path / "adrenalmnist3d.npz")
    result = bench(*SMALL, "--datasets", "adrenalmnist3d", "--data-root", tmp_path)
    assert_refused(result, "MD5", tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--eps", "1.5", "--attacks", "pgd"), r"--eps must lie in \[0, 1\].*got 1.5"),
        (("--eps", "-1/255", "--attacks", "pgd"), r"--eps must lie in \[0, 1\]"),
        (("--severities", "0-3"), "--severities takes levels 1 to 5, got '0-3'"),
        (("--severities", "6"), "--severities takes levels 1 to 5"),
        (("--limit", "0"), "--limit must be at least 1, got 0"),
        (("--batch-size", "none"), "--batch-size takes whole numbers, got 'none'"),
        (("--device", "gpu"), "unknown device 'gpu'"),
        (("--attacks", "pdg"), "unknown attack 'pdg'. Did you mean 'pgd'"),
        (("--artefacts", "motoin"), "unknown artefact 'motoin'. Did you mean 'motion'"),
        (("--no-train",), "no checkpoint of tiny on data"),
        (("--checkpoint", "tiny=nothing.pth"), "no checkpoint at nothing.pth"),
        (("--config", "missing.toml"), "cannot read config missing.toml"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(
    bench: Bench, data: Path, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    assert_refused(bench(*SMALL, "--datasets", data, *flags), message, tmp_path)


def test_an_unknown_config_key_is_one_line(bench: Bench, data: Path, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text("atacks = ['pgd']\n")
    result = bench(*SMALL, "--datasets", data, "--config", "bench.toml")
    assert_refused(result, "unknown config key 'atacks'. Did you mean 'attacks'", tmp_path)


def test_a_checkpoint_that_does_not_fit_is_one_line(
    bench: Bench, data: Path, tmp_path: Path
) -> None:
    torch.save(samples.wider(2).state_dict(), tmp_path / "wide.pth")
    result = bench(*SMALL, "--datasets", data, "--checkpoint", "tiny=wide.pth")
    assert_refused(result, "does not fit model 'tiny'.*has shape", tmp_path)


def test_an_unwritable_folder_is_one_line(bench: Bench, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, said = bench(*SMALL, "--datasets", data, "--out", "file/out")
    assert code == 2
    assert re.search(r"bench: cannot (write|read).* ", said)
    assert said.count("\n") == 1


def test_a_newer_store_is_refused(bench: Bench, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "records.jsonl").write_text('{"schema": 99}\n')
    code, _, said = bench(*SMALL, "--datasets", data, "--out", "out")
    assert code == 2
    assert "schema 99" in said
    assert "pip install --upgrade benchharness" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["records.jsonl"]


def test_a_report_of_nothing_is_one_line(bench: Bench, tmp_path: Path) -> None:
    assert_refused(bench("report", "nowhere"), "bench run", tmp_path)


def test_failures_exit_with_1_and_are_listed(bench: Bench, data: Path) -> None:
    run = list(SMALL)
    run[2] = "tests.samples:nan_in_eval"
    code, _, said = bench(*run, "--datasets", data)
    assert code == 1
    assert "1 failed:" in said
    assert "not finite" in said


def assert_refused(result: tuple[int, str, str], message: str, folder: Path) -> None:
    code, said, error = result
    assert code == 2
    assert said == ""
    assert re.search(message, error), error
    assert error.startswith("bench: ")
    assert error.count("\n") == 1
    assert not (folder / "results").exists()
