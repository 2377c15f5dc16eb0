"""One estimate of the time left, from what was done so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchharness.run import config, estimate, planning
from benchharness.run.engines.schedule import Place, Training
from benchharness.run.remaining import Remaining
from tests import samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.planning import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Clean and two noises of 24 volumes for each of two networks, which are to be trained."""
    models = "tests.samples:tiny,tests.samples:wider"
    return planned(tmp_path, models, attacks="noise_sign,square3d", eps="8/255")


def planned(tmp_path: Path, models: str, **asked: str) -> Plan:
    data = str(samples.write_archive(tmp_path / "data.npz"))
    fixed = {"models": models, "datasets": data, "recipes": "quick", "out": tmp_path / "out"}
    return planning.plan(config.load(None, {**fixed, **asked}))


def remaining(plan: Plan, workers: int) -> Remaining:
    trainings = {job.weights.path: (job.weights, job.dataset) for job in plan.jobs}
    made = Remaining(plan, workers, trainings)
    made.expect(*(Training(key=key) for key in trainings))
    made.expect(*(Place(job=j, cell=c) for j, job in enumerate(plan.jobs) for c in (0, 1, 2)))
    return made


def test_nobody_knows_before_anything_is_done(plan: Plan) -> None:
    assert remaining(plan, 2).seconds([]) is None
    assert remaining(plan, 2).of(Place(job=0, cell=0)) is None


def test_the_pace_of_the_same_work_counts_before_that_of_other_work(plan: Plan) -> None:
    made = remaining(plan, 1)
    clean, noise, square = (Place(job=0, cell=cell) for cell in range(3))
    made.done(clean, 10.0)
    assert made.of(clean) == pytest.approx(10)
    by_network = made.of(square)
    assert by_network is not None
    assert by_network > 100  # many passes, each as long as the clean cell's
    made.done(square, 5.0)  # it ended early
    assert made.of(square) == pytest.approx(5)
    # Another network: any work but that of an attack that may end early.
    assert made.of(Place(job=1, cell=0)) == pytest.approx(10)
    made.done(Place(job=1, cell=0), 40.0)
    assert made.of(Place(job=1, cell=0)) == pytest.approx(40)
    noise_of = made.of(noise)
    assert noise_of is not None
    assert noise_of > 0


def test_workers_share_what_is_left_but_nothing_ends_before_its_longest_piece(plan: Plan) -> None:
    for workers in (1, 2, 100):
        made = Remaining(plan, workers, {})
        places = [Place(job=j, cell=0) for j in (0, 1)]
        made.expect(*places)
        made.done(places[0], 10.0)
        made.done(places[1], 10.0)
        expected = {1: 50.0, 2: 30.0, 100: 30.0}[workers]
        assert made.seconds([30.0]) == pytest.approx(expected)
        assert made.seconds([None]) is None


def test_what_has_begun_or_is_given_up_is_not_waited_for(plan: Plan) -> None:
    made = Remaining(plan, 1, {})
    places = [Place(job=0, cell=0), Place(job=1, cell=0)]
    made.expect(*places)
    for place in places:
        made.done(place, 10.0)
    made.forget(places[0])
    assert made.seconds([]) == pytest.approx(10)
    made.stop()
    assert made.seconds([4.0]) == pytest.approx(4)


def test_trainings_count_by_their_epochs_and_volumes(plan: Plan) -> None:
    made = remaining(plan, 1)
    keys = [Training(key=job.weights.path) for job in plan.jobs]
    made.done(keys[0], 60.0)
    assert made.of(keys[1]) == pytest.approx(60)


def test_attacks_that_may_end_early_tell_of_others_only_where_nothing_else_does(plan: Plan) -> None:
    made = remaining(plan, 1)
    square, clean = Place(job=0, cell=2), Place(job=0, cell=0)
    made.done(square, 5.0)
    by_early = made.of(clean)
    assert by_early is not None
    made.done(Place(job=1, cell=0), 40.0)
    assert made.of(clean) == pytest.approx(40)
    assert by_early < 1


def test_the_first_attack_that_follows_a_gradient_has_the_watching_of_its_network(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, "tests.samples:tiny", attacks="noise_sign,pgd", eps="4/255,8/255")
    made = Remaining(plan, 1, {})
    job = plan.jobs[0]
    names = [cell.perturbation.name for cell in job.cells]
    first, second = (place for place, name in enumerate(names) if name == "pgd")
    own = estimate.passes_of(job.cells[second], job, plan)
    watching = estimate.once(job, job.cells, plan)
    share = 1 + (watching.forward + watching.backward) / (own.forward + own.backward)
    made.done(Place(job=0, cell=second), 1.0)
    assert made.of(Place(job=0, cell=first)) == pytest.approx(share)
    assert share > 1.1
