"""Record checks: what makes the number of one cell trustworthy, or suspect and why.

They follow the flags of AutoAttack (Croce & Hein, ICML 2020, `checks.py` of its code) and the
advice of Carlini et al. (arXiv 1902.06705): a masked gradient, a network that answers differently
each time, or an attack that did not converge makes a network look robust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchharness.networks.behaviour import DISAGREEMENT, inapplicable, judged
from benchharness.store.records import Check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.attacks.core.gradient_check import Slopes

    Findings = Mapping[str, NDArray[np.float64]]

DRAWS = 20
"""Fewest passes per gradient for a stochastic network, as in AutoAttack's *rand* protocol."""
ZERO_GRADIENTS = 0.01
"""Largest share of volumes that may have a gradient of exactly zero."""
FALL = 0.01
"""Share by which the mean loss may fall: an attack on the margin need not raise it everywhere."""
LATE_GAIN = 0.05
"""Largest share of the gain that the last tenth of the iterations may bring."""
LEAST_LOSS = 2.0**-24
"""Cross-entropy below which float32 resolves nothing: the label's probability rounds to one."""
LONG = 50
"""Fewest iterations that can show convergence."""

ERROR = 0.5
"""Largest mean error of the gradient along random signs, relative to its size. Between what was
measured: up to 0.35 where bfloat16 rounds, 0.57 or more where the backward pass is wrong."""
SHORTFALL = 0.5
"""Largest mean difference of measured and predicted change within the budget, relative to the
larger: at 0.5 a step gains half of what the gradient promises, or twice as much."""
FEW = 0.05
"""Accuracy up to which no curvature matters that would have kept an attack from breaking more."""
FOLLOWED = 0.25
"""Smallest share of the margin's best gain that the attack's own gradient must lead to."""
LOST = 0.25
"""Largest share of the volumes that withstood which may fall below it."""
GRADIENT = "gradient agrees with finite differences"
WITHIN = "gradient holds within the budget"
FOLLOWS = "gradient large enough to follow"
_WHEN = ("start", "late", "end")


def like_probabilities(logits: Tensor) -> Tensor:
    """1 where a row of (B, K) lies in [0, 1] and adds up to one, else 0; (B,).

    Within 2⁻⁸, to which half precision rounds: a softmax in float16 or bfloat16 counts.
    """
    inside = ((logits >= 0) & (logits <= 1)).all(1)
    return (inside & ((logits.sum(1) - 1).abs() < 2**-8)).float()


def judge(
    findings: Findings,
    *,
    bound: float,
    tolerance: float,
    planned_iterations: int | None,
    uses_gradient: bool,
    ascends: bool,
    expectation: int = 1,
    by_loss: bool = True,
    by_batch: bool = False,
    alike: bool = False,
    slopes: Slopes | None = None,
) -> tuple[Check, ...]:
    """Judge the findings of a whole cell.

    Args:
        findings: Arrays (N,) as `Outcome.findings` names them.
        bound: The severity.
        tolerance: What rounding may add to the norm.
        planned_iterations: Iterations that every volume must have had; None if it may stop early.
        uses_gradient: Whether the attack needs gradients.
        ascends: Whether the attack must not lower the mean loss.
        expectation: Passes per gradient.
        by_loss: Whether the objective is the cross-entropy.
        by_batch: Whether two passes differ because their batches did.
        alike: Whether all volumes got the very same logits.
        slopes: How the watched volumes' margins change; None where none was watched.
    """
    return (
        _norm(findings, bound, tolerance),
        _range(findings),
        _finite(findings),
        _zero_gradient(findings, uses_gradient=uses_gradient, alike=alike),
        *_gradient(slopes, float(np.mean(findings["broken"] == 0)), uses_gradient=uses_gradient),
        _agreement(findings, expectation, by_batch=by_batch),
        _probabilities(findings),
        _iterations(findings, planned_iterations),
        _loss(findings, ascends=ascends),
        _convergence(findings, expectation, by_loss=by_loss),
    )


def margins(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences of logits, `log Σ_{j≠y} exp z_j − z_y`, for cross-entropies.

    Logits three times as large are three times as far apart; a cross-entropy changes otherwise, and
    what an attack gained last would look like more than it is on a confident network.
    """
    losses = np.maximum(losses, LEAST_LOSS)
    return losses + np.log(-np.expm1(-losses))


def _check(name: str, value: float, bound: float, *, passed: bool, reason: str) -> Check:
    """A check that applies; it keeps its reason only where it failed."""
    return Check(
        name=name,
        verdict="passed" if passed else "failed",
        value=float(value),
        bound=float(bound),
        reason="" if passed else reason,
    )


def _norm(findings: Findings, bound: float, tolerance: float) -> Check:
    largest = findings["norm"].max()
    return _check(
        "norm within its bound",
        largest,
        bound,
        passed=largest <= bound + tolerance,
        reason=f"a perturbation has norm {largest:g}, above the budget of {bound:g}",
    )


def _range(findings: Findings) -> Check:
    excess = max(0.0, -findings["lowest"].min(), findings["highest"].max() - 1)
    return _check(
        "intensities in [0, 1]",
        excess,
        0.0,
        passed=excess <= 0,
        reason=f"intensities leave [0, 1] by {excess:g}",
    )


def _finite(findings: Findings) -> Check:
    names = ("norm", "lowest", "highest", "loss_start", "loss_end")
    table = torch.as_tensor([findings[name].tolist() for name in names])
    share = float(torch.isfinite(table).all(0).double().mean())
    return _check(
        "volumes and losses finite",
        share,
        1.0,
        passed=share == 1,
        reason=f"only {share:.1%} of the volumes have finite intensities and losses",
    )


def _zero_gradient(findings: Findings, *, uses_gradient: bool, alike: bool) -> Check:
    name = "gradients not zero"
    if not uses_gradient:
        return inapplicable(name, "the attack asks for no gradient")
    if "zero_gradient" not in findings:
        return inapplicable(name, "the attack does not report its gradients")
    share = findings["zero_gradient"].mean()
    # A saturated network answers a single class alike, too: the number is not vouched for.
    why = "all volumes get the same logits, it may have collapsed" if alike else "it may be masked"
    return _check(
        name,
        share,
        ZERO_GRADIENTS,
        passed=share <= ZERO_GRADIENTS,
        reason=f"the gradient is exactly zero for {share:.1%} of the volumes: {why}",
    )


def _gradient(slopes: Slopes | None, standing: float, *, uses_gradient: bool) -> tuple[Check, ...]:
    """Three checks on what following the gradient brings; `standing` is the accuracy it left."""
    if not uses_gradient:
        reason = "the attack asks for no gradient"
    elif slopes is None:
        reason = "no volume was watched"
    else:
        return _agrees(slopes.error), _holds(slopes.shortfall, standing), _follows(slopes.followed)
    return tuple(inapplicable(name, reason) for name in (GRADIENT, WITHIN, FOLLOWS))


def _agrees(error: float) -> Check:
    if np.isnan(error):
        return inapplicable(GRADIENT, _FLAT)
    return judged(
        GRADIENT,
        error,
        ERROR,
        f"along random directions the margin changes otherwise than the gradient says, by "
        f"{error:.0%} of the change: the backward pass is not that of the forward pass",
    )


def _holds(shortfall: NDArray[np.float64], standing: float) -> Check:
    known = shortfall[~np.isnan(shortfall)]
    if standing <= FEW:
        reason = f"the attack left {standing:.1%} of the volumes: it was not led astray"
        return inapplicable(WITHIN, reason)
    if len(known) == 0:
        return inapplicable(WITHIN, _FLAT)
    return judged(
        WITHIN,
        float(known.mean()),
        SHORTFALL,
        f"along the gradient, within the budget, measured and predicted change differ by "
        f"{known.mean():.0%}: the gradient at a point says little about its surroundings",
    )


def _follows(followed: NDArray[np.float64]) -> Check:
    known = followed[~np.isnan(followed)]
    if len(known) == 0:
        reason = "the attack climbs the margin itself, or no watched volume withstood"
        return inapplicable(FOLLOWS, reason)
    lost = float((known < FOLLOWED).mean())
    return judged(
        FOLLOWS,
        lost,
        LOST,
        f"for {lost:.0%} of the volumes that withstood, the attack's gradient leads to less than "
        f"{FOLLOWED:.0%} of what the margin's does: it vanishes, attack the margin (apgd_margin)",
    )


_FLAT = "no watched margin changes by as much as the network's arithmetic resolves"


def _agreement(findings: Findings, expectation: int, *, by_batch: bool) -> Check:
    name = "two forward passes agree"
    largest = findings["disagreement"].max()
    differ = f"two forward passes of the same volumes differ by {largest:.2g} of the largest logit"
    if largest > DISAGREEMENT and by_batch:
        # Averaging is no cure for this, so `samples` does not count.
        advice = (
            "only where their batches do: answers depend on the batch, use BatchNorm's running "
            "statistics"
        )
        return judged(name, float(largest), DISAGREEMENT, f"{differ}, {advice}")
    if largest > DISAGREEMENT and expectation >= DRAWS:
        return inapplicable(name, f"{differ}; the attack averages {expectation} of them")
    return _check(
        name,
        largest,
        DISAGREEMENT,
        passed=largest <= DISAGREEMENT,
        reason=f"{differ}: the network is stochastic, attack its expectation over {DRAWS} draws or "
        "more",
    )


def _probabilities(findings: Findings) -> Check:
    share = findings["probabilities"].mean()
    return _check(
        "output is logits, not probabilities",
        share,
        1.0,
        passed=share < 1,
        reason="every output adds up to one within [0, 1]: the network seems to end in a softmax, "
        "which weakens gradients",
    )


def _iterations(findings: Findings, planned: int | None) -> Check:
    name = "iterations and restarts run"
    if planned is None or "iterations" not in findings:
        return inapplicable(name, "the attack does not iterate, or may stop early")
    least = findings["iterations"].min()
    return _check(
        name,
        least,
        planned,
        passed=least >= planned,
        reason=f"a volume had {least:g} of {planned} iterations",
    )


def _loss(findings: Findings, *, ascends: bool) -> Check:
    name = "loss not below its start"
    if not ascends:
        return inapplicable(name, "the attack does not promise a higher cross-entropy")
    start, end = findings["loss_start"].mean(), findings["loss_end"].mean()
    return _check(
        name,
        end,
        start,
        passed=end >= start * (1 - FALL),
        reason=f"the mean loss fell from {start:.4g} to {end:.4g} under attack",
    )


def _convergence(findings: Findings, expectation: int, *, by_loss: bool) -> Check:
    name = "converged"
    if "objective_late" not in findings:
        return inapplicable(name, "the attack reports no objective by iteration")
    # Several passes for one gradient are one iteration.
    if findings["iterations"].max() / expectation < LONG:
        return inapplicable(name, f"fewer than {LONG} iterations cannot tell")
    standing = findings["broken"] == 0
    # More iterations cannot break a volume twice, so only those that withstood count.
    values = [findings[f"objective_{when}"][standing] for when in _WHEN]
    start, late, end = (value.sum() for value in (map(margins, values) if by_loss else values))
    share = (end - late) / (end - start) if end > start else 0.0
    return _check(
        name,
        share,
        LATE_GAIN,
        passed=share <= LATE_GAIN,
        reason=f"the last tenth of the iterations brought {share:.1%} of the gain on the volumes "
        "that withstood: give it more",
    )
