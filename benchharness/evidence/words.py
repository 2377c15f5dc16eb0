"""Numbers and findings in words, for every format of the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.evidence.verdicts import ORDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.evidence.judging import Judged, Outcome
    from benchharness.evidence.measuring import Estimate

DASH = "–"


def number(found: Estimate) -> str:
    """A value between its bounds: `0.912 [0.871, 0.941]`; a dash without a value."""
    if found.value is None:
        return DASH
    if found.low is None or found.high is None:
        return f"{found.value:.3f}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def tally(outcomes: Sequence[Outcome]) -> str:
    """How many claims are met, not met and not shown."""
    counts = [
        f"{count} {verdict}"
        for verdict in reversed(ORDER)
        if (count := sum(outcome.verdict == verdict for outcome in outcomes))
    ]
    of = "claim" if len(outcomes) == 1 else "claims"
    return f"{len(outcomes)} {of}: {', '.join(counts)}"


def reason(outcome: Outcome, one: Judged) -> str:
    """Why a verdict is what it is, in one sentence or two."""
    found, bound = one.found, outcome.claim.bound
    if found.low is None or found.high is None:
        return f"No interval: {found.gap}."
    if one.verdict == "met":
        return f"The lower bound {found.low:.3f} reaches {bound:g}."
    if one.verdict == "not met":
        return f"The upper bound {found.high:.3f} stays below {bound:g}."
    said = []
    if found.low < bound:
        said.append(f"The bounds [{found.low:.3f}, {found.high:.3f}] straddle {bound:g}.")
        if one.decides is not None:
            said.append(f"If the value stays, {one.decides} {found.unit} decide, not {found.size}.")
        elif found.high < bound:
            said.append("With several groups judged, one needs a wider interval for not met.")
    else:
        said.append(f"The lower bound {found.low:.3f} reaches {bound:g}, but it rests on doubt.")
    return " ".join(said)


def doubts(outcome: Outcome) -> list[str]:
    """What a condition lacks, and what of it must not be trusted."""
    said = []
    if missing := outcome.covered.missing:
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        said.append(f"Not measured: {', '.join(missing[:6])}{more}.")
    if suspect := outcome.covered.suspect:
        more = f" and {len(suspect) - 3} more" if len(suspect) > 3 else ""
        said.append(f"Suspect: {'; '.join(suspect[:3])}{more}.")
    return said
