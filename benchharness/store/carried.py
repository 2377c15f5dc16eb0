"""How weights came from a source to the target that they are judged on, read from their settings.

The settings of a recipe, which identities and model cards hold, name it by these keys; none of them
is there at its default, so that weights that were trained on their own dataset have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchharness.canonical import Pairs, Value

SCRATCH = "none"
"""In place of a source: few labelled volumes of the target, from random weights."""

DIFFER = "differ"
"""Said of labels that do not correspond."""

NO_CORRESPONDENCE = "labels do not correspond; read as few-shot pre-training only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A source, and how it was carried to the target."""

    source: str
    """Name of the dataset whose labels were learned from first; `none` from scratch."""
    adapt: str = "none"
    shots: int | str = 0
    """Labelled volumes of the target that were learned from; 0, or `all`."""
    select: str = "source_val"
    """What weights were chosen by."""
    recipe: str = ""
    """How the source was trained; empty from scratch."""
    differ: bool = False
    """Whether the labels of source and target do not correspond."""

    @property
    def words(self) -> str:
        """`from phantom3d_ct by coral, 16 shots`."""
        start = "from scratch" if self.source == SCRATCH else f"from {self.source}"
        if self.adapt != "none":
            start += f" by {self.adapt}"
        shots = f"{self.shots} shots" if self.shots else ""
        chosen = "chosen on target val" if self.select == "target_val" else ""
        return ", ".join(filter(None, (start, shots, chosen)))


def settings(
    source: str,
    digest: str,
    *,
    adapt: str = "none",
    version: int = 1,
    shots: int | str = 0,
    select: str = "source_val",
    recipe: str = "",
    differ: bool = False,
) -> dict[str, Value]:
    """How weights are carried, as it enters their settings.

    Args:
        source: As `Carried.source`.
        digest: Of the source's data; empty from scratch.
        adapt: The method.
        version: Of the method.
        shots: As `Carried.shots`.
        select: As `Carried.select`.
        recipe: The source's, where another recipe comes last.
        differ: As `Carried.differ`.
    """
    found: dict[str, Value] = {"train_on": source}
    if digest:
        found["train_on_digest"] = digest
    if adapt != "none":
        found |= {"adapt": adapt, "adapt_version": version}
    if shots:
        found["shots"] = shots
    if select != "source_val":
        found["select"] = select
    if recipe:
        found["source_recipe"] = recipe
    if differ:
        found["labels"] = DIFFER
    return found


def of(recipe: Pairs | None) -> Carried | None:
    """How weights with these settings were carried; None where they were not."""
    known = dict(recipe or ())
    if "train_on" not in known:
        return None
    shots = known.get("shots", 0)
    source = str(known["train_on"])
    return Carried(
        source=source,
        adapt=str(known.get("adapt", "none")),
        shots=shots if isinstance(shots, int) else str(shots),
        select=str(known.get("select", "source_val")),
        recipe="" if source == SCRATCH else str(known.get("source_recipe", known.get("name", ""))),
        differ=known.get("labels") == DIFFER,
    )


def called(name: str, recipe: Pairs | None) -> str:
    """What a model is called: its name, and where its weights were carried from if they were."""
    found = of(recipe)
    return name if found is None else f"{name} {found.words}"
