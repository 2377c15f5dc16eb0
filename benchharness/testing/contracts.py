"""What every model, dataset, attack and artefact must hold; see `benchharness.testing`.

The tests are the plug-in's contract in code: each name says what must hold, and each docstring why.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchharness import artefacts, attacks, datasets, registry
from benchharness.artefacts import LEVELS, Artefact
from benchharness.attacks.core.norms import norm_named
from benchharness.canonical import digest
from benchharness.datasets import SPLITS, Dataset
from benchharness.errors import BenchError
from benchharness.networks import building
from benchharness.networks.classifier import Classifier
from benchharness.store.cells import ModelKey

if TYPE_CHECKING:
    from benchharness.attacks import Attack

_GRID = 28
_CLASSES = 3
_IDS = ("contract/a", "contract/b", "contract/c")


def _network(name: str, num_classes: int = _CLASSES, in_channels: int = 1) -> torch.nn.Module:
    entry = registry.resolve("models", name)
    key = ModelKey(name=entry.name, factory=entry.target)
    return building.build_network(key, num_classes=num_classes, in_channels=in_channels)


def _volumes(count: int, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (count, channels, _GRID, _GRID, _GRID), generator=generator)
    return levels.float() / 255


class _Judge(torch.nn.Module):
    """A smooth network of known behaviour for attacks to work on."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn((num_classes, 64), generator=generator)
        self.pool = torch.nn.AdaptiveAvgPool3d(4)
        self.weights = torch.nn.Parameter(weights)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        pooled = self.pool(volumes.mean(1, keepdim=True)).flatten(1) - 0.5
        return torch.tanh(pooled @ self.weights.T)


# Models.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("training", [False, True])
def test_model_returns_logits(model_name: str, *, training: bool, channels: int) -> None:
    """`(B, C, D, H, W)` becomes finite float32 logits `(B, K)`, in train and eval mode alike."""
    network = _network(model_name, in_channels=channels).train(training)
    logits = network(_volumes(2, channels))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, _CLASSES)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


def test_model_returns_no_probabilities(model_name: str) -> None:
    """Softmax inside the network hides its gradients from attacks; logits need not sum to one."""
    with torch.no_grad():
        logits = _network(model_name).eval()(_volumes(4))
    sums = logits.sum(1)
    assert not (torch.allclose(sums, torch.ones(4), atol=1e-4) and (logits >= 0).all())


def test_model_answers_the_same_twice_and_alone(model_name: str) -> None:
    """In eval mode nothing is drawn, and a volume's logits do not depend on its batch."""
    network, volumes = _network(model_name).eval(), _volumes(3)
    with torch.no_grad():
        logits = network(volumes)
        assert torch.equal(logits, network(volumes))
        alone = torch.cat([network(volume[None]) for volume in volumes])
    torch.testing.assert_close(alone, logits, rtol=1e-3, atol=1e-4)


def test_model_does_not_change_its_input(model_name: str) -> None:
    """An attack keeps the volumes that it gave."""
    volumes = _volumes(2)
    before = volumes.clone()
    with torch.no_grad():
        _network(model_name).eval()(volumes)
    assert torch.equal(volumes, before)


def test_model_has_a_gradient_to_its_voxels(model_name: str) -> None:
    """White-box attacks follow it; a network without one looks robust and is not."""
    network, volumes = _network(model_name).eval(), _volumes(2).requires_grad_()
    (gradient,) = torch.autograd.grad(network(volumes).square().sum(), volumes)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).flatten(1).any(1).all()


def test_model_can_be_saved_and_loaded(model_name: str) -> None:
    """The state dict is the whole network: another one that loads it answers the same."""
    one, volumes = _network(model_name).eval(), _volumes(2)
    other = _network(model_name).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
        other.load_state_dict(copy.deepcopy(one.state_dict()), strict=True)
        torch.testing.assert_close(other(volumes), one(volumes))


# Datasets.


@pytest.fixture
def dataset(dataset_name: str) -> Dataset:
    """The dataset under test; skipped where its data is not on this machine."""
    try:
        return datasets.load(dataset_name)
    except BenchError as error:
        pytest.skip(str(error))


def test_dataset_has_three_consistent_splits(dataset: Dataset) -> None:
    """uint8 or uint16 volumes `(N, C, D, H, W)` on one grid, int64 labels and an id for each."""
    shapes = set()
    for name in SPLITS:
        split = getattr(dataset, name)
        assert split.volumes.dtype in (np.uint8, np.uint16)
        assert split.volumes.ndim == 5
        assert split.labels.dtype == np.int64
        assert len(split.ids) == len(split.volumes) == len(split.labels) > 0
        assert split.patients is None or len(split.patients) == len(split.ids)
        assert split.masks is None or split.masks.shape == (
            len(split.ids),
            *split.volumes.shape[2:],
        )
        shapes.add(split.volumes.shape[1:])
    assert len(shapes) == 1


def test_dataset_shares_no_volume_between_splits(dataset: Dataset) -> None:
    """Ids are unique over all splits; so are patients between splits."""
    ids = [name for split in SPLITS for name in getattr(dataset, split).ids]
    assert len(set(ids)) == len(ids)
    patients = [set(getattr(dataset, split).patients or ()) for split in SPLITS]
    assert sum(map(len, patients)) == len(set().union(*patients))


def test_dataset_is_the_same_twice(dataset_name: str, dataset: Dataset) -> None:
    """Two loads give the same volumes under the same digest, which follows from the data."""
    again = datasets.load(dataset_name)
    assert ":" in dataset.digest
    assert again.digest == dataset.digest
    for name in SPLITS:
        one, other = getattr(dataset, name), getattr(again, name)
        assert one.ids == other.ids
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.volumes, other.volumes)


# Attacks.


def _attack(name: str) -> tuple[Attack, int, float]:
    """The attack, classes of a task that it takes, and a budget of its norm."""
    attack = attacks.build(name, {})
    for classes in range(2, 12):
        try:
            attack.check(classes)
        except BenchError:
            continue
        return attack, classes, 4.0 if norm_named(attack.norm).counts else 8 / 255
    raise AssertionError(f"{name} takes no task of up to 11 classes")


def _attacked(
    name: str, *, order: tuple[int, ...] = (0, 1, 2), severity: float | None = None
) -> torch.Tensor:
    attack, classes, usual = _attack(name)
    if attack.needs_source:
        pytest.skip("its volumes are made on another network")
    judge = Classifier(_Judge(classes), num_classes=classes)
    places = list(order)
    outcome = attack(
        judge,
        _volumes(3)[places],
        torch.tensor([index % classes for index in places]),
        severity=usual if severity is None else severity,
        ids=[_IDS[index] for index in places],
        seed=0,
    )
    return outcome.volumes


def test_attack_stays_in_its_ball_and_in_range(attack_name: str) -> None:
    """Its call verifies norm, range and finiteness, and raises where they do not hold."""
    volumes = _attacked(attack_name)
    assert volumes.shape == _volumes(3).shape


def test_attack_is_the_same_twice(attack_name: str) -> None:
    """All draws come from the ids and the seed; the global generators are left alone."""
    before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    first = _attacked(attack_name)
    torch.rand(3)
    assert torch.equal(first, _attacked(attack_name))
    torch.set_rng_state(before[0])
    _attacked(attack_name)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before[1])  # noqa: NPY002


def test_attack_of_a_volume_does_not_depend_on_its_batch(attack_name: str) -> None:
    """A run resumed with another batch size must give the same volumes, to rounding."""
    together = _attacked(attack_name)
    apart = torch.cat([_attacked(attack_name, order=(index,)) for index in (2, 0, 1)])
    torch.testing.assert_close(apart, together[[2, 0, 1]], rtol=0, atol=1e-3)


def test_attack_with_no_budget_changes_nothing(attack_name: str) -> None:
    """Severity 0 gives the clean volumes bit for bit."""
    assert torch.equal(_attacked(attack_name, severity=0.0), _volumes(3))


def test_attack_parameters_can_enter_an_identity(attack_name: str) -> None:
    """They are JSON values, and name, version, source and summary are there for the reader."""
    attack, classes, severity = _attack(attack_name)
    assert digest(attack.resolved(classes, severity))
    assert attack.version >= 1
    assert attack.name
    assert attack.source
    assert attack.summary
    assert attack.cost(classes).forward >= 0


# Artefacts.


@pytest.fixture
def artefact(artefact_name: str) -> Artefact:
    """The artefact under test."""
    return artefacts.build(artefact_name)


def _corrupted(artefact: Artefact, severity: int, name: str = _IDS[0]) -> torch.Tensor:
    volume = _volumes(1)[0] * 0.5 + 0.25
    return artefact(volume, severity=severity, id=name, seed=0).volume


@pytest.mark.parametrize("severity", LEVELS)
def test_artefact_changes_the_volume_and_keeps_its_shape(artefact: Artefact, severity: int) -> None:
    """Every level is a fault; the call around it checks range and finiteness."""
    made = _corrupted(artefact, severity)
    assert made.shape == _volumes(1)[0].shape
    assert not torch.equal(made, _volumes(1)[0] * 0.5 + 0.25)


@pytest.mark.parametrize("severity", LEVELS)
def test_artefact_is_the_same_twice(artefact: Artefact, severity: int) -> None:
    """It draws from the generator that it is given and from nothing else."""
    first = _corrupted(artefact, severity)
    torch.rand(3)
    assert torch.equal(first, _corrupted(artefact, severity))


def test_artefact_grows_with_its_level(artefact: Artefact) -> None:
    """Level 5 is further from the clean volume than level 1."""
    clean = _volumes(1)[0] * 0.5 + 0.25
    mild, severe = (_corrupted(artefact, level) - clean for level in (LEVELS[0], LEVELS[-1]))
    assert severe.norm() > mild.norm()


def test_artefact_parameters_can_enter_an_identity(artefact: Artefact) -> None:
    """Five levels of JSON values; its group is one of the harness's."""
    assert len({digest(artefact.identity(level)) for level in LEVELS}) == len(LEVELS)
    assert artefact.group in registry.GROUPS["artefacts"]
    assert artefact.version >= 1
    assert artefact.source
    assert artefact.summary
    assert artefact.unit
