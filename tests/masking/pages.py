"""What was measured, as Markdown."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tests.masking.judging import (
    AT_BOUND,
    LOWER_BOUND,
    excess,
    failed_checks,
    is_false_alarm,
    is_wrong,
    judged,
    truths,
    worst,
)
from tests.masking.measure import SUITES
from tests.masking.truth import BUDGETS
from tests.masking.zoo import ZOO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.masking.measure import Measured, Seen


def render(found: Sequence[Measured]) -> str:
    """All tables: counts, checks, members, and the value of each check for each network."""
    zoo = [one for one in found if one.name in ZOO]
    parts = (
        "### Detections and false alarms",
        _counts(found),
        "### The checks",
        _checks(found),
        "### The members",
        _members([one for one in zoo if ZOO[one.name].rule != "honest"]),
        "### The honest networks",
        _honest([one for one in found if _is_honest(one)]),
        "### Every value",
        _values(found),
    )
    return "\n\n".join(parts)


def _is_honest(one: Measured) -> bool:
    return one.name not in ZOO or ZOO[one.name].rule == "honest"


def _counts(found: Sequence[Measured]) -> str:
    rows = []
    verdicts = ("marked", "refused", "right", "slips")
    for suite in SUITES:
        counts: dict[str, int] = defaultdict(int)
        wrong = caught = 0
        for one in found:
            if _is_honest(one):
                continue
            what = [verdict for number, verdict in judged(one) if number.suite == suite]
            for verdict in what:
                counts[verdict] += 1
            wrong += sum(is_wrong(one, n) for n in one.numbers if n.suite == suite)
            caught += sum(
                is_wrong(one, n) and bool(n.reasons) for n in one.numbers if n.suite == suite
            )
        honest = [one.of(suite) for one in found if _is_honest(one) and suite in one.suites]
        alarms = [one for one in honest if any(is_false_alarm(one, n) for n in one.numbers)]
        named = ", ".join(f"`{one.name}`" for one in alarms)
        rows.append(
            (
                suite,
                str(sum(suite in one.suites for one in found if not _is_honest(one))),
                *(str(counts[verdict]) for verdict in verdicts),
                f"{caught} of {wrong}",
                f"{len(alarms)} of {len(honest)}{named and f': {named}'}",
            )
        )
    heads = ("marked", "refused", "right and unmarked", "wrong and unmarked (slips)")
    head = ("run", "masked networks", *(f"numbers {what}" for what in heads))
    return _table(
        (
            *head,
            "wrong numbers marked or refused",
            "honest networks marked or refused although right",
        ),
        rows,
    )


def _checks(found: Sequence[Measured]) -> str:
    names = dict.fromkeys(check.name for one in found for check in one.checks)
    rows = []
    for name in names:
        honest = _extreme(name, [one for one in found if _is_honest(one)], highest=True)
        masked = [one for one in found if not _is_honest(one) and name in failed_checks(one)]
        lowest = _extreme(name, masked, highest=False)
        alone = sum(failed_checks(one) == (name,) for one in masked)
        rows.append((name, _bound(name, found), honest, str(len(masked)), str(alone), lowest))
    head = (
        "check",
        "bound",
        "honest network nearest to it",
        "maskings it marks",
        "it alone",
        "marked masking nearest to it",
    )
    return _table(head, rows)


def _bound(name: str, found: Sequence[Measured]) -> str:
    bounds = {
        _short(check.bound)
        for one in found
        for check in one.checks
        if check.name == name and check.bound is not None
    }
    sign = "≥" if name in LOWER_BOUND else "<" if name in AT_BOUND else "≤"
    return f"{sign} {bounds.pop()}" if len(bounds) == 1 else f"{sign} the cell's own"


def _extreme(name: str, found: Iterable[Measured], *, highest: bool) -> str:
    seen = [(worst(one.checks)[name], one.name) for one in found if name in worst(one.checks)]
    seen = [pair for pair in seen if pair[0].value is not None]
    if not seen:
        return "–"
    chosen = (max if highest else min)(seen, key=lambda pair: excess(pair[0]))
    return f"{_short(chosen[0].value)} (`{chosen[1]}`)"


def _members(found: Sequence[Measured]) -> str:
    truth = truths()
    rows = []
    for one in found:
        member = ZOO[one.name]
        right = " / ".join(_short(truth[one.name][budget]) for budget in BUDGETS)
        rows.append(
            (
                f"`{one.name}`",
                member.kind,
                member.hides,
                right,
                *(_reported(one, suite) for suite in SUITES),
                _marks(one) or _refusal(one),
            )
        )
    head = ("network", "kind", "hides", "truth " + " / ".join(BUDGETS), *SUITES, "marked by")
    return _table(head, rows)


def _reported(one: Measured, suite: str) -> str:
    """Lowest number made with the gradient at each budget, a dagger where it is marked."""
    parts = []
    for budget in BUDGETS:
        numbers = [
            (number, what)
            for number, what in judged(one)
            if number.suite == suite and number.budget == budget
        ]
        if not numbers:
            parts.append("refused" if suite in one.suites else "–")
            continue
        shown, what = max(numbers, key=lambda pair: pair[1] == "slips")
        sign = {"marked": "†", "slips": " **slips**"}.get(what, "")
        parts.append("refused" if what == "refused" else f"{_short(shown.accuracy)}{sign}")
    return " / ".join(parts)


def _refusal(one: Measured) -> str:
    return "refused" if any(number.accuracy is None for number in one.numbers) else "–"


def _honest(found: Sequence[Measured]) -> str:
    rows = []
    for one in found:
        why, right = "registry", "–"
        if one.name in ZOO:
            why = ZOO[one.name].hides
            right = " / ".join(_short(truths()[one.name][budget]) for budget in BUDGETS)
        shown = [_numbers(one, suite) for suite in SUITES]
        rows.append((f"`{one.name}`", why, right, *shown, _nearest(one), _marks(one) or "–"))
    head = ("network", "what it is", "truth " + " / ".join(BUDGETS), *SUITES)
    return _table((*head, "nearest to its bound", "marked by"), rows)


def _numbers(one: Measured, suite: str) -> str:
    """Every number that the gradient made, by condition."""
    shown = ", ".join(
        f"{number.condition} {_short(number.accuracy)}{'†' if number.reasons else ''}"
        for number in one.numbers
        if number.suite == suite and number.judged
    )
    return shown or "–"


def _marks(one: Measured) -> str:
    """The checks that failed, each with its worst value and its bound."""
    found = worst(check for check in one.checks if check.verdict == "failed")
    return "; ".join(
        f"{name}: {_short(check.value)} (bound {_short(check.bound)})"
        for name, check in found.items()
    )


def _nearest(one: Measured) -> str:
    """Of the checks that passed, the value that leaves the least of its bound."""
    near = [
        (check.value / check.bound, check)
        for check in one.checks
        if check.verdict == "passed" and check.value is not None and check.bound
        # These end at their bound, or compare with a number of the cell's own.
        if check.name not in ("norm within its bound", *LOWER_BOUND)
    ]
    if not near:
        return "–"
    share, check = max(near, key=lambda pair: pair[0])
    return f"{check.name}: {_short(check.value)} of {_short(check.bound)}, margin {1 - share:.0%}"


def _values(found: Sequence[Measured]) -> str:
    names = [
        name
        for name in dict.fromkeys(check.name for one in found for check in one.checks)
        if any(name in failed_checks(one) for one in found) or _varies(name, found)
    ]
    rows = []
    for one in found:
        seen = worst(one.checks)
        rows.append((f"`{one.name}`", *(_value(seen.get(name)) for name in names)))
    return _table(("network", *names), rows)


def _varies(name: str, found: Sequence[Measured]) -> bool:
    values = {worst(one.checks)[name].value for one in found if name in worst(one.checks)}
    return len(values) > 1 and name not in ("norm within its bound", *LOWER_BOUND)


def _value(check: Seen | None) -> str:
    if check is None:
        return "–"
    sign = "†" if check.verdict == "failed" else ""
    return f"{_short(check.value)}{sign}"


def _short(value: float | None) -> str:
    if value is None:
        return "not finite"
    return f"{value:.3f}".rstrip("0").rstrip(".") if 1e-3 <= abs(value) < 1e4 else f"{value:.2g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in cells)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
