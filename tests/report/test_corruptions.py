"""Corruption tables: plausible and all, n/a left out, ratios against a committed reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from benchharness import report
from benchharness.report.collect import collect
from benchharness.report.tables import corruptions, layout, results
from benchharness.statistics import metrics
from benchharness.store import reference
from benchharness.store.folder import Store
from tests.factories import Made, whole_matrix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchharness.store.records import Record

DATASET = "adrenalmnist3d"


def rewrite(store_dir: Path, change: Callable[[Record], Record]) -> Path:
    """Append a changed copy of every artefact's record; the newest of an identity counts."""
    store = Store(store_dir)
    with store.writing():
        for record in store.records().values():
            if record.cell.perturbation.kind == "artefact":
                store.append(change(record))
    return store_dir


def _judged(record: Record) -> Record:
    """Motion is plausible, ghosting a stress test, and bias_field changes nothing."""
    name = record.cell.perturbation.name
    facts = {"plausible": name == "motion"}
    if name != "bias_field":
        return replace(record, facts=facts)
    reason = f"not applicable: {name} at level {record.cell.perturbation.severity} changes no voxel"
    return replace(
        record,
        facts=facts,
        predictions=None,
        metrics=dict.fromkeys(metrics.NAMES),
        undefined=dict.fromkeys(metrics.NAMES, reason),
    )


@pytest.fixture
def store(make_store: Callable[..., Path]) -> Path:
    return rewrite(make_store(*whole_matrix()), _judged)


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store: Path) -> None:
    folder = tmp_path / "references"
    monkeypatch.setattr(reference, "folder", lambda: folder)
    reference.save(store)


def columns(table: layout.Table) -> dict[tuple[str, str], dict[str, layout.Entry]]:
    return {
        (row[0].text, row[1].text): dict(zip(table.header[2:], row[2:], strict=True))
        for row in table.rows
    }


def test_means_over_plausible_artefacts_and_over_all_say_which(
    store: Path, committed: None
) -> None:
    findings = collect(store)
    found = columns(corruptions.summary(findings, DATASET))
    assert set(found) == {
        (model, over)
        for model in ("medvit3d_n", "resnet3d_18")
        for over in ("plausible (1)", "all (2)")
    }
    assert found["resnet3d_18", "all (2)"]["mCE"].text == "1.000"
    single = columns(corruptions.by_artefact(findings, DATASET))
    for heading in ("Error", "Brier"):
        one, mean = (
            single["medvit3d_n", "motion"][heading].text,
            found["medvit3d_n", "plausible (1)"][heading].text,
        )
        assert one == mean


def test_stress_tests_and_what_does_not_apply_are_marked(store: Path, committed: None) -> None:
    findings = collect(store)
    found = columns(corruptions.by_artefact(findings, DATASET))
    assert ("medvit3d_n", "ghosting (stress test)") in found
    assert {entry.text for entry in found["medvit3d_n", "bias_field"].values()} == {"n/a"}
    severity = results.by_severity(findings, DATASET, "mr", "accuracy")
    rows = {(row[0].text, row[1].text): row for row in severity.rows}
    assert {entry.text for entry in rows["medvit3d_n", "bias_field (stress test)"][2:]} == {"n/a"}
    assert ("medvit3d_n", "plausible MR artefacts") in rows
    assert rows["medvit3d_n", "all MR artefacts"][-1].text != "n/a"
    assert any("not applicable: bias_field" in note.text for note in severity.notes)


def test_without_a_committed_reference_columns_of_ratios_are_left_out_and_one_line_says_why(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reference, "folder", lambda: tmp_path / "nothing")
    findings = collect(store)
    for table in (
        corruptions.summary(findings, DATASET),
        corruptions.by_artefact(findings, DATASET),
    ):
        assert table.header[2:] == (
            *("Error", "Balanced error", "AUC drop", "Flip rate", "ECE", "Brier"),
        )
        assert table.caption.count("bench reference") == 1
        assert "no reference of resnet3d_18" in table.caption
        assert not any("no reference" in note.text for note in table.notes)
    found = columns(corruptions.summary(findings, DATASET))["medvit3d_n", "all (2)"]
    assert float(found["Error"].text) > 0
    written = pd.read_csv(report.write(store, tmp_path / "out").csv.with_name("corruption.csv"))
    assert written["ce"].isna().all()
    assert written["undefined"].str.contains("no reference").any()


def test_with_a_reference_its_columns_are_there_and_no_line_asks_for_one(
    store: Path, committed: None
) -> None:
    table = corruptions.by_artefact(collect(store), DATASET)
    assert table.header[2:6] == ("CE", "Relative CE", "Balanced CE", "Relative balanced CE")
    assert "bench reference" not in table.caption


def test_the_report_has_the_table_in_every_form_and_the_sheet(
    store: Path, committed: None, tmp_path: Path
) -> None:
    written = report.write(store, tmp_path / "out")
    for path in (written.html, written.markdown):
        text = path.read_text(encoding="utf-8")
        assert "Corruption measures of adrenalmnist3d" in text
        assert "stress test" in text
    assert "data:image/png;base64" in written.html.read_text(encoding="utf-8")
    assert "](pictures/artefacts.png)" in written.markdown.read_text(encoding="utf-8")
    assert (tmp_path / "out" / "pictures" / "artefacts.png").stat().st_size > 10_000
    lines = pd.read_csv(tmp_path / "out" / "corruption.csv")
    means = lines[lines["artefacts"].str.startswith("mean over")]
    assert set(means["artefacts"]) == {"mean over plausible", "mean over all"}
    own = lines[(lines["model"] == "resnet3d_18") & (lines["artefacts"] == "motion")]
    assert own["ce"].item() == pytest.approx(1)
    cells = pd.read_csv(written.csv)
    assert cells["not_applicable"].notna().sum() == 10


def test_each_training_seed_has_its_own_line(make_store: Callable[..., Path]) -> None:
    made = [
        Made(seed=seed, perturbation=name, severity=level)
        for seed in (0, 1)
        for name, level in ((None, None), ("motion", 1), ("motion", 2))
    ]
    table = corruptions.summary(collect(make_store(*made)), DATASET)
    assert {row[0].text for row in table.rows} == {"resnet3d_18, seed 0", "resnet3d_18, seed 1"}
