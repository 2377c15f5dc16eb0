"""Which epoch's weights are kept: judged on the val split, clean or under PGD as a recipe says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.attacks.pgd import PGD
from benchharness.networks.batches import as_float, in_batches
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchharness.datasets.base import Split
    from benchharness.networks.classifier import Classifier
    from benchharness.training.recipe import Recipe


LAST = "the last epoch is kept"
"""In place of what weights are chosen by, where none are chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How good an epoch's weights are."""

    auc: float | None
    """What they are chosen by; None where it is undefined."""
    overfitting: str = ""
    """How the network overfits to a single step; empty where it does not."""


def measure(recipe: Recipe) -> str:
    """What weights are chosen by, in words."""
    if recipe.keep == "last":
        return LAST
    return f"val AUC under PGD-{recipe.selection_steps}" if recipe.selection_steps else "val AUC"


def blind(recipe: Recipe, val: Split, classes: int) -> str:
    """Why a val split cannot choose weights; empty where it can, or where nothing is chosen."""
    absent = sorted(set(range(classes)) - set(np.unique(val.labels).tolist()))
    if recipe.keep == "last" or not absent:
        return ""
    said = f"class {absent[0]}" if len(absent) == 1 else f"classes {', '.join(map(str, absent))}"
    return (
        f"the val split has no volume of {said}, so no epoch has an AUC to be chosen by. Make a "
        f'recipe that keeps the last: [recipe.NAME] with base = "{recipe.name}" and keep = "last"'
    )


def judge(classifier: Classifier, val: Split, recipe: Recipe, *, seed: int) -> Judgement:
    """Judge the weights of the moment.

    Catastrophic overfitting (Wong et al., ICLR 2020): a network that was trained with one step
    withstands that step and falls to several.

    Args:
        classifier: Left as it is.
        val: The val split.
        recipe: What to judge by.
        seed: Of the attack's random starts.

    Raises:
        CellError: When logits are not finite.
    """
    if recipe.keep == "last":
        return Judgement(auc=None)
    if not recipe.selection_steps:
        return Judgement(auc=_auc(val, classifier.predict(val.volumes, recipe.batch_size)))
    logits = _under(PGD(steps=recipe.selection_steps), classifier, val, recipe, seed)
    if not recipe.overfitting_gap:
        return Judgement(auc=_auc(val, logits))
    one_step = PGD(steps=1, relative_step=recipe.relative_step)
    fast = _accuracy(val, _under(one_step, classifier, val, recipe, seed))
    slow = _accuracy(val, logits)
    overfitting = ""
    if fast - slow > recipe.overfitting_gap:
        overfitting = (
            f"catastrophic overfitting: val accuracy {fast:.3f} under one step, {slow:.3f} under "
            f"PGD-{recipe.selection_steps}"
        )
    return Judgement(auc=_auc(val, logits), overfitting=overfitting)


def _auc(val: Split, logits: NDArray[np.float32]) -> float | None:
    return metrics.compute(val.labels, logits)[0]["auc"]


def _accuracy(val: Split, logits: NDArray[np.float32]) -> float:
    return float(metrics.correct(val.labels, logits).mean())


def _under(
    attack: PGD, classifier: Classifier, val: Split, recipe: Recipe, seed: int
) -> NDArray[np.float32]:
    """Logits (N, K) of the attacked val volumes."""
    network = classifier.for_evaluation()

    def logits(batch: slice) -> NDArray[np.float32]:
        return attack(
            network,
            as_float(val.volumes[batch], "cpu"),
            val.labels[batch],
            severity=recipe.eps,
            ids=val.ids[batch],
            seed=seed,
            watched=(),
        ).logits

    return np.concatenate(list(in_batches(logits, len(val), recipe.batch_size)))
