"""Attacks that look for the nearest volume of another class, whatever the budget.

At a budget ε a volume counts as broken if and only if the norm that it needed is at most ε; else
its clean volume comes back. What comes back broken lies a little beyond the boundary. The norm that
each volume needed is kept with the predictions (`minimal_norm`, and `found` where there is one), so
that a median and a curve can be drawn.

torchattacks ignores ε here, loops over volumes one by one (DeepFool), moves no voxel at exactly 0
or 1 (CW), and its FAB may return its input; hence these.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from benchharness.attacks.apgd import ranked_targets, zero_gradient
from benchharness.attacks.base import Attack, Batch, Cost, parameter
from benchharness.attacks.norms import L2_RMS, LINF
from benchharness.attacks.objectives import Evaluation, evaluate, margin, towards
from benchharness.cells import Pairs, pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from benchharness.attacks.norms import Budget

UNREACHED = 1.0
"""Norm reported where no adversarial volume was found: the largest that [0, 1] admits."""
_BEYOND = 0.1
"""How far past the boundary a volume is taken, as a share of the norm that it needed."""


class Nearest:
    """The nearest adversarial point of every volume so far.

    Args:
        clean: (B, C, D, H, W).
        norm: Measures the distance.
    """

    def __init__(self, clean: Tensor, norm: Budget) -> None:
        self.clean = clean
        self.norm = norm
        self.volumes = clean.clone()
        self.norms = torch.full((len(clean),), torch.inf, dtype=torch.float64, device=clean.device)

    @property
    def found(self) -> Tensor:
        """Whether there is one, bool (B,)."""
        return torch.isfinite(self.norms)

    def offer(self, points: Tensor, broken: Tensor) -> None:
        """Take those of the points (B, C, D, H, W) that are broken and nearer."""
        norms = self.norm.size(points - self.clean)
        nearer = broken & (norms < self.norms)
        self.norms = torch.where(nearer, norms, self.norms)
        self.volumes = _where(nearer, points, self.volumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumNorm(Attack):
    """What these attacks share: who is searched for, the last refinement, and the findings."""

    budget: ClassVar[Budget]
    traced: ClassVar[bool] = False
    auc_undefined: ClassVar[str] = (
        "the attack looks for the boundary and stops there; take AUC from apgd_ce or pgd"
    )

    refinements: int = parameter(10, low=0)
    """Bisections of the segment from the clean volume to the one found; each halves the excess."""

    @abstractmethod
    def search(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> Tensor:
        """Offer adversarial points of volumes that are all classified correctly.

        Returns:
            The first gradient looked at, (B, C, D, H, W).
        """

    def perturb(self, batch: Batch) -> Tensor:
        """Search for the volumes that are classified correctly; the others need no perturbation."""
        with torch.no_grad():
            correct = batch.classifier(batch.volumes).argmax(1) == batch.labels
        rows = correct.nonzero()[:, 0]
        norms = torch.zeros(len(correct), dtype=torch.float64, device=correct.device)
        found, zero = torch.ones_like(correct), torch.zeros_like(correct)
        adversarial = batch.volumes.clone()
        if len(rows):
            nearest = Nearest(batch.volumes[rows], self.budget)
            gradient = self.search(batch.classifier, nearest, batch.labels[rows])
            self._refine(batch.classifier, nearest, batch.labels[rows])
            within = nearest.norms <= batch.severity
            beyond = self._beyond(batch.classifier, nearest, batch.labels[rows], batch.severity)
            adversarial[rows[within]] = beyond[within]
            norms[rows] = nearest.norms.clamp_max(UNREACHED)
            found[rows] = nearest.found
            zero[rows] = zero_gradient(gradient)
        batch.findings.update(minimal_norm=norms, found=found, zero_gradient=zero)
        return adversarial

    def _refine(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> None:
        """Look for the boundary on the way from the adversarial point to the clean volume."""
        far, near = nearest.volumes, nearest.clean
        for _ in range(self.refinements):
            middle = (far + near) / 2
            with torch.no_grad():
                broken = classifier(middle).argmax(1) != labels
            nearest.offer(middle, broken & nearest.found)
            far, near = _where(broken, middle, far), _where(broken, near, middle)

    def _beyond(
        self, classifier: nn.Module, nearest: Nearest, labels: Tensor, severity: float
    ) -> Tensor:
        """Go on by up to `_BEYOND` of the way, within the budget, where that still breaks.

        On the boundary itself the last bits would decide, and the class could change back on
        another device or in another batch.
        """
        goal = (nearest.norms * (1 + _BEYOND)).clamp_max(severity)
        factor = torch.where(nearest.norms > 0, goal / nearest.norms, 1.0).clamp_min(1)
        delta = nearest.volumes - nearest.clean
        point = nearest.clean + factor.to(delta.dtype).view(-1, 1, 1, 1, 1) * delta
        point = self.budget.project(point, nearest.clean, severity)
        with torch.no_grad():
            broken = classifier(point).argmax(1) != labels
        return _where(broken, point, nearest.volumes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundaries:
    """How far the linearised boundaries to other classes are."""

    differences: Tensor
    """(B, J): z_j − z_y, negative while the volume is classified correctly."""
    gradients: Tensor
    """(B, J, C, D, H, W): of the differences."""

    def nearest(self, norm: Budget) -> tuple[Tensor, Tensor]:
        """Difference (B,) and gradient (B, C, D, H, W) of the boundary nearest in a norm."""
        sizes = _dual(self.gradients.flatten(2), norm)
        distances = self.differences.abs() / sizes.clamp_min(1e-30)
        chosen = torch.where(sizes > 0, distances, torch.inf).argmin(1)
        rows = torch.arange(len(chosen), device=chosen.device)
        return self.differences[rows, chosen], self.gradients[rows, chosen]


def _dual(flat: Tensor, norm: Budget) -> Tensor:
    """Rise of a linear function over a step of length 1, (B, J), for gradients (B, J, V)."""
    order = 1 if norm is LINF else 2
    lengths: Tensor = torch.linalg.vector_norm(flat, ord=order, dim=2, dtype=torch.float64)
    return lengths if norm is LINF else lengths * math.sqrt(flat.shape[2])


def boundaries(
    classifier: nn.Module, points: Tensor, labels: Tensor, targets: Tensor | None
) -> tuple[Boundaries, Tensor]:
    """Linearise the boundaries to all other classes, or to one target each.

    Returns:
        The boundaries, and whether each point is misclassified, bool (B,).
    """
    looks = list(_looks(classifier, points, labels, targets))
    differences = torch.stack([look.values for look in looks], dim=1)
    gradients = torch.stack([look.gradient for look in looks], dim=1)
    return Boundaries(differences=differences, gradients=gradients), looks[0].broken


def _looks(
    classifier: nn.Module, points: Tensor, labels: Tensor, targets: Tensor | None
) -> Iterator[Evaluation]:
    if targets is not None:
        yield evaluate(classifier, points, labels, towards(targets))
        return
    point = points.detach().requires_grad_()
    with torch.enable_grad():
        logits = classifier(point).float()
        broken = logits.detach().argmax(1) != labels
        num_classes = logits.shape[1]
        for shift in range(1, num_classes):
            values = towards((labels + shift) % num_classes)(logits, labels)
            (gradient,) = torch.autograd.grad(
                values.sum(), point, retain_graph=shift < num_classes - 1
            )
            yield Evaluation(values=values.detach(), gradient=gradient, broken=broken)


def to_hyperplane(points: Tensor, gradient: Tensor, rise: Tensor, norm: Budget) -> Tensor:
    """The smallest step within [0, 1] that raises a linear function by `rise`.

    Voxels move along s_i = 1 (L∞) or |g_i| (L2) times a common λ until they reach their bound u_i.
    The rise Σ|g_i|·min(λ·s_i, u_i) is concave and made of straight pieces, so that Newton's method
    climbs to the λ that is wanted from below, and ends on the piece where that lies. Where [0, 1]
    does not admit the rise, every voxel goes to its bound. This is the projection of Croce & Hein
    (ICML 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
    section 3.1), which they find by sorting the bounds.

    Args:
        points: (B, C, D, H, W) in [0, 1].
        gradient: Of the linear function, the same shape.
        rise: (B,); a negative one is a fall.
        norm: What the step is smallest in.

    Returns:
        The step, (B, C, D, H, W).
    """
    flat = gradient.flatten(1).double() * rise.sign().double()[:, None]
    place = points.flatten(1).double()
    slope = flat.abs()
    room = torch.where(flat > 0, 1 - place, place)
    speed = torch.ones_like(slope) if norm is LINF else slope
    # A voxel without a slope adds to no rise, and is at its bound from the beginning.
    reach = torch.where(slope > 0, room / speed.clamp_min(1e-300), 0.0)
    scale = _scale(slope * speed, reach, rise.abs().double())
    step = torch.minimum(scale[:, None], reach).mul_(speed).mul_(flat.sign())
    return step.to(points.dtype).view_as(points)


def _scale(rate: Tensor, reach: Tensor, rise: Tensor) -> Tensor:
    """The least λ (B,) for which Σ rate·min(λ, reach) is a rise (B,); infinite where none is.

    Args:
        rate: (B, V), not negative.
        reach: (B, V), not negative.
        rise: (B,).
    """
    scale = torch.zeros_like(rise)
    most = rate * reach
    while True:
        free = reach > scale[:, None]
        fixed = most.masked_fill(free, 0).sum(1)
        climb = rate.masked_fill(~free, 0).sum(1)
        missing = (rise - fixed).clamp_min(0)
        wanted = torch.where(climb > 0, missing / climb, torch.where(missing > 0, torch.inf, scale))
        # From below, and never back: where rounding would turn, this is the answer.
        if (wanted <= scale).all():
            return scale
        scale = torch.maximum(scale, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class FastAdaptiveBoundary(MinimumNorm):
    """FAB in either norm."""

    steps: int = parameter(100, low=1)
    """Iterations, for each target if there are targets."""
    targets: int = parameter(0, low=0)
    """Wrong classes to aim at in turn, at most, in the order of their clean logits (FAB-T); 0 looks
    at all boundaries at once."""
    alpha_max: float = parameter(0.1, low=0.0, high=1.0)
    """Largest pull towards the clean volume."""
    eta: float = parameter(1.05, low=1.0)
    """Overshoot of the hyperplane."""
    beta: float = parameter(0.9, low=0.0, high=1.0)
    """Where a misclassified iterate goes back to, on the way from the clean volume."""

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """The parameters, and how many targets there are."""
        aimed = min(self.targets, num_classes - 1)
        return pairs({**self.parameters(), "effective_targets": aimed})

    def cost(self, num_classes: int) -> Cost:
        """A pass each way for every boundary looked at, and a forward pass to judge the step."""
        if self.targets:
            step = Cost(forward=2, backward=1) * min(self.targets, num_classes - 1)
        else:
            step = Cost(forward=2, backward=num_classes - 1)
        return step * self.steps + Cost(forward=3 + self.refinements, backward=0)

    def search(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> Tensor:
        """Run once, or once for each target."""
        if not self.targets:
            return self._run(classifier, nearest, labels, None)
        with torch.no_grad():
            ranking = ranked_targets(classifier(nearest.clean), labels)[:, : self.targets]
        firsts = [self._run(classifier, nearest, labels, targets) for targets in ranking.T]
        return firsts[0]

    def _run(
        self, classifier: nn.Module, nearest: Nearest, labels: Tensor, targets: Tensor | None
    ) -> Tensor:
        """Step to the nearest boundary, pulled towards the clean volume; Algorithm 1 of FAB."""
        clean, norm = nearest.clean, nearest.norm
        point, first = clean, None
        for _ in range(self.steps):
            found, _ = boundaries(classifier, point, labels, targets)
            difference, gradient = found.nearest(norm)
            first = gradient if first is None else first
            at_clean = difference.double() + (
                (clean - point).flatten(1).double() * gradient.flatten(1).double()
            ).sum(1)
            step = to_hyperplane(point, gradient, -difference, norm)
            back = to_hyperplane(clean, gradient, -at_clean.to(difference.dtype), norm)
            here, there = norm.size(step), norm.size(back)
            pull = (here / (here + there).clamp_min(1e-30)).clamp_max(self.alpha_max)
            pull = pull.to(point.dtype).view(-1, 1, 1, 1, 1)
            point = (1 - pull) * (point + self.eta * step) + pull * (clean + self.eta * back)
            point = point.clamp(0, 1)
            with torch.no_grad():
                broken = classifier(point).argmax(1) != labels
            nearest.offer(point, broken)
            point = _where(broken, clean + self.beta * (point - clean), point)
        assert first is not None
        return first


_FAB = "Croce & Hein, ICML 2020, arXiv 1907.02044; own implementation"


@dataclass(frozen=True, slots=True, kw_only=True)
class FAB(FastAdaptiveBoundary):
    """Fast adaptive boundary attack, L∞."""

    name: ClassVar[str] = "fab"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "linf"
    source: ClassVar[str] = _FAB
    summary: ClassVar[str] = (
        "Steps to the linearised decision boundary nearest to the clean volume; minimal L∞ norm."
    )
    budget: ClassVar[Budget] = LINF


@dataclass(frozen=True, slots=True, kw_only=True)
class FABL2(FastAdaptiveBoundary):
    """Fast adaptive boundary attack, L2."""

    name: ClassVar[str] = "fab_l2"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = _FAB
    summary: ClassVar[str] = (
        "Steps to the linearised decision boundary nearest to the clean volume; minimal L2 norm."
    )
    budget: ClassVar[Budget] = L2_RMS


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepFool(MinimumNorm):
    """DeepFool: repeated steps to the nearest linearised boundary, never looking back."""

    name: ClassVar[str] = "deepfool"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = (
        "Moosavi-Dezfooli, Fawzi & Frossard, CVPR 2016, arXiv 1511.04599; own implementation"
    )
    summary: ClassVar[str] = (
        "Steps over the nearest linearised boundary until the class changes; minimal L2 norm."
    )
    budget: ClassVar[Budget] = L2_RMS

    steps: int = parameter(50, low=1)
    """Steps at most."""
    overshoot: float = parameter(0.02, low=0.0)
    """How much farther than the boundary a step goes, as a share of it."""

    def cost(self, num_classes: int) -> Cost:
        """A forward pass and a backward pass for every boundary, at every step."""
        step = Cost(forward=1, backward=num_classes - 1)
        return step * self.steps + Cost(forward=3 + self.refinements, backward=0)

    def search(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> Tensor:
        """Step until misclassified; steps are the smallest within [0, 1]."""
        point, first = nearest.clean, None
        for _ in range(self.steps):
            found, broken = boundaries(classifier, point, labels, None)
            nearest.offer(point, broken)
            difference, gradient = found.nearest(L2_RMS)
            first = gradient if first is None else first
            if broken.all():
                return first
            # A hair beyond the boundary: exactly on it, rounding would decide the class.
            step = to_hyperplane(point, gradient, 1e-6 - difference, L2_RMS)
            ahead = (point + (1 + self.overshoot) * step).clamp(0, 1)
            point = _where(broken, point, ahead)
        with torch.no_grad():
            nearest.offer(point, classifier(point).argmax(1) != labels)
        assert first is not None
        return first


@dataclass(frozen=True, slots=True, kw_only=True)
class CarliniWagner(MinimumNorm):
    """Carlini and Wagner's L2 attack with its box kept by projection.

    The original writes a volume as (tanh w + 1) / 2, whose derivative is zero at exactly 0 and 1:
    no voxel of a binary mask would ever move. Here the perturbation itself is optimised by Adam and
    clipped to [0, 1] after each step, so that every voxel moves alike.
    """

    name: ClassVar[str] = "cw"
    version: ClassVar[int] = 1
    norm: ClassVar[str] = "l2"
    source: ClassVar[str] = (
        "Carlini & Wagner, S&P 2017, arXiv 1608.04644, projected instead of tanh; "
        "own implementation"
    )
    summary: ClassVar[str] = (
        "Minimises the squared L2 norm plus c times the margin, c searched; minimal L2 norm."
    )
    budget: ClassVar[Budget] = L2_RMS

    steps: int = parameter(100, low=1)
    """Steps of Adam for each c."""
    search_steps: int = parameter(6, low=1)
    """Values of c tried for each volume."""
    initial_c: float = parameter(1.0, low=1e-6)
    """First weight of the margin against the mean square of the perturbation."""
    learning_rate: float = parameter(0.01, low=1e-6)
    """Of Adam, falling to zero along a cosine."""

    def cost(self, num_classes: int) -> Cost:  # noqa: ARG002
        """A pass each way for every step of every c."""
        steps = self.steps * self.search_steps
        return Cost(forward=steps + 2 + self.refinements, backward=steps)

    def search(self, classifier: nn.Module, nearest: Nearest, labels: Tensor) -> Tensor:
        """Change c tenfold until it is bracketed, then bisect on a logarithmic scale."""
        weight = torch.full((len(labels),), self.initial_c, device=labels.device)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        first: Tensor | None = None
        for _ in range(self.search_steps):
            gradient, success = self._optimise(classifier, nearest, labels, weight)
            first = gradient if first is None else first
            low, high = torch.where(success, low, weight), torch.where(success, weight, high)
            between = (low * high).sqrt()
            weight = torch.where(low == 0, high / 10, torch.where(high.isinf(), low * 10, between))
        assert first is not None
        return first

    def _optimise(
        self, classifier: nn.Module, nearest: Nearest, labels: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Minimise mean(δ²) + c·max(z_y − max z_j, 0) from δ = 0.

        Returns:
            The first gradient, and which volumes were broken on the way, bool (B,).
        """
        clean = nearest.clean
        voxels = clean[0].numel()
        delta = torch.zeros_like(clean)
        optimiser = torch.optim.Adam([delta], lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        success = torch.zeros_like(labels, dtype=torch.bool)
        first: Tensor | None = None
        for _ in range(self.steps):
            found = evaluate(classifier, clean + delta, labels, margin)
            first = found.gradient if first is None else first
            nearest.offer(clean + delta, found.broken)
            success |= found.broken
            pull = weight.view(-1, 1, 1, 1, 1) * found.gradient
            # Times the number of voxels, which changes no minimum and keeps Adam off its epsilon.
            delta.grad = 2 * delta - voxels * _where(found.broken, torch.zeros_like(pull), pull)
            optimiser.step()
            schedule.step()
            delta.copy_((clean + delta).clamp(0, 1) - clean)
        assert first is not None
        return first, success


def _where(rows: Tensor, chosen: Tensor, otherwise: Tensor) -> Tensor:
    return torch.where(rows.view(-1, 1, 1, 1, 1), chosen, otherwise)
