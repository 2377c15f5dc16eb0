"""Parity of one metric of a whole split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.datasets.base import SPLITS
from benchharness.errors import BenchError
from benchharness.run.parity import answers
from benchharness.run.parity.subject import Found, nothing, said

if TYPE_CHECKING:
    from benchharness.datasets import Split
    from benchharness.run.parity.answers import Array, Detail
    from benchharness.run.parity.causes import Cause
    from benchharness.run.parity.expected import Metric
    from benchharness.run.parity.subject import Subject

_SHOWN = 3
"""Causes that are named where several fit."""


def by_metric(subject: Subject, wanted: Metric) -> Found:
    """Compare a metric with its expected value.

    Raises:
        BenchError: When it is undefined on the split.
    """
    labels = subject.split.labels
    ours = subject.logits(subject.split.volumes)
    value = answers.metric(wanted.name, labels, ours)
    if value is None:
        raise BenchError(
            f"{wanted.name} is undefined on the {subject.name} split of {subject.dataset.name}. "
            "Expect accuracy, or name another --split."
        )
    difference = abs(value - wanted.value)
    line = (
        f"{subject.title}: {wanted.name} of {len(labels)} {subject.name} volumes is {value:.4g}, "
        f"expected {wanted.value:g} (bound {wanted.tolerance:.2g})"
    )
    passed = difference <= wanted.tolerance
    return Found(
        line=line,
        difference=difference,
        tolerance=wanted.tolerance,
        expected=f"{wanted.name} = {wanted.value:g}",
        split=subject.name,
        volumes=len(labels),
        explanations=() if passed else tuple(_why_metric(subject, ours, wanted)),
    )


def _why_metric(subject: Subject, ours: Array, wanted: Metric) -> list[str]:
    """What would give the expected metric; one number fits several causes."""
    labels, classes = subject.split.labels, subject.classifier.num_classes

    def fits(logits: Array | None) -> bool:
        value = None if logits is None else answers.metric(wanted.name, labels, logits)
        return value is not None and abs(value - wanted.value) <= wanted.tolerance

    found: list[Detail | Cause] = [
        answers.classes_ordered(order)
        for order in answers.orders(classes)
        if fits(ours[:, list(order)])
    ]
    for cause in subject.causes(compounds=False):
        if len(found) >= _SHOWN:
            break
        if fits(subject.tried(subject.split.volumes, cause)):
            found.append(cause)
    for name in SPLITS:
        other: Split = getattr(subject.dataset, name)
        if name != subject.name:
            value = answers.metric(wanted.name, other.labels, subject.logits(other.volumes))
            if value is not None and abs(value - wanted.value) <= wanted.tolerance:
                words = f"it is that of the {name} split"
                found.append(answers.Detail(words=words, remedy=f"Type --split {name}."))
    if not found:
        return [nothing(None, 0.0, 0.0)]
    several = ["One number fits more than one cause; save logits to tell."] if found[1:] else []
    return [*(said(one) for one in found[:_SHOWN]), *several]
