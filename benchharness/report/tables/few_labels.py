"""Networks that were fine-tuned on few labels of a target, beside those from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS, Score
from benchharness.report.scoring import scores
from benchharness.report.scoring.carried import OWN_LABELS, arms, counts
from benchharness.report.tables.gains import gains
from benchharness.report.tables.layout import Line, score_table
from benchharness.store.carried import NO_CORRESPONDENCE
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.carried import Stand
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.tables.layout import Table

_LAST = "With shots the last epoch is kept and none is chosen, unless a row says so."
_SCRATCH = "scratch"


def tables(findings: Findings, target: str, name: str, stands: Sequence[Stand]) -> Iterator[Table]:
    """What few labels give, and its gain over training from scratch with as many.

    Args:
        findings: Of the store.
        target: The dataset that is judged.
        name: Of the model, without its source.
        stands: Of that model on the target.
    """
    few = [one for one in stands if one.carried is not None and one.carried.shots]
    if not few:
        return
    own = [one for one in stands if one.carried is None]
    yield _few(findings, target, name, few, own)
    if compared := [*_compared(few, own)]:
        yield gains(
            findings,
            f"Against scratch on {target}: {name}",
            ("Weights from", "Recipe there", "Shots", "Against"),
            compared,
            said=_differing(few),
        )


def _few(
    findings: Findings, target: str, name: str, few: Sequence[Stand], own: Sequence[Stand]
) -> Table:
    shots = counts(few)
    found = [
        ((arm, recipe, "target val" if select == "target_val" else "last epoch"), by_count)
        for (arm, recipe, select), by_count in arms(few).items()
    ]
    if "all" in shots:
        found += [((OWN_LABELS, one.recipe, "its val"), {"all": one}) for one in own]
    lines = [
        Line(
            names=names,
            fields=tuple(
                scores.single(findings, by_count[count].subject, CLEAN_FAMILY, metric)
                if count in by_count
                else Score(gap="not run")
                for metric in ("auc", "accuracy")
                for count in shots
            ),
        )
        for names, by_count in found
    ]
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


def _compared(
    few: Sequence[Stand], own: Sequence[Stand]
) -> Iterator[tuple[tuple[object, ...], Subject, Subject]]:
    """Every arm and whom it is compared with: from scratch, else the network of all labels."""
    found = arms(few)
    base: dict[int | str, Stand] = {}
    if own:
        base["all"] = own[0]
    for (arm, *_), by_count in found.items():
        if arm == _SCRATCH:
            base |= by_count
    for (arm, recipe, _), by_count in found.items():
        for count in counts(few):
            if arm != _SCRATCH and count in by_count and count in base:
                other = base[count]
                yield (arm, recipe, count, other.arm), by_count[count].subject, other.subject
