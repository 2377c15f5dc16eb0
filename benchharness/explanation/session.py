"""From a request to stored heat maps: find checkpoints, map the test volumes, measure, draw.

Every test volume is mapped clean and under every perturbation asked for, by the same draws as in
`bench run`. The class explained is the volume's own label unless told otherwise: then clean and
perturbed maps answer one question, and what moves between them is the explanation.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import numpy as np
import torch

from benchharness import randomness
from benchharness.artefacts import Artefact
from benchharness.attacks import Attack
from benchharness.canonical import digest
from benchharness.errors import BenchError, CellError
from benchharness.explanation import figures, gradcam, measures
from benchharness.networks import building, checkpoints, devices
from benchharness.networks.batches import as_float, in_batches
from benchharness.networks.classifier import Classifier
from benchharness.run import planning
from benchharness.statistics import metrics
from benchharness.store import cells, heatmaps, provenance
from benchharness.store.heatmaps import HeatMaps, Located, Measured, NetworkMaps, Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.datasets import Split
    from benchharness.run.config import RunConfig
    from benchharness.run.planning import Work
    from benchharness.statistics.basis import Patients
    from benchharness.store.cells import PerturbationKey

T = TypeVar("T", bound=np.generic)

Target = Literal["label", "predicted"]

RANDOMISED_NETWORKS = 4
"""Independent draws of weights for the sanity check; volumes take turns over them by their id."""

DEFAULT_WORST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `bench explain` can be asked; validated, nothing resolved."""

    config: RunConfig
    ids: tuple[str, ...] = ()
    """Volumes to draw; empty draws the worst."""
    worst: int = DEFAULT_WORST
    """How many volumes of lowest margin to draw where no ids are given."""
    target: Target = "label"
    layers: tuple[tuple[str, str], ...] = ()
    """(model, layer) where the user names one."""

    @classmethod
    def checked(
        cls,
        config: RunConfig,
        *,
        ids: str | None = None,
        worst: int | None = None,
        target: str = "label",
        layers: Sequence[str] = (),
    ) -> Request:
        """Build from what a user typed.

        Raises:
            BenchError: For values that contradict each other or are out of range.
        """
        if ids is not None and worst is not None:
            raise BenchError("--ids and --worst both choose the volumes to draw. Keep one.")
        if worst is not None and worst < 1:
            raise BenchError(f"--worst must be at least 1, got {worst}.")
        if target not in ("label", "predicted"):
            raise BenchError(f"--target is label or predicted, got {target!r}.")
        named: dict[str, str] = {}
        for item in layers:
            model, equals, layer = item.partition("=")
            if not (model and equals and layer) or model in named:
                raise BenchError(f"--layer takes model=layer, once a model, got {item!r}.")
            named[model] = layer
        wanted = () if ids is None else tuple(part.strip() for part in ids.split(","))
        if not all(wanted):
            raise BenchError(f"--ids has an empty item: {ids!r}. Separate ids by one comma.")
        return cls(
            config=config,
            ids=wanted,
            worst=DEFAULT_WORST if worst is None else worst,
            target=cast("Target", target),
            layers=tuple(named.items()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What was written for one dataset."""

    path: Path
    """The JSON; its pictures lie beside it."""
    found: HeatMaps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Condition:
    key: PerturbationKey
    perturbation: Attack | Artefact | None

    @property
    def label(self) -> str:
        return cells.condition(self.key)

    def volumes(self, classifier: Classifier, split: Split) -> Tensor:
        """The split's volumes under this condition, (N, C, D, H, W) in [0, 1]."""
        severity, seed = self.key.severity, self.key.seed
        clean = as_float(split.volumes, "cpu")
        if isinstance(self.perturbation, Attack):
            assert severity is not None
            assert seed is not None
            outcome = self.perturbation(
                classifier,
                clean.to(classifier.device),
                torch.from_numpy(split.labels).to(classifier.device),
                severity=severity,
                ids=split.ids,
                seed=seed,
            )
            return outcome.volumes
        if isinstance(self.perturbation, Artefact):
            assert isinstance(severity, int)
            assert seed is not None
            made = [
                self.perturbation(volume, severity=severity, id=name, seed=seed).volume
                for volume, name in zip(clean, split.ids, strict=True)
            ]
            return torch.stack(made)
        return clean


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Network:
    name: str
    work: Work
    checkpoint: str
    classifier: Classifier
    cam: gradcam.GradCAM
    grid: tuple[int, int, int]


@dataclass(slots=True, kw_only=True)
class _Found:
    """What one condition gave, volume by volume; lists of arrays, one a batch."""

    logits: list[NDArray[np.float32]] = field(default_factory=list)
    hits: list[NDArray[np.bool_]] = field(default_factory=list)
    energy: list[NDArray[np.float64]] = field(default_factory=list)
    empty: list[NDArray[np.bool_]] = field(default_factory=list)
    correlation: list[NDArray[np.float64]] = field(default_factory=list)
    shift: list[NDArray[np.float64]] = field(default_factory=list)

    def add(
        self,
        mapped: gradcam.Mapped,
        masks: NDArray[np.bool_] | None,
        reference: NDArray[np.float32] | None,
    ) -> None:
        """Measure a batch, against the clean maps where there are any."""
        self.logits.append(mapped.logits)
        self.empty.append(measures.empty(mapped.maps))
        if masks is not None:
            self.hits.append(measures.hits(mapped.maps, masks))
            self.energy.append(measures.energy_inside(mapped.maps, masks))
        if reference is not None:
            self.correlation.append(measures.rank_correlation(reference, mapped.maps))
            self.shift.append(measures.centroid_shift(reference, mapped.maps))

    def ordered(self, order: NDArray[np.int64]) -> _Found:
        """The same, volumes in another order, as a single batch."""

        def one(batches: list[NDArray[T]]) -> list[NDArray[T]]:
            return [np.concatenate(batches)[order]] if batches else []

        return _Found(
            logits=one(self.logits),
            hits=one(self.hits),
            energy=one(self.energy),
            empty=one(self.empty),
            correlation=one(self.correlation),
            shift=one(self.shift),
        )

    def located(self, patients: Patients | None) -> Located:
        """Both measures of location; None where the structure is not known."""
        if not self.hits:
            return Located(pointing=None, energy=None)
        return Located(
            pointing=measures.share(np.concatenate(self.hits), patients),
            energy=measures.mean(np.concatenate(self.energy), patients),
        )


def explain(
    request: Request, note: Callable[[str], None] = lambda _: None
) -> tuple[Explained, ...]:
    """Map, measure and draw; one result for each dataset.

    Args:
        request: What to explain.
        note: Told one line at a time what is being done.

    Raises:
        BenchError: For anything a user can get wrong, a checkpoint that is missing among it.
    """
    config = request.config
    device = devices.resolve(config.device)
    planned = planning.plan(config)
    for remark in planned.notes:
        note(remark)
    # Work that begins with a clean cell is a network on a dataset; any other measures something
    # besides on one of these.
    networks = [work for work in planned.work if work.cells[0].perturbation.kind == "none"]
    _refuse_untrained(networks, config)
    _refuse_unknown_layers(request, networks)
    by_dataset: dict[str, list[Work]] = {}
    for work in networks:
        by_dataset.setdefault(work.dataset.name, []).append(work)
    chosen = _chosen(request.ids, [works[0].dataset.test for works in by_dataset.values()])
    return tuple(
        _Session(request, works, planned.perturbations, device, note).go(chosen)
        for works in by_dataset.values()
    )


def _refuse_untrained(work: Sequence[Work], config: RunConfig) -> None:
    missing = [one for one in work if one.to_train]
    if missing:
        first = missing[0]
        assert first.recipe is not None
        raise BenchError(
            f"no checkpoint of {first.model.name} on {first.dataset.name} (recipe "
            f"{first.recipe.name}, seed {first.seed}) in {config.out}. Train it with bench train "
            f"--models {first.model.name} --datasets {first.dataset.name} --out {config.out}, or "
            f"pass --checkpoint {first.model.name}=PATH."
        )


def _refuse_unknown_layers(request: Request, work: Sequence[Work]) -> None:
    models = {one.model.name for one in work}
    for model, layer in request.layers:
        if model not in models:
            raise BenchError(
                f"--layer {model}={layer} speaks of a model that is not explained "
                f"({', '.join(sorted(models))}). Add it to --models or take it out."
            )


def _chosen(typed: Sequence[str], splits: Sequence[Split]) -> frozenset[str]:
    """Full ids of the volumes typed; the part behind the last slash is enough."""
    found: set[str] = set()
    everything = [name for split in splits for name in split.ids]
    for item in typed:
        matches = [name for name in everything if name == item or name.endswith(f"/{item}")]
        if not matches:
            close = get_close_matches(item, everything, n=3, cutoff=0.5)
            nearest = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise BenchError(
                f"no test volume {item!r}.{nearest} Ids look like {everything[0]!r}, of which "
                f"{everything[0].rpartition('/')[2]!r} is enough."
            )
        found.update(matches)
    return frozenset(found)


def _take(split: Split, chosen: slice | NDArray[np.int64]) -> Split:
    """Some volumes of a split, in the order given."""
    return split.select(np.arange(len(split))[chosen])


class _Session:
    """All networks on one dataset."""

    def __init__(
        self,
        request: Request,
        works: Sequence[Work],
        perturbations: Mapping[str, Attack | Artefact],
        device: str,
        note: Callable[[str], None],
    ) -> None:
        self.request, self.note, self.device = request, note, device
        self.dataset, self.split = works[0].dataset, works[0].split
        known = self.split.patients
        self.patients = None if known is None else np.asarray(known)
        self.key = works[0].cells[0].dataset
        self.conditions = [
            _Condition(
                key=cell.perturbation, perturbation=perturbations.get(cell.perturbation.name)
            )
            for cell in works[0].cells
        ]
        self.batch_size = request.config.batch_size or devices.batch_size(device, self.dataset.grid)
        seeds = {work.seed for work in works}
        self.networks = [self._network(work, several=len(seeds) > 1) for work in works]

    def go(self, chosen: frozenset[str]) -> Explained:
        """Measure every network, draw the chosen or the worst volumes, and write both."""
        margins: list[NDArray[np.float64]] = []
        measured = []
        for network in self.networks:
            found, maps = self._measure(network)
            measured.append(maps)
            perturbed = found[1:] or found
            margins += [
                metrics.margins(self.split.labels, np.concatenate(one.logits)) for one in perturbed
            ]
        if self.request.ids:
            test = self.dataset.test
            drawn = _take(test, np.flatnonzero([name in chosen for name in test.ids]))
        else:
            order = np.argsort(np.min(margins, axis=0), kind="stable")[: self.request.worst]
            drawn = _take(self.split, order)
        stem = f"{self.dataset.name}-{self._identity()[:8]}"
        pictures, drawings = self._draw(drawn, stem)
        result = self._result(tuple(measured), pictures)
        path = heatmaps.write(self.request.config.out, stem, result, drawings)
        return Explained(path=path, found=result)

    def _network(self, work: Work, *, several: bool) -> _Network:
        classifier = checkpoints.load_classifier(
            work.model,
            work.weights,
            num_classes=self.dataset.num_classes,
            in_channels=self.dataset.in_channels,
            device=self.device,
        )
        chosen = dict(self.request.layers).get(work.model.name)
        layer = gradcam.layer_of(classifier.network, work.model.name, chosen)
        with _told(work.model.name, self.dataset.name):
            cam = gradcam.GradCAM(classifier, layer)
        sha256 = work.cells[0].checkpoint.sha256
        assert sha256 is not None
        return _Network(
            name=f"{work.model.name} seed {work.seed}" if several else work.model.name,
            work=work,
            checkpoint=sha256,
            classifier=classifier,
            cam=cam,
            grid=cam.check(as_float(self.split.volumes[0], "cpu"), work.model.name),
        )

    def _identity(self) -> str:
        """What the numbers of a result follow from; drawing other volumes does not change it."""
        return digest(
            {
                "networks": [
                    (asdict(one.work.model), one.checkpoint, one.cam.layer) for one in self.networks
                ],
                "dataset": asdict(self.key),
                "conditions": [asdict(condition.key) for condition in self.conditions],
                "target": self.request.target,
            }
        )

    def _classes(self, split: Split) -> NDArray[np.int64] | None:
        return split.labels if self.request.target == "label" else None

    def _measure(self, network: _Network) -> tuple[list[_Found], NetworkMaps]:
        """Map every volume under every condition, then by randomised networks."""
        found = [_Found() for _ in self.conditions]
        clean: list[NDArray[np.float32]] = []

        def batch(place: slice) -> list[gradcam.Mapped]:
            part = _take(self.split, place)
            return [
                network.cam(condition.volumes(network.classifier, part), self._classes(part))
                for condition in self.conditions
            ]

        done = 0
        with _told(network.name, self.dataset.name):
            for mapped in in_batches(batch, len(self.split), self.batch_size):
                place = slice(done, done + len(mapped[0].maps))
                masks = None if self.split.masks is None else self.split.masks[place]
                for index, (one, into) in enumerate(zip(mapped, found, strict=True)):
                    into.add(one, masks, mapped[0].maps if index else None)
                clean.append(mapped[0].maps)
                done = place.stop
                self.note(f"{network.name} on {self.dataset.name}: {done} of {len(self.split)}")
            randomised = self._randomised(network, np.concatenate(clean))
        return found, self._network_maps(network, found, randomised)

    def _randomised(self, network: _Network, trained: NDArray[np.float32]) -> _Found:
        """Maps of networks with weights drawn anew, against the trained network's; clean volumes.

        Volumes take turns over the draws of weights; what is found is put back into their order.
        """
        turns = np.asarray(
            [
                randomness.seed_of("randomised", name) % RANDOMISED_NETWORKS
                for name in self.split.ids
            ]
        )
        order = np.argsort(turns, kind="stable")
        found = _Found()
        for draw in range(RANDOMISED_NETWORKS):
            members = order[turns[order] == draw]
            if not len(members):
                continue
            part, reference = _take(self.split, members), trained[members]
            cam = gradcam.GradCAM(self._drawn(network, draw), network.cam.layer)

            def mapped(
                place: slice, part: Split = part, cam: gradcam.GradCAM = cam
            ) -> tuple[slice, gradcam.Mapped]:
                some = _take(part, place)
                return place, cam(as_float(some.volumes, "cpu"), self._classes(some))

            for place, maps in in_batches(mapped, len(members), self.batch_size):
                masks = None if part.masks is None else part.masks[place]
                found.add(maps, masks, reference[place])
        return found.ordered(np.argsort(order))

    def _drawn(self, network: _Network, draw: int) -> Classifier:
        """The network's architecture and preprocessing with weights of no training.

        Training seeds begin at 0, so that a negative one is never the start of a checkpoint.
        """
        built = building.build_network(
            network.work.model,
            num_classes=self.dataset.num_classes,
            in_channels=self.dataset.in_channels,
            seed=-1 - draw,
        )
        return Classifier(
            built,
            network.classifier.preprocessing,
            num_classes=self.dataset.num_classes,
            device=self.device,
        )

    def _network_maps(
        self, network: _Network, found: Sequence[_Found], randomised: _Found
    ) -> NetworkMaps:
        above_randomised = above_box = None
        if self.split.masks is not None:
            energy = np.concatenate(found[0].energy)
            box = measures.energy_inside(self._box(), self.split.masks)
            above_randomised = measures.mean(energy - randomised.energy[0], self.patients)
            above_box = measures.mean(energy - box, self.patients)
        return NetworkMaps(
            name=network.name,
            factory=network.work.model.factory,
            checkpoint=network.checkpoint,
            layer=network.cam.layer,
            grid=network.grid,
            measured=tuple(
                self._measured(condition, one)
                for condition, one in zip(self.conditions, found, strict=True)
            ),
            randomised=randomised.located(self.patients),
            similarity=measures.mean(randomised.correlation[0], self.patients),
            above_randomised=above_randomised,
            above_box=above_box,
        )

    def _measured(self, condition: _Condition, found: _Found) -> Measured:
        right = metrics.correct(self.split.labels, np.concatenate(found.logits))
        perturbed = bool(found.correlation)
        return Measured(
            condition=condition.label,
            accuracy=measures.share(right, self.patients),
            located=found.located(self.patients),
            empty=int(np.concatenate(found.empty).sum()),
            moved=measures.mean(1 - np.concatenate(found.correlation), self.patients)
            if perturbed
            else None,
            shift=measures.mean(np.concatenate(found.shift), self.patients) if perturbed else None,
        )

    def _box(self) -> NDArray[np.float32]:
        box = measures.centre_box(self.dataset.grid)
        return np.broadcast_to(box, (len(self.split), *box.shape[1:]))

    def _result(self, networks: tuple[NetworkMaps, ...], pictures: tuple[Picture, ...]) -> HeatMaps:
        masks = self.split.masks
        box = Located(pointing=None, energy=None)
        if masks is not None:
            box = Located(
                pointing=measures.share(measures.hits(self._box(), masks), self.patients),
                energy=measures.mean(measures.energy_inside(self._box(), masks), self.patients),
            )
        return HeatMaps(
            dataset=self.dataset.name,
            digest=self.dataset.digest,
            count=len(self.split),
            total=len(self.dataset.test),
            target=self.request.target,
            structure=None if masks is None else float(masks.mean()),
            box=box,
            box_side=measures.BOX_SIDE,
            randomised_networks=RANDOMISED_NETWORKS,
            networks=networks,
            pictures=pictures,
            provenance=provenance.collect(self.device),
        )

    def _draw(self, split: Split, stem: str) -> tuple[tuple[Picture, ...], dict[str, bytes]]:
        """Draw volumes, in the split's order, each mapped anew by every network."""
        rows: list[tuple[str, list[list[figures.Panel]]]] = []
        for network in self.networks:
            with _told(network.name, self.dataset.name):
                rows.append((network.name, self._panels(network, split)))
        pictures, drawings = [], {}
        for index, name in enumerate(split.ids):
            label = self.dataset.classes[split.labels[index]]
            drawing = figures.draw(
                f"{name} · {label}",
                [condition.label for condition in self.conditions],
                [(network, [of[index] for of in panels]) for network, panels in rows],
                None if split.masks is None else split.masks[index],
            )
            file = f"{stem}-{name.replace('/', '-')}.png"
            drawings[file] = drawing
            pictures.append(Picture(file=file, volume=name, caption=self._caption(name, label)))
        return tuple(pictures), drawings

    def _panels(self, network: _Network, split: Split) -> list[list[figures.Panel]]:
        """For every condition a panel of every volume."""
        panels = []
        for condition in self.conditions:
            of_condition: list[figures.Panel] = []

            def mapped(
                place: slice, condition: _Condition = condition
            ) -> tuple[Tensor, gradcam.Mapped]:
                part = _take(split, place)
                volumes = condition.volumes(network.classifier, part)
                return volumes, network.cam(volumes, self._classes(part))

            for volumes, found in in_batches(mapped, len(split), self.batch_size):
                start = len(of_condition)
                of_condition += self._panels_of(
                    volumes, found, split.labels[start : start + len(volumes)]
                )
            panels.append(of_condition)
        return panels

    def _panels_of(
        self, volumes: Tensor, found: gradcam.Mapped, labels: NDArray[np.int64]
    ) -> list[figures.Panel]:
        chances = metrics.softmax(found.logits)
        answers = metrics.predicted_classes(found.logits)
        grey = volumes.mean(dim=1).cpu().numpy()
        return [
            figures.Panel(
                volume=grey[index],
                heat=found.maps[index],
                answer=f"{self.dataset.classes[answer]} {chances[index, answer]:.2f}"
                + ("" if found.maps[index].any() else " (empty map)"),
                right=bool(answer == labels[index]),
            )
            for index, answer in enumerate(answers)
        ]

    def _caption(self, name: str, label: str) -> str:
        of = f"the class {label!r}" if self.request.target == "label" else "the predicted class"
        box = "; the green box bounds the structure" if self.split.masks is not None else ""
        attacked = (
            f" Attacked volumes in the first row are those of {self.networks[0].name}."
            if any(isinstance(one.perturbation, Attack) for one in self.conditions)
            else ""
        )
        return (
            f"{name}: Grad-CAM of {of}, each map divided by its own maximum{box}. Above each map "
            f"stands what the network predicted, in red where wrong.{attacked}"
        )


@contextmanager
def _told(network: str, dataset: str) -> Iterator[None]:
    """Turn a network's fault into one line that says whose it is."""
    try:
        yield
    except CellError as error:
        raise BenchError(
            f"cannot explain {network} on {dataset}: {error}. Leave the model out of --models."
        ) from error
