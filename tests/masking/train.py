"""Train the networks of the zoo, in a minute or two: `python -m tests.masking.train [NAME …]`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from tests.masking.base import ARCHITECTURES, WEIGHTS, untrained, weights_of
from tests.masking.task import shapes

if TYPE_CHECKING:
    from torch import Tensor, nn

EPOCHS = 16
BATCH = 32
NOISE = 0.03
"""Standard deviation of the noise that training adds."""
BUDGET = {"robust": 6 / 255, "smooth": 10 / 255}
"""Of the attack that a network is trained under, reached half way; the others see none."""


def arrays(split: str) -> tuple[Tensor, Tensor]:
    """Volumes (N, C, D, H, W) in [0, 1] and labels (N,)."""
    found = getattr(shapes(), split)
    return torch.from_numpy(found.volumes).float() / 255, torch.from_numpy(found.labels)


def perturbed(network: nn.Module, volumes: Tensor, labels: Tensor, budget: float) -> Tensor:
    """Volumes after four steps of PGD."""
    shift = torch.empty_like(volumes).uniform_(-budget, budget)
    for _ in range(4):
        shift.requires_grad_()
        loss = F.cross_entropy(network((volumes + shift).clamp(0, 1)), labels)
        (gradient,) = torch.autograd.grad(loss, shift)
        shift = (shift.detach() + budget / 2 * gradient.sign()).clamp(-budget, budget)
    return (volumes + shift).clamp(0, 1)


def fit(name: str) -> nn.Module:
    """Train one network; the same bits on the same machine."""
    torch.manual_seed(len(name))
    network = untrained(name)
    volumes, labels = arrays("train")
    optimizer = torch.optim.Adam(network.parameters())
    steps = EPOCHS * (len(volumes) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        budget = BUDGET.get(name, 0) * min(1, 2 * epoch / EPOCHS)
        for rows in torch.randperm(len(volumes)).split(BATCH):
            seen = volumes[rows] + NOISE * torch.randn_like(volumes[rows])
            if budget:
                seen = perturbed(network.eval(), seen, labels[rows], budget)
            loss = F.cross_entropy(network.train()(seen), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def main() -> None:
    """Write the weights, and say how accurate each network is on the test volumes."""
    torch.set_num_threads(1)
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    volumes, labels = arrays("test")
    for name in sys.argv[1:] or ARCHITECTURES:
        network = fit(name)
        save_file(network.state_dict(), weights_of(name))
        right = (network(volumes).argmax(1) == labels).float().mean()
        print(f"{name}: accuracy {right:.3f}, {weights_of(name).stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
