"""From `bench run` to the report: norms needed, transfer matrix, parts of a cascade, envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchharness import report
from benchharness.report.collect import collect
from benchharness.report.scoring import subjects
from benchharness.report.scoring.norms import needed
from benchharness.report.tables import cascades, results, transfer
from benchharness.report.tables import norms as norms_table
from benchharness.statistics import metrics
from benchharness.store.cells import TRANSFER_FAMILY
from tests import attacked

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.tables.layout import Table

MODELS = ("honest", "other")
WEAK, STRONG = 8 / 255, 20 / 255
COUNT = 24


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    trained = attacked.save_task(folder, {"train": 8, "val": 8, "test": 48})
    attacked.run(
        trained,
        folder / "out",
        MODELS,
        {
            "autoattack3d": {"steps": 6, "queries": 30},
            "deepfool": {"steps": 10},
            "pgd": {"steps": 5},
        },
        attacks="pgd,autoattack3d,transfer,deepfool",
        eps="8/255,20/255",
        limit=COUNT,
    )
    return folder / "out"


@pytest.fixture(scope="module")
def findings(store: Path) -> Findings:
    return collect(store)


@pytest.fixture(scope="module")
def dataset(findings: Findings) -> str:
    (name,) = findings.datasets
    return name


def rows_of(findings: Findings, attack: str, severity: float) -> dict[str, Row]:
    return {
        row.model: row
        for row in findings.rows
        if row.record.cell.perturbation.name == attack and row.severity == severity
    }


def right(row: Row) -> np.ndarray:
    assert row.predictions is not None
    return metrics.correct(row.predictions.labels, row.predictions.logits)


def texts(table: Table) -> list[list[str]]:
    return [[entry.text for entry in row] for row in table.rows]


def test_the_norm_needed_has_its_median_and_its_curve(findings: Findings, dataset: str) -> None:
    (row,) = (r for m, r in rows_of(findings, "deepfool", STRONG).items() if m == "honest")
    assert row.predictions is not None
    norms = row.predictions.extra["minimal_norm"]
    line = texts(norms_table.table(findings, dataset, "l2"))[0]
    assert line[:2] == ["honest", "deepfool"]
    assert line[2].split(" [")[0] == f"{np.median(norms) * 255:.2f}"
    (found,) = needed(findings, subjects.together(findings, dataset, "honest"), "deepfool")
    curve = found.robust_accuracy(np.asarray([0.0, WEAK, STRONG]))
    # The curve is the accuracy that a cell at this budget has.
    for place, severity in ((1, WEAK), (2, STRONG)):
        accuracy = right(rows_of(findings, "deepfool", severity)["honest"]).mean()
        assert curve[place] == pytest.approx(accuracy)
    assert (np.diff(curve) <= 0).all()
    assert curve[0] > curve[2]


def test_the_transfer_matrix_is_source_by_target(findings: Findings, dataset: str) -> None:
    weak, strong = transfer.matrices(findings, dataset)
    assert weak.title.startswith("Transfer at 8/255")
    assert strong.header == ("Evaluated", "transfer from honest", "transfer from other")
    by_pair = {
        (row.model, row.record.cell.perturbation.source.model.name): right(row).mean()
        for row in findings.rows
        if row.family == TRANSFER_FAMILY and row.severity == STRONG
    }
    assert len(by_pair) == 4
    for line in texts(strong):
        for source, text in zip(MODELS, line[1:], strict=True):
            assert text.split(" [")[0] == f"{by_pair[line[0], source]:.3f}"


def test_the_parts_of_a_cascade_account_for_every_volume(findings: Findings, dataset: str) -> None:
    (table,) = cascades.tables(findings, dataset, "linf")
    parts = ("apgd_ce", "apgd_t", "fab", "square3d")
    assert table.header[3:] == ("Wrong when clean", *parts, "Unbroken")
    assert len(table.rows) == 4
    for line in texts(table):
        model, condition, protocol, *counts = line
        assert protocol == "standard (altered)"
        numbers = [int(count) for count in counts]
        assert sum(numbers) == COUNT
        severity = {"autoattack3d 8/255": WEAK, "autoattack3d 20/255": STRONG}[condition]
        assert numbers[-1] == right(rows_of(findings, "autoattack3d", severity)[model]).sum()
    assert sum(int(line[4]) for line in texts(table)) > 0, "the first part broke nothing"


def test_a_family_without_a_cascade_has_no_such_table(findings: Findings, dataset: str) -> None:
    assert list(cascades.tables(findings, dataset, "l2")) == []


def test_the_cascade_is_never_weaker_and_the_worst_case_is_below_all(
    findings: Findings, dataset: str
) -> None:
    lines = {
        (line[0], line[1]): line[2:] for line in texts(results.attacks(findings, dataset, "linf"))
    }
    for model in MODELS:
        worst, whole, pgd = (
            [float(text.split(" [")[0]) for text in lines[model, attack]]
            for attack in ("worst case", "autoattack3d", "pgd")
        )
        assert worst[0] >= worst[1]
        assert all(w <= min(a, p) for w, a, p in zip(worst, whole, pgd, strict=True))


def test_the_page_shows_it_all(store: Path, tmp_path: Path) -> None:
    written = report.write(store, tmp_path)
    names = {path.stem for path in written.plots}
    assert any(name.startswith("norms_") for name in names)
    for page in (written.markdown, written.html):
        text = page.read_text(encoding="utf-8")
        for wanted in ("Norm needed", "Transfer at 20/255", "What each part", "worst case"):
            assert wanted in text, wanted
