"""The matrix: a row for each network on each dataset, a column for each condition."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from benchharness.report.cells import names
from benchharness.report.tables import ranking
from benchharness.report.tables.layout import DASH, INAPPLICABLE
from benchharness.report.tables.numbers import decimals, fixed
from benchharness.store.cells import (
    CLEAN_FAMILY,
    describe_seed,
    family_order,
    format_severity,
    severity_order,
)
from benchharness.store.records import NOT_APPLICABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.report.cells.score import Score

SHADES = 9
"""Colours of a cell, from accuracy 0 to accuracy 1."""
ON_PAPER = 16
"""Columns that fit on A4 across, besides the clean one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A condition: a perturbation at a severity."""

    place: int
    """Among the columns of the matrix."""
    condition: str
    """`clean`, `pgd 8/255`, `motion level 3`; unique."""
    family: str
    family_title: str
    perturbation: str
    """Its label; a readable `title` is what people see."""
    title: str
    severity: str
    """With its unit; empty where there is none."""
    short: str
    """The severity as a heading's last line: `8/255`, `3`."""
    strongest: bool
    """Whether no other column of this perturbation has a larger severity."""
    plausible: bool | None
    """Whether an artefact can occur on any dataset of the matrix; None where unknown."""

    @property
    def clean(self) -> bool:
        """Whether it is of unperturbed volumes."""
        return self.family == CLEAN_FAMILY


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A cell of the matrix."""

    place: int
    """Its place among the cells of the page's data."""
    text: str
    value: float | None
    shade: int | None
    """Its colour, 0 for accuracy 0; None without a number."""
    best: bool
    """Whether it belongs to the best group of its column on its dataset."""
    suspect: bool
    implausible: bool
    """Whether the dataset's acquisition cannot produce it."""
    why: str
    """Why it is suspect, or has no number; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A network on a dataset."""

    model: str
    dataset: str
    recipe: str
    seed: str
    """In words; empty where its model has one training seed."""
    cells: tuple[Shown | None, ...]
    """One for each column; None where the condition was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A heading over several columns."""

    title: str
    count: int
    clean: bool
    """Whether it is over clean volumes, which are of one family and one perturbation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Everything in it, as the page and its data show it."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    rows: tuple[Row, ...] = field(repr=False)
    """The cell at each place."""

    def families(self, columns: Sequence[Column]) -> tuple[Span, ...]:
        """Headings of the first line over some columns."""
        return _spans((c.family, c.family_title, c.clean) for c in columns)

    def perturbations(self, columns: Sequence[Column]) -> tuple[Span, ...]:
        """Headings of the second line over some columns."""
        return _spans(((c.family, c.perturbation), c.title, c.clean) for c in columns)

    @property
    def sheets(self) -> tuple[tuple[Column, ...], ...]:
        """The columns in portions that fit a sheet of paper; clean volumes lead each."""
        clean = tuple(c for c in self.columns if c.clean)
        others = tuple(c for c in self.columns if not c.clean)
        portions = range(0, len(others), ON_PAPER)
        return tuple((*clean, *others[at : at + ON_PAPER]) for at in portions) or (clean,)

    @property
    def family_titles(self) -> dict[str, str]:
        """Every family but clean volumes, for a filter."""
        return {c.family: c.family_title for c in self.columns if not c.clean}

    @property
    def _shown(self) -> Iterator[Shown]:
        return (cell for line in self.lines for cell in line.cells if cell is not None)

    @property
    def suspect(self) -> bool:
        """Whether a cell is suspect; the legend explains what occurs."""
        return any(cell.suspect for cell in self._shown)

    @property
    def implausible(self) -> bool:
        """Whether a cell is a stress test."""
        return any(cell.implausible for cell in self._shown)

    @property
    def gaps(self) -> bool:
        """Whether a cell has no number."""
        return any(cell.value is None for cell in self._shown)

    @property
    def models(self) -> tuple[str, ...]:
        """For a filter; so are the next two."""
        return tuple(dict.fromkeys(line.model for line in self.lines))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Labels, in the order in which they were first run."""
        return tuple(dict.fromkeys(line.dataset for line in self.lines))

    @property
    def recipes(self) -> tuple[str, ...]:
        """Names, `own weights` among them."""
        return tuple(dict.fromkeys(line.recipe for line in self.lines))

    @property
    def several_seeds(self) -> bool:
        """Whether a line has to say which training seed it is of."""
        return any(line.seed for line in self.lines)


def matrix(findings: Findings) -> Matrix:
    """Lay out all results of a store; controls are none."""
    columns = _columns(findings)
    place = {column.condition: index for index, column in enumerate(columns)}
    best = _best(findings)
    rows: list[Row] = []
    lines = []
    for dataset in findings.datasets:
        of_dataset = findings.of(dataset)
        for model in findings.models:
            seeds = findings.seeds(dataset, model)
            for seed in seeds:
                own = [r for r in of_dataset if (r.model, r.seed) == (model, seed)]
                cells: list[Shown | None] = [None] * len(columns)
                for row in own:
                    cells[place[row.condition]] = _shown(findings, row, len(rows), best)
                    rows.append(row)
                lines.append(_line(own[0], cells, several=len(seeds) > 1))
    return Matrix(columns=columns, lines=tuple(lines), rows=tuple(rows))


def _line(row: Row, cells: Sequence[Shown | None], *, several: bool) -> Line:
    return Line(
        model=row.model,
        dataset=row.dataset,
        recipe=row.record.cell.checkpoint.recipe_name or describe_seed(None),
        seed=describe_seed(row.seed) if several else "",
        cells=tuple(cells),
    )


def _shown(findings: Findings, row: Row, place: int, best: set[str]) -> Shown:
    score = findings.cell_scores.single(row, "accuracy")
    return Shown(
        place=place,
        text=written(score),
        value=score.value,
        shade=None if score.value is None else min(SHADES - 1, int(score.value * SHADES)),
        best=row.record.identity in best,
        suspect=bool(score.suspect),
        implausible=row.plausible is False,
        why=score.gap or row.suspicion,
    )


def written(score: Score) -> str:
    """A score without its interval."""
    if score.value is None:
        return INAPPLICABLE if score.gap.startswith(NOT_APPLICABLE) else DASH
    return fixed(score.value, decimals(score.value))


def _best(findings: Findings) -> set[str]:
    """Identities of the cells in the best group of their column, where there is a choice."""
    found: set[str] = set()
    for dataset in findings.datasets:
        for rows in _by_condition(findings.of(dataset)).values():
            ranks = ranking.of_cells(findings, rows)
            if len(ranks) > 1:
                found |= {identity for identity, group in ranks.items() if group == 1}
    return found


def _by_condition(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.condition, []).append(row)
    return found


def _columns(findings: Findings) -> tuple[Column, ...]:
    groups = sorted(_by_condition(findings.rows).values(), key=lambda rows: _order(rows[0]))
    strongest: dict[tuple[str, str], float] = {}
    for rows in groups:
        key = (rows[0].family, rows[0].perturbation)
        strongest[key] = max(strongest.get(key, 0.0), rows[0].severity or 0.0)
    return tuple(
        _column(place, rows, strongest[rows[0].family, rows[0].perturbation])
        for place, rows in enumerate(groups)
    )


def _order(row: Row) -> tuple[object, ...]:
    return (*family_order(row.key.kind, row.family), row.perturbation, severity_order(row.severity))


def _column(place: int, rows: Sequence[Row], strongest: float) -> Column:
    row, said = rows[0], {row.plausible for row in rows}
    text = format_severity(row.key)
    return Column(
        place=place,
        condition=row.condition,
        family=row.family,
        family_title=names.family(row.key.kind, row.family),
        perturbation=row.perturbation,
        title=names.perturbation(row.perturbation),
        severity=names.severity(row.key, text),
        short=text.removeprefix("level ") or ("0" if row.family == CLEAN_FAMILY else "any"),
        strongest=(row.severity or 0.0) >= strongest,
        plausible=True if True in said else (False if False in said else None),
    )


def _spans(titles: Iterable[tuple[object, str, bool]]) -> tuple[Span, ...]:
    """Join neighbours of one key."""
    found: list[Span] = []
    before: object = None
    for key, title, clean in titles:
        if found and key == before:
            found[-1] = replace(found[-1], count=found[-1].count + 1)
        else:
            found.append(Span(title=title, count=1, clean=clean))
        before = key
    return tuple(found)
