"""Claims: what a person says of a network and signs, as frozen values.

`claims_file` reads them from TOML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchharness.store.cells import format_budget

if TYPE_CHECKING:
    import datetime

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
"""What a claim can be about, in words. All lie in [0, 1], and more is better."""
AT_A_POINT = ("sensitivity", "specificity")
"""Metrics that need an operating point and a class."""

Rule = Literal["youden", "sensitivity", "specificity", "threshold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What stands on the cover; every text as the file gives it."""

    name: str
    release: str
    intended_use: str
    author: str
    date: datetime.date
    licence: str = ""
    """Of the model, for its card; empty where the file does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Which network of a run is meant; None where the run has one only."""

    model: str | None = None
    dataset: str | None = None
    recipe: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """How volumes are grouped."""

    columns: tuple[str, ...] = ()
    """Of the data's table; every value is a group."""
    bands: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """Columns of numbers, such as age, and where they are cut: 40 begins a new band."""
    smallest: int = 20
    """Groups with fewer patients, or volumes where these are independent, are named as small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An operating point: how the threshold is chosen on clean validation volumes."""

    rule: Rule
    value: float | None = None
    """What is given; None for `youden`."""

    def __str__(self) -> str:
        if self.rule == "youden":
            return "largest Youden index on val"
        if self.rule == "threshold":
            return f"threshold {self.value:g}"
        return f"{self.rule} {self.value:g} on val"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is done to the volumes: nothing, artefacts up to a level, or attacks up to a budget."""

    kind: Literal["clean", "artefacts", "attacks"]
    severity: float | None = None
    """The highest level, 1 to 5, or the largest budget ε; None when clean."""
    norm: str = ""
    """Of attacks: `linf` or `l2`."""
    only: tuple[str, ...] = ()
    """Perturbations that are meant; () is every plausible artefact, or every attack in the norm."""

    def __str__(self) -> str:
        if self.severity is None:
            return "clean"
        named = ", ".join(self.only)
        if self.kind == "artefacts":
            which = named or "plausible artefacts"
            return f"{which} up to level {self.severity:g}"
        norm = {"linf": "L∞", "l2": "L2"}[self.norm]
        return f"{named or 'attacks'} up to ε = {format_budget(self.severity)} in {norm}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Whose volumes: all, one group, or each group of a column by itself."""

    column: str = ""
    """Empty for all."""
    group: str | None = None
    """None for each."""

    def __str__(self) -> str:
        if not self.column:
            return "all"
        return f"each {self.column}" if self.group is None else f"{self.column} {self.group}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence that is signed: a metric is at least a bound."""

    name: str
    text: str
    """In the author's words."""
    metric: str
    """One of `METRICS`."""
    label: int | None
    """The class, 0..K−1; None over all classes."""
    point: Point | None
    """None for metrics without a threshold."""
    condition: Condition
    population: Population
    bound: float
    """In (0, 1]."""
    confidence: float
    """Of the one-sided bounds, in [0.5, 1)."""

    @property
    def measured(self) -> str:
        """The metric with its class and operating point in words."""
        of = "" if self.label is None else f" of class {self.label}"
        return f"{METRICS[self.metric]}{of}" + (f" at {self.point}" if self.point else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """A whole claims file."""

    product: Product
    subject: Subject
    groups: Groups
    claims: tuple[Claim, ...]
