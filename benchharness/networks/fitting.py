"""A network's outputs, chosen on clean volumes before anything is measured, and watched after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from benchharness.errors import BenchError
from benchharness.networks.adapters import Outputs, described, find, like_probabilities
from benchharness.networks.asked import NOTHING, written
from benchharness.networks.batches import as_float
from benchharness.outside.containment import contained
from benchharness.store.records import Check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.networks.adapters import Found
    from benchharness.networks.asked import Asked, Form
    from benchharness.networks.classifier import Classifier

    Volumes = Tensor | NDArray[np.unsignedinteger]

_BATCHES = 4
"""Batches that must all look like probabilities before a network is refused; one tells the rest."""

FROM_PROBABILITIES = "output is logits, not from probabilities"
"""The check that fails for a network whose logits are logarithms of what it returned."""
LOGIT = "output is a logit, not a probability"


def fit(
    classifier: Classifier,
    volumes: Volumes,
    asked: Asked,
    *,
    name: str,
    trained: bool = True,
) -> tuple[Outputs, str]:
    """Choose how logits are taken from what a network returns for clean volumes.

    Args:
        classifier: Without outputs; its mode is as before when this returns.
        volumes: (N, C, D, H, W), float32 in [0, 1], uint8 or uint16; a few of them are passed.
        asked: What the user said.
        name: The model's name, for messages.
        trained: Whether it has its weights. One value between 0 and 1 tells nothing before.

    Returns:
        The outputs, and what the user should know of the choice; the latter is empty where the
        network returns logits (B, K), or nothing that could be measured, which its cells will say.

    Raises:
        BenchError: If the network returns probabilities and the user did not say so, or what the
            user said is not there.
    """
    answers = _answers(classifier, volumes)
    count, returned = next(answers, (0, None))
    if not count:
        return Outputs.assumed(asked), ""
    found = find(returned, count, classifier.num_classes, asked)
    if found is None:
        if asked == NOTHING:
            return Outputs(), ""
        raise BenchError(
            f"--outputs names what {name!r} does not return for a task of "
            f"{classifier.num_classes} classes: it returns {described(returned)}. Name one of its "
            "tensors of logits, or leave --outputs out."
        )
    outputs = found.outputs
    if asked.form is None and (trained or outputs.form == "logits"):
        several = (outputs.tensor(one) for one in (returned, *(later for _, later in answers)))
        if _probable(several, outputs.form):
            raise _refusal(name, outputs.form)
    return outputs, _note(name, found, returned)


def unjudged(classifier: Classifier, volumes: Volumes) -> Outputs:
    """The outputs of a network whose answers do not matter, only what they cost."""
    for count, returned in _answers(classifier, volumes):
        found = find(returned, count, classifier.num_classes)
        return Outputs() if found is None else found.outputs
    return Outputs()


def checks(classifier: Classifier, volumes: Volumes) -> tuple[Check, ...]:
    """What makes every number of a classifier doubtful for the kind of its outputs."""
    if classifier.outputs.form == "probabilities":
        reason = (
            "its logits are from probabilities: the network ends in a softmax or sigmoid, whose "
            "logarithm was taken (--outputs probabilities); it rounds off what an attack needs"
        )
        return (Check(name=FROM_PROBABILITIES, verdict="failed", reason=reason),)
    if classifier.outputs.form != "logit":
        return ()
    several = (classifier.outputs.tensor(one) for _, one in _answers(classifier, volumes))
    if not _probable(several, "logit"):
        return ()
    reason = (
        "its one output lies between 0 and 1 for every volume that was tried, as a probability "
        "does: the network seems to end in a sigmoid"
    )
    return (Check(name=LOGIT, verdict="failed", reason=reason),)


def _probable(several: Iterable[Tensor], form: Form) -> bool:
    """Whether all of several answers look like probabilities; the first that does not decides."""
    values = []
    for tensor in several:
        values.append(tensor.flatten(1) if tensor.ndim > 1 else tensor)
        if not bool(((tensor >= 0) & (tensor <= 1)).all()):
            return False
    return bool(values) and like_probabilities(torch.cat(values), form)


def _refusal(name: str, form: Form) -> BenchError:
    if form == "logit":
        what, end = "one number between 0 and 1 a volume, which looks like a probability", "sigmoid"
    else:
        what, end = "probabilities: every volume's values add up to one", "softmax"
    return BenchError(
        f"{name!r} returns {what}. Return what comes before the {end}: it hides the gradient from "
        "an attack, so that a network looks robust. Else type --outputs probabilities, which takes "
        f"their logarithm and marks every number, or --outputs {form} if they are no probabilities."
    )


def _note(name: str, found: Found, returned: object) -> str:
    """What was chosen, in one line; empty where there was nothing to choose."""
    if not found.outputs.to_pairs() and not found.others:
        return ""
    outputs = found.outputs
    taken = f"{name} returns {described(returned)}: {outputs.in_words}."
    if not found.others:
        return taken
    others = ", ".join(written(path) for path in found.others)
    return (
        f"{taken} Its {others} would fit as well; name the right one with "
        f"--outputs {name}=PLACE if that is wrong."
    )


def _answers(classifier: Classifier, volumes: Volumes) -> Iterator[tuple[int, object]]:
    """What a network returns for a few small batches, spread over all volumes.

    Nothing comes from a network that cannot run: its cells will say why.
    """
    # As many volumes as classes would hide a transposed answer.
    size = 4 if classifier.num_classes == 3 else 3
    places = np.unique(np.linspace(0, len(volumes) - 1, _BATCHES * size).astype(int))
    batches = [places[start::_BATCHES] for start in range(min(_BATCHES, len(places)))]
    for batch in batches:
        for chosen in (batch, batch[:1]):
            try:
                with contained(), classifier.frozen(), torch.no_grad():
                    inputs = as_float(volumes[chosen.tolist()], classifier.device)
                    returned = classifier.returned(inputs)
            except Exception:
                # A user's network may raise anything, and may take one volume at a time.
                continue
            yield len(chosen), returned
            break
        else:
            return
