"""The contract of an attack, and everything that happens around it.

An attack is a frozen dataclass whose fields are its parameters. Its author writes `perturb`. The
final `__call__` checks the input, gives each volume its own draws, projects the result to the ball
and to [0, 1], and verifies it.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
import torch
from torch.nn import functional as F

from benchharness import randomness, registry
from benchharness.attacks.core import certificates, gradient_check
from benchharness.attacks.core.arguments import checked_labels, checked_parameter, checked_volumes
from benchharness.attacks.core.draws import Draws, network_draws
from benchharness.attacks.core.norms import TOLERANCE, norm_named
from benchharness.attacks.core.objectives import cross_entropy
from benchharness.attacks.core.observation import Observed
from benchharness.canonical import Pairs, pairs
from benchharness.errors import BenchError, CellError, unknown_name
from benchharness.networks.batches import out_of_memory
from benchharness.networks.behaviour import DISAGREEMENT, disagreement
from benchharness.outside.containment import contained, loading
from benchharness.store.cells import FLOAT32

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.attacks.core.gradient_check import Slopes
    from benchharness.attacks.core.objectives import Objective
    from benchharness.networks.classifier import Classifier
    from benchharness.store.records import Check

Access = Literal["white box", "black box", "both", "another network", "none"]
"""What an attack sees of the network: its gradients, only its logits, both in turn, another
network's gradients, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Adversarial volumes of one batch, verified."""

    volumes: Tensor
    """(B, C, D, H, W), float32 in [0, 1] on the classifier's device, inside the ball."""
    logits: NDArray[np.float32]
    """(B, K): the classifier's logits for `volumes`, finite."""
    norms: NDArray[np.float64]
    """(B,): size of each perturbation in the unit of the severity."""
    slopes: Slopes | None
    """How the margins of the watched volumes change, for the certificate alone; None where none of
    the batch was watched."""
    by_batch: bool
    """Whether answers to the same volumes differ because their batches do."""
    findings: dict[str, NDArray[np.float32]]
    """Stored with the predictions, each of shape (B,) and finite. Always: `norm`, `lowest` and
    `highest` (intensity), `loss_start` and `loss_end` (cross-entropy), `broken`, `disagreement` and
    `probabilities`. Where they apply: `zero_gradient`, `iterations`, `objective_start`,
    `objective_late`, `objective_end` and whatever the attack adds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The input of `perturb`."""

    classifier: Observed
    """Call it for logits; in evaluation mode, frozen."""
    volumes: Tensor
    """(B, C, D, H, W), float32 in [0, 1]; do not change them in place."""
    labels: Tensor
    """(B,), int64."""
    severity: float
    """The budget, above 0, in the unit of the attack's norm."""
    draws: Draws
    """The source of every random number."""
    clean: Tensor
    """(B, K), float32: logits of `volumes`."""
    source: Observed | None
    """The network to attack, where another one judges the volumes."""
    findings: dict[str, Tensor]
    """The attack may put tensors (B,) here, to be stored for each volume. Where `__call__` reports
    the same name, the attack's value counts."""

    def select(self, rows: Tensor) -> Batch:
        """The batch of some volumes, in the order of `rows`; it shares their generators."""
        return dataclasses.replace(
            self,
            volumes=self.volumes[rows],
            labels=self.labels[rows],
            clean=self.clean[rows],
            draws=self.draws.select(rows.tolist()),
            findings={},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Passes through the network for one volume; upper bounds where an attack stops early."""

    forward: int
    backward: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(forward=self.forward + other.forward, backward=self.backward + other.backward)

    def __mul__(self, times: int) -> Cost:
        return Cost(forward=self.forward * times, backward=self.backward * times)

    def __str__(self) -> str:
        return f"{self.forward} forward, {self.backward} backward"


CHECKING = Cost(forward=3, backward=0)
"""What `Attack.__call__` adds for every volume, at most: two passes of the clean one and one of the
result."""
WATCHING = Cost(forward=gradient_check.FORWARD, backward=gradient_check.BACKWARD)
"""What it adds for a volume whose gradient is checked, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack(ABC):
    """An attack with its parameters.

    Subclasses are frozen, keyword-only dataclasses; every field is a parameter of type int, float
    or bool. A value of the wrong type or out of range raises BenchError at construction.
    """

    name: ClassVar[str]
    """Its name in draws and messages."""
    version: ClassVar[int]
    """Increased whenever the same parameters would give other volumes."""
    norm: ClassVar[str]
    """A key of `norms.NORMS`."""
    source: ClassVar[str]
    """Citation, and whether it runs "through torchattacks" or is an "own implementation"."""
    summary: ClassVar[str]
    """One sentence that says what it does."""
    access: ClassVar[Access] = "white box"
    """Black-box attacks and noise must work where backward raises."""
    iterative: ClassVar[bool] = True
    """Whether more budget can only help, so that a weaker result at a larger budget is suspect.
    False for a single step, which may overshoot, and for noise."""
    auc_undefined: ClassVar[str] = ""
    """Why the AUC of its volumes would mislead; empty where it attacks every volume at full length
    on the cross-entropy."""
    objective: ClassVar[Objective] = staticmethod(cross_entropy)
    """What it climbs first."""
    needs_source: ClassVar[bool] = False
    """Whether it makes the volumes on another network than the one that judges them."""
    ascends: ClassVar[bool] = True
    """Whether the mean cross-entropy must not fall. False for a single step, which may overshoot,
    for objectives that need not agree with it, and for noise."""
    traced: ClassVar[bool] = True
    """Whether `perturb` takes gradients for whole batches, so that iterations and zero gradients
    can be counted by watching its passes. Otherwise it reports its own."""

    @final
    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = checked_parameter(self.name, field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self.validate()

    def validate(self) -> None:
        """Raise BenchError for parameters that contradict each other."""
        return

    def check(self, num_classes: int) -> None:  # noqa: ARG002
        """Raise BenchError when the attack does not apply to a task with `num_classes` classes."""
        return

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """Every parameter with its effective value, as it enters the cell's identity."""
        return pairs(self.parameters())

    @property
    def uses_gradient(self) -> bool:
        """Whether it needs backward passes."""
        return self.access not in ("black box", "none")

    @property
    def follows_judged(self) -> bool:
        """Whether it needs backward passes through the network that its volumes judge."""
        return self.uses_gradient and not self.needs_source

    @property
    def expectation(self) -> int:
        """Passes per gradient: the parameter `samples`, or 1 where there is none."""
        return int(getattr(self, "samples", 1))

    def parts(self, num_classes: int) -> tuple[Attack, ...]:  # noqa: ARG002
        """The attacks of a cascade, each run on what those before it left; empty for most."""
        return ()

    @final
    def facts(self, num_classes: int) -> dict[str, Any]:
        """What a reader needs to compare its record with others, as JSON values."""
        parts = [{"name": part.name, "access": part.access} for part in self.parts(num_classes)]
        return {
            "access": self.access,
            "iterative": self.iterative,
            "settings": self.parameters(),
            **({} if self.auc_undefined else {"auc_from": _AUC_FROM}),
            **({"parts": parts} if parts else {}),
        }

    @final
    def parameters(self) -> dict[str, Any]:
        """The parameters by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @abstractmethod
    def cost(self, num_classes: int) -> Cost:
        """Passes of `perturb` for one volume; `checks` says what `__call__` adds."""

    @final
    def checks(self, volumes: int) -> Cost:
        """Passes that the certificate takes for a cell of so many volumes, at most."""
        watched = min(volumes, gradient_check.WATCHED) if self.watches else 0
        return CHECKING * volumes + WATCHING * watched

    @property
    def watches(self) -> bool:
        """Whether finite differences judge the gradient that it follows."""
        return self.access in ("white box", "both")

    def planned_iterations(self, num_classes: int) -> int | None:  # noqa: ARG002
        """Iterations that every volume must get, over all restarts; None if it may stop early."""
        return None

    @abstractmethod
    def perturb(self, batch: Batch) -> Tensor:
        """Return adversarial volumes for a batch; the one method that an author must write.

        The caller projects the result to the ball and to [0, 1]. torch's random functions may be
        called for tensors whose first axis is the batch; draw everything else from `batch.draws`.
        """

    @final
    def check_severity(self, severity: float) -> None:
        """Raise BenchError when `severity` is not a budget of the attack's norm."""
        norm_named(self.norm).check(severity)

    @final
    def __call__(
        self,
        classifier: Classifier,
        volumes: Tensor,
        labels: Tensor | NDArray[np.int64],
        *,
        severity: float,
        ids: Sequence[str] | None = None,
        seed: int = 0,
        source: Classifier | None = None,
        watched: Collection[str] | None = None,
        precision: str = FLOAT32,
    ) -> Outcome:
        """Attack one batch.

        The classifier and the global generators of torch, NumPy and Python are left as they were
        found. With severity 0 the clean volumes come back bit for bit.

        Args:
            classifier: The network under attack.
            volumes: (B, C, D, H, W), float32 in [0, 1].
            labels: (B,), integers in 0..K−1.
            severity: The budget in the unit of the norm.
            ids: B names; a volume's draws depend on its name, not on its place. None names them by
                their places.
            seed: Perturbation seed.
            source: The network to make the volumes on, for attacks that need one.
            watched: Names of volumes whose gradient is checked; None chooses them from `ids`.
            precision: `bf16` takes gradients through passes in bfloat16; whatever decides stays in
                float32.

        Raises:
            BenchError: When an argument is invalid, or the attack does not apply.
            CellError: When the network's logits or the attack's volumes break the contract.
        """
        self.check_severity(severity)
        self.check(classifier.num_classes)
        volumes = checked_volumes(volumes).to(classifier.device)
        targets = checked_labels(labels, len(volumes), classifier.num_classes).to(volumes.device)
        observed = partial(Observed, labels=targets, narrow=precision != FLOAT32)
        ids = [str(place) for place in range(len(volumes))] if ids is None else ids
        if len(ids) != len(volumes):
            raise BenchError(f"received {len(ids)} ids for {len(volumes)} volumes; pass one each.")
        with (
            contained(),
            classifier.frozen(),
            nullcontext() if source is None else source.frozen(),
            randomness.isolated(self.name, severity, seed, *ids),
        ):
            clean, agreement, stochastic = _clean_passes(classifier, volumes)
            by_batch = _by_batch(classifier, volumes, clean, agreement)
            batch = Batch(
                classifier=observed(classifier),
                volumes=volumes,
                labels=targets,
                severity=severity,
                draws=Draws(ids, self.name, severity, seed, device=classifier.device),
                clean=clean,
                source=None if source is None else observed(source),
                findings={},
            )
            adversarial = self._perturbed(batch, guard=not stochastic)
            measured = self._measured(volumes, adversarial, severity)
            logits = _logits(classifier, adversarial)
            watched = gradient_check.chosen(ids) if watched is None else watched
            slopes = self._slopes(batch, adversarial, logits, watched, stochastic=stochastic)
        findings = {"disagreement": agreement, **self._findings(batch, logits), **measured}
        return Outcome(
            volumes=adversarial,
            logits=logits.cpu().numpy(),
            norms=measured["norm"].cpu().numpy(),
            slopes=slopes,
            by_batch=by_batch,
            findings={name: _stored(self.name, name, findings[name]) for name in sorted(findings)},
        )

    def certificate(
        self, outcomes: Sequence[Outcome], *, severity: float, num_classes: int
    ) -> tuple[Check, ...]:
        """Judge a cell by the findings of all its batches, without their volumes."""
        names = set.intersection(*(set(outcome.findings) for outcome in outcomes))
        findings = {
            name: np.concatenate([outcome.findings[name] for outcome in outcomes]).astype(float)
            for name in names
        }
        logits = np.concatenate([outcome.logits for outcome in outcomes])
        planned = None if severity == 0 else self.planned_iterations(num_classes)
        return certificates.judge(
            findings,
            bound=severity,
            tolerance=TOLERANCE,
            planned_iterations=planned,
            uses_gradient=self.uses_gradient and severity > 0,
            ascends=self.ascends,
            expectation=self.expectation,
            by_loss=type(self).objective is cross_entropy,
            by_batch=any(outcome.by_batch for outcome in outcomes),
            alike=bool((logits == logits[:1]).all()),
            slopes=gradient_check.Slopes.joined([outcome.slopes for outcome in outcomes]),
        )

    def _perturbed(self, batch: Batch, *, guard: bool) -> Tensor:
        """Run the author's method with its draws intercepted, and project what it returns."""
        if batch.severity == 0:
            return batch.volumes.clone()
        # A network that draws moves the global generators too; that is not the attack's fault.
        with batch.draws.intercepted(guard=guard):
            adversarial = self.perturb(batch).detach()
        if adversarial.shape != batch.volumes.shape or not adversarial.is_floating_point():
            raise CellError(
                f"attack {self.name!r} returned {adversarial.dtype} of shape "
                f"{tuple(adversarial.shape)} for volumes of shape {tuple(batch.volumes.shape)}"
            )
        adversarial = adversarial.to(batch.volumes)
        return norm_named(self.norm).project(adversarial, batch.volumes, batch.severity)

    def _slopes(
        self,
        batch: Batch,
        adversarial: Tensor,
        logits: Tensor,
        watched: Collection[str],
        *,
        stochastic: bool,
    ) -> Slopes | None:
        """Check the gradient at the watched volumes of a batch."""
        rows = [row for row, name in enumerate(batch.draws.ids) if name in watched]
        if not (rows and self.watches and batch.severity > 0):
            return None
        right = [answer.argmax(1) == batch.labels for answer in (batch.clean, logits)]
        sample = gradient_check.Sample(
            clean=batch.volumes[rows],
            adversarial=adversarial[rows],
            labels=batch.labels[rows],
            withstood=(right[0] & right[1])[rows],
            ids=[batch.draws.ids[row] for row in rows],
            norm=self.norm,
            severity=batch.severity,
            objective=type(self).objective,
        )
        try:
            return gradient_check.slopes(
                batch.classifier.classifier,
                sample,
                most=len(batch.volumes),
                stochastic=stochastic,
                narrow=batch.classifier.narrow,
            )
        except Exception as error:
            # The attack went through: what a network refuses here is worth no cell.
            if out_of_memory(error):
                raise
            return None

    def _findings(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """The findings on each volume: those of the passes, and those that the attack reports.

        Args:
            batch: After the attack.
            logits: (B, K), of the adversarial volumes.
        """
        findings = {
            "loss_start": F.cross_entropy(batch.clean, batch.labels, reduction="none"),
            "loss_end": F.cross_entropy(logits, batch.labels, reduction="none"),
            "broken": logits.argmax(1) != batch.labels,
            "probabilities": certificates.like_probabilities(batch.clean),
            **(batch.classifier.findings(logits, self.expectation) if self.traced else {}),
            **batch.findings,
        }
        if "zero_gradient" in findings:
            # A volume that is misclassified when clean needs no gradient.
            correct = batch.clean.argmax(1) == batch.labels
            findings["zero_gradient"] = findings["zero_gradient"] * correct
        return findings

    def _measured(self, volumes: Tensor, adversarial: Tensor, severity: float) -> dict[str, Tensor]:
        """Measure the volumes to return, and raise where they break the contract."""
        broken = int((~torch.isfinite(adversarial)).flatten(1).any(1).sum())
        if broken:
            raise CellError(
                f"attack {self.name!r} returned NaN or infinity in {broken} of {len(volumes)} "
                "volumes"
            )
        lowest, highest = adversarial.flatten(1).aminmax(dim=1)
        if lowest.min() < 0 or highest.max() > 1:
            raise CellError(
                f"attack {self.name!r} returned intensities from {lowest.min():g} to "
                f"{highest.max():g}; expected 0 to 1"
            )
        norms = norm_named(self.norm).size(adversarial - volumes)
        if norms.max() > severity + TOLERANCE:
            raise CellError(
                f"attack {self.name!r} left its ball: {self.norm} norm {norms.max():g} exceeds "
                f"{severity:g}"
            )
        return {"norm": norms, "lowest": lowest, "highest": highest}


def build(name: str, parameters: Mapping[str, object]) -> Attack:
    """Build an attack from its registered name and the parameters of a config file.

    Raises:
        BenchError: For an unknown attack, an unknown parameter, a wrong type or a value out of
            range.
    """
    target = registry.load("attacks", name)
    if not (isinstance(target, type) and issubclass(target, Attack)):
        raise BenchError(
            f"attack {name!r} stands for {target!r}; expected a subclass of "
            "benchharness.attacks.core.base.Attack."
        )
    known = [field.name for field in dataclasses.fields(target)]
    for given in parameters:
        if given not in known:
            raise unknown_name(f"parameter of attack {name!r}:", given, known)
    with loading(f"attack {name!r}"):
        return target(**parameters)


_PASSED_TWICE = 2
"""Volumes of a batch that are passed twice, to compare the logits."""

_AUC_FROM = "all volumes, each attacked at full length on the cross-entropy"


def _clean_passes(classifier: Classifier, volumes: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Pass the clean volumes, a few of them twice.

    A network that answers differently each time does so for any volume, so a few are enough.

    Returns:
        The logits (B, K); the largest disagreement of the two passes, repeated to (B,); whether the
        network draws random numbers.
    """
    passes: list[Tensor] = []
    stochastic = network_draws(lambda: passes.append(_logits(classifier, volumes)))
    again = _logits(classifier, volumes[:_PASSED_TWICE])
    apart = disagreement(passes[0][:_PASSED_TWICE], again)
    return passes[0], apart.max().expand(len(volumes)), stochastic


def _by_batch(classifier: Classifier, volumes: Tensor, clean: Tensor, apart: Tensor) -> bool:
    """Whether two passes differ because the second had a smaller batch."""
    if float(apart.max()) <= DISAGREEMENT or len(volumes) <= _PASSED_TWICE:
        return False
    # The attack's draws and the network's must come as if this pass had not been.
    with randomness.isolated("the same batch"):
        again = _logits(classifier, volumes)
    return float(disagreement(clean, again).max()) <= DISAGREEMENT


@torch.no_grad()
def _logits(classifier: Classifier, volumes: Tensor) -> Tensor:
    """Logits (B, K) as float32; raises CellError where one is not finite."""
    logits: Tensor = classifier(volumes).float()
    broken = int((~torch.isfinite(logits)).any(1).sum())
    if broken:
        raise CellError(f"the logits of {broken} of {len(logits)} volumes are not finite")
    return logits


def _stored(attack: str, name: str, values: Tensor) -> NDArray[np.float32]:
    stored: NDArray[np.float32] = values.detach().float().cpu().numpy()
    if not np.isfinite(stored).all():
        raise CellError(f"attack {attack!r} reports a {name} that is not finite")
    return stored
