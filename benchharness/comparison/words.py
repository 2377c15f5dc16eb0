"""A comparison in words: the sentences and table rows that every format shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchharness import statistics
    from benchharness.comparison.cells import ComparedCell
    from benchharness.comparison.endpoints import Endpoint
    from benchharness.comparison.places import Gap
    from benchharness.comparison.result import StoreComparison

DASH = "–"
ENDPOINT_HEADER = (
    "Endpoint",
    "Cells",
    "n",
    "Base",
    "New",
    "Difference",
    "p",
    "Detectable",
    "Verdict",
)
CELL_HEADER = (
    "Cell",
    "n",
    "Base",
    "New",
    "Lost / won",
    "Difference",
    "p",
    "AUC base",
    "AUC new",
    "AUC difference",
    "p of AUC",
)
_KINDS = {
    "refused": "Refused: the two are not the same measurement",
    "missing": "Missing",
    "suspect": "Suspect, left out",
    "unreferenced": "Not in BASE, left out",
}

LEGEND = (
    "Differences are NEW minus BASE on the same volumes. Endpoints: bootstrap over volumes, each "
    "interval at its Holm level. Cells: exact McNemar and DeLong tests, or a bootstrap where there "
    "are more than two classes (AUC) or several seeds; p adjusted by Holm over the cells. "
    "Detectable: the smallest difference found beyond the tolerance with 80 % power."
)


def headline(result: StoreComparison) -> str:
    """The verdict in one sentence."""
    judged = [e for e in result.endpoints if e.judgement is not None]
    counts = [
        f"{count} {word}"
        for word in ("worse", "better", "indistinguishable", "not comparable")
        if (count := sum(endpoint.verdict == word for endpoint in result.endpoints))
    ]
    settings = result.settings
    sentence = (
        f"{result.new} against {result.base}: {result.verdict} "
        f"({', '.join(counts)}; tolerance {settings.tolerance:g}, α = {settings.alpha:g}, Holm "
        f"over {len(judged)} endpoint{'' if len(judged) == 1 else 's'})."
    )
    gaps = result.of_kind("missing", "suspect")
    if settings.strict and gaps and result.verdict not in ("worse", "not comparable"):
        sentence += f" Failed nevertheless: --strict allows no gaps, and there are {len(gaps)}."
    return sentence


def explain(endpoint: Endpoint, tolerance: float) -> str:
    """An endpoint's verdict in one sentence."""
    judgement = endpoint.judgement
    if judgement is None:
        return f"not comparable: {endpoint.reason}."
    interval = judgement.interval
    moved = (
        f"mean accuracy {endpoint.base:.3f} → {endpoint.new:.3f}, {100 * interval.level:.3g} % "
        f"interval of the difference [{interval.low:+.3f}, {interval.high:+.3f}]"
    )
    if judgement.outcome == "indistinguishable":
        return (
            f"{moved}, not wholly beyond the tolerance of {tolerance:g}; a difference of "
            f"{judgement.detectable:.3f} would have been found with 80 % power."
        )
    return f"{moved}, wholly beyond the tolerance of {tolerance:g}."


def endpoint_row(endpoint: Endpoint) -> tuple[str, ...]:
    """An endpoint under `ENDPOINT_HEADER`."""
    judgement = endpoint.judgement
    told = judgement is not None and judgement.outcome != "indistinguishable"
    return (
        endpoint.name,
        str(endpoint.cells) if endpoint.cells == endpoint.of else f"{endpoint.cells}/{endpoint.of}",
        str(endpoint.n) if endpoint.n == endpoint.total else f"{endpoint.n}/{endpoint.total}",
        _share(endpoint.base),
        _share(endpoint.new),
        DASH
        if judgement is None
        else f"{_difference(judgement.difference, judgement.interval)} "
        f"at {100 * judgement.interval.level:.3g} %",
        DASH if judgement is None else _p(judgement.p_adjusted),
        DASH if judgement is None or told else f"±{judgement.detectable:.3f}",
        endpoint.verdict,
    )


def cell_row(cell: ComparedCell) -> tuple[str, ...]:
    """A cell under `CELL_HEADER`."""
    auc = cell.auc
    place = cell.place
    return (
        f"{place.model} · {place.dataset} · {place.condition}",
        str(cell.n),
        _share(cell.base),
        _share(cell.new),
        f"{cell.lost:g} / {cell.won:g}",
        _difference(cell.accuracy.difference, cell.accuracy.interval),
        _p(cell.p_adjusted),
        _share(cell.base_auc),
        _share(cell.new_auc),
        DASH if auc is None else _difference(auc.difference, auc.interval),
        DASH if cell.auc_p_adjusted is None else _p(cell.auc_p_adjusted),
    )


def _share(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _difference(value: float, interval: statistics.Interval) -> str:
    # Rounding must not show a bound on the other side of 0 or a difference of -0.000.
    return f"{value + 0.0:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def by_kind(result: StoreComparison) -> list[tuple[str, tuple[Gap, ...]]]:
    """The gaps of each kind under its title; kinds without a gap are left out."""
    found = ((title, result.of_kind(kind)) for kind, title in _KINDS.items())
    return [(title, gaps) for title, gaps in found if gaps]


def gap_lines(gaps: Iterable[Gap]) -> list[str]:
    """One line for all gaps of a model on a dataset that share their reason."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for gap in gaps:
        key = (gap.place.model, gap.place.dataset, gap.reason)
        together.setdefault(key, []).append(gap.place.condition)
    return [
        f"{model} · {dataset} · {', '.join(conditions)}: {reason}"
        for (model, dataset, reason), conditions in together.items()
    ]
