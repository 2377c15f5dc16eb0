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
    from benchharness.store.carried import Carried

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
        if one.carried is not None and not one.shots
    )
    for name, recipe in networks:
        zero = {target: _zero(own, name, recipe) for target, own in targets.items()}
        zero = {target: own for target, own in zero.items() if any(one.carried for one in own)}
        yield _matrix(findings, zero, name, recipe)
        for target, found in zero.items():
            yield from _against_none(findings, target, name, recipe, found)
    for target, own in targets.items():
        for name in dict.fromkeys(one.name for one in own):
            same = [one for one in own if one.name == name]
            yield from few_labels.tables(findings, target, name, same)
        yield from between_networks.tables(findings, target, own)


def _zero(own: Sequence[Stand], name: str, recipe: str) -> list[Stand]:
    """A network without labels of the target, and with all of them last."""
    found = [
        one
        for one in own
        if (one.name, one.recipe) == (name, recipe) and (one.carried is None or not one.shots)
    ]
    return sorted(found, key=lambda one: one.carried is None)


def _matrix(findings: Findings, zero: dict[str, list[Stand]], name: str, recipe: str) -> Table:
    """A network's zero-shot numbers on every target, between its bounds."""
    everyone = sorted(
        (one for own in zero.values() for one in own), key=lambda one: one.carried is None
    )
    lines = []
    for row in dict.fromkeys(map(_row, everyone)):
        fields: list[Score] = []
        for own in zero.values():
            stand = next((one for one in own if _row(one) == row), None)
            fields += _fields(findings, None if stand is None else stand.subject)
        lines.append(Line(names=row, fields=tuple(fields)))
    header = [f"{metric}, {target}" for target in zero for metric in ("AUC", "Accuracy", "PR-AUC")]
    prevalence = ", ".join(
        f"{target} {share:.3f}"
        for target, own in zero.items()
        if (share := _prevalence(findings, own)) is not None
    )
    return score_table(
        f"Sources and targets: {name}, {recipe}",
        ("Trained on", "Adapted by", "Chosen on", *header),
        lines,
        caption=f"Clean volumes of each target's test split. {_read(everyone)} Chance gives a "
        f"PR-AUC of the prevalence: {prevalence or 'unknown'}. {INTERVALS} PR-AUC has none.",
        kinds=("sources",),
    )


def _row(stand: Stand) -> tuple[str, str, str]:
    if stand.carried is None:
        return (stand.arm, "", stand.chosen)
    return (stand.source + stand.variant, stand.carried.adapt, stand.chosen)


def _read(everyone: Sequence[Stand]) -> str:
    """Which labels were read for what."""
    selections = dict.fromkeys(one.carried.select for one in everyone if one.carried is not None)
    bounded = any(one.carried is None for one in everyone)
    learned = (
        f"No row but {OWN_LABELS} learned from a label of the target."
        if bounded
        else "No row learned from a label of the target."
    )
    return " ".join([learned, *(_CHOSEN[select] for select in selections)])


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
    findings: Findings, target: str, name: str, recipe: str, zero: Sequence[Stand]
) -> Iterator[Table]:
    """Every method, and the target's own labels, against the source's weights as they are."""
    yield from gains(
        findings,
        f"Against no adaptation on {target}: {name}, {recipe}",
        ("Trained on", "Adapted by", "Chosen on", "Over"),
        [
            Pair(
                names=(*_row(new), f"{base.arm} by none, {base.chosen}"),
                new=new.subject,
                base=base.subject,
            )
            for base in zero
            if base.carried is not None and base.carried.adapt == "none"
            for new in zero
            if new.carried is None or _adapted(new.carried, base.carried)
        ],
        kind="sources",
    )


def _adapted(new: Carried, base: Carried) -> bool:
    """Whether both differ by the method alone."""
    return new.adapt != "none" and (new.source, new.select) == (base.source, base.select)
