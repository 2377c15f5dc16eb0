"""What the calls return, as tables, files and notebook output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from benchharness import report
from benchharness.comparison import render
from benchharness.networks import checkpoints
from benchharness.report.choice import DOZEN
from benchharness.report.collect import collect
from benchharness.report.formats import frame, page, volumes
from benchharness.report.tables.summaries import overview
from benchharness.run import broken

if TYPE_CHECKING:
    from os import PathLike

    from benchharness.comparison import StoreComparison
    from benchharness.datasets import Dataset
    from benchharness.networks.classifier import Classifier
    from benchharness.run.summary import Summary
    from benchharness.run.weights import Weights
    from benchharness.store.cards import ModelCard


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Result:
    """What `benchmark` measured; a path-like object that stands for the folder of its store."""

    directory: Path
    """The store's folder, which may hold cells of other calls too."""
    summary: Summary
    """How many cells ran, were there before, and failed."""

    def __fspath__(self) -> str:
        return str(self.directory)

    def __repr__(self) -> str:
        did = self.summary
        return (
            f"Result({self.directory}: {did.evaluated} cells run, {did.recorded} were recorded "
            f"already, {len(did.failures)} failed)"
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each cell or training that failed."""
        return self.summary.failures

    def frame(self) -> pd.DataFrame:
        """One row a cell: every metric with the ends of its 95 % interval, cost and doubts.

        Columns as in the report's `summary.csv`: `accuracy`, `accuracy_low`, `accuracy_high`, …,
        `suspect`, `suspect_reason`. The control cells of attacked networks are not among the rows.
        """
        found = frame.frame(collect(self.directory))
        own = found[found["identity"].isin(self.summary.identities)]
        return own[own["family"] != "control"].reset_index(drop=True)

    def volumes(self) -> pd.DataFrame:
        """One row a volume and cell: id, patient, label, prediction, margin, broken.

        See `benchharness.report.formats.volumes.frame` for the columns.
        """
        return volumes.frame(collect(self.directory), set(self.summary.identities))

    def report(self, out: str | PathLike[str] | None = None, *, volumes: int = DOZEN) -> Path:
        """Write the report of the whole store, and return its page.

        Args:
            out: Folder to write to; `report` inside the store when None.
            volumes: How many volumes to show that a family of perturbations broke, of each
                network; 0 for none.

        Raises:
            BenchError: When every cell failed, or the folder cannot be written.
        """
        where = None if out is None else Path(out)
        choice = report.Choice(volumes=volumes)
        return report.write(self.directory, where, choice=choice, draw=broken.draw).html

    def _repr_html_(self) -> str:
        """The overview of each dataset, as a notebook shows it."""
        findings = collect(self.directory)
        tables = [overview(findings, name, each_seed=False) for name in findings.datasets]
        return page.fragment(tables)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Trained:
    """A checkpoint that `train` made or found."""

    weights: Weights
    data: Dataset

    def __repr__(self) -> str:
        return f"Trained({self.weights.model.name} on {self.data.name}: {self.path})"

    @property
    def path(self) -> Path:
        """The weights, safetensors."""
        return self.weights.path

    @property
    def card(self) -> ModelCard:
        """How it was trained, and how well it does."""
        card = checkpoints.read_card(self.path.parent)
        assert card is not None
        return card

    def classifier(self, device: str = "cpu") -> Classifier:
        """The trained network behind its preprocessing: [0, 1] volumes in, logits out."""
        return checkpoints.load_classifier(
            self.weights.model,
            self.path,
            num_classes=self.data.num_classes,
            in_channels=self.data.in_channels,
            device=device,
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """What `compare` found."""

    found: StoreComparison

    def __repr__(self) -> str:
        return f"Comparison({self.found.base} → {self.found.new}: {self.verdict})"

    @property
    def verdict(self) -> str:
        """`better`, `worse`, `indistinguishable` or `not comparable`."""
        return self.found.verdict

    def frame(self) -> pd.DataFrame:
        """One row an endpoint: its name, verdict, numbers of cells and volumes, and judgement."""
        rows = [
            {"verdict": endpoint.verdict, **_flat(asdict(endpoint))}
            for endpoint in self.found.endpoints
        ]
        return pd.DataFrame(rows)

    def _repr_markdown_(self) -> str:
        return render.markdown(self.found)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values one below the other, `judgement_low` for `low` of `judgement`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}_{inner}": one for inner, one in _flat(value).items()}
        else:
            flat[name] = value
    return flat
