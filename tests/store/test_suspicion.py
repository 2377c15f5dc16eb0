"""What failed matrix checks say of single cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store import suspicion
from benchharness.store.matrix_checks import BUDGET, MatrixCheck
from benchharness.store.records import Check
from tests.factories import record
from tests.store.test_matrix_checks import Matrix

if TYPE_CHECKING:
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import Record, Verdict


def found(name: str, verdict: Verdict, *cells: str) -> MatrixCheck:
    check = Check(name=name, verdict=verdict, reason=f"why {name}" if cells else "")
    return MatrixCheck(check=check, of="first", cells=cells)


def test_every_reason_stands_at_every_cell_that_it_concerns() -> None:
    checks = (found("a", "failed", "x", "y"), found("b", "passed"), found("c", "failed", "y"))
    assert suspicion.by_cell(checks) == {"x": ("a: why a",), "y": ("a: why a", "c: why c")}


def test_joined_reasons_are_kept_once_and_in_order() -> None:
    joined = suspicion.joined({"x": ("a", "b")}, {}, {"x": ("b", "c"), "y": ("d",)})
    assert joined == {"x": ("a", "b", "c"), "y": ("d",)}


def test_a_record_adds_its_own_doubts() -> None:
    doubt = Check(name="loss rises", verdict="failed", reason="it fell")
    own = record(certificate=(doubt,))
    assert suspicion.of_record(own, {}) == "loss rises: it fell"
    assert (
        suspicion.of_record(own, {own.identity: ("a: why a",)}) == "loss rises: it fell; a: why a"
    )
    assert suspicion.of_record(record(), {"other": ("a",)}) == ""


class Held:
    """A source that holds what a `Matrix` has."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix

    def records(self) -> dict[str, Record]:
        return {record.identity: record for record in self.matrix.records}

    def predictions(self, record: Record) -> Predictions:
        return self.matrix.predictions[record.identity]


def test_a_source_is_as_suspect_as_its_cells_make_it() -> None:
    matrix = Matrix()
    matrix.add("pgd", 2 / 255, 30)
    worse = matrix.add("pgd", 8 / 255, 60)
    found = suspicion.of_source(Held(matrix))
    assert found.keys() == {worse}
    reason, _ = found[worse]
    assert reason.startswith(f"{BUDGET}: pgd 8/255 (10 steps) leaves 60 volumes")
