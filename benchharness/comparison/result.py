"""A whole comparison: two sources in, endpoints, cells, gaps and one verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.comparison.cells import compared_cells
from benchharness.comparison.endpoints import endpoints
from benchharness.comparison.pairing import pair
from benchharness.comparison.sides import Choice
from benchharness.store import suspicion

if TYPE_CHECKING:
    from benchharness.comparison.cells import ComparedCell
    from benchharness.comparison.endpoints import Endpoint, Verdict
    from benchharness.comparison.origins import Origin
    from benchharness.comparison.pairing import Pairing
    from benchharness.comparison.places import Gap
    from benchharness.comparison.settings import Settings
    from benchharness.store.source import Source
    from benchharness.store.suspicion import Suspicions


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreComparison:
    """What a comparison found; every format shows this."""

    base: str
    """What BASE is called."""
    new: str
    """What NEW is called."""
    settings: Settings
    endpoints: tuple[Endpoint, ...]
    cells: tuple[ComparedCell, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]
    origins: tuple[Origin, Origin]
    """Weights and versions behind BASE and behind NEW."""
    pairing: Pairing
    """The cells of both sides, volume by volume."""

    @property
    def verdict(self) -> Verdict:
        """Of the whole: `worse` as soon as one endpoint is worse."""
        found = {endpoint.verdict for endpoint in self.endpoints}
        if "worse" in found:
            return "worse"
        if self.of_kind("refused") or not found - {"not comparable"}:
            return "not comparable"
        return "better" if "better" in found else "indistinguishable"

    @property
    def lost(self) -> tuple[Endpoint, ...]:
        """Endpoints of BASE that NEW lacks, where that is not allowed."""
        if self.settings.allow_missing:
            return ()
        return tuple(endpoint for endpoint in self.endpoints if endpoint.lost)

    @property
    def doubts(self) -> tuple[Gap, ...]:
        """Missing and suspect cells, where these are not allowed."""
        return self.of_kind("missing", "suspect") if self.settings.strict else ()

    @property
    def exit_code(self) -> int:
        """0 no regression, 1 regression, lost endpoint or (if strict) gap, 2 not comparable."""
        if self.verdict == "worse":
            return 1
        if self.verdict == "not comparable":
            return 2
        return int(bool(self.lost or self.doubts))

    def of_kind(self, *kinds: str) -> tuple[Gap, ...]:
        """The gaps of some kinds."""
        return tuple(gap for gap in self.gaps if gap.kind in kinds)


def compare(
    base: Source,
    new: Source,
    settings: Settings,
    *,
    names: tuple[str, str] = ("BASE", "NEW"),
    suspicions: Suspicions | None = None,
) -> StoreComparison:
    """Compare a store with a reference.

    Suspect cells are shown and left out of endpoints: a number that must not be trusted can neither
    pass nor fail.

    Args:
        base: The reference, a store or a baseline.
        new: What is compared with it.
        settings: How.
        names: What the two are called.
        suspicions: What makes cells suspect beyond what record and matrix checks say.

    Raises:
        BenchError: When the two have no model in common, or a setting is out of its range.
    """
    settings.check()
    base_model = settings.base_model or settings.new_model
    new_model = settings.new_model or settings.base_model
    pairing = pair(
        base,
        new,
        Choice(model=base_model, recipe=settings.base_recipe, seed=settings.base_seed),
        Choice(model=new_model, recipe=settings.new_recipe, seed=settings.new_seed),
        suspicion.joined(suspicion.of_source(base), suspicion.of_source(new), suspicions or {}),
    )
    return StoreComparison(
        base=names[0],
        new=names[1],
        settings=settings,
        endpoints=endpoints(
            pairing,
            tolerance=settings.tolerance,
            alpha=settings.alpha,
            judged_by=tuple(dict.fromkeys(settings.metrics)),
        ),
        cells=compared_cells(pairing.cells, 1 - settings.alpha),
        gaps=pairing.gaps,
        notes=pairing.notes,
        origins=pairing.origins,
        pairing=pairing,
    )
