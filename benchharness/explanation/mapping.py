"""Heat maps of an opened network, batch by batch."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.explanation import gradcam
from benchharness.networks.batches import as_float, in_batches
from benchharness.outside.containment import contained, in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.datasets import Split
    from benchharness.explanation.gradcam import GradCAM, Mapped
    from benchharness.explanation.requests import Request, Target
    from benchharness.explanation.subjects import Condition, Network, Subject, Volumes
    from benchharness.networks.classifier import Classifier


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A network that is loaded and has its layer chosen."""

    network: Network
    classifier: Classifier
    """As its author wrote it; heat maps are of this one."""
    evaluated: Classifier
    """Prepared by `for_evaluation`: the one that is attacked, as in `bench run`."""
    cam: GradCAM
    grid: tuple[int, int, int]
    """Grid (d, h, w) of the layer."""

    @property
    def name(self) -> str:
        """What tables and pictures call it."""
        return self.network.name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Some volumes of a split with their maps."""

    place: slice
    volumes: Tensor
    """(B, C, D, H, W) in [0, 1]: what the network saw."""
    mapped: Mapped


def open_network(subject: Subject, network: Network, request: Request) -> Opened:
    """Load a network and check that heat maps come out of its layer.

    Raises:
        BenchError: When there is no such layer, or no heat map comes out of it.
    """
    classifier = network.load()
    model = network.model.name
    layer = gradcam.layer_of(classifier.network, model, dict(request.layers).get(model))
    with blamed_on(model, subject.dataset.name):
        cam = gradcam.GradCAM(classifier, layer)
    return Opened(
        network=network,
        classifier=classifier,
        evaluated=classifier.for_evaluation(compiled=subject.compiled),
        cam=cam,
        grid=cam.check(as_float(subject.split.volumes[0], "cpu"), model),
    )


def mapped(
    opened: Opened, condition: Condition, split: Split, target: Target, batch_size: int
) -> Iterator[Batch]:
    """Map every volume of a split under a condition, in order.

    Raises:
        BenchError: When the perturbation does not accept the volumes.
        CellError: When the network or the perturbation gave something that is not a result.
    """
    volumes = condition.volumes(opened.evaluated, split)
    return batches(opened.cam, volumes, classes(split, target), len(split), batch_size)


def batches(
    cam: GradCAM,
    volumes: Volumes,
    chosen: NDArray[np.int64] | None,
    count: int,
    batch_size: int,
) -> Iterator[Batch]:
    """Map `count` volumes in order; `chosen` (N,) are the classes, None the predicted ones.

    Raises:
        CellError: As `GradCAM.__call__`.
    """

    def batch(place: slice) -> Batch:
        made = volumes(place)
        maps = cam(made, None if chosen is None else chosen[place])
        return Batch(place=place, volumes=made, mapped=maps)

    return in_batches(batch, count, batch_size)


def classes(split: Split, target: Target) -> NDArray[np.int64] | None:
    """The class to explain of each volume, (N,); None stands for the predicted one."""
    return split.labels if target == "label" else None


@contextmanager
def blamed_on(network: str, dataset: str) -> Iterator[None]:
    """Turn a network's fault into one line that names the network."""
    try:
        with contained():
            yield
    except BenchError:
        raise
    except Exception as error:
        # A user's network may raise anything.
        raise BenchError(
            f"cannot explain {network} on {dataset}: {in_one_line(error)}. Leave the model out of "
            "--models."
        ) from error
