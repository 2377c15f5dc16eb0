"""Cells: the units of work, of identity and of resuming.

A cell is model × dataset × perturbation × severity × seed. Its identity is the SHA-256 of the
canonical JSON of everything that can change its numbers, and of nothing else: device, batch size
and software versions are provenance. A plan and a record give the same identity, so resuming is a
set difference.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from benchharness.canonical import Pairs, digest, pairs
from benchharness.store.carried import called

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["none", "attack", "artefact"]

_KINDS: tuple[Kind, ...] = ("none", "attack", "artefact")
"""In the order in which tables list them."""

OWN_WEIGHTS = "own weights"
"""Shown in place of recipe and training seed where the user brought the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKey:
    """What is needed to build a network again, and what is done before and after it."""

    name: str
    """What the user calls it; not part of the identity."""
    factory: str
    """Import string `module:attribute`."""
    arguments: Pairs = ()
    """Keyword arguments of the factory beyond the number of classes and channels."""
    preprocessing: Pairs = ()
    """What is done to a [0, 1] volume before the network sees it."""
    outputs: Pairs = ()
    """How its logits are taken from what it returns; empty where it returns (B, K) logits."""

    def numbers(self) -> dict[str, Any]:
        """Everything in this key that can change a number.

        Identities and the names of checkpoints' folders are digests of it, so its keys must never
        change, and one that was added is left out at its default.
        """
        found: dict[str, Any] = {
            "factory": self.factory,
            "arguments": self.arguments,
            "preprocessing": self.preprocessing,
        }
        return found | ({"outputs": self.outputs} if self.outputs else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointKey:
    """Where the weights come from: trained with a recipe, or brought by the user."""

    recipe: Pairs | None
    """Every setting of the recipe, its name and version included; None for brought weights."""
    seed: int | None
    """The training seed; None for brought weights without one."""
    sha256: str | None
    """Digest of the weights' file; None until they are trained."""
    part: str = ""
    """Which of several weights in that file are meant; empty where it needs no saying."""
    twin: str = ""
    """Digest of the training where another one gave these weights and has cells of its own."""

    @property
    def recipe_name(self) -> str | None:
        """Name of the recipe, for people; None for brought weights."""
        return None if self.recipe is None else str(dict(self.recipe)["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetKey:
    """The volumes that a cell is evaluated on."""

    name: str
    """What the user calls it; not part of the identity."""
    digest: str
    """Digest of the data after its algorithm: `md5:…` or `sha256:…`."""
    split: str
    """`test` in all cells so far."""
    volumes: str
    """Digest of the evaluated volumes' ids, in order."""
    count: int
    """How many are evaluated."""
    total: int
    """How many the split holds."""
    modality: str
    """What they show, such as `ct`; not part of the identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKey:
    """The network that transferred volumes are made on, as opposed to the one evaluated."""

    model: ModelKey
    checkpoint: CheckpointKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbationKey:
    """What is done to the volumes, and how strongly."""

    kind: Kind
    name: str
    version: int
    family: str
    """`clean`, an attack's norm (`linf`, `l2`, …) or an artefact's group (`mr`, `ct`, …)."""
    parameters: Pairs
    """Resolved parameters, with all defaults filled in."""
    severity: float | int | None
    """ε for L∞ and L2, a count for sparse attacks, a level 1..5 for artefacts; None when clean."""
    seed: int | None
    """Perturbation seed; None when clean."""
    source: SourceKey | None = None
    """Where the volumes are made; None unless they are transferred."""

    def numbers(self) -> dict[str, Any]:
        """Everything in this key that can change a number, except the source.

        Identities, caches and references are digests of it, so its keys must never change.
        """
        return {
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "parameters": self.parameters,
            "severity": self.severity,
            "seed": self.seed,
        }


CLEAN_FAMILY = "clean"
"""The family of unperturbed volumes, and the word for them in every table."""
CONTROL_FAMILY = "control"
"""The family of cells that show whether a checkpoint's other numbers can be trusted."""
CONTROLS = ("noise_sign",)
"""Attacks that know nothing of the network, whatever their norm. `Record.control` decides."""
TRANSFER_FAMILY = "transfer"
"""The family of volumes that were made on another network."""
ACCURACY_ONLY = "accuracy_only"
"""The parameter with the smaller severities whose broken volumes were left out."""
PRECISION = "precision"
"""The parameter of attacks whose gradient is not float32's; see `FLOAT32`."""
FLOAT32 = "float32"
"""The precision that no key names."""

CLEAN = PerturbationKey(
    kind="none",
    name="none",
    version=1,
    family=CLEAN_FAMILY,
    parameters=(),
    severity=None,
    seed=None,
)
"""The perturbation that leaves volumes as they are."""


@dataclass(frozen=True, kw_only=True)  # without slots, to keep the identity once it is known
class Cell:
    """One unit of work; see the module's docstring."""

    model: ModelKey
    checkpoint: CheckpointKey
    dataset: DatasetKey
    perturbation: PerturbationKey

    @property
    def pending(self) -> bool:
        """Whether a checkpoint must still be trained, which will change the identity."""
        source = self.perturbation.source
        return self.checkpoint.sha256 is None or (
            source is not None and source.checkpoint.sha256 is None
        )

    @cached_property
    def identity(self) -> str:
        """SHA-256 of everything that can change this cell's numbers, as 64 hexadecimal digits."""
        perturbation = self.perturbation.numbers()
        if self.perturbation.source is not None:
            source = self.perturbation.source
            perturbation["source"] = _network(source.model, source.checkpoint)
        return digest(
            {
                **_network(self.model, self.checkpoint),
                "dataset": self.dataset.digest,
                "split": self.dataset.split,
                "volumes": self.dataset.volumes,
                "perturbation": perturbation,
            }
        )

    def trained(self, sha256: str) -> Cell:
        """This cell with the digest of its trained checkpoint."""
        return replace(self, checkpoint=replace(self.checkpoint, sha256=sha256))

    def source_trained(self, sha256: str) -> Cell:
        """This cell with the digest of its source's trained checkpoint."""
        source = self.perturbation.source
        assert source is not None
        source = replace(source, checkpoint=replace(source.checkpoint, sha256=sha256))
        return replace(self, perturbation=replace(self.perturbation, source=source))

    def to_json(self) -> dict[str, Any]:
        """The cell as plain JSON values; tuples of pairs become objects."""
        payload = asdict(self)
        payload["model"] = _model_json(self.model)
        payload["checkpoint"] = _checkpoint_json(self.checkpoint)
        payload["perturbation"]["parameters"] = dict(self.perturbation.parameters)
        source = payload["perturbation"].pop("source")
        if self.perturbation.source is not None:
            source = self.perturbation.source
            payload["perturbation"]["source"] = {
                "model": _model_json(source.model),
                "checkpoint": _checkpoint_json(source.checkpoint),
            }
        return payload

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> Cell:
        """Rebuild a cell from `to_json`.

        Raises:
            KeyError, TypeError: When parts are missing.
        """
        perturbation = dict(payload["perturbation"])
        perturbation["parameters"] = pairs(perturbation["parameters"])
        if "source" in perturbation:
            source = perturbation["source"]
            perturbation["source"] = SourceKey(
                model=_model_from(source["model"]),
                checkpoint=_checkpoint_from(source["checkpoint"]),
            )
        return cls(
            model=_model_from(payload["model"]),
            checkpoint=_checkpoint_from(payload["checkpoint"]),
            dataset=DatasetKey(**payload["dataset"]),
            perturbation=PerturbationKey(**perturbation),
        )


def _network(model: ModelKey, checkpoint: CheckpointKey) -> dict[str, Any]:
    """What a network's numbers depend on: its weights, or how they will be trained."""
    weights: dict[str, Any] = {"sha256": checkpoint.sha256}
    if checkpoint.sha256 is None:
        weights = {"recipe": checkpoint.recipe, "seed": checkpoint.seed}
    beside = {"part": checkpoint.part, "training": checkpoint.twin}
    weights |= {name: value for name, value in beside.items() if value}
    return {**model.numbers(), "checkpoint": weights}


def _model_json(model: ModelKey) -> dict[str, Any]:
    settings = {key: dict(value) for key, value in model.numbers().items() if key != "factory"}
    return {"name": model.name, "factory": model.factory, **settings}


def _checkpoint_json(checkpoint: CheckpointKey) -> dict[str, Any]:
    recipe = checkpoint.recipe
    payload = asdict(checkpoint) | {"recipe": None if recipe is None else dict(recipe)}
    return {name: value for name, value in payload.items() if value != ""}


def _model_from(payload: Mapping[str, Any]) -> ModelKey:
    names = ("arguments", "preprocessing", *(["outputs"] if "outputs" in payload else []))
    return ModelKey(**{**payload, **{name: pairs(payload[name]) for name in names}})


def _checkpoint_from(payload: Mapping[str, Any]) -> CheckpointKey:
    recipe = payload["recipe"]
    return CheckpointKey(**{**payload, "recipe": None if recipe is None else pairs(recipe)})


def format_severity(perturbation: PerturbationKey) -> str:
    """A severity in words: `8/255`, `0.03`, `level 3`, `12`; empty when clean."""
    severity = perturbation.severity
    if severity is None:
        return ""
    if perturbation.kind == "artefact":
        return f"level {severity}"
    return format_budget(severity)


def format_budget(budget: float) -> str:
    """A budget as a person types it: `8/255`, `0.03`, `12`."""
    steps = budget * 255
    if isinstance(budget, float) and abs(steps - round(steps)) < 1e-9 and 0 < budget < 1:
        return f"{round(steps)}/255"
    return f"{budget:g}"


def condition(perturbation: PerturbationKey, *, label: str = "") -> str:
    """A perturbation and its severity in words.

    `clean`, `pgd 8/255`, `motion level 3`, `transfer 8/255 from resnet3d_18`.

    Args:
        perturbation: What to name.
        label: Takes the place of its name and source where these are ambiguous.
    """
    source = perturbation.source
    name = label or (CLEAN_FAMILY if perturbation.kind == "none" else perturbation.name)
    origin = "" if source is None or label else f"from {source.model.name}"
    narrow = "" if label else precision(perturbation)
    return " ".join(filter(None, (name, format_severity(perturbation), origin, narrow)))


def precision(perturbation: PerturbationKey) -> str:
    """The precision of an attack's gradients, `bf16`; empty for float32's and what is no text."""
    found = dict(perturbation.parameters).get(PRECISION, "")
    return found if isinstance(found, str) else ""


def describe(cell: Cell) -> str:
    """A cell in a few words: `resnet3d_18 · quick · phantom3d · pgd 8/255 · seed 0`."""
    recipe, seed = cell.checkpoint.recipe_name, describe_seed(cell.checkpoint.seed)
    name, what = called(cell.model.name, cell.checkpoint.recipe), condition(cell.perturbation)
    network = [name] if recipe is None else [name, recipe]
    return " · ".join((*network, cell.dataset.name, what, seed))


def describe_seed(seed: int | None) -> str:
    """A training seed in words: `seed 0`, or `own weights` where the user brought them."""
    return OWN_WEIGHTS if seed is None else f"seed {seed}"


_FAMILY_TITLES = {"linf": "L∞", "l2": "L2", "l0": "L0", "mr": "MR", "ct": "CT"}


def family_title(kind: Kind, family: str) -> str:
    """A family as a heading: `clean`, `L∞ attacks`, `MR artefacts`."""
    return family if kind == "none" else f"{_FAMILY_TITLES.get(family, family)} {kind}s"


def family_order(kind: Kind, family: str) -> tuple[int, str]:
    """Sort key of families: clean first, then attacks, then artefacts, each by name."""
    return (_KINDS.index(kind), family)


def severity_order(severity: float | None) -> tuple[bool, float]:
    """Sort key of severities: the weakest first, attacks without a severity last."""
    return (severity is None, severity or 0.0)
