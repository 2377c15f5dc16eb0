"""Networks that were fine-tuned on few labels of a target, beside those from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS, Score
from benchharness.report.scoring import scores
from benchharness.report.scoring.carried import (
    FROM_SCRATCH,
    OWN_LABELS,
    arms,
    counts,
    differing,
    fine_tuned,
)
from benchharness.report.tables.gains import Pair, gains
from benchharness.report.tables.layout import Line, score_table
from benchharness.store.cells import CLEAN_FAMILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.carried import Stand
    from benchharness.report.tables.layout import Table

_LAST = "With shots the last epoch is kept and none is chosen, unless a row says so."
_WAY = ("Weights from", "Source's recipe", "Chosen on")


def tables(findings: Findings, target: str, name: str, stands: Sequence[Stand]) -> Iterator[Table]:
    """What few labels give, and the gain over training on these labels alone.

    Args:
        findings: Of the store.
        target: The dataset that is judged.
        name: Of the model, without its source.
        stands: Of that model on the target.
    """
    found = fine_tuned(stands)
    if found:
        yield _few(findings, target, name, found)
        yield from gains(
            findings,
            f"What other data gains on {target}: {name}",
            (*_WAY, "Shots", "Over"),
            _compared(found),
            kind="sources",
            said=f" With the same labels: over training from scratch; with all of them over its "
            f"own labels where these were not measured from scratch.{differing(found)}",
        )


def _few(findings: Findings, target: str, name: str, few: Sequence[Stand]) -> Table:
    shots = counts(few)
    lines = [
        Line(
            names=way,
            fields=tuple(
                scores.single(findings, own[count].subject, CLEAN_FAMILY, metric)
                if count in own
                else Score(gap=_gap(way[0], few))
                for metric in ("auc", "accuracy")
                for count in shots
            ),
        )
        for way, own in arms(few).items()
    ]
    trained = dict.fromkeys(one.last for one in few if one.carried is not None)
    return score_table(
        f"Few labels of {target}: {name}",
        (
            *_WAY,
            *(f"AUC, {count}" for count in shots),
            *(f"Accuracy, {count}" for count in shots),
        ),
        lines,
        caption=f"After training on so many labelled volumes by {', '.join(trained)}. {_LAST}"
        f"{differing(few)} {INTERVALS}",
        kinds=("sources",),
    )


def _gap(arm: str, few: Sequence[Stand]) -> str:
    """Why a number is missing."""
    if arm.startswith(OWN_LABELS):
        return "it has all labels"
    if arm.startswith(FROM_SCRATCH) and any(one.carried is None for one in few):
        return "not run, or the weights of its own labels, which are measured once"
    return "not run"


def _compared(few: Sequence[Stand]) -> Iterator[Pair]:
    """Every arm and whom it is compared with: from scratch, else the network of all labels."""
    for new in few:
        if new.source in (OWN_LABELS, FROM_SCRATCH):
            continue
        for base in _bases(new, few):
            kind = base.arm if base.source == FROM_SCRATCH else f"{base.arm}, {base.recipe}"
            yield Pair(names=(*new.way, new.shots, kind), new=new.subject, base=base.subject)


def _bases(new: Stand, few: Sequence[Stand]) -> list[Stand]:
    same = [one for one in few if one.shots == new.shots]
    scratch = [one for one in same if one.source == FROM_SCRATCH and one.chosen == new.chosen]
    return scratch or [one for one in same if one.carried is None and one.recipe == new.recipe]
