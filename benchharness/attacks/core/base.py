"""What an attack is, and what is done around every one of them.

An attack is a frozen dataclass whose fields are its parameters. Its author writes `perturb`; the
final `__call__` checks what goes in, makes the draws belong to volumes, keeps the result in the
ball and in [0, 1], and verifies what comes out.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
import torch
from torch.nn import functional as F

from benchharness import randomness, registry
from benchharness.attacks.core import certificates
from benchharness.attacks.core.arguments import checked_labels, checked_parameter, checked_volumes
from benchharness.attacks.core.draws import Draws, network_draws
from benchharness.attacks.core.norms import TOLERANCE, norm_named
from benchharness.attacks.core.observation import Observed
from benchharness.canonical import Pairs, pairs
from benchharness.containment import contained, loading
from benchharness.errors import BenchError, CellError, unknown_name
from benchharness.networks.behaviour import disagreement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.networks.classifier import Classifier
    from benchharness.store.records import Check

Access = Literal["white box", "black box", "both", "another network", "none"]
"""What an attack sees of the network: gradients, logits alone, either in turn, those of another
network, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Adversarial volumes of one batch, verified."""

    volumes: Tensor
    """(B, C, D, H, W), float32 in [0, 1] on the classifier's device, inside the ball."""
    logits: NDArray[np.float32]
    """(B, K): the classifier's answer to `volumes`, finite."""
    norms: NDArray[np.float64]
    """(B,): size of each perturbation in the unit of the severity."""
    findings: dict[str, NDArray[np.float32]]
    """What is kept with the predictions, each of shape (B,) and finite. Always: `norm`, `lowest`
    and `highest` (intensity), `loss_start` and `loss_end` (cross-entropy), `broken`, `disagreement`
    and `probabilities`; where they apply `zero_gradient`, `iterations`, `objective_start`,
    `objective_late`, `objective_end` and what the attack adds of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """What `perturb` works on."""

    classifier: Observed
    """Call it for logits; in evaluation mode, frozen."""
    volumes: Tensor
    """(B, C, D, H, W), float32 in [0, 1], not to be changed in place."""
    labels: Tensor
    """(B,), int64."""
    severity: float
    """The budget, above 0, in the unit of the attack's norm."""
    draws: Draws
    """Where every random number comes from."""
    clean: Tensor
    """(B, K), float32: logits of `volumes`."""
    source: Observed | None
    """The network to make the volumes on, where it is not the one that judges them."""
    findings: dict[str, Tensor]
    """The attack may put numbers (B,) here to be kept for each volume; a name that `__call__` also
    reports keeps the attack's value."""


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
"""What `Attack.__call__` adds at most: two passes of the clean volume, and one of the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack(ABC):
    """An attack with its parameters.

    Subclasses are frozen, keyword-only dataclasses; every field is a parameter of type int, float
    or bool. Constructing one with a wrong type or out of range raises
    BenchError.
    """

    name: ClassVar[str]
    """What the draws and the messages call it."""
    version: ClassVar[int]
    """Raised whenever the same parameters would give other volumes."""
    norm: ClassVar[str]
    """A key of `norms.NORMS`."""
    source: ClassVar[str]
    """Citation, and whether it runs through torchattacks or is an own implementation."""
    summary: ClassVar[str]
    """One sentence on what it does."""
    access: ClassVar[Access] = "white box"
    """Black-box attacks and noise must work where backward raises."""
    iterative: ClassVar[bool] = True
    """Whether more budget can only help, so that a weaker result at a larger one is suspect; False
    for a single step, which may overshoot, and for noise."""
    auc_undefined: ClassVar[str] = ""
    """Why the AUC of what comes back would mislead; empty where every volume is attacked at full
    length on the cross-entropy."""
    needs_source: ClassVar[bool] = False
    """Whether the volumes are made on another network than the one that judges them."""
    ascends: ClassVar[bool] = True
    """Whether the mean cross-entropy must not fall; False for a single step, which may overshoot,
    for objectives that need not agree with it, and for noise."""
    traced: ClassVar[bool] = True
    """Whether `perturb` asks for gradients of the cross-entropy or the like for whole batches, so
    that watching its passes tells iterations and zero gradients; else it reports its own."""

    @final
    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = checked_parameter(self.name, field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self.validate()

    def validate(self) -> None:
        """Raise BenchError for parameters that do not go together."""
        return

    def check(self, num_classes: int) -> None:  # noqa: ARG002
        """Raise BenchError when the attack does not apply to a task with `num_classes` classes."""
        return

    def resolved(self, num_classes: int, severity: float) -> Pairs:  # noqa: ARG002
        """Parameters with nothing left to the library, as they enter the cell's identity."""
        return pairs(self.parameters())

    @property
    def uses_gradient(self) -> bool:
        """Whether a backward pass is asked for."""
        return self.access not in ("black box", "none")

    @property
    def expectation(self) -> int:
        """Passes that a gradient is averaged over: the parameter `samples`, where there is one."""
        return int(getattr(self, "samples", 1))

    def parts(self, num_classes: int) -> tuple[Attack, ...]:  # noqa: ARG002
        """The attacks that it runs in turn, each on what those before it left; none for most."""
        return ()

    @final
    def facts(self, num_classes: int) -> dict[str, Any]:
        """What readers of a record need to compare it with others, as JSON values."""
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
        """Passes of `perturb` for one volume; `__call__` adds `CHECKING`."""

    def planned_iterations(self, num_classes: int) -> int | None:  # noqa: ARG002
        """Iterations, restarts included, that every volume must get; None if it may stop early."""
        return None

    @abstractmethod
    def perturb(self, batch: Batch) -> Tensor:
        """Return adversarial volumes for a batch; the one method that an author writes.

        The caller projects the result to the ball and to [0, 1]. torch's random functions may be
        called for tensors that lead with the batch; everything else is drawn from `batch.draws`.
        """

    @final
    def check_severity(self, severity: float) -> None:
        """Raise BenchError when `severity` is no budget of the attack's norm."""
        norm_named(self.norm).check(severity)

    @final
    def __call__(
        self,
        classifier: Classifier,
        volumes: Tensor,
        labels: Tensor | NDArray[np.int64],
        *,
        severity: float,
        ids: Sequence[str],
        seed: int,
        source: Classifier | None = None,
    ) -> Outcome:
        """Attack one batch.

        The classifier and the global generators of torch, NumPy and Python are as before when it
        returns. With severity 0 the clean volumes come back bit for bit.

        Args:
            classifier: What is attacked.
            volumes: (B, C, D, H, W), float32 in [0, 1].
            labels: (B,), integers in 0..K−1.
            severity: The budget in the unit of the norm.
            ids: B names; the draws for a volume depend on its name, not on its place.
            seed: Perturbation seed.
            source: The network that the volumes are made on, for attacks that need one.

        Raises:
            BenchError: When an argument cannot be meant so, or the attack does not apply.
            CellError: When the network's logits or the attack's volumes break the contract.
        """
        self.check_severity(severity)
        self.check(classifier.num_classes)
        volumes = checked_volumes(volumes).to(classifier.device)
        targets = checked_labels(labels, len(volumes), classifier.num_classes)
        targets = targets.to(classifier.device)
        if len(ids) != len(volumes):
            raise BenchError(f"received {len(ids)} ids for {len(volumes)} volumes; pass one each.")
        with (
            contained(),
            classifier.frozen(),
            nullcontext() if source is None else source.frozen(),
            randomness.isolated(self.name, severity, seed, *ids),
        ):
            clean, agreement, stochastic = _clean_passes(classifier, volumes)
            draws = Draws(ids, self.name, severity, seed, device=classifier.device)
            batch = Batch(
                classifier=Observed(classifier, targets),
                volumes=volumes,
                labels=targets,
                severity=severity,
                draws=draws,
                clean=clean,
                source=None if source is None else Observed(source, targets),
                findings={},
            )
            if severity == 0:
                adversarial = volumes.clone()
            else:
                adversarial = self._perturbed(batch, guard=not stochastic)
            measured = self._measured(volumes, adversarial, severity)
            logits = _logits(classifier, adversarial)
        findings = {
            "loss_start": F.cross_entropy(clean, targets, reduction="none"),
            "loss_end": F.cross_entropy(logits, targets, reduction="none"),
            "broken": logits.argmax(1) != targets,
            "disagreement": agreement,
            "probabilities": certificates.like_probabilities(clean),
            **(batch.classifier.findings(logits) if self.traced else {}),
            **batch.findings,
            **measured,
        }
        if "zero_gradient" in findings:
            # A volume that is misclassified already needs no gradient.
            findings["zero_gradient"] = findings["zero_gradient"] * (clean.argmax(1) == targets)
        return Outcome(
            volumes=adversarial,
            logits=logits.cpu().numpy(),
            norms=measured["norm"].cpu().numpy(),
            findings={name: _stored(self.name, name, findings[name]) for name in sorted(findings)},
        )

    def certificate(
        self, outcomes: Sequence[Outcome], *, severity: float, num_classes: int
    ) -> tuple[Check, ...]:
        """Judge a cell by the findings of all its batches; their volumes are not read."""
        names = set.intersection(*(set(outcome.findings) for outcome in outcomes))
        findings = {
            name: np.concatenate([outcome.findings[name] for outcome in outcomes]).astype(float)
            for name in names
        }
        planned = None if severity == 0 else self.planned_iterations(num_classes)
        return certificates.judge(
            findings,
            bound=severity,
            tolerance=TOLERANCE,
            planned_iterations=planned,
            uses_gradient=self.uses_gradient and severity > 0,
            ascends=self.ascends,
            expectation=self.expectation,
        )

    def _perturbed(self, batch: Batch, *, guard: bool) -> Tensor:
        """Run the author's method under interception, and project what it returns."""
        # A network that draws for itself moves the global generators, which is no fault of ours.
        with batch.draws.intercepted(guard=guard):
            adversarial = self.perturb(batch).detach()
        if adversarial.shape != batch.volumes.shape or not adversarial.is_floating_point():
            raise CellError(
                f"attack {self.name!r} returned {adversarial.dtype} of shape "
                f"{tuple(adversarial.shape)} for volumes of shape {tuple(batch.volumes.shape)}"
            )
        adversarial = adversarial.to(batch.volumes)
        return norm_named(self.norm).project(adversarial, batch.volumes, batch.severity)

    def _measured(self, volumes: Tensor, adversarial: Tensor, severity: float) -> dict[str, Tensor]:
        """Measure what is about to be returned, and raise where it breaks the contract."""
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
"""Volumes of a batch on which two forward passes are compared."""

_AUC_FROM = "all volumes, each attacked at full length on the cross-entropy"


def _clean_passes(classifier: Classifier, volumes: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Logits of the clean volumes, how far a second pass is off, and whether the network draws.

    A network that answers differently each time does so for any volume, so the second pass is of
    a few; their largest disagreement (B,) stands for all.
    """
    passes: list[Tensor] = []
    stochastic = network_draws(lambda: passes.append(_logits(classifier, volumes)))
    again = _logits(classifier, volumes[:_PASSED_TWICE])
    apart = disagreement(passes[0][:_PASSED_TWICE], again)
    return passes[0], apart.max().expand(len(volumes)), stochastic


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
