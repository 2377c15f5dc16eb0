"""The probe: what attackers find who do not rely on the network's own backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.ascent import unit_mean
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.cascade import in_turn
from benchharness.attacks.core.draws import undisturbed
from benchharness.attacks.core.norms import LINF
from benchharness.attacks.core.objectives import margin
from benchharness.attacks.core.observation import Observed
from benchharness.attacks.core.straight_through import straight_through
from benchharness.attacks.square import Square3D
from benchharness.canonical import Pairs, pairs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchharness.attacks.core.base import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate(Attack):
    """MI-FGSM on the margin of a copy of the network that has a backward pass of its own.

    The copy has the network's weights and `straight_through`'s gradient. Momentum adds up the
    gradients of all steps, which averages out what is steep and short. A volume is kept as soon as
    the network itself gets it wrong.
    """

    name: ClassVar[str] = "surrogate"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = (
        "BPDA: Athalye, Carlini & Wagner, ICML 2018, arXiv 1802.00420; own implementation"
    )
    summary: ClassVar[str] = (
        "MI-FGSM on a straight-through copy of the network, judged by the network."
    )
    access: ClassVar[Access] = "another network"
    auc_undefined: ClassVar[str] = "a volume is attacked no further once broken"
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    steps: int = parameter(10, low=1)
    """Steps of length 2.5·ε / steps, at most ε, from the clean volume."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way and a look for every step; differentiating anew takes half as long again.

        A forward pass more stands for that.
        """
        return Cost(forward=3, backward=1) * self.steps

    def perturb(self, batch: Batch) -> Tensor:
        """Climb until the volume breaks."""
        best, rows = (
            batch.volumes.clone(),
            torch.arange(len(batch.labels), device=batch.volumes.device),
        )
        point, momentum = batch.volumes, torch.zeros_like(batch.volumes)
        length = min(2.5 / self.steps, 1.0) * batch.severity
        for _ in range(self.steps):
            rest = batch.select(rows)
            momentum = momentum + unit_mean(_gradient(rest, point))
            point = LINF.project(point + length * momentum.sign(), rest.volumes, batch.severity)
            with torch.no_grad():
                fooled = batch.classifier(point).argmax(1) != rest.labels
            best[rows[fooled]] = point[fooled]
            rows, point, momentum = (values[~fooled] for values in (rows, point, momentum))
            if len(rows) == 0:
                break
        return best


def _gradient(batch: Batch, point: Tensor) -> Tensor:
    """The gradient of the margin on the copy; zero where none can be had."""
    moved = point.clone().requires_grad_()
    network: nn.Module = batch.classifier
    while isinstance(network, Observed):
        network = network.classifier
    try:
        with torch.enable_grad():
            logits = undisturbed(partial(straight_through, network), moved)
            if not logits.requires_grad:
                logits = batch.classifier(moved)
            values = margin(logits.float(), batch.labels).sum()
        (gradient,) = torch.autograd.grad(values, moved)
    except Exception:
        # A network may raise anything when it is differentiated; random search does not need it.
        return torch.zeros_like(point)
    return torch.nan_to_num(gradient, posinf=0.0, neginf=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Attack):
    """Attacks that a masked gradient does not stop, in turn, on what is still correct.

    One long step on the surrogate, a climb on it, then random search. The planner adds the probe to
    every checkpoint that is attacked through its gradient, at every ε and on as many volumes as the
    control at ε = 1. `matrix_checks` holds the attacks against it, and what it breaks enters the
    worst case.
    """

    name: ClassVar[str] = "probe"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = f"{Surrogate.source}; {Square3D.source}"
    summary: ClassVar[str] = (
        "One step and a climb on a straight-through copy, then Square, in turn: a control."
    )
    access: ClassVar[Access] = "another network"
    auc_undefined: ClassVar[str] = "a control: it ends at a volume once it is broken"
    ascends: ClassVar[bool] = False
    traced: ClassVar[bool] = False

    steps: int = parameter(10, low=1)
    """Steps of the climb."""
    queries: int = parameter(100, low=1)
    """Queries of Square."""

    def parts(self, num_classes: int) -> tuple[Attack, ...]:  # noqa: ARG002
        """The attacks, in order."""
        climb = Surrogate(steps=self.steps)
        return Surrogate(steps=1), climb, Square3D(queries=self.queries)

    def resolved(self, num_classes: int, severity: float) -> Pairs:
        """The parameters, and every part with its version and resolved parameters."""
        described = tuple(
            (part.name, part.version, part.resolved(num_classes, severity))
            for part in self.parts(num_classes)
        )
        return pairs({**self.parameters(), "parts": described})

    def cost(self, num_classes: int) -> Cost:
        """All parts and a forward pass after each; once broken, a volume costs nothing more."""
        total = Cost(forward=1, backward=0)
        for part in self.parts(num_classes):
            total = total + part.cost(num_classes) + Cost(forward=1, backward=0)
        return total

    def perturb(self, batch: Batch) -> Tensor:
        """Run the parts in turn; a volume that no part breaks comes back clean."""
        found = in_turn(batch, self.parts(batch.classifier.num_classes))
        del batch.findings["zero_gradient"]  # That of the copy says nothing of the network.
        return found
