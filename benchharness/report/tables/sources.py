"""What was trained on one dataset and judged on another: sources × targets, and few labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness import statistics
from benchharness.report.cells.rows import pairs, patients
from benchharness.report.cells.score import INTERVALS, Score
from benchharness.report.scoring import scores
from benchharness.report.scoring.carried import OWN_LABELS, any_carried, clean, stands
from benchharness.report.tables.layout import Line, score_table, text_table
from benchharness.statistics import uncertainty
from benchharness.statistics.precision_recall import average_precision
from benchharness.store.carried import NO_CORRESPONDENCE, SCRATCH
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
_LAST = "With shots the last epoch is kept and none is chosen, unless a row says so."
_ALPHA = 0.05


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
        for name in dict.fromkeys(one.name for one in own):
            few = [one for one in own if one.name == name and one.carried and one.carried.shots]
            if few:
                yield _few(findings, target, name, few)
                if any(_is_scratch(one) for one in few) and not all(map(_is_scratch, few)):
                    yield _against_scratch(findings, target, name, few)


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


def _is_scratch(stand: Stand) -> bool:
    return stand.carried is not None and stand.carried.source == SCRATCH


def arms(few: Sequence[Stand]) -> dict[tuple[str, str, str], dict[int | str, Stand]]:
    """The stands of every (arm, recipe, selection) by the number of shots."""
    found: dict[tuple[str, str, str], dict[int | str, Stand]] = {}
    for stand in few:
        assert stand.carried is not None
        key = (stand.arm, stand.recipe, stand.carried.select)
        found.setdefault(key, {})[stand.carried.shots] = stand
    return found


def counts(few: Sequence[Stand]) -> list[int | str]:
    """The numbers of shots, ascending, all last."""
    found = {stand.carried.shots for stand in few if stand.carried is not None}
    return sorted(found, key=lambda shots: (isinstance(shots, str), shots))


def _few(findings: Findings, target: str, name: str, few: Sequence[Stand]) -> Table:
    shots = counts(few)
    lines = []
    for (arm, recipe, select), own in arms(few).items():
        fields = [
            scores.single(findings, own[count].subject, CLEAN_FAMILY, metric)
            if count in own
            else Score(gap="not run")
            for metric in ("auc", "accuracy")
            for count in shots
        ]
        chosen = "target val" if select == "target_val" else "last epoch"
        lines.append(Line(names=(arm, recipe, chosen), fields=tuple(fields)))
    return score_table(
        f"Few labels of {target}: {name}",
        (
            "Weights from",
            "Recipe there",
            "Chosen on",
            *(f"AUC, {count}" for count in shots),
            *(f"Accuracy, {count}" for count in shots),
        ),
        lines,
        caption=f"After fine-tuning on so many labelled volumes. {_LAST}{_differing(few)} "
        f"{INTERVALS}",
        kinds=("sources",),
    )


def _differing(few: Sequence[Stand]) -> str:
    """What must be said where labels of a source and the target differ."""
    names = {one.carried.source for one in few if one.carried is not None and one.carried.differ}
    if not names:
        return ""
    return f" {', '.join(sorted(names))}: {NO_CORRESPONDENCE}."


def _against_scratch(findings: Findings, target: str, name: str, few: Sequence[Stand]) -> Table:
    """Every arm against training from scratch with as many labels: paired, adjusted by Holm."""
    base = next(own for (arm, *_), own in arms(few).items() if arm == "scratch")
    found = []
    for (arm, recipe, _), own in arms(few).items():
        for count in counts(few):
            if arm != "scratch" and count in own and count in base:
                for metric in ("auc", "accuracy"):
                    test = _compared(findings, own[count].subject, base[count].subject, metric)
                    if test is not None:
                        found.append(((arm, recipe, count, metric), test))
    adjusted = statistics.holm([test.p_value for _, test in found])
    return text_table(
        f"Against scratch on {target}: {name}",
        ("Weights from", "Recipe there", "Shots", "Metric", "Gain", "95 % interval", "p (Holm)"),
        [
            (
                *names,
                f"{test.difference:+.3f}",
                f"[{test.interval.low:+.3f}, {test.interval.high:+.3f}]",
                p_value,
            )
            for (names, test), p_value in zip(found, adjusted, strict=True)
        ],
        caption="Paired over the test volumes, by a bootstrap of the mean over the training seeds "
        f"that both have; adjusted over all rows of this table, α = {_ALPHA}.{_differing(few)}",
        kinds=("sources",),
    )


def _compared(
    findings: Findings, new: Subject, base: Subject, metric: str
) -> statistics.Comparison | None:
    """None where they share no training seed, or the metric is undefined."""
    of = [{row.seed: row for row in clean(findings, subject)} for subject in (new, base)]
    seeds = [seed for seed in of[0] if seed in of[1]]
    own, other = ([rows[seed] for seed in seeds] for rows in of)
    if not seeds or any(metric in row.record.undefined for row in (*own, *other)):
        return None
    return uncertainty.paired_bootstrap(metric, pairs(own), pairs(other), patients(own))
