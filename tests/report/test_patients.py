"""Reports of volumes whose patients are known: every interval and test is over patients."""

from dataclasses import dataclass, replace

import numpy as np

from benchharness import report
from benchharness.report.collect import collect
from benchharness.report.scoring import conditions, scores, subjects
from benchharness.report.tables.ranking import groups, ranking
from benchharness.statistics import uncertainty
from benchharness.store.predictions import Predictions
from tests.factories import Made, store_of, whole_matrix


@dataclass(frozen=True, kw_only=True)
class Grouped(Made):
    """A cell whose volumes come six a patient, all of them right or all wrong."""

    def predictions(self) -> Predictions:
        first = Made.predictions(replace(self, n=self.n // 6))
        ids = np.asarray([f"{self.dataset}/test/{index}" for index in range(self.n)])
        patients = np.asarray([f"p{index // 6}" for index in range(self.n)])
        labels, logits = (np.repeat(part, 6, axis=0) for part in (first.labels, first.logits))
        return Predictions(ids=ids, labels=labels, logits=logits, patients=patients)


class Plain(Grouped):
    """The same volumes without their patients."""

    def predictions(self) -> Predictions:
        return replace(Grouped.predictions(self), patients=None)


def cells(kind: type[Made], n: int = 120) -> list[Made]:
    few = [
        m
        for m in whole_matrix()
        if m.perturbation in (None, "fgsm", "motion") and m.severity not in (3, 4, 5)
    ]
    draws = [replace(made, n=n) for made in few]
    fields = ("model", "dataset", "perturbation", "severity", "seed", "correct", "n")
    return [kind(**{name: getattr(made, name) for name in fields}) for made in draws]


def test_every_interval_is_wider_than_over_volumes(make_store, tmp_path):
    grouped = collect(make_store(*cells(Grouped)))
    plain = collect(_saved(tmp_path / "plain", cells(Plain)))
    for over_patients, over_volumes in zip(grouped.rows, plain.rows, strict=True):
        for metric in ("accuracy", "auc", "balanced_accuracy"):
            one = grouped.cell_scores.single(over_patients, metric)
            other = plain.cell_scores.single(over_volumes, metric)
            assert one.value == other.value
            if one.value is not None and 0 < one.value < 1:
                assert one.high - one.low > 1.5 * (other.high - other.low)
    for family in ("linf", "mr"):
        pair = []
        for findings in (grouped, plain):
            subject = subjects.subjects(findings, "adrenalmnist3d")[0]
            wanted = conditions.conditions(findings, "adrenalmnist3d", family)
            pair.append(scores.mean(findings, subject, wanted, "accuracy"))
            if family == "linf":
                worst = scores.worst_case(findings, subject, wanted, 1.0)
                known = findings is grouped
                right = 0 < worst.value < 1
                assert not right or (worst.high - worst.low > 0.2) == known
        assert pair[0].value == pair[1].value
        assert pair[0].high - pair[0].low > 1.5 * (pair[1].high - pair[1].low)


def test_models_that_differ_on_few_patients_share_a_rank(make_store, tmp_path):
    # Twenty patients, of which one model gets 18 right and the other 14: 24 volumes apart.
    models = {"better": [True] * 18 + [False] * 2, "worse": [True] * 14 + [False] * 6}
    made = {
        kind: [kind(model=name, correct=right, n=120) for name, right in models.items()]
        for kind in (Grouped, Plain)
    }
    grouped = collect(make_store(*made[Grouped]))
    plain = collect(_saved(tmp_path / "plain", made[Plain]))
    assert groups(plain, "adrenalmnist3d", "clean") == {"better": 1, "worse": 2}
    assert groups(grouped, "adrenalmnist3d", "clean") == {"better": 1, "worse": 1}
    assert "resample patients" in ranking(grouped, "adrenalmnist3d").caption
    assert "resample patients" not in ranking(plain, "adrenalmnist3d").caption


def test_a_report_is_written_and_says_so(make_store):
    store = make_store(*cells(Grouped, n=60))
    written = report.write(store)
    assert "resample patients" in written.markdown.read_text(encoding="utf-8")
    row = collect(store).rows[0]
    found = uncertainty.interval(
        "accuracy", row.predictions.labels, row.predictions.logits, row.predictions.patients
    )
    assert collect(store).cell_scores.single(row, "accuracy").low == found.low


def _saved(directory, made):

    return store_of(directory, made).directory
