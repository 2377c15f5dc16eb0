"""Every number of the zoo is right, marked or refused on the way from `bench run` to the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from benchharness import report
from benchharness.report.collect import collect
from tests import attacked
from tests.masking.judging import faults, truths
from tests.masking.measure import measure
from tests.masking.train import arrays
from tests.masking.truth import BUDGETS, network_of, right
from tests.masking.zoo import ZOO

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

ONE_OF_EACH = (
    "sine_1e5",
    "flipped_slices",
    "sigmoid",
    "quantised_32",
    "hash_noise",
    "batch_statistics",
    "on_requires_grad",
    "counting",
    "detached",
    "staircase",
    "neighbours",
    "vote",
    "base",
    "log_softmax",
)
"""A member of each kind, for the default suite."""


REGISTRY = (
    "medvit3d_n",
    "medvit3d_cbam",
    "medvit3d_t",
    "medvit3d_s",
    "medvit3d_l",
    "resnet3d_18",
    "resnet3d_34",
    "resnet3d_50",
    "densenet3d_121",
    "medmnist_resnet3d_18",
)
FALSE_ALARMS = ("constant",)
"""Honest networks that are marked all the same, as docs/masking.md says."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_member_of_each_kind_is_right_or_marked(name: str) -> None:
    budget = list(BUDGETS)[-1:]
    assert faults(measure(ZOO[name], suites=("pgd alone",), budgets=budget)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_every_number_of_the_zoo_is_right_or_marked_and_no_honest_network_is(name: str) -> None:
    found = faults(measure(ZOO[name]))
    assert bool(found) == (name in FALSE_ALARMS), found


def test_the_page_shows_every_network() -> None:
    page = (ROOT / "docs" / "masking.md").read_text(encoding="utf-8")
    assert {name for name in ZOO if page.count(f"\n| `{name}` |") != 2} == set()
    trained = [f"{name} (quick on phantom3d)" for name in REGISTRY]
    trained.append("medvit3d_n (adv_pgd on phantom3d)")
    assert [name for name in trained if page.count(f"\n| `{name}` |") != 2] == []


def test_the_subset_has_a_member_of_each_kind() -> None:
    assert {ZOO[name].kind for name in ONE_OF_EACH} == {member.kind for member in ZOO.values()}


def test_the_zoo_is_as_large_as_it_says() -> None:
    rules = [member.rule for member in ZOO.values()]
    assert rules.count("masked") >= 60
    assert rules.count("honest") >= 20


def test_the_truth_is_known_of_every_member_and_maskings_would_mislead() -> None:
    known = truths()
    assert set(known) == set(ZOO)
    middle, end = BUDGETS
    assert known["base"][""] >= 0.9, "train it: python -m tests.masking.train"
    assert 0.3 < known["base"][middle] < 0.8
    assert known["base"][end] < 0.1


@pytest.mark.parametrize(
    "name", ["base", "sine_1e5", "flipped_slices", "softmax", "half_underflow"]
)
def test_a_masking_answers_clean_volumes_as_its_twin_does(name: str) -> None:
    volumes, labels = arrays("test")
    twin = right(ZOO["base"], volumes, labels)
    assert torch.equal(right(ZOO[name], volumes, labels), twin)
    assert set(network_of(ZOO[name]).state_dict()) == set(network_of(ZOO["base"]).state_dict())


def test_a_mark_reaches_the_report(tmp_path: Path) -> None:
    task = attacked.save_task(tmp_path, {"train": 8, "val": 8, "test": 16})
    flags = {"attacks": "pgd", "eps": "16/255", "outputs": "probabilities"}
    attacked.run(task, tmp_path / "out", ("softmaxed",), {}, **flags)
    written = report.write(tmp_path / "out")
    markdown = written.markdown.read_text(encoding="utf-8")
    assert "Suspect, not ranked" in markdown
    assert "output is logits, not from probabilities" in markdown


@pytest.mark.parametrize(("store", "controls"), [("quickstart", 2), ("attacks", 6)])
def test_no_trained_network_of_a_committed_store_is_suspect(store: str, controls: int) -> None:
    findings = collect(ROOT / "results" / store)
    assert [row.suspicion for row in (*findings.rows, *findings.controls) if row.suspicion] == []
    verdicts = [c.check.verdict for c in findings.checks if c.check.name == "breaks at ε = 1"]
    assert verdicts == ["passed"] * controls


def test_in_the_committed_attacks_the_cascade_is_never_weaker_than_a_part() -> None:
    findings = collect(ROOT / "results" / "attacks")
    places = {(row.dataset, row.model, row.severity) for row in findings.rows if row.severity}
    assert len(places) == 3 * 2 * 2
    for place in places:
        left = {
            row.record.cell.perturbation.name: row.record.metrics["accuracy"]
            for row in findings.rows
            if (row.dataset, row.model, row.severity) == place and row.family == "linf"
        }
        cascade = left.pop("autoattack3d")
        assert cascade <= min(left.values())
        assert {"pgd", "square3d"} <= set(left)
