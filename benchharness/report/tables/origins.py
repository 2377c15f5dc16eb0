"""Where the numbers come from: machines, data, weights, recipes and perturbations."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchharness.report.tables.layout import Table, text_table
from benchharness.store.cells import OWN_WEIGHTS, format_severity
from benchharness.store.parity import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchharness.canonical import Pairs
    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row


def provenance(findings: Findings) -> tuple[Table, ...]:
    """Everything that is needed to reproduce the numbers, as tables."""
    return (
        _machines(findings),
        _datasets(findings),
        _checkpoints(findings),
        _recipes(findings),
        _perturbations(findings),
    )


def _machines(findings: Findings) -> Table:
    def of(row: Row) -> tuple[str, ...]:
        origin = row.record.provenance
        return (
            str(origin.get("device_name", origin.get("device", "unknown"))),
            str(origin.get("platform", "unknown")),
            _join(origin.get("versions", {})),
        )

    counts = Counter(of(row) for row in findings.rows)
    return text_table(
        "Machines and versions",
        ("Device", "Platform", "Versions", "Cells"),
        [(*machine, cells) for machine, cells in counts.items()],
        kinds=("provenance",),
    )


def _datasets(findings: Findings) -> Table:
    rows = {
        row.dataset: (
            row.dataset,
            key.modality,
            key.split,
            f"{key.count} of {key.total}",
            key.digest,
            key.volumes,
        )
        for row in findings.rows
        for key in (row.record.cell.dataset,)
    }
    return text_table(
        "Datasets",
        ("Dataset", "Modality", "Split", "Volumes", "Digest of the data", "Digest of the ids"),
        rows.values(),
        kinds=("provenance",),
    )


def _checkpoints(findings: Findings) -> Table:
    checked: dict[tuple[object, ...], str] = {}
    for row in findings.rows:
        cell = row.record.cell
        checkpoint = (
            row.model,
            cell.dataset.name,
            cell.checkpoint.recipe_name or OWN_WEIGHTS,
            cell.checkpoint.seed,
            cell.checkpoint.sha256,
            cell.model.factory,
            _join(dict(cell.model.arguments)),
            _join(dict(cell.model.preprocessing)),
            _join(dict(cell.model.outputs)),
        )
        # Cells that were measured before a check do not name it.
        checked[checkpoint] = in_words(row.record.provenance) or checked.get(checkpoint, "")
    rows = [(*checkpoint, parity) for checkpoint, parity in checked.items()]
    # Most networks return logits, and few are checked.
    kept = [place for place in range(10) if place < 8 or any(row[place] for row in rows)]
    header = (
        "Model",
        "Dataset",
        "Recipe",
        "Training seed",
        "SHA-256 of the weights",
        "Factory",
        "Arguments",
        "Preprocessing",
        "Outputs",
        "Parity",
    )
    return text_table(
        "Checkpoints",
        tuple(header[place] for place in kept),
        [tuple(row[place] for place in kept) for row in rows],
        kinds=("provenance",),
    )


def _recipes(findings: Findings) -> Table:
    recipes: dict[Pairs, None] = dict.fromkeys(
        recipe for row in findings.rows if (recipe := row.record.cell.checkpoint.recipe) is not None
    )
    return text_table(
        "Recipes",
        ("Recipe", "Settings"),
        [(dict(recipe)["name"], _join(dict(recipe))) for recipe in recipes],
        kinds=("provenance",),
    )


def _perturbations(findings: Findings) -> Table:
    severities: dict[tuple[object, ...], dict[str, None]] = {}
    for row in (*findings.rows, *findings.controls):
        key = row.key
        if key.kind == "none":
            continue
        settings = (
            row.perturbation,
            row.family,
            key.version,
            key.seed,
            _join(dict(key.parameters)),
        )
        severities.setdefault(settings, {})[format_severity(key)] = None
    return text_table(
        "Perturbations",
        ("Perturbation", "Family", "Version", "Seed", "Parameters", "Severities"),
        [(*settings, ", ".join(found)) for settings, found in severities.items()],
        kinds=("provenance",),
    )


def _join(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())
