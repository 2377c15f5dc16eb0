"""Networks that were fine-tuned on few labels of a target, beside those from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS, Score
from benchharness.report.scoring import scores
from benchharness.report.scoring.carried import OWN_LABELS, arms, counts, fine_tuned
from benchharness.report.tables.gains import Pair, gains
from benchharness.report.tables.layout import Line, score_table
from benchharness.store.carried import NO_CORRESPONDENCE
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.carried import Stand
    from benchharness.report.tables.layout import Table

_LAST = "With shots the last epoch is kept and none is chosen, unless a row says so."
_SCRATCH = "scratch"
_CHOSEN = {"target_val": "target val", "its_val": "its val"}


def tables(findings: Findings, target: str, name: str, stands: Sequence[Stand]) -> Iterator[Table]:
    """What few labels give, and its gain over training from scratch with as many.

    Args:
        findings: Of the store.
        target: The dataset that is judged.
        name: Of the model, without its source.
        stands: Of that model on the target.
    """
    found = fine_tuned(stands)
    if not found:
        return
    yield _few(findings, target, name, found)
    if compared := [*_compared(found)]:
        yield gains(
            findings,
            f"Against scratch on {target}: {name}",
            ("Weights from", "Recipe there", "Shots", "Against"),
            compared,
            kind="sources",
            said=_differing(found),
        )


def _few(findings: Findings, target: str, name: str, few: Sequence[Stand]) -> Table:
    shots = counts(few)
    lines = [
        Line(
            names=(arm, recipe, _CHOSEN.get(select, "last epoch")),
            fields=tuple(
                scores.single(findings, own[count].subject, CLEAN_FAMILY, metric)
                if count in own
                else Score(gap="not run")
                for metric in ("auc", "accuracy")
                for count in shots
            ),
        )
        for (arm, recipe, select), own in arms(few).items()
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


def _compared(few: Sequence[Stand]) -> Iterator[Pair]:
    """Every arm and whom it is compared with: from scratch, else the network of its own labels."""
    found = arms(few)
    base: dict[int | str, Stand] = {}
    for bound in (OWN_LABELS, _SCRATCH):
        for (arm, *_), own in found.items():
            base |= own if arm == bound else {}
    for (arm, recipe, _), own in found.items():
        for count in counts(few):
            if arm not in (OWN_LABELS, _SCRATCH) and count in own and count in base:
                other = base[count]
                names = (arm, recipe, count, other.arm)
                yield Pair(names=names, new=own[count].subject, base=other.subject)
