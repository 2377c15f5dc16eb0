"""A recipe: every setting of a training, checked, and what of it enters identities."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchharness import artefacts
from benchharness.canonical import Pairs, pairs
from benchharness.errors import BenchError
from benchharness.networks.preprocessing import Preprocessing
from benchharness.outside import settings

if TYPE_CHECKING:
    from benchharness.datasets.base import Modality

_TEXTS = ("source", "summary")
"""For people; no setting of a training."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""Folders of checkpoints are called after recipes."""


def _within(low: float, high: float, default: Any = dataclasses.MISSING) -> Any:
    """A number with its range, both ends included; each, where it is a tuple of numbers."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every setting of a training; the loop adds none.

    Raises:
        BenchError: For a value of another type, out of its range, or at odds with another.
    """

    name: str
    version: int
    """Raised when the same name starts to mean something else."""
    source: str
    """Where the settings come from."""
    summary: str
    epochs: int = _within(1, 10_000)
    batch_size: int = _within(2, 10_000)
    optimiser: Literal["adam", "adamw"]
    learning_rate: float = _within(1e-12, 1e30)
    """Peak learning rate."""
    weight_decay: float = _within(0, 100)
    schedule: Literal["one-cycle", "steps"]
    """`one-cycle` per step; `steps`: × 0.1 at 50 % and at 75 % of the epochs."""
    balanced: bool = False
    """Whether an epoch draws its volumes with replacement and all classes equally likely; else it
    takes each volume once. In the end the network expects classes as often as the val split has
    them."""
    flips: bool = False
    """Whether each axis of each training volume is flipped with probability one half."""
    label_smoothing: float = _within(0, 0.99, 0.0)
    shape_scaling: bool = False
    """Whether shape datasets are scaled by U(0, 1) in training and by 0.5 in evaluation, as their
    protocol says."""
    rotation: float = _within(0, 180, 0.0)
    """Degrees: each volume is turned about each axis by a draw from U(−rotation, rotation), in
    space, not on the grid, where the spacing is known."""
    zoom: float = _within(0, 0.9, 0.0)
    """Each volume is scaled by a draw from U(1 − zoom, 1 + zoom)."""
    shift: float = _within(0, 1, 0.0)
    """Share of the grid: each volume is moved along each axis by a draw from U(−shift, shift)."""
    transposes: bool = False
    """Whether axes of each training volume change places at random, all orders equally likely;
    only axes of one length and one spacing do. With `flips`, a cube gets one of its 48 symmetries,
    which move voxels and interpolate none."""
    mixup: float = _within(0, 100, 0.0)
    """α of Beta(α, α), the weights with which two volumes and their labels are mixed (Zhang et al.,
    ICLR 2018, arXiv 1710.09412); 0 mixes none."""
    noise: float = _within(0, 10, 0.0)
    """σ of Gaussian noise on every training volume, which is not clipped, as certificates by
    smoothing need it (Cohen et al., ICML 2019, arXiv 1902.02918)."""
    artefacts: tuple[str, ...] = ()
    """Artefacts, one of which a training volume may show; all others stay unseen."""
    artefact_levels: tuple[int, ...] = _within(1, 5, ())
    """Levels at which it shows it, all equally likely."""
    artefact_share: float = _within(0, 1, 0.0)
    """Probability that a training volume shows one."""
    eps: float = _within(0, 1, 0.0)
    """Budget of adversarial training, L∞, in intensity; 0 trains without an adversary."""
    steps: int = _within(0, 1000, 0)
    """Gradient steps that craft an adversarial volume."""
    relative_step: float = _within(0, 100, 0.0)
    """Length of a step times the number of steps, in units of ε, as for the attack `pgd`."""
    trades: float = _within(0, 1000, 0.0)
    """Weight β of the divergence between clean and adversarial prediction, beside the clean loss
    (TRADES); 0 trains on adversarial volumes alone."""
    ramp: int = _within(0, 10_000, 0)
    """Epochs in which ε rises from 0 to `eps`, evenly with every batch."""
    starts_from: str = ""
    """Recipe whose checkpoint of the same model, data and seed training begins with; empty begins
    with weights drawn from the seed."""
    selection_steps: int = _within(0, 1000, 0)
    """Steps of PGD at `eps` on the val split: the weights kept have the highest AUC under it; 0
    keeps those of the highest clean AUC."""
    overfitting_gap: float = _within(0, 1, 0.0)
    """Catastrophic overfitting: training ends, with the best weights before, once the val accuracy
    under the adversary's single step exceeds that under the PGD of `selection_steps` by more; 0
    does not look."""
    averaging: float = _within(0, 0.9999, 0.0)
    """Decay of a moving average of the weights over the steps, which is judged and kept in their
    place: a decay d averages about the last 1 / (1 − d) steps, and never more than about a tenth of
    those taken. 0 keeps the weights themselves, as methods do that go on without labels."""
    keep: Literal["best", "last"] = "best"
    """`best`: the weights of the epoch that does best on the val split. `last`: those of the last
    epoch, so that no labelled volume is spent on choosing."""
    least_steps: int = _within(0, 100_000, 0)
    """Training has as many more epochs as so many steps take, as few volumes need."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BenchError(
                f"a recipe cannot be called {self.name!r}. Take up to 40 letters, digits, '_', '-' "
                "and '.', and begin with a letter or a digit."
            )
        for field in dataclasses.fields(self):
            value = _checked(self.name, field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        for fault in self._contradictions():
            raise BenchError(f"recipe {self.name!r}: {fault}.")

    def _contradictions(self) -> list[str]:
        """What in the settings cannot be done together, first things first."""
        has_adversary, has_artefacts = self.eps > 0, bool(self.artefacts)
        found = {
            "steps and relative_step must be above 0 where eps is": (
                has_adversary and not (self.steps and self.relative_step)
            ),
            "steps, relative_step, trades, ramp and selection_steps need eps above 0": (
                not has_adversary
                and any(
                    (self.steps, self.relative_step, self.trades, self.ramp, self.selection_steps)
                )
            ),
            f"ramp is {self.ramp}, more than its {self.epochs} epochs": self.ramp > self.epochs,
            "overfitting_gap needs selection_steps, the PGD to compare with": (
                bool(self.overfitting_gap) and not self.selection_steps
            ),
            "overfitting_gap is for a single step; set steps = 1 or take it out": (
                bool(self.overfitting_gap) and self.steps != 1
            ),
            "mixup cannot be combined with eps: an adversary needs one label a volume": (
                bool(self.mixup) and has_adversary
            ),
            "noise cannot be combined with eps: it leaves [0, 1], and an adversary does not": (
                bool(self.noise) and has_adversary
            ),
            "artefacts, artefact_levels and artefact_share go together; set all or none": (
                len({has_artefacts, bool(self.artefact_levels), bool(self.artefact_share)}) > 1
            ),
            "keep = last chooses no weights; take selection_steps out": (
                self.keep == "last" and bool(self.selection_steps)
            ),
            "it cannot start from itself": self.starts_from == self.name,
        }
        return [fault for fault, holds in found.items() if holds]

    def to_pairs(self) -> Pairs:
        """The settings that enter a checkpoint's key: all but the two texts.

        What was added later is left out at its default, so that identities stay. Artefacts enter
        with their versions.
        """
        settings = {k: v for k, v in asdict(self).items() if k not in _TEXTS}
        for name, default in _ADDED.items():
            if settings[name] == default:
                del settings[name]
        if self.artefacts:
            versions = (artefacts.build(name).version for name in self.artefacts)
            settings["artefact_versions"] = (artefacts.SUITE_VERSION, *versions)
        return pairs(settings)

    def for_volumes(self, count: int) -> Recipe:
        """This recipe with the epochs that `least_steps` asks for, on so many training volumes."""
        full, rest = divmod(count, self.batch_size)
        steps = max(1, full + (rest > 1))
        return dataclasses.replace(self, epochs=max(self.epochs, -(-self.least_steps // steps)))

    def preprocessing(self, modality: Modality) -> Preprocessing:
        """The preprocessing that a network trained with this recipe expects."""
        scaled = self.shape_scaling and modality == "shape"
        return Preprocessing(scale=0.5) if scaled else Preprocessing()

    def scales_randomly(self, modality: Modality) -> bool:
        """Whether training volumes are multiplied by a draw from U(0, 1)."""
        return self.shape_scaling and modality == "shape"

    def passes(self, train: int, val: int) -> int:
        """Forward passes of a volume that take as long as the training.

        Args:
            train: Volumes of the train split.
            val: Volumes of the val split.
        """
        # A backward pass to the weights takes two forward ones, one to the voxels takes one.
        clean = 3 * (1 + bool(self.trades))
        judged = (_JUDGING + 2 * self.selection_steps) * bool(self.selection_steps)
        judged += (_JUDGING + 2) * bool(self.overfitting_gap)
        return self.epochs * ((clean + 2 * self.steps) * train + (1 + judged) * val)


_JUDGING = 4
"""Passes of a volume that an attack on the val split takes beside its steps."""

_ADDED = {
    field.name: field.default
    for field in dataclasses.fields(Recipe)
    if field.default is not dataclasses.MISSING
    and field.name not in ("flips", "label_smoothing", "shape_scaling")
}
"""Settings that are younger than identities, with their defaults."""


def _checked(recipe: str, field: dataclasses.Field[Any], value: Any) -> Any:
    """The value of a setting in its declared type and range.

    Raises:
        BenchError: When it has another.
    """
    where, declared = f"recipe {recipe!r}: {field.name}", str(field.type)
    if declared.startswith("Literal"):
        known = re.findall(r"[\"']([^\"']+)[\"']", declared)
        if value not in known:
            raise BenchError(f"{where} must be {' or '.join(known)}, received {value!r}.")
        return value
    if not declared.startswith("tuple"):
        return settings.checked(where, declared, field, value)
    inner = declared.removeprefix("tuple[").partition(",")[0]
    if not isinstance(value, list | tuple):
        raise BenchError(f"{where} must be a list, received {value!r}.")
    return tuple(dict.fromkeys(settings.checked(where, inner, field, item) for item in value))
