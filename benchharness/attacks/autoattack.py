"""AutoAttack for volumes: several attacks in turn, each on what is still classified correctly.

torchattacks' AutoAttack raises on volumes and on two or three classes, and runs 10 iterations where
the protocol has 100; hence this implementation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchharness.attacks.apgd import APGDCE, APGDDLR, APGDT, APGDMargin
from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.cascade import in_turn
from benchharness.attacks.core.certificates import DRAWS
from benchharness.attacks.core.objectives import margin
from benchharness.attacks.fab import FAB
from benchharness.attacks.pgd import PGD
from benchharness.attacks.square import Square3D
from benchharness.canonical import Pairs, pairs

if TYPE_CHECKING:
    from torch import Tensor

    from benchharness.attacks.core.base import Access
    from benchharness.attacks.core.objectives import Objective

_STANDARD_CLASSES = 4
"""Fewest classes of the standard protocol, whose targeted loss needs four."""
_RAND_CLASSES = 3
"""Fewest classes of the protocol for stochastic networks, whose DLR loss needs three."""
_QUERIES = 5000
"""Queries of Square in the standard protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoAttack3D(Attack):
    """AutoAttack's protocols, and ones with other names where a task has too few classes for them.

    `samples` above 1 chooses the protocols for networks that draw random numbers.
    """

    name: ClassVar[str] = "autoattack3d"
    version: ClassVar[int] = 2
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = "Croce & Hein, ICML 2020, arXiv 2003.01690; own implementation"
    summary: ClassVar[str] = (
        "APGD-CE, APGD-T, FAB-T and Square in turn on what is still correct; with 2 or 3 classes "
        "PGD, APGD-CE, APGD on the margin, FAB and Square; with samples the rand protocol."
    )
    traced: ClassVar[bool] = False
    objective: ClassVar[Objective] = staticmethod(margin)
    access: ClassVar[Access] = "both"
    auc_undefined: ClassVar[str] = (
        "a volume is attacked no further once broken; take AUC from apgd_ce or pgd"
    )

    steps: int = parameter(100, low=1)
    """Iterations of APGD and FAB, for each target."""
    targets: int = parameter(9, low=1)
    """Most wrong classes that APGD-T and FAB-T aim at."""
    queries: int = parameter(_QUERIES, low=1)
    """Queries of Square. As published, its schedule is not stretched to them; with another number
    it is, since few queries would end at large squares."""
    pgd_steps: int = parameter(10, low=1)
    """Steps of PGD, with 2 or 3 classes."""
    samples: int = parameter(1, low=1)
    """Passes per gradient; AutoAttack's *rand* has 20 for stochastic networks."""

    def protocol(self, num_classes: int) -> str:
        """The protocol's name, with ` (altered)` where iteration counts differ from its own.

        `standard` or `few-classes-1`; with several `samples`, `rand` or `few-classes-rand-1`.
        """
        if self.samples == 1:
            name = "standard" if num_classes >= _STANDARD_CLASSES else "few-classes-1"
            faithful = AutoAttack3D()
        else:
            name = "rand" if num_classes >= _RAND_CLASSES else "few-classes-rand-1"
            faithful = AutoAttack3D(samples=DRAWS)
        # A parameter that none of the parts has alters nothing.
        same = self.parts(num_classes) == faithful.parts(num_classes)
        return name if same else f"{name} (altered)"

    def parts(self, num_classes: int) -> tuple[Attack, ...]:
        """The attacks, in order."""
        return self._parts(num_classes) if self.samples == 1 else self._averaging_parts(num_classes)

    def _averaging_parts(self, num_classes: int) -> tuple[Attack, ...]:
        own = {"steps": self.steps, "samples": self.samples}
        if num_classes >= _RAND_CLASSES:
            return APGDCE(**own), APGDDLR(**own)
        pgd = PGD(steps=self.pgd_steps, samples=self.samples)
        return pgd, APGDCE(**own), APGDMargin(**own)

    def _parts(self, num_classes: int) -> tuple[Attack, ...]:
        square = Square3D(queries=self.queries, rescaled=self.queries != _QUERIES)
        if num_classes >= _STANDARD_CLASSES:
            return (
                APGDCE(steps=self.steps),
                APGDT(steps=self.steps, targets=self.targets),
                FAB(steps=self.steps, targets=self.targets, refinements=0),
                square,
            )
        return (
            PGD(steps=self.pgd_steps),
            APGDCE(steps=self.steps),
            APGDMargin(steps=self.steps),
            FAB(steps=self.steps),
            square,
        )

    def resolved(self, num_classes: int, severity: float) -> Pairs:
        """The protocol's name, and every part with its version and resolved parameters."""
        described = tuple(
            (part.name, part.version, part.resolved(num_classes, severity))
            for part in self.parts(num_classes)
        )
        protocol = self.protocol(num_classes)
        return pairs({**self.parameters(), "protocol": protocol, "parts": described})

    def cost(self, num_classes: int) -> Cost:
        """All parts and a forward pass after each; once broken, a volume costs nothing more."""
        total = Cost(forward=1, backward=0)
        for part in self.parts(num_classes):
            total = total + part.cost(num_classes) + Cost(forward=1, backward=0)
        return total

    def perturb(self, batch: Batch) -> Tensor:
        """Run the parts in turn; a volume that no part breaks comes back clean.

        The part that broke a volume is reported as `predictions.BROKEN_BY`.
        """
        return in_turn(batch, self.parts(batch.classifier.num_classes))
