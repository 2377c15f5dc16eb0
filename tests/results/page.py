"""The tables of docs/results.md and results/medmnist3d/README.md, from records alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.report.collect import collect
from benchharness.report.formats import markdown
from benchharness.report.plots import canvas
from benchharness.report.plots.tradeoff import tradeoffs
from benchharness.report.tables import ranking, summaries, training
from benchharness.report.tables.layout import text_table
from benchharness.store.cells import CLEAN_FAMILY
from benchharness.training.recipes import RECIPES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchharness.report.cells.findings import Findings
    from benchharness.report.charts.chart import Chart
    from benchharness.report.tables.layout import Table

START, END = "<!-- results -->", "<!-- end -->"

PUBLISHED = {
    "adrenalmnist3d": (
        ("ResNet-18 + 3D", 0.827, 0.721),
        ("ResNet-18 + ACS", 0.839, 0.754),
        ("ResNet-50 + 3D", 0.828, 0.745),
        ("ResNet-50 + ACS", 0.828, 0.758),
        ("auto-sklearn", 0.828, 0.802),
    ),
    "vesselmnist3d": (
        ("ResNet-18 + 3D", 0.874, 0.877),
        ("ResNet-18 + ACS", 0.930, 0.928),
        ("ResNet-50 + 3D", 0.907, 0.918),
        ("ResNet-50 + ACS", 0.912, 0.858),
        ("auto-sklearn", 0.910, 0.915),
    ),
}
"""Clean AUC and accuracy at 28³ of MedMNIST v2, Table 4 (Yang et al. 2023)."""


def render(source: Path) -> str:
    """Every dataset of a store or baseline: our tables, the published numbers, what differs.

    Raises:
        BenchError: When there is no record.
    """
    findings = collect(source)
    parts = [part for dataset in findings.datasets for part in _dataset(findings, dataset)]
    return "\n\n".join(parts)


def draw(source: Path, folder: Path) -> None:
    """Draw robust against clean accuracy of every dataset where recipes can be compared."""
    findings = collect(source)
    folder.mkdir(parents=True, exist_ok=True)
    for chart in _charts(findings):
        drawn = dict(canvas.render(chart).files)
        (folder / f"{chart.name}.png").write_bytes(drawn["png"])


def _charts(findings: Findings, dataset: str | None = None) -> Iterator[Chart]:
    for name in findings.datasets if dataset is None else (dataset,):
        yield from tradeoffs(findings, name)


def _dataset(findings: Findings, dataset: str) -> Iterator[str]:
    key = findings.of(dataset)[0].record.cell.dataset
    subset = f"{key.count} of {key.total}"
    said = subset in dataset or key.count == key.total
    yield f"## {dataset}" if said else f"## {dataset}, {subset} volumes"
    tables = [summaries.overview(findings, dataset, each_seed=False)]
    if dataset in PUBLISHED:
        tables.append(_published(dataset))
    tables += training.tables(findings, dataset)
    several = len({row.model for row in findings.of(dataset)}) > 1
    if several:
        tables.append(ranking.ranking(findings, dataset))
    yield from map(markdown.table, tables)
    if several and (lines := [*_told_apart(findings, dataset)]):
        yield "\n".join(lines)
    for chart in _charts(findings, dataset):
        yield f"![{chart.title}](../results/medmnist3d/plots/{chart.name}.png)"


def _published(dataset: str) -> Table:
    return text_table(
        f"Published on {dataset}, clean",
        ("Network", "AUC", "Accuracy"),
        [(name, f"{auc:.3f}", f"{accuracy:.3f}") for name, auc, accuracy in PUBLISHED[dataset]],
        caption="MedMNIST v2, Table 4, 28³ volumes, after 100 epochs. Published without intervals; "
        "no accuracy under attack was published.",
        kinds=("published",),
    )


def _told_apart(findings: Findings, dataset: str) -> Iterator[str]:
    """In words, which networks the volumes tell from the best ones."""
    for family in (CLEAN_FAMILY, *findings.families(dataset)):
        found = ranking.groups(findings, dataset, family)
        if len(found) < 2:
            continue
        first = [name for name, group in found.items() if group == 1]
        others = [name for name, group in found.items() if group > 1]
        best = ", ".join(f"`{name}`" for name in first)
        rest = ", ".join(f"`{name}`" for name in others)
        told = f"worse than the best of them: {rest}" if others else "nothing can be told apart"
        yield f"- {findings.title(family)}: not told from the best: {best}; {told}."


def checkpoints(source: Path) -> str:
    """The digest of every network that was measured, and the command that trains it."""
    lines = [
        "| network | dataset | seed | SHA-256 | trained by |",
        "| --- | --- | --- | --- | --- |",
    ]
    found = {}
    for row in collect(source).rows:
        cell = row.record.cell
        found[cell.checkpoint.sha256, cell.checkpoint.recipe_name, cell.checkpoint.seed] = cell
    for cell in found.values():
        made = cell.checkpoint
        recipe = made.recipe_name or "own weights"
        own = "" if recipe in RECIPES else f" --config FILE, which has [recipe.{recipe}]"
        command = (
            f"`bench train --models {cell.model.name} --recipes {recipe} "
            f"--datasets {cell.dataset.name} --seeds {made.seed}{own}`"
        )
        lines.append(
            f"| {cell.model.name}@{recipe} | {cell.dataset.name} | {made.seed} | {made.sha256} | "
            f"{command if made.recipe else '–'} |"
        )
    return "\n".join(lines)


def write(path: Path, text: str, *, blank: str) -> None:
    """Put a text between the markers of a page, which is begun with `blank` where it is absent."""
    before = path.read_text(encoding="utf-8") if path.exists() else f"{blank}\n{START}\n{END}\n"
    head, _, rest = before.partition(START)
    _, _, tail = rest.partition(END)
    path.write_text(f"{head}{START}\n\n{text}\n\n{END}{tail}", encoding="utf-8")
