"""Auto-PGD: ascent that halves its own step and keeps the best point (Croce & Hein, ICML 2020).

torchattacks' version reshapes to (B, 1, 1, 1), which raises on volumes, and draws only for the
volumes that are still correct, so that a volume's start depends on its batch; hence this
implementation. The tests compare it with torchattacks' on folded volumes, from the same start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import Attack, Batch, Cost
from benchharness.attacks.core.norms import BUDGETS, LINF
from benchharness.attacks.core.objectives import (
    NOT_CROSS_ENTROPY,
    Evaluation,
    Worst,
    choose,
    cross_entropy,
    dlr,
    evaluate,
    margin,
    ranked_targets,
    targeted_dlr,
)
from benchharness.attacks.core.observation import progress, zero_gradient
from benchharness.canonical import Pairs, pairs
from benchharness.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchharness.attacks.core.draws import Draws
    from benchharness.attacks.core.norms import Budget
    from benchharness.attacks.core.objectives import Objective


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """The result of one run of Auto-PGD."""

    best: Tensor
    """(B, C, D, H, W): the point with the highest objective."""
    worst: Worst
    """The worst point seen: the highest objective among those that break the volume, if any."""
    values: list[Tensor] = field(repr=False)
    """The objective (B,) at the start and after every step."""
    first: Evaluation
    """The evaluation of the start."""


def run(
    classifier: nn.Module,
    clean: Tensor,
    labels: Tensor,
    start: Tensor,
    objective: Objective,
    norm: Budget,
    *,
    severity: float,
    steps: int,
    rho: float,
    samples: int = 1,
) -> Run:
    """Auto-PGD from a given start, Algorithm 1 of the paper.

    The step begins at 2ε and is reviewed at checkpoints, the first after 22 % of the steps and
    later ones ever closer. It is halved for a volume whose objective rose in less than the share
    `rho` of the steps since the last checkpoint, or whose step and best value have not changed
    since; that volume then goes back to its best point.

    Args:
        classifier: Maps volumes to logits.
        clean: (B, C, D, H, W).
        labels: (B,).
        start: (B, C, D, H, W), inside the ball.
        objective: What to maximise.
        norm: Gives the projection and the direction.
        severity: ε in the norm's unit.
        steps: Gradient steps; the start takes one more evaluation.
        rho: Share of rising steps below which the step is halved.
        samples: Passes per gradient.
    """
    first = found = evaluate(classifier, start, labels, objective, samples=samples)
    point = previous = best = start.clone()
    best_value, best_gradient, gradient = found.values, found.gradient, found.gradient
    worst = Worst(start)
    worst.offer(start, found.values, found.broken)
    values = [found.values]
    length = torch.full((len(start), 1, 1, 1, 1), 2 * severity, device=start.device)
    halved = torch.ones_like(labels, dtype=torch.bool)
    value_then = best_value
    project = norm.projection(clean, severity)
    checkpoints, window = _checkpoints(steps), 0
    for number in range(1, steps + 1):
        forward = project(torch.addcmul(point, length, norm.steepest(gradient)))
        if number > 1:
            ahead, behind = forward.sub_(point), point - previous
            forward = project(ahead.mul_(0.75).add_(point).add_(behind, alpha=0.25))
        previous, point = point, forward
        found = evaluate(classifier, point, labels, objective, samples=samples)
        gradient = found.gradient
        values.append(found.values)
        worst.offer(point, found.values, found.broken)
        better = found.values > best_value
        best = choose(better, point, best)
        best_gradient = choose(better, gradient, best_gradient)
        best_value = torch.where(better, found.values, best_value)
        window += 1
        if number in checkpoints:
            recent = torch.stack(values[-window - 1 :])
            rises = (recent[1:] > recent[:-1]).sum(0)
            stuck = ~halved & (value_then >= best_value)
            halved = (rises <= rho * window) | stuck
            value_then, window = best_value, 0
            length = choose(halved, length / 2, length)
            point = choose(halved, best, point)
            gradient = choose(halved, best_gradient, gradient)
    return Run(best=best, worst=worst, values=values, first=first)


def _checkpoints(steps: int) -> frozenset[int]:
    """The steps after which the step size is reviewed, as in AutoAttack's code."""
    interval = max(int(0.22 * steps), 1)
    least, shrink = max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    found, at = [], interval
    while at <= steps:
        found.append(at)
        interval = max(interval - shrink, least)
        at += interval
    return frozenset(found)


def random_start(clean: Tensor, draws: Draws, norm: Budget, severity: float) -> Tensor:
    """A random point on the sphere, clipped to [0, 1]."""
    noise = draws.uniform(clean, -1, 1) if norm is LINF else draws.normal(clean)
    return (clean + severity * norm.spread(noise)).clamp(0, 1)


_SOURCE = "Croce & Hein, ICML 2020, arXiv 2003.01690; own implementation"
_MARGIN_SOURCE = f"{_SOURCE}; margin of Carlini & Wagner, S&P 2017"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoPGD(Attack):
    """What all versions share: the parameters of a run, and the run from a random start."""

    steps: int = parameter(100, low=1)
    """Gradient steps of one run."""
    rho: float = parameter(0.75, low=0.0, high=1.0)
    """Share of rising steps below which the step is halved."""
    samples: int = parameter(1, low=1)
    """Passes per gradient; more than 1 for stochastic networks."""

    def ascend(self, batch: Batch, objective: Objective) -> Run:
        """Run Auto-PGD once, from a random start."""
        norm = BUDGETS[self.norm]
        return run(
            batch.classifier,
            batch.volumes,
            batch.labels,
            random_start(batch.volumes, batch.draws, norm, batch.severity),
            objective,
            norm,
            severity=batch.severity,
            steps=self.steps,
            rho=self.rho,
            samples=self.samples,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UntargetedAutoPGD(AutoPGD):
    """What the untargeted versions share; they differ in objective and norm."""

    objective: ClassVar[Objective]
    """What to maximise."""

    restarts: int = parameter(1, low=1)
    """Independent starts; a volume keeps the one that breaks it, or else the highest objective."""

    def cost(self, num_classes: int) -> Cost:
        """A pass each way for every step and for the start."""
        return Cost(forward=1, backward=1) * self.planned_iterations(num_classes)

    def planned_iterations(self, num_classes: int) -> int:  # noqa: ARG002
        """Every step of every restart, and its start."""
        return (self.steps + 1) * self.restarts * self.samples

    def perturb(self, batch: Batch) -> Tensor:
        """Keep the worst point of all restarts for each volume."""
        worst = Worst(batch.volumes)
        for number in range(self.restarts):
            batch.draws.restart(number)
            found = self.ascend(batch, type(self).objective)
            worst.offer(found.worst.volumes, found.worst.values, found.worst.broken)
            if number == 0:
                batch.findings.update(progress(found.values))
        return worst.volumes


@dataclass(frozen=True, slots=True, kw_only=True)
class APGDCE(UntargetedAutoPGD):
    """Auto-PGD on the cross-entropy, L∞."""

    name: ClassVar[str] = "apgd_ce"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = _SOURCE
    summary: ClassVar[str] = "Auto-PGD on the cross-entropy: no step size to choose."
    objective: ClassVar[Objective] = staticmethod(cross_entropy)


@dataclass(frozen=True, slots=True, kw_only=True)
class APGDDLR(UntargetedAutoPGD):
    """Auto-PGD on the difference of logits ratio, L∞."""

    name: ClassVar[str] = "apgd_dlr"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = _SOURCE
    summary: ClassVar[str] = (
        "Auto-PGD on the difference of logits ratio, which no scale of the logits can flatten."
    )
    ascends: ClassVar[bool] = False
    auc_undefined: ClassVar[str] = NOT_CROSS_ENTROPY
    objective: ClassVar[Objective] = staticmethod(dlr)

    def check(self, num_classes: int) -> None:
        """Refuse two classes: the ratio's denominator needs a third."""
        require_classes(self.name, num_classes, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class APGDMargin(UntargetedAutoPGD):
    """Auto-PGD on the margin of the logits, L∞."""

    name: ClassVar[str] = "apgd_margin"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = _MARGIN_SOURCE
    summary: ClassVar[str] = "Auto-PGD on the margin of the logits, for any number of classes."
    auc_undefined: ClassVar[str] = NOT_CROSS_ENTROPY
    objective: ClassVar[Objective] = staticmethod(margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class APGDCEL2(UntargetedAutoPGD):
    """Auto-PGD on the cross-entropy, L2."""

    name: ClassVar[str] = "apgd_ce_l2"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = _SOURCE
    summary: ClassVar[str] = "Auto-PGD on the cross-entropy in the L2 ball."
    objective: ClassVar[Objective] = staticmethod(cross_entropy)


@dataclass(frozen=True, slots=True, kw_only=True)
class APGDMarginL2(UntargetedAutoPGD):
    """Auto-PGD on the margin of the logits, L2."""

    name: ClassVar[str] = "apgd_margin_l2"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = _MARGIN_SOURCE
    summary: ClassVar[str] = "Auto-PGD on the margin of the logits in the L2 ball."
    auc_undefined: ClassVar[str] = NOT_CROSS_ENTROPY
    objective: ClassVar[Objective] = staticmethod(margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class APGDT(AutoPGD):
    """Auto-PGD on the targeted difference of logits ratio, one likely class after another, L∞."""

    name: ClassVar[str] = "apgd_t"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = _SOURCE
    summary: ClassVar[str] = (
        "Auto-PGD towards each of the likeliest wrong classes in turn, until a volume breaks."
    )
    ascends: ClassVar[bool] = False
    auc_undefined: ClassVar[str] = NOT_CROSS_ENTROPY
    traced: ClassVar[bool] = False
    objective: ClassVar[Objective] = staticmethod(margin)

    targets: int = parameter(9, low=1)
    """Wrong classes to aim at, at most, in the order of their clean logits."""

    def check(self, num_classes: int) -> None:
        """Refuse two or three classes: the ratio's denominator needs a fourth."""
        require_classes(self.name, num_classes, 4)

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """The parameters, and the number of targets that this many classes leave."""
        aimed = min(self.targets, num_classes - 1)
        return pairs({**self.parameters(), "effective_targets": aimed})

    def cost(self, num_classes: int) -> Cost:
        """For every target a pass each way for its start and every step; a pass to rank them."""
        runs = min(self.targets, num_classes - 1) * self.samples
        return Cost(forward=1, backward=0) + Cost(forward=1, backward=1) * (runs * (self.steps + 1))

    def perturb(self, batch: Batch) -> Tensor:
        """Aim at one class after another, each time with the volumes that still hold."""
        with torch.no_grad():
            logits = batch.classifier(batch.volumes)
        ranking = ranked_targets(logits, batch.labels)[:, : self.targets]
        broken = logits.argmax(1) != batch.labels
        worst, zero = Worst(batch.volumes), torch.zeros_like(broken)
        iterations = torch.zeros_like(batch.labels)
        for rank, targets in enumerate(ranking.T):
            rows = (~(broken | worst.broken)).nonzero()[:, 0]
            if len(rows) == 0:
                break
            batch.draws.restart(rank)
            found = self.ascend(batch.select(rows), targeted_dlr(targets[rows]))
            worst.offer(found.worst.volumes, found.worst.values, found.worst.broken, rows)
            iterations[rows] += (self.steps + 1) * self.samples
            if rank == 0:
                zero[rows] = zero_gradient(found.first.gradient)
        batch.findings.update(zero_gradient=zero, iterations=iterations)
        return worst.volumes


def require_classes(name: str, num_classes: int, least: int) -> None:
    """Raise BenchError when a task has too few classes for an attack."""
    if num_classes < least:
        raise BenchError(
            f"attack {name!r} needs at least {least} classes, the task has {num_classes}; use "
            "apgd_margin."
        )
