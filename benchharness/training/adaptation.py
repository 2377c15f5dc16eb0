"""Adaptation without labels: what a method does with unlabelled volumes of the target.

| name | what it does |
| --- | --- |
| `instance_norm` | every BatchNorm normalises by the volume's own statistics (`per_volume`) |
| `adabn` | the statistics of every BatchNorm are those of the target's train split |
| `coral` | beside the source's loss: ‖C_s − C_t‖²_F / 4d² of the last features |
| `dann` | beside it: a discriminator of source and target behind a reversed gradient |
| `entropy` | after it: the entropy of the target's predictions falls, by normalisations alone |

pytorch-adapt has had no release since January 2023 and asks for torchmetrics 0.9.3; skada's deep
methods come with a training loop of their own (skorch), which cannot resume to the bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from benchharness import randomness
from benchharness.errors import BenchError, CellError, unknown_name
from benchharness.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_NORMS = (*BatchNorm, nn.LayerNorm, nn.GroupNorm)
_HIDDEN = 64
"""Width of the discriminator of `dann`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """A method: what it is and when it acts."""

    name: str
    version: int
    """Raised when the same name starts to mean other weights."""
    source: str
    acts: Literal["never", "network", "beside", "after"]
    """`network`: it changes the network that the source trains. `beside`: its loss is added to the
    source's. `after`: it goes on from the source's weights, without labels."""
    weight: float = 0.0
    """Of its loss beside the source's."""
    recipe: Recipe | None = None
    """How a method that acts afterwards trains; None for others."""

    @property
    def sees_target(self) -> bool:
        """Whether it needs unlabelled volumes of the target."""
        return self.acts in ("beside", "after")


def _afterwards(name: str, source: str, summary: str, **settings: Any) -> Recipe:
    return Recipe(
        name=name,
        version=1,
        source=source,
        summary=summary,
        batch_size=16,
        optimiser="adam",
        weight_decay=0.0,
        schedule="one-cycle",
        **settings,
    )


_ADABN = "Li et al., Pattern Recognition 80 (2018), arXiv 1603.04779"
_TENT = "Wang et al., ICLR 2021, arXiv 2006.10726, offline; settings are this project's"

ADAPTATIONS: dict[str, Adaptation] = {
    one.name: one
    for one in (
        Adaptation(name="none", version=1, source="", acts="never"),
        Adaptation(
            name="instance_norm",
            version=1,
            source="Ulyanov et al., arXiv 1607.08022, in place of BatchNorm",
            acts="network",
        ),
        Adaptation(
            name="adabn",
            version=1,
            source=_ADABN,
            acts="after",
            recipe=_afterwards(
                "adabn",
                _ADABN,
                "BatchNorm's statistics of the target, from unlabelled volumes",
                epochs=1,
                learning_rate=1e-3,
                keep="last",
            ),
        ),
        Adaptation(
            name="coral",
            version=1,
            source="Sun & Saenko, ECCV 2016 workshops, arXiv 1607.01719",
            acts="beside",
            weight=10.0,
        ),
        Adaptation(
            name="dann",
            version=1,
            source="Ganin et al., JMLR 17 (2016), arXiv 1505.07818",
            acts="beside",
            weight=1.0,
        ),
        Adaptation(
            name="entropy",
            version=1,
            source=_TENT,
            acts="after",
            recipe=_afterwards(
                "entropy",
                _TENT,
                "the entropy of predictions on unlabelled volumes falls, by normalisations alone",
                epochs=2,
                learning_rate=1e-3,
            ),
        ),
    )
}


def find(name: str) -> Adaptation:
    """The method of this name.

    Raises:
        BenchError: If there is none; the message lists those there are.
    """
    if name not in ADAPTATIONS:
        raise unknown_name("adaptation", name, ADAPTATIONS)
    return ADAPTATIONS[name]


def coral(source: Tensor, target: Tensor) -> Tensor:
    """‖C_s − C_t‖²_F / 4d² of features (B, d) and (B′, d); C is the covariance over a batch.

    The paper's eq. 1 to 3; a batch of one has no covariance, and counts as zero.
    """
    if min(len(source), len(target)) < 2:
        return source.new_zeros(())
    gap = _covariance(source) - _covariance(target)
    return gap.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(dim=0, keepdim=True)
    return centred.T @ centred / (len(features) - 1)


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, None]:
        return -ctx.strength * gradients[0], None


def reversed_gradient(features: Tensor, strength: float) -> Tensor:
    """The features as they are; backwards their gradient times −strength."""
    found: Tensor = _Reversed.apply(features, strength)  # type: ignore[no-untyped-call]
    return found


def reversal(progress: float) -> float:
    """λ_p = 2 / (1 + exp(−10 p)) − 1 after a share p of the training, in [0, 1]; Ganin's sec. 5."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


def discriminator(width: int, seed: int) -> nn.Module:
    """Tells the source's features (B, width) from the target's: a logit each, (B, 1)."""
    with randomness.isolated("discriminator", seed):
        return nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1))


def confusion(judge: nn.Module, source: Tensor, target: Tensor, strength: float) -> Tensor:
    """The discriminator's cross-entropy over both batches, behind the reversed gradient."""
    both = reversed_gradient(torch.cat([source, target]), strength)
    truth = torch.cat([torch.ones(len(source)), torch.zeros(len(target))]).to(both.device)
    return F.binary_cross_entropy_with_logits(judge(both).squeeze(1), truth)


def entropy(logits: Tensor) -> Tensor:
    """−Σ p log p of softmax predictions (B, K), in nats, the mean over the batch."""
    logs = F.log_softmax(logits, dim=1)
    return -(logs.exp() * logs).sum(dim=1).mean()


def norms(network: nn.Module) -> list[nn.Module]:
    """The layers that normalise: batch, layer and group norms, in order.

    Raises:
        CellError: When there are none.
    """
    return _some(network, _NORMS, "entropy changes normalisations alone, and there are none")


def batch_norms(network: nn.Module) -> list[Any]:
    """The BatchNorms that keep running statistics, in order.

    Raises:
        CellError: When there are none.
    """
    found = _some(network, BatchNorm, "adabn changes BatchNorm's statistics, and there is none")
    return [one for one in found if one.running_mean is not None]


def _some(network: nn.Module, kinds: tuple[type, ...], else_said: str) -> list[nn.Module]:
    found = [module for module in network.modules() if isinstance(module, kinds)]
    if not found:
        raise CellError(f"{else_said} in {type(network).__name__}. Use --adapt none, coral or dann")
    return found


def affine(network: nn.Module) -> Iterator[nn.Parameter]:
    """Scale and shift of the layers that normalise: what `entropy` may change."""
    for module in norms(network):
        yield from module.parameters(recurse=False)


def restate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Make the running statistics of every BatchNorm those of some batches of inputs.

    They are the means over batches, weighted by volumes, of a batch's mean and unbiased variance at
    that layer, the layers before it normalised by the same batch. All other layers are in
    evaluation mode, and no parameter changes.

    Args:
        network: Left in evaluation mode.
        batches: What it is given, (B, C, D, H, W), each of two volumes or more.
    """
    layers = batch_norms(network)
    kept = [layer.momentum for layer in layers]
    network.eval()
    seen = 0
    try:
        for layer in layers:
            layer.train()
        with torch.no_grad():
            for batch in batches:
                seen += len(batch)
                for layer in layers:
                    # The weight of the newest batch in the mean of all: n / (n + before).
                    layer.momentum = len(batch) / seen
                network(batch)
    finally:
        for layer, momentum in zip(layers, kept, strict=True):
            layer.momentum = momentum
        network.eval()
    if not seen:
        raise BenchError("adabn needs two unlabelled volumes or more.")
