"""What a report is asked to show: which tables, which metrics, which formats of figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.errors import BenchError, unknown_name
from benchharness.report.cells.score import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.report.cells.score import Metric

DOZEN = 12
"""Volumes shown of each network under each family of perturbations unless said otherwise."""
FIGURE_FORMATS = ("png", "svg", "pdf")
"""What figures can be written as; the first two always are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to show; by default every table, and the metrics that each usually shows."""

    tables: tuple[str, ...] = ()
    """Kinds of tables, families or perturbations; () is every table."""
    metrics: tuple[Metric, ...] = ()
    """() is what each table shows by default."""
    pdf: bool = False
    """Whether figures are written as PDF too."""
    volumes: int = DOZEN
    """How many volumes the page shows of each network under each family; 0 for none."""

    @classmethod
    def of(
        cls,
        *,
        tables: Sequence[str] = (),
        metrics: Sequence[str] = (),
        formats: Sequence[str] = (),
        volumes: int = DOZEN,
    ) -> Choice:
        """Read names as a user types them.

        Raises:
            BenchError: When a metric or a format is not known. Tables are looked up once it is
                known which there are.
        """
        spelled = {name.lower().replace("-", "_"): name for name in METRICS}
        chosen = []
        for name in metrics:
            if name.lower().replace("-", "_") not in spelled:
                raise unknown_name("metric", name, METRICS)
            chosen.append(spelled[name.lower().replace("-", "_")])
        for name in formats:
            if name not in FIGURE_FORMATS:
                raise unknown_name("format of figures", name, FIGURE_FORMATS)
        if "" in tables:
            raise BenchError("--tables got an empty name. Type names separated by commas.")
        return cls(
            tables=tuple(tables), metrics=tuple(chosen), pdf="pdf" in formats, volumes=volumes
        )

    def shown(self, usual: Sequence[Metric]) -> tuple[Metric, ...]:
        """The metrics of a table or figure that usually shows some."""
        return self.metrics or tuple(usual)


EVERYTHING = Choice()
