"""Shares of a plan: disjoint, whole together, balanced, and joined equal to a run of all of it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchharness import api, ci, comparison
from benchharness.errors import BenchError
from benchharness.run import config, cutting, runner, subjects
from benchharness.run.parity import checking
from benchharness.run.planning import plan
from benchharness.run.shards import MOST, Shard, deal
from benchharness.store import merging, outlines, upkeep
from benchharness.store.cells import CLEAN, describe
from benchharness.store.folder import Store
from benchharness.training import recipes
from tests import samples
from tests.factories import store_of, tiny
from tests.run.test_progress import display

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchharness.run.config import RunConfig
    from benchharness.run.planning import Job, Plan
    from benchharness.store.cells import Cell

COSTS = st.lists(st.integers(1, 10**15), max_size=40)


@settings(deadline=None, max_examples=200)
@given(whole=COSTS, loose=COSTS, count=st.integers(1, 50))
def test_every_unit_has_one_share_and_shares_are_balanced(
    whole: list[int], loose: list[int], count: int
) -> None:
    of_whole, of_loose = deal(whole, loose, count)
    assert (len(of_whole), len(of_loose)) == (len(whole), len(loose))
    assert set(of_whole) | set(of_loose) <= set(range(count))
    alone, loads = [0] * count, [0] * count
    for costs, shares in ((whole, of_whole), (loose, of_loose)):
        for cost, share in zip(costs, shares, strict=True):
            loads[share] += cost
            alone[share] += cost if costs is whole else 0
    assert max(alone) <= Fraction(sum(whole), count) + max(whole, default=0)
    level = max(Fraction(sum(loads), count), *map(Fraction, alone)) if loose else Fraction(0)
    for load, own in zip(loads, alone, strict=True):
        assert load == own or load <= level + max(loose, default=0)


@settings(deadline=None, max_examples=100)
@given(loose=COSTS, count=st.integers(1, 50))
def test_loose_units_alone_are_even_to_one_of_them_and_neighbours_stay_together(
    loose: list[int], count: int
) -> None:
    _, shares = deal([], loose, count)
    assert shares == sorted(shares)
    loads = Counter[int]()
    for cost, share in zip(loose, shares, strict=True):
        loads[share] += cost
    for share in range(count):
        assert abs(loads[share] - Fraction(sum(loose), count)) <= max(loose, default=0)


def test_shares_known_by_hand() -> None:
    assert deal([5, 3, 3, 1], [], 2) == ([0, 1, 1, 0], [])
    assert deal([], [1] * 6, 3) == ([], [0, 0, 1, 1, 2, 2])
    # The level is 4: the first share has it already, the second has room for one, the third for 4.
    assert deal([4, 3], [1] * 5, 3) == ([0, 1], [1, 2, 2, 2, 2])
    assert deal([10], [1, 1], 3) == ([0], [1, 2])
    # The most expensive first, and a unit goes where most of it lies.
    assert deal([1, 1, 2], [], 2) == ([1, 1, 0], [])
    assert deal([], [1, 3], 2) == ([], [0, 1])
    assert deal([], [], 4) == ([], [])


@pytest.mark.parametrize(
    "text",
    [
        *("3", "a/b", "-1/3", "1.5/2", "1/", "/3", "1/2/3", "", " ", "1e3/2", "٣/٤", "1 / 3"),
        *("9" * 5000, "1/" + "9" * 30, 3, 0.5, True, [1, 3], None, {"a": 1}),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_what_is_no_share_is_refused_in_one_line(text: object) -> None:
    with pytest.raises(BenchError, match=r"^--shard takes K/N, such as 3/16 .* got .{1,50}\.$"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0/3", "of 3 shares the first is 1/3 and the last 3/3, got 0/3"),
        ("4/3", "of 3 shares the first is 1/3 and the last 3/3, got 4/3"),
        ("1/0", f"divides by 1 to {MOST} shares, got 0"),
        ("0/0", f"divides by 1 to {MOST} shares, got 0"),
        (f"1/{MOST + 1}", f"divides by 1 to {MOST} shares, got {MOST + 1}"),
    ],
)
def test_a_share_that_is_not_there_is_refused_in_one_line(
    bench: Callable[..., tuple[int, str, str]], text: str, says: str
) -> None:
    code, said, error = bench("run", "--models", "tests.samples:tiny", "--shard", text)
    assert (code, said, error.count("\n")) == (2, "", 1)
    assert says in error


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize("text", ["3", "a/b", "-1/3", "1.5/2", "1/" + "9" * 400])
def test_the_command_line_refuses_them_with_exit_code_2(
    bench: Callable[..., tuple[int, str, str]], command: str, text: str
) -> None:
    code, said, error = bench(command, "--models", "tests.samples:tiny", f"--shard={text}")
    assert (code, said, error.count("\n")) == (2, "", 1)
    assert "--shard takes K/N" in error


# Plans.

FLAGS: dict[str, Any] = {
    "models": "tests.samples:tiny,tests.samples:wider",
    "attacks": "fgsm,pgd",
    "eps": "2/255,1",
    "artefacts": "bias_field",
    "severities": "1,5",
    "seeds": "0,1",
    "recipes": "quick",
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = dataclasses.replace(recipes.find("quick"), epochs=3, batch_size=8, learning_rate=0.01)
    monkeypatch.setitem(recipes.RECIPES, "quick", quick)


@pytest.fixture(autouse=True)
def counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, int | None] = {}
    original = cutting.flops_of_pass

    def flops(job: Job) -> int | None:
        name = (job.source or job.weights).model.name
        if name not in known:
            known[name] = original(job)
        return known[name]

    monkeypatch.setattr(cutting, "flops_of_pass", flops)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return samples.write_archive(tmp_path / "data.npz")


def made(data: Path, out: Path, **flags: Any) -> RunConfig:
    return config.load(None, FLAGS | {"datasets": str(data), "out": out} | flags)


def shares(asked: RunConfig, count: int, *, trainings: bool = False) -> list[Plan]:
    planned = plan(asked)
    found = []
    for number in range(1, count + 1):
        shard = Shard(number=number, count=count)
        if trainings:
            found.append(cutting.cut_trainings(planned, shard))
        else:
            found.append(cutting.cut_cells(planned, shard, bound=asked.train))
    return found


def kept(plans: Sequence[Plan]) -> list[Cell]:
    return [cell for one in plans for cell in one.cells]


WAYS: dict[str, dict[str, Any]] = {
    "cells follow trainings": {},
    "transfers": {"attacks": "fgsm,transfer"},
    "accuracy only": {"accuracy_only": True},
}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("flags", WAYS.values(), ids=WAYS)
def test_all_shares_together_are_the_plan_and_no_cell_is_in_two(
    data: Path, tmp_path: Path, flags: dict[str, Any], count: int
) -> None:
    whole = made(data, tmp_path / "out", **flags)
    cells = kept(shares(whole, count))
    assert Counter(cells) == Counter(plan(whole).cells)
    assert len(set(cells)) == len(cells)


def test_one_of_one_is_the_whole_plan(data: Path, tmp_path: Path) -> None:
    whole = made(data, tmp_path / "out")
    (only,) = shares(whole, 1)
    assert only.cells == plan(whole).cells
    assert [job.weights for job in only.jobs] == [job.weights for job in plan(whole).jobs]


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_a_network_is_trained_by_one_share_which_has_all_its_cells(
    data: Path, tmp_path: Path, count: int
) -> None:
    for flags in ({}, {"accuracy_only": True}):
        plans = shares(made(data, tmp_path / "out", **flags), count)
        places = [{job.weights.path for job in one.jobs} for one in plans]
        assert sum(map(len, places)) == len(set().union(*places)) == 4
        assert sum(map(bool, places)) == min(count, 4)


def test_transfers_keep_the_trainings_of_both_networks_in_one_share(
    data: Path, tmp_path: Path
) -> None:
    plans = shares(made(data, tmp_path / "out", attacks="transfer"), 3)
    # Two seeds of two networks: only networks of one seed meet.
    assert [len({job.weights.seed for job in one.jobs}) for one in plans] == [1, 1, 0]


def test_trainings_are_divided_by_their_cost(data: Path, tmp_path: Path) -> None:
    whole = made(data, tmp_path / "out", attacks="transfer")
    plans = shares(whole, 4, trainings=True)
    assert [len(one.jobs) for one in plans] == [1, 1, 1, 1]
    paths = {job.weights.path for one in plans for job in one.jobs}
    assert paths == {job.weights.path for job in plan(whole).jobs}
    assert not any(job.source for one in plans for job in one.jobs)
    # Two shares: each has one of the two cheaper ones.
    sizes = [
        sorted(job.weights.model.name for job in one.jobs)
        for one in shares(whole, 2, trainings=True)
    ]
    assert sizes == [["tiny", "wider"]] * 2


def _trained(data: Path, tmp_path: Path, **flags: Any) -> Path:
    """A store of every checkpoint and nothing else."""
    weights = tmp_path / "weights"
    runner.train(made(data, weights, **flags), display()[0])
    return weights


def test_with_the_checkpoints_of_another_store_single_cells_are_divided(
    data: Path, tmp_path: Path
) -> None:
    weights = _trained(data, tmp_path, models="tests.samples:tiny", seeds="0")
    flags = {"models": "tests.samples:tiny", "seeds": "0", "train": False}
    with pytest.raises(BenchError, match=r"no checkpoint of tiny on data .* in \S+out\."):
        plan(made(data, tmp_path / "out", **flags))
    with pytest.raises(BenchError, match=r"no checkpoint of tiny .* in \S+out or \S+weights\."):
        plan(made(data, tmp_path / "out", **(flags | {"seeds": "7"}), checkpoints_from=weights))
    with pytest.raises(BenchError, match=r"^--checkpoints-from \S+nothing has no checkpoints\."):
        plan(made(data, tmp_path / "out", **flags, checkpoints_from=tmp_path / "nothing"))
    whole = made(data, tmp_path / "out", **flags, checkpoints_from=weights)
    cells = plan(whole).cells
    assert not any(cell.pending for cell in cells)
    for count in (2, 3, 5, len(cells) + 2):
        plans = shares(whole, count)
        assert Counter(kept(plans)) == Counter(cells)
        assert all(one.jobs for one in plans) == (count <= 3)
    costs = {}
    for one in plans:
        (text,) = [note for note in one.notes if note.startswith("share ")]
        costs[text.split()[1][:-1]] = float(text.split(", ")[1].split("%")[0])
    assert sum(costs.values()) == pytest.approx(100, abs=1)


def test_accuracy_only_keeps_what_rests_on_the_clean_cell_beside_it(
    data: Path, tmp_path: Path
) -> None:
    flags = {"models": "tests.samples:tiny", "seeds": "0"}
    weights = _trained(data, tmp_path, **flags)
    whole = made(
        data, tmp_path / "out", **flags, train=False, accuracy_only=True, checkpoints_from=weights
    )
    plans = shares(whole, 40)
    assert Counter(kept(plans)) == Counter(plan(whole).cells)
    with_clean = [one for one in plans if CLEAN in {c.perturbation for c in one.cells}]
    assert len(with_clean) == 1
    names = Counter(cell.perturbation.name for cell in with_clean[0].cells)
    assert (names["fgsm"], names["pgd"]) == (2, 2)
    assert not {"fgsm", "pgd"} & {
        c.perturbation.name for one in plans if one is not with_clean[0] for c in one.cells
    }


def test_shares_do_not_move_when_cells_and_checkpoints_are_there_already(
    data: Path, tmp_path: Path
) -> None:
    asked = made(data, tmp_path / "out")

    def found() -> list[list[str]]:
        cells = [list(map(describe, one.cells)) for one in shares(asked, 3)]
        trained = shares(asked, 3, trainings=True)
        return [*cells, *([str(job.weights.path) for job in one.jobs] for one in trained)]

    before = found()
    some = {"models": "tests.samples:wider", "attacks": "fgsm", "artefacts": None}
    runner.run(made(data, tmp_path / "out", **some), display()[0])
    assert not all(cell.pending for cell in plan(asked).cells)
    assert found() == before


def test_a_network_whose_operations_cannot_be_counted_has_its_share(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = cutting.flops_of_pass
    monkeypatch.setattr(
        cutting,
        "flops_of_pass",
        lambda job: None if job.weights.model.name == "tiny" else original(job),
    )
    whole = made(data, tmp_path / "out")
    assert Counter(kept(shares(whole, 3))) == Counter(plan(whole).cells)
    monkeypatch.setattr(cutting, "flops_of_pass", lambda _: None)
    assert Counter(kept(shares(whole, 3))) == Counter(plan(whole).cells)


def test_uneven_shares_say_what_to_do(data: Path, tmp_path: Path) -> None:
    uneven = shares(made(data, tmp_path / "out", seeds="0"), 5)
    assert all("these shares are uneven" in one.notes[-1] for one in uneven)
    assert [len(one.cells) for one in uneven[2:]] == [0, 0, 0]
    even = shares(made(data, tmp_path / "out"), 2)
    assert not any("uneven" in note for one in even for note in one.notes)


# Runs.

FEW = {"attacks": "fgsm", "eps": "2/255", "severities": "5"}


def same(one: Path, other: Path) -> bool:
    """Whether two stores hold the same cells with the same numbers, to the bit."""
    first, second = Store(one).records(), Store(other).records()
    assert first.keys() == second.keys()
    for identity, record in first.items():
        twin = second[identity]
        assert (record.metrics, record.status, record.certificate, record.cell) == (
            twin.metrics,
            twin.status,
            twin.certificate,
            twin.cell,
        )
        assert record.predictions == twin.predictions  # By SHA-256.
    return True


@pytest.fixture
def whole(data: Path, tmp_path: Path) -> Path:
    """A run of everything in one store."""
    out = tmp_path / "whole"
    runner.run(made(data, out, **FEW), display()[0])
    return out


def _run_shares(data: Path, tmp_path: Path, count: int, **flags: Any) -> list[Path]:
    places = [tmp_path / f"share-{number}" for number in range(1, count + 1)]
    for number, out in enumerate(places, start=1):
        runner.run(made(data, out, shard=f"{number}/{count}", **flags), display()[0])
    return places


def test_three_shares_joined_equal_the_whole_run(data: Path, tmp_path: Path, whole: Path) -> None:
    places = _run_shares(data, tmp_path, 3, **FEW)
    joined = tmp_path / "joined"
    merged = merging.merge(places, joined)
    assert (merged.differing, merged.skipped, merged.absent) == ((), (), ())
    assert (merged.added, merged.checkpoints) == (len(Store(whole).records()), 4)
    assert same(joined, whole)
    assert upkeep.verify(joined).problems == ()
    assert upkeep.verify(joined).checkpoints == 4
    # A share again runs nothing and is the same share.
    again = runner.run(made(data, places[0], shard="1/3", **FEW), display()[0])
    assert (again.evaluated, again.recorded) == (0, len(Store(places[0]).records()))


def test_trainings_then_cells_in_shares_equal_the_whole_run(
    data: Path, tmp_path: Path, whole: Path
) -> None:
    places = [tmp_path / f"trained-{number}" for number in range(1, 6)]
    for number, out in enumerate(places, start=1):
        shown, said = display()
        summary = runner.train(made(data, out, shard=f"{number}/5"), shown)
        assert summary.trained == (number <= 4)
        assert f"share {number}/5: {int(number <= 4)} of 4 trainings" in said.getvalue()
    weights = tmp_path / "weights"
    first = merging.merge(places[1:], weights)
    assert first.checkpoints == 3
    (absent,) = first.absent
    assert (absent.of, absent.shares) == (4, ("1/5 (1 of 1)",))
    assert absent.names[0].startswith("training ")
    assert merging.merge([places[0]], weights).absent == ()
    shared = _run_shares(data, tmp_path, 3, train=False, checkpoints_from=weights, **FEW)
    assert not any((place / "checkpoints").exists() for place in shared)
    merged = merging.merge([weights, *shared], tmp_path / "joined")
    assert (merged.absent, merged.checkpoints) == ((), 4)
    assert same(tmp_path / "joined", whole)


def test_a_merge_names_the_cells_of_a_share_that_is_missing(
    data: Path, tmp_path: Path, bench: Callable[..., tuple[int, str, str]]
) -> None:
    flags = {"models": "tests.samples:tiny", "attacks": None, "artefacts": "bias_field,gamma"}
    flags |= {"severities": "1-5"}
    places = _run_shares(data, tmp_path, 2, **flags)
    code, said, _ = bench("records", "merge", places[0], "--out", tmp_path / "joined")
    assert code == 0
    assert "absent: 11 of 22 of a plan in shares, of share 2/2 (11 of 11)." in said
    assert "  tiny · quick · data · clean · seed 1\n" in said
    assert "  and 1 more\n" in said
    code, said, _ = bench("records", "merge", places[1], "--out", tmp_path / "joined")
    assert (code, "absent" in said) == (0, False)
    # The joined store says so itself, without its shares.
    code, said, _ = bench("records", "merge", tmp_path / "joined", "--out", tmp_path / "copy")
    assert (code, "absent" in said) == (0, False)


def test_a_share_without_a_cell_is_merged_and_a_folder_that_is_none_refused(
    data: Path, tmp_path: Path
) -> None:
    flags = {"models": "tests.samples:tiny", "attacks": None, "artefacts": None, "seeds": "0"}
    places = _run_shares(data, tmp_path, 2, **flags)
    assert not Store(places[1]).records()
    merged = merging.merge(places, tmp_path / "joined")
    assert (merged.records, merged.absent) == (1, ())
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "nowhere", tmp_path / ("n" * 300)):
        with pytest.raises(BenchError):
            merging.merge([places[0], wrong], tmp_path / "joined")


@pytest.mark.parametrize(
    "content",
    [
        *("", "\x00", "[]", "{}", '{"shares": "2", "work": []}', '{"shares": true, "work": []}'),
        '{"shares": 2, "work": [["k", 3, "n"]]}',
        '{"shares": 2, "work": [["k", 1]]}',
        '{"shares": 2, "work": [["k", 1.0, "n"]]}',
        '{"shares": 2, "work": [[1, 1, "n"]]}',
    ],
)
def test_a_damaged_outline_stops_a_merge_before_it_begins(
    data: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / "share" / "plans").mkdir(parents=True)
    (tmp_path / "share" / "plans" / "x.json").write_text(content)
    with pytest.raises(BenchError, match=r"^\S+x\.json is no outline of a plan\. Remove it"):
        merging.merge([tmp_path / "share"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_a_link_out_of_a_share_is_no_outline(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "share" / "plans").mkdir(parents=True)
    (tmp_path / "share" / "plans" / "x.json").symlink_to(tmp_path / "secret.json")
    assert list(outlines.files(tmp_path / "share")) == []


def test_a_merge_copies_passed_checks(tmp_path: Path) -> None:
    one = store_of(tmp_path / "one", [tiny()]).directory
    (one / "parity").mkdir()
    (one / "parity" / "0123.json").write_text("{}")
    merging.merge([one], tmp_path / "joined")
    assert (tmp_path / "joined" / "parity" / "0123.json").read_text() == "{}"


def test_commands_that_have_no_use_for_a_share_refuse_it(data: Path, tmp_path: Path) -> None:
    asked = made(data, tmp_path / "out", shard="1/2")
    shown, _ = display()
    with pytest.raises(BenchError, match=r"^bench ci takes no shard, .* 1/2\. .*bench compare"):
        ci.run(asked, tmp_path / "base", comparison.Settings(), shown)
    with pytest.raises(BenchError, match=r"^bench explain takes no shard, .* take shard out"):
        subjects.subjects(asked)
    with pytest.raises(BenchError, match=r"^bench check takes no shard, .* take shard out"):
        checking.check(asked, "accuracy=0.5")
    assert not (tmp_path / "out").exists()


def test_a_python_call_trains_its_share_alone(data: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"recipes": "quick", "progress": False, "device": "cpu"}
    names = ["tests.samples:tiny", "tests.samples:wider"]
    trained = [
        api.train(names, data, out=tmp_path / "out", shard=f"{k}/2", **settings) for k in (1, 2)
    ]
    assert [len(share) for share in trained] == [1, 1]
    assert trained[0][0].path != trained[1][0].path
