"""A comparison as one page that opens offline, with the look of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.comparison import words
from benchharness.comparison.subgroups import by_group
from benchharness.report.formats import page
from benchharness.report.parts import Section
from benchharness.report.tables.layout import text_table
from benchharness.store.cells import describe_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.comparison.result import StoreComparison
    from benchharness.comparison.subgroups import GroupEndpoint, Tables
    from benchharness.report.tables.layout import Table


def html(result: StoreComparison, tables: Tables) -> str:
    """Write the page.

    Args:
        result: What was found.
        tables: What is known of the volumes, from `subgroups.tables`.
    """
    settings = result.settings
    groups = by_group(result.pairing, tables, tolerance=settings.tolerance, alpha=settings.alpha)
    title = f"{result.new} against {result.base}: {words.outcome(result)}"
    return page.document(title, _introduction(result), tuple(_sections(result, groups)))


def _introduction(result: StoreComparison) -> list[str]:
    worse = [endpoint.name for endpoint in result.endpoints if endpoint.verdict == "worse"]
    said = [words.headline(result)]
    if worse:
        said.append(f"What got worse: {'; '.join(worse)}.")
    return [*said, *result.notes]


def _sections(result: StoreComparison, groups: Sequence[GroupEndpoint]) -> Iterator[Section]:
    yield Section(title="What changed", lead=(_endpoints(result), _reasons(result)))
    yield Section(title="For whom", lead=(_groups(result, groups),))
    yield Section(title="Single cells", lead=(_cells(result),))
    gaps = words.by_kind(result)
    if gaps:
        rows = [(kind, line) for kind, own in gaps for line in words.gap_lines(own)]
        yield Section(
            title="What was left out",
            lead=(text_table("Cells without a counterpart", ("Why", "Which"), rows),),
        )
    yield Section(title="Weights and versions", lead=(_weights(result), _versions(result)))


def _endpoints(result: StoreComparison) -> Table:
    return text_table(
        words.title(result),
        words.ENDPOINT_HEADER,
        map(words.endpoint_row, result.endpoints),
        caption=words.legend(result),
        wordy=False,
    )


def _reasons(result: StoreComparison) -> Table:
    tolerance = result.settings.tolerance
    rows = [(one.name, one.verdict, words.explain(one, tolerance)) for one in result.endpoints]
    return text_table("The same in words", ("Endpoint", "Verdict", "Why"), rows)


def _groups(result: StoreComparison, groups: Sequence[GroupEndpoint]) -> Table:
    ordered = sorted(groups, key=lambda one: one.judgement.difference)
    rows = [
        (
            one.name,
            f"{one.column} {one.group}",
            f"{one.size} {one.unit}",
            f"{one.base:.3f}",
            f"{one.new:.3f}",
            words.difference(one.judgement.difference, one.judgement.interval),
            words.p_value(one.judgement.p_adjusted),
            one.judgement.outcome,
        )
        for one in ordered
    ]
    caption = (
        "Mean accuracy over the cells of each endpoint, on the volumes of one group; the largest "
        "loss first. Intervals resample whole patients where they are known; p and verdicts by "
        f"Holm over all groups, with the tolerance of {result.settings.tolerance:g}."
        if rows
        else "The data's table has no column, such as site or sex, with a few values."
    )
    header = ("Endpoint", "Group", "Size", "Base", "New", "Difference", "p", "Verdict")
    return text_table("By group of the data's table", header, rows, caption=caption, wordy=False)


def _cells(result: StoreComparison) -> Table:
    return text_table(
        "Cells (they explain, endpoints decide)",
        words.CELL_HEADER,
        map(words.cell_row, result.cells),
        wordy=False,
    )


def _weights(result: StoreComparison) -> Table:
    rows = [
        (side, own.model, own.dataset, describe_seed(own.seed), own.sha256 or "unknown")
        for side, origin in zip((result.base, result.new), result.origins, strict=True)
        for own in origin.weights
    ]
    header = ("Side", "Model", "Dataset", "Seed", "SHA-256 of the weights")
    return text_table("Weights of both sides", header, rows)


def _versions(result: StoreComparison) -> Table:
    base, new = (origin.versions for origin in result.origins)
    rows = [
        (name, *(", ".join(side.get(name, ())) or "unknown" for side in (base, new)))
        for name in sorted({*base, *new})
    ]
    changed = [(*row, "" if row[1] == row[2] else "changed") for row in rows]
    return text_table("Versions", ("Package", result.base, result.new, ""), changed)
