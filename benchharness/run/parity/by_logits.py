"""Parity of logits, volume by volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.datasets.base import SPLITS
from benchharness.errors import BenchError
from benchharness.run.parity import answers, expected
from benchharness.run.parity.subject import Found, nothing, said

if TYPE_CHECKING:
    from benchharness.datasets import Split
    from benchharness.run.parity.answers import Array, Detail
    from benchharness.run.parity.causes import Cause
    from benchharness.run.parity.expected import Logits
    from benchharness.run.parity.subject import Subject

_TRIED = 8
"""Volumes on which causes are tried: those that are furthest apart."""


def by_logits(subject: Subject, wanted: Logits) -> Found:
    """Compare logits with those in a file, and labels where it holds them.

    Raises:
        BenchError: When the file's volumes or classes are not the subject's.
    """
    places = expected.places(wanted, subject.split.ids, subject.name)
    chosen = subject.split.select(places)
    theirs, classes = wanted.values, subject.classifier.num_classes
    if theirs.shape[1] != classes and (theirs.shape[1], classes) != (1, 2):
        raise BenchError(
            f"{wanted.path} holds {theirs.shape[1]} logits a volume, {subject.dataset.name} has "
            f"{classes} classes. Check that it is of this network and dataset."
        )
    ours = subject.logits(chosen.volumes)
    apart = answers.apart(ours, theirs)
    bound = wanted.tolerance
    labels = None if wanted.labels is None else answers.labels_differ(chosen.labels, wanted.labels)
    within = int((apart <= bound).sum())
    line = (
        f"{subject.title}: the logits of {within} of {len(chosen)} {subject.name} volumes agree; "
        f"the largest difference is {apart.max():.2g} of the largest logit (bound {bound:g})"
    )
    explanations = [] if labels is None else [said(labels)]
    if within < len(chosen):
        explanations += _why(subject, chosen, ours, wanted)
    return Found(
        line=line,
        difference=float(apart.max()),
        tolerance=bound,
        expected="logits",
        split=subject.name,
        volumes=len(chosen),
        sha256=wanted.sha256,
        explanations=tuple(explanations),
    )


def _why(subject: Subject, chosen: Split, ours: Array, wanted: Logits) -> list[str]:
    """What explains that logits differ, in sentences."""
    theirs, bound = wanted.values, wanted.tolerance
    if direct := list(answers.details(ours, theirs, bound)):
        return [said(direct[0])]
    if (other := _other_split(subject, wanted)) is not None:
        return [said(other)]
    apart = answers.apart(ours, theirs)
    worst = np.argsort(-apart, kind="stable")[:_TRIED]
    nearest, least = None, float(np.median(apart[worst]))
    for cause in subject.causes(compounds=True):
        made = subject.tried(chosen.volumes[worst], cause)
        if made is None:
            continue
        differences = answers.apart(made, theirs[worst])
        details = () if differences.max() <= bound else answers.details(made, theirs[worst], bound)
        both: list[Detail | None] = list(details) if differences.max() > bound else [None]
        if both and (sure := _confirmed(subject, chosen, cause, both[0], wanted)):
            return [sure]
        if float(np.median(differences)) < least:
            nearest, least = cause, float(np.median(differences))
    return [nothing(nearest, float(np.median(apart[worst])), least)]


def _confirmed(
    subject: Subject, chosen: Split, cause: Cause, detail: Detail | None, wanted: Logits
) -> str:
    """The sentence for a cause that holds for all volumes; empty where it holds for some alone."""
    made = subject.tried(chosen.volumes, cause)
    if made is None:
        return ""
    theirs, bound = wanted.values, wanted.tolerance
    if detail is None:
        largest = float(answers.apart(made, theirs).max())
        if largest > bound:
            return ""
        return f"{said(cause)} With that, the largest difference is {largest:.1g}."
    if detail not in list(answers.details(made, theirs, bound)):
        return ""
    return f"{said(cause)} Besides, {detail.words}. {detail.remedy}"


def _other_split(subject: Subject, wanted: Logits) -> Detail | None:
    """Whether the logits are those of another split of as many volumes."""
    if wanted.ids is not None:
        return None
    for name in SPLITS:
        split: Split = getattr(subject.dataset, name)
        if name == subject.name or len(split) != len(wanted.values):
            continue
        ours = subject.logits(split.volumes)
        if answers.apart(ours, wanted.values).max() <= wanted.tolerance:
            return answers.Detail(
                words=f"the logits are those of the {name} split", remedy=f"Type --split {name}."
            )
    return None
