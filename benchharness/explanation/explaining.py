"""From a request and its subjects to stored heat maps: map the test volumes, measure, draw, write.

Every test volume is mapped clean and under every condition, on the very volumes that `bench run`
measures. The class explained is by default the volume's own label, for which clean and
perturbed maps answer one question, and what moves between them is the explanation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchharness.canonical import digest
from benchharness.explanation import drawing, mapping, measures, measuring, requests
from benchharness.store import heatmaps, provenance
from benchharness.store.heatmaps import HeatMaps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchharness.datasets import Split
    from benchharness.explanation.mapping import Opened
    from benchharness.explanation.requests import Request, Target
    from benchharness.explanation.subjects import Subject
    from benchharness.store.heatmaps import NetworkMaps, Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What was written for one dataset."""

    path: Path
    """The JSON; its pictures are beside it."""
    found: HeatMaps


def explain(
    request: Request,
    subjects: Sequence[Subject],
    out: Path,
    note: Callable[[str], None] = lambda _: None,
) -> tuple[Explained, ...]:
    """Map, measure and draw; one result for each subject.

    Args:
        request: What to draw and where to look.
        subjects: What to explain, one for each dataset.
        out: The store to write to.
        note: Called with a line about each step.

    Raises:
        BenchError: For anything a user can get wrong.
    """
    requests.refuse_unknown_layers(request, subjects)
    chosen = requests.chosen_ids(request, subjects)
    return tuple(_explained(request, subject, chosen, out, note) for subject in subjects)


def _explained(
    request: Request,
    subject: Subject,
    chosen: frozenset[str],
    out: Path,
    note: Callable[[str], None],
) -> Explained:
    opened = [mapping.open_network(subject, network, request) for network in subject.networks]
    margins: list[NDArray[np.float64]] = []
    networks = []
    for one in opened:
        found, maps = measuring.measure(subject, one, request.target, note)
        networks.append(maps)
        margins += [part.margins(subject.split.labels) for part in found[1:] or found]
    drawn = _drawn(request, subject, chosen, np.min(margins, axis=0))
    stem = f"{subject.dataset.name}-{_identity(subject, opened, request.target)[:8]}"
    pictures, drawings = drawing.draw(subject, opened, drawn, request.target, stem)
    result = _result(subject, request.target, tuple(networks), pictures)
    return Explained(path=heatmaps.write(out, stem, result, drawings), found=result)


def _drawn(
    request: Request, subject: Subject, chosen: frozenset[str], margins: NDArray[np.float64]
) -> Split:
    """The volumes to draw: those chosen, else those whose lowest margin is lowest."""
    if request.ids:
        test = subject.dataset.test
        return test.select(np.flatnonzero([name in chosen for name in test.ids]))
    return subject.split.select(np.argsort(margins, kind="stable")[: request.worst])


def _identity(subject: Subject, opened: Sequence[Opened], target: Target) -> str:
    """Digest of all that decides a result's numbers; drawing other volumes does not change it."""
    return digest(
        {
            "networks": [
                (asdict(one.network.model), one.network.checkpoint, one.cam.layer) for one in opened
            ],
            "dataset": asdict(subject.key),
            "conditions": [asdict(condition.key) for condition in subject.conditions],
            "target": target,
        }
    )


def _result(
    subject: Subject,
    target: Target,
    networks: tuple[NetworkMaps, ...],
    pictures: tuple[Picture, ...],
) -> HeatMaps:
    masks = subject.split.masks
    return HeatMaps(
        dataset=subject.dataset.name,
        digest=subject.dataset.digest,
        count=len(subject.split),
        total=len(subject.dataset.test),
        target=target,
        structure=None if masks is None else float(masks.mean()),
        box=measuring.box_located(subject),
        box_side=measures.BOX_SIDE,
        randomised_networks=measuring.RANDOMISED_NETWORKS,
        networks=networks,
        pictures=pictures,
        provenance=provenance.collect(subject.device),
    )
