"""What was trained on one dataset and judged on another: sources × targets, methods, few labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.rows import pairs
from benchharness.report.cells.score import INTERVALS, Score
from benchharness.report.scoring import scores
from benchharness.report.scoring.carried import OWN_LABELS, any_carried, clean, stands
from benchharness.report.tables import between_networks, few_labels
from benchharness.report.tables.gains import Pair, gains
from benchharness.report.tables.layout import Line, score_table
from benchharness.statistics.precision_recall import average_precision
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.carried import Stand
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.tables.layout import Table

_CHOSEN = {
    "source_val": "Weights were chosen on the source's val split.",
    "target_val": "Weights marked so were chosen on the target's val split: its labels were read.",
}


def tables(findings: Findings) -> Iterator[Table]:
    """All of them, where a store has cells that were carried."""
    if not any_carried(findings):
        return
    targets = {name: stands(findings, name) for name in findings.datasets}
    targets = {name: own for name, own in targets.items() if any(one.carried for one in own)}
    networks = dict.fromkeys(
        (one.name, one.recipe)
        for own in targets.values()
        for one in own
        if one.carried is not None and not one.carried.shots
    )
    for name, recipe in networks:
        yield _matrix(findings, targets, name, recipe)
        for target, own in targets.items():
            yield from _against_none(findings, target, name, recipe, own)
    for target, own in targets.items():
        for name in dict.fromkeys(one.name for one in own):
            same = [one for one in own if one.name == name]
            yield from few_labels.tables(findings, target, name, same)
        yield from between_networks.tables(findings, target, own)


def _matrix(
    findings: Findings, targets: dict[str, tuple[Stand, ...]], name: str, recipe: str
) -> Table:
    """A network's zero-shot numbers on every target, between its bounds."""
    own = {
        target: [
            one
            for one in found
            if (one.name, one.recipe) == (name, recipe)
            and (one.carried is None or not one.carried.shots)
        ]
        for target, found in targets.items()
    }
    rows = dict.fromkeys(_row(one) for found in own.values() for one in found)
    bound = (OWN_LABELS, "", "its val")
    lines = []
    for row in (*(row for row in rows if row != bound), *([bound] if bound in rows else [])):
        fields: list[Score] = []
        for found in own.values():
            stand = next((one for one in found if _row(one) == row), None)
            fields += _fields(findings, None if stand is None else stand.subject)
        lines.append(Line(names=row, fields=tuple(fields)))
    header = [f"{metric}, {target}" for target in own for metric in ("AUC", "Accuracy", "PR-AUC")]
    prevalence = ", ".join(
        f"{target} {share:.3f}"
        for target, found in own.items()
        if (share := _prevalence(findings, found)) is not None
    )
    return score_table(
        f"Sources and targets: {name}, {recipe}",
        ("Trained on", "Adapted by", "Chosen on", *header),
        lines,
        caption="Clean volumes of each target's test split. No label of the target was read by the "
        f"rows above the last, the bounds being no adaptation and {OWN_LABELS}. "
        f"{_selection([one for found in own.values() for one in found])} Chance gives a PR-AUC of "
        f"the prevalence: {prevalence or 'unknown'}. {INTERVALS}",
        kinds=("sources",),
    )


def _row(stand: Stand) -> tuple[str, str, str]:
    found = stand.carried
    if found is None:
        return (OWN_LABELS, "", "its val")
    chosen = "target val" if found.select == "target_val" else "source val"
    return (found.source, found.adapt, chosen)


def _selection(own: Sequence[Stand]) -> str:
    known = dict.fromkeys(one.carried.select for one in own if one.carried is not None)
    return " ".join(_CHOSEN[select] for select in known)


def _fields(findings: Findings, subject: Subject | None) -> list[Score]:
    if subject is None:
        return [Score(gap="not run")] * 3
    found = [scores.single(findings, subject, CLEAN_FAMILY, m) for m in ("auc", "accuracy")]
    return [*found, _precision(findings, subject)]


def _precision(findings: Findings, subject: Subject) -> Score:
    """Average precision, the mean over training seeds; it carries no interval."""
    rows = clean(findings, subject)
    values = [average_precision(labels, logits) for labels, logits in pairs(rows)]
    known = [value[0] for value in values if value is not None]
    if not known or len(known) < len(subject.seeds):
        return Score(gap="a seed failed, or a class has no volume")
    return Score(value=sum(known) / len(known))


def _prevalence(findings: Findings, own: Sequence[Stand]) -> float | None:
    """What chance gives on a target."""
    for stand in own:
        for labels, logits in pairs(clean(findings, stand.subject)):
            found = average_precision(labels, logits)
            return None if found is None else found[1]
    return None


def _against_none(
    findings: Findings, target: str, name: str, recipe: str, found: Sequence[Stand]
) -> Iterator[Table]:
    """Every method, and the target's own labels, against the source's weights as they are."""
    own = [one for one in found if (one.name, one.recipe) == (name, recipe)]
    zero = {_row(one): one.subject for one in own if one.carried is None or not one.carried.shots}
    compared = [
        Pair(names=(*row[:2], f"{source}, none"), new=subject, base=base)
        for (source, adapt, select), base in zero.items()
        if adapt == "none"
        for row, subject in zero.items()
        if row[0] == OWN_LABELS or (row[0] == source and row[1] != "none" and row[2] == select)
    ]
    if compared:
        yield gains(
            findings,
            f"Against no adaptation on {target}: {name}, {recipe}",
            ("Trained on", "Adapted by", "Against"),
            compared,
            kind="sources",
        )
