"""A comparison in words: the sentences and table rows that every format shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store.cells import describe_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from benchharness import statistics
    from benchharness.comparison.cells import ComparedCell
    from benchharness.comparison.endpoints import Endpoint
    from benchharness.comparison.places import Gap
    from benchharness.comparison.result import StoreComparison

DASH = "–"
_FEW = 4
"""Conditions of a family up to which lines name them all; `--format json` always does."""
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
SIDES = ("BASE", "NEW")
_KINDS = {
    "refused": "Refused: the two are not the same measurement",
    "missing": "Missing",
    "suspect": "Suspect, left out",
    "unreferenced": "Not in BASE, left out",
}

_VOLUMES, _PATIENTS = "volumes", "patients with all their volumes"


def legend(result: StoreComparison) -> str:
    """What the columns mean, and whether patients or volumes were resampled."""
    units = {
        endpoint.dataset: _PATIENTS if endpoint.judgement.unit == "patients" else _VOLUMES
        for endpoint in result.endpoints
        if endpoint.judgement is not None
    }
    resampled = set(units.values())
    if len(resampled) > 1:
        over = ", ".join(f"{unit} of {dataset}" for dataset, unit in units.items())
    else:
        over = resampled.pop() if resampled else _VOLUMES
    exact = "exact McNemar and DeLong tests, or a bootstrap where there are more than two classes "
    exact += "(AUC) or several seeds"
    if over == _PATIENTS:
        exact = "bootstrap over the same patients"
    elif over != _VOLUMES:
        exact += ", or over patients where volumes share them"
    return (
        f"Differences are NEW minus BASE on the same volumes. Endpoints: bootstrap over {over}, "
        f"each interval at its Holm level. Cells: {exact}; p adjusted by Holm over the cells. "
        "Detectable: the smallest difference found beyond the tolerance with 80 % power."
    )


def title(result: StoreComparison) -> str:
    """The heading of the endpoints: `Endpoints: mean accuracy, AUC`."""
    return "Endpoints: mean " + ", ".join(dict.fromkeys(e.measure for e in result.endpoints))


def outcome(result: StoreComparison) -> str:
    """The verdict, or in what the comparison failed although nothing is worse."""
    if result.exit_code != 1 or result.verdict == "worse":
        return result.verdict
    return f"failed, {_failure(result)}"


def _failure(result: StoreComparison) -> str:
    if result.lost:
        return f"NEW lacks {_counted(len(result.lost), 'endpoint')} of BASE"
    return f"{_counted(len(result.doubts), 'cell')} missing or suspect"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


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
        f"over {_counted(len(judged), 'endpoint')})."
    )
    if result.verdict in ("worse", "not comparable"):
        return sentence
    if result.lost:
        named = ", ".join(endpoint.name for endpoint in result.lost[:3])
        more = f" and {len(result.lost) - 3} more" if len(result.lost) > 3 else ""
        sentence += (
            f" Failed nevertheless: NEW lacks {named}{more}. Measure it, or pass --allow-missing."
        )
    if result.doubts:
        sentence += (
            f" Failed nevertheless: --strict allows no gaps, and there are {len(result.doubts)}."
        )
    return sentence


def explain(endpoint: Endpoint, tolerance: float) -> str:
    """An endpoint's verdict in one sentence."""
    judgement = endpoint.judgement
    if judgement is None:
        return f"not comparable: {endpoint.reason}."
    interval = judgement.interval
    moved = (
        f"mean {endpoint.measure} {endpoint.base:.3f} → {endpoint.new:.3f}, "
        f"{100 * interval.level:.3g} % interval of the difference "
        f"[{interval.low:+.3f}, {interval.high:+.3f}]"
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
        else f"{difference(judgement.difference, judgement.interval)} "
        f"at {100 * judgement.interval.level:.3g} %",
        DASH if judgement is None else p_value(judgement.p_adjusted),
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
        difference(cell.accuracy.difference, cell.accuracy.interval),
        p_value(cell.p_adjusted),
        _share(cell.base_auc),
        _share(cell.new_auc),
        DASH if auc is None else difference(auc.difference, auc.interval),
        DASH if cell.auc_p_adjusted is None else p_value(cell.auc_p_adjusted),
    )


def _share(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def difference(value: float, interval: statistics.Interval) -> str:
    """A difference with its interval: `-0.041 [-0.073, -0.010]`."""
    # Rounding must not show a bound on the other side of 0 or a difference of -0.000.
    return f"{value + 0.0:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def p_value(value: float) -> str:
    """A p-value with three decimals."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def origin_lines(result: StoreComparison) -> list[str]:
    """The weights of both sides, then the version of every package: `torch: 2.12 → 2.13`."""
    weights = [
        f"{side}: {own.model} · {own.dataset} · {describe_seed(own.seed)}: weights "
        f"{own.sha256 or 'unknown'}"
        for side, origin in zip(SIDES, result.origins, strict=True)
        for own in origin.weights
    ]
    base, new = (origin.versions for origin in result.origins)
    versions = [
        (package, *(", ".join(side.get(package, ())) or "unknown" for side in (base, new)))
        for package in sorted({*base, *new})
    ]
    return weights + [
        f"{package}: {first}" + ("" if first == second else f" → {second}")
        for package, first, second in versions
    ]


def by_kind(result: StoreComparison) -> list[tuple[str, tuple[Gap, ...]]]:
    """The gaps of each kind under its title; kinds without a gap are left out."""
    found = ((title, result.of_kind(kind)) for kind, title in _KINDS.items())
    return [(title, gaps) for title, gaps in found if gaps]


def gap_lines(gaps: Iterable[Gap]) -> list[str]:
    """One line for all gaps of a model on a dataset that share their reason."""
    together: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for gap in gaps:
        place = gap.place
        families = together.setdefault((place.model, place.dataset, gap.reason), {})
        families.setdefault(place.family_title, []).append(place.condition)
    return [
        f"{model} · {dataset} · {', '.join(_named(families))}: {reason}"
        for (model, dataset, reason), families in together.items()
    ]


def _named(families: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The conditions of each family by name, or how many where they are more than a few."""
    for family, conditions in families.items():
        if len(conditions) > _FEW:
            yield f"{len(conditions)} cells of {family}"
        else:
            yield from conditions
