"""Pictures of some volumes: every network's heat maps under every condition, with a caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.explanation import figures, mapping
from benchharness.statistics import metrics
from benchharness.store.heatmaps import Picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.datasets import Split
    from benchharness.explanation.figures import Panel
    from benchharness.explanation.mapping import Batch, Opened
    from benchharness.explanation.requests import Target
    from benchharness.explanation.subjects import Subject


def draw(
    subject: Subject, opened: Sequence[Opened], split: Split, target: Target, stem: str
) -> tuple[tuple[Picture, ...], dict[str, bytes]]:
    """Draw every volume of a split, in its order.

    Every volume is mapped anew. Corrupted ones are those that were measured. Adversarial ones have
    the same draws but come in other batches, so their last bits may differ (`run.perturb`).

    Args:
        subject: What is explained.
        opened: Its networks, a row of the picture each.
        split: Test volumes, measured or not.
        target: The class to explain.
        stem: How the files' names begin.

    Returns:
        What each picture shows, and its PNG by file name.

    Raises:
        BenchError: When a network gives something that cannot be explained.
    """
    rows: list[tuple[str, list[list[Panel]]]] = []
    for one in opened:
        with mapping.blamed_on(one.name, subject.dataset.name):
            rows.append((one.name, _panels(subject, one, split, target)))
    pictures, drawings = [], {}
    for index, name in enumerate(split.ids):
        label = subject.dataset.classes[split.labels[index]]
        drawing = figures.draw(
            f"{name} · {label}",
            [condition.label for condition in subject.conditions],
            [(network, [panels[index] for panels in row]) for network, row in rows],
            None if split.masks is None else split.masks[index],
        )
        file = f"{stem}-{name.replace('/', '-')}.png"
        drawings[file] = drawing
        caption = _caption(subject, name, label, target)
        pictures.append(Picture(file=file, volume=name, caption=caption))
    return tuple(pictures), drawings


def _panels(subject: Subject, opened: Opened, split: Split, target: Target) -> list[list[Panel]]:
    """For every condition a panel of every volume."""
    panels = []
    for condition in opened.network.conditions:
        under: list[Panel] = []
        for batch in mapping.mapped(opened, condition, split, target, subject.batch_size):
            under += _panels_of(batch, split, subject.dataset.classes)
        panels.append(under)
    return panels


def _panels_of(batch: Batch, split: Split, classes: Sequence[str]) -> list[Panel]:
    found, labels = batch.mapped, split.labels[batch.place]
    probabilities = metrics.softmax(found.logits)
    grey = batch.volumes.mean(dim=1).cpu().numpy()
    return [
        figures.Panel(
            volume=grey[index],
            heat=found.maps[index],
            answer=f"{classes[answer]} {probabilities[index, answer]:.2f}"
            + ("" if found.maps[index].any() else " (empty map)"),
            right=bool(answer == labels[index]),
        )
        for index, answer in enumerate(metrics.predicted_classes(found.logits))
    ]


def _caption(subject: Subject, name: str, label: str, target: Target) -> str:
    explained = f"the class {label!r}" if target == "label" else "the predicted class"
    box = "; the green box bounds the structure" if subject.split.masks is not None else ""
    attacked = (
        f" Attacked volumes in the first row are those of {subject.networks[0].name}."
        if any(condition.key.kind == "attack" for condition in subject.conditions)
        else ""
    )
    return (
        f"{name}: Grad-CAM of {explained}, each map divided by its own maximum{box}. Each map is "
        f"headed by what the network predicted, in red where wrong.{attacked}"
    )
