"""Records × records → verdicts. Derives everything, writes no record, imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.comparison import verdicts
from benchharness.comparison.pairing import Choice, Gap, Place, Suspects, pair
from benchharness.comparison.verdicts import ComparedCell, Endpoint, Verdict
from benchharness.store import suspicion

if TYPE_CHECKING:
    from benchharness.store.source import Source

__all__ = [
    "ComparedCell",
    "Endpoint",
    "Gap",
    "Place",
    "Settings",
    "StoreComparison",
    "Verdict",
    "compare",
]

TOLERANCE = 0.02
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How two sources are compared."""

    tolerance: float = TOLERANCE
    """The difference in mean accuracy that does not matter, in [0, 1)."""
    alpha: float = ALPHA
    """Chance that any endpoint of two equally good models is told apart."""
    strict: bool = False
    """Whether missing and suspect cells fail, too."""
    base_model: str | None = None
    """The one model of BASE; None compares models of one name."""
    new_model: str | None = None
    base_seed: int | None = None
    """The one training seed of BASE; None takes all."""
    new_seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreComparison:
    """What was found; every format shows this."""

    base: str
    """What BASE is called."""
    new: str
    settings: Settings
    endpoints: tuple[Endpoint, ...]
    cells: tuple[ComparedCell, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Of the whole: one endpoint that is worse makes it so, whatever the others are."""
        found = {endpoint.verdict for endpoint in self.endpoints}
        if "worse" in found:
            return "worse"
        if self.of_kind("refused") or not found - {"not comparable"}:
            return "not comparable"
        return "better" if "better" in found else "indistinguishable"

    @property
    def exit_code(self) -> int:
        """0 no regression, 1 regression (if strict, also a gap), 2 incomparable."""
        if self.verdict == "worse":
            return 1
        if self.verdict == "not comparable":
            return 2
        return int(self.settings.strict and bool(self.of_kind("missing", "suspect")))

    def of_kind(self, *kinds: str) -> tuple[Gap, ...]:
        """The gaps of some kinds."""
        return tuple(gap for gap in self.gaps if gap.kind in kinds)


def compare(
    base: Source,
    new: Source,
    settings: Settings,
    *,
    names: tuple[str, str] = ("BASE", "NEW"),
    suspects: Suspects | None = None,
) -> StoreComparison:
    """Hold a store against another.

    Suspect cells are shown and left out of endpoints: a number that must not be trusted can neither
    pass nor fail.

    Args:
        base: The reference: a store or a baseline.
        new: What is held against it.
        settings: How.
        names: What the two are called.
        suspects: What makes cells suspect beyond what record and matrix checks say.

    Raises:
        BenchError: When the two have no model in common, or a setting is out of its range.
    """
    base_model = settings.base_model or settings.new_model
    new_model = settings.new_model or settings.base_model
    pairing = pair(
        base,
        new,
        Choice(model=base_model, seed=settings.base_seed),
        Choice(model=new_model, seed=settings.new_seed),
        suspicion.joined(suspicion.of_source(base), suspicion.of_source(new), suspects or {}),
    )
    return StoreComparison(
        base=names[0],
        new=names[1],
        settings=settings,
        endpoints=verdicts.endpoints(pairing, tolerance=settings.tolerance, alpha=settings.alpha),
        cells=verdicts.compared_cells(pairing.cells, 1 - settings.alpha),
        gaps=pairing.gaps,
        notes=pairing.notes,
    )
