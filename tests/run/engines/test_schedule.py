"""Which worker does what next, without processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchharness.run.engines.schedule import Place, Schedule, Todo, Training

if TYPE_CHECKING:
    from collections.abc import Iterable


def todo(*cells: int) -> dict[int, Todo]:
    return {cell: Todo() for cell in cells}


def schedule(
    *needs: Iterable[str], several: bool = True, starts: dict[str, str] | None = None
) -> Schedule:
    return Schedule(needs, trainings_first=several, starts=starts)


def cell(job: int, place: int) -> Place:
    return Place(job=job, cell=place)


def finish(made: Schedule, worker: int) -> Any:
    """End what a worker does, and begin its next step."""
    made.settled(worker)
    return made.next(worker)


def test_one_worker_takes_the_jobs_in_their_order_each_after_its_training() -> None:
    made = schedule("a", "b", [], several=False)
    made.open(2, todo(0))
    assert made.next(0) == Training(key="a")
    made.settled(0)
    made.open(0, todo(1, 0))
    assert [made.next(0), finish(made, 0)] == [cell(0, 0), cell(0, 1)]
    assert finish(made, 0) == Training(key="b")
    made.settled(0)
    made.open(1, todo(0))
    assert [made.next(0), finish(made, 0), finish(made, 0)] == [cell(1, 0), cell(2, 0), None]


def test_several_workers_train_first_and_cells_begin_while_another_network_trains() -> None:
    made = schedule("a", "b", [])
    made.open(2, todo(0, 1))
    assert [made.next(0), made.next(1)] == [Training(key="a"), Training(key="b")]
    assert made.next(2) == cell(2, 0)
    made.settled(0)
    made.open(0, todo(0))
    assert made.next(0) == cell(0, 0)


def test_a_training_waits_for_what_it_starts_from() -> None:
    made = schedule(["clean", "robust"], ["other"], [], starts={"robust": "clean"})
    made.open(2, todo(0))
    assert [made.next(0), made.next(1)] == [Training(key="clean"), Training(key="other")]
    assert made.next(2) == cell(2, 0)  # meanwhile it measures
    made.settled(2)
    assert made.next(2) is None
    made.lost(0, again=True)
    assert made.next(2) == Training(key="clean")
    assert made.next(0) is None
    made.settled(2)
    assert made.next(0) == Training(key="robust")


def test_one_worker_trains_first_what_a_training_starts_from() -> None:
    made = schedule(["robust", "clean"], several=False, starts={"robust": "clean"})
    assert [made.next(0), finish(made, 0), finish(made, 0)] == [
        Training(key="clean"),
        Training(key="robust"),
        None,
    ]


def test_a_training_that_two_jobs_need_is_begun_once() -> None:
    made = schedule("a", ["a", "b"])
    assert [made.next(0), made.next(1), made.next(2)] == [
        Training(key="a"),
        Training(key="b"),
        None,
    ]


def test_a_worker_keeps_its_job_and_an_idle_one_helps_the_longest() -> None:
    made = schedule([], [])
    made.open(0, todo(*range(3)))
    made.open(1, todo(*range(5)))
    assert [made.next(0), made.next(1), made.next(2)] == [cell(0, 0), cell(1, 0), cell(1, 1)]
    assert [finish(made, 0), finish(made, 1)] == [cell(0, 1), cell(1, 2)]
    assert [finish(made, 0), finish(made, 0)] == [cell(0, 2), cell(1, 3)]


def test_a_cell_waits_for_those_that_it_rests_on() -> None:
    made = schedule([])
    made.open(0, {0: Todo(), 1: Todo(rests_on=frozenset({0})), 2: Todo(rests_on=frozenset({0, 1}))})
    assert [made.next(0), made.next(1)] == [cell(0, 0), None]
    assert finish(made, 0) == cell(0, 1)
    assert made.next(1) is None
    assert finish(made, 0) == cell(0, 2)


def test_what_rests_on_recorded_cells_waits_for_nothing() -> None:
    made = schedule([])
    made.open(0, {2: Todo(rests_on=frozenset({0, 1}))})
    assert made.next(0) == cell(0, 2)


def test_two_workers_do_not_wait_for_the_same_corrupted_volumes() -> None:
    made = schedule([], [])
    shared = {place: Todo(shares=f"set {place}") for place in range(2)}
    made.open(0, shared)
    made.open(1, shared)
    assert [made.next(0), made.next(1)] == [cell(0, 0), cell(1, 1)]
    assert made.next(2) == cell(0, 1)  # rather than nothing


def test_the_step_of_a_dead_worker_goes_back_or_is_given_up() -> None:
    made = schedule("a", [])
    made.open(1, todo(0, 1))
    assert [made.next(0), made.next(1)] == [Training(key="a"), cell(1, 0)]
    made.lost(0, again=True)
    made.lost(1, again=True)
    assert [made.next(1), made.next(0)] == [Training(key="a"), cell(1, 0)]
    made.lost(0, again=False)
    assert [made.next(0), finish(made, 0)] == [cell(1, 1), None]


def test_nothing_begins_after_a_stop_or_in_a_job_that_is_dropped() -> None:
    made = schedule("a", [], [])
    made.open(1, todo(0, 1))
    made.open(2, todo(0, 1, 2))
    assert made.next(0) == Training(key="a")
    assert made.next(1) == cell(1, 0)
    assert made.drop(1) == [1]
    assert len(list(made.waiting())) == 3
    assert made.stop() == 3
    assert list(made.waiting()) == []
    assert [finish(made, 0), finish(made, 1), made.next(2)] == [None] * 3
