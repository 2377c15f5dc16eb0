"""The truth about each member: the lowest accuracy that anything we know leaves.

`python -m tests.masking.truth [NAME …]` writes `tests/data/masking/truth.json`. Strong attacks
make volumes on the unmasked twin. Where the member answers some of them otherwise than its twin,
what is left is attacked with the member's own answers and the twin's gradient (BPDA), by the
member's own gradient, and by random search. The member itself judges all of them: for each volume
the lowest probability of a right answer counts, over 20 draws where the member draws.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn

from benchharness import attacks
from benchharness.errors import BenchError, CellError
from benchharness.networks.classifier import Classifier
from benchharness.store import provenance
from tests.masking.base import WEIGHTS, trained, weights_of
from tests.masking.member import straight
from tests.masking.task import CLASSES, shapes
from tests.masking.train import arrays
from tests.masking.zoo import ZOO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from tests.masking.member import Member

FILE = WEIGHTS / "truth.json"
BUDGETS = {"2/255": 2 / 255, "6/255": 6 / 255}
"""Severities of the zoo by name: one in the middle of the base network's range, one at its end."""
DRAWS = 20
"""Passes by which a network that draws is judged."""

Runs = tuple[tuple[str, dict[str, Any]], ...]
ON_TWIN: Runs = (
    ("pgd", {"restarts": 5, "steps": 50}),
    ("apgd_ce", {}),
    ("apgd_dlr", {}),
    ("autoattack3d", {"queries": 1000}),
)
ON_BOTH: Runs = (("pgd", {"restarts": 3, "steps": 40}), ("apgd_dlr", {}))
ON_MEMBER: Runs = (("pgd", {}), ("apgd_ce", {}), ("square3d", {"queries": 500}))


class Carried(nn.Module):
    """A member's answers with its twin's gradient."""

    def __init__(self, member: nn.Module, twin: nn.Module) -> None:
        super().__init__()
        self.member, self.twin = member, twin

    def forward(self, volumes: Tensor) -> Tensor:
        with torch.no_grad():
            answers = self.member(volumes.detach().clone())
        return straight(answers.float(), self.twin(volumes))


def network_of(member: Member) -> nn.Module:
    """A new network of a member, frozen in evaluation mode."""
    network = member.build(len(CLASSES))
    network.load_state_dict(load_file(weights_of(member.weights)))
    return network.eval().requires_grad_(requires_grad=False)


def right(member: Member, volumes: Tensor, labels: Tensor, draws: int = DRAWS) -> Tensor:
    """The probability (N,) that a member classifies each volume correctly."""
    passes = []
    for _ in range(draws):
        with torch.no_grad():
            found = network_of(member)(volumes.clone()).argmax(1) == labels
        passes.append(found)
        if len(passes) == 2 and torch.equal(*passes):
            break
    return torch.stack(passes).double().mean(0)


def made(
    network: nn.Module, runs: Runs, volumes: Tensor, labels: Tensor, severity: float
) -> Iterator[tuple[str, Tensor]]:
    """The volumes that each attack makes; one that the network does not take makes none."""
    ids = [f"truth/{index}" for index in range(len(volumes))]
    for name, parameters in runs:
        attack = attacks.build(name, parameters)
        classifier = Classifier(network, num_classes=len(CLASSES))
        try:
            found = attack(classifier, volumes, labels, severity=severity, ids=ids, seed=1)
        except (BenchError, CellError, RuntimeError):
            continue
        yield name, found.volumes


def truth(member: Member, transferred: Callable[[str, float], list[tuple[str, Tensor]]]) -> Any:
    """Accuracy on clean volumes and at each budget, and what left it.

    Args:
        member: The member.
        transferred: (weights, severity) → volumes made on the unmasked twin.
    """
    torch.manual_seed(0)
    volumes, labels = arrays("test")
    clean = right(member, volumes, labels)
    found: dict[str, Any] = {"clean": float(clean.mean())}
    twin = trained(member.weights)
    for name, severity in BUDGETS.items():
        left, by = clean.clone(), []
        for attack, adversarial in transferred(member.weights, severity):
            _lower(left, slice(None), right(member, adversarial, labels), f"twin {attack}", by)
        # A member that answers the twin's volumes as the twin does is as weak as the twin.
        known = min(
            float((twin(v).argmax(1) == labels).double().mean())
            for _, v in transferred(member.weights, severity)
        )
        honest = member.rule == "honest"
        if float(left.mean()) > known + 1e-9 or (member.weights != "base" and not honest):
            # An honest network's own gradient is right: nothing needs to stand in for it.
            for kind, runs in (("BPDA", ON_BOTH), ("own", ON_MEMBER))[honest:]:
                rows = (left > 0.05).nonzero().flatten()
                if len(rows) == 0:
                    break
                network = network_of(member)
                attacked = Carried(network, twin) if kind == "BPDA" else network
                rest, classes = volumes[rows], labels[rows]
                for attack, adversarial in made(attacked, runs, rest, classes, severity):
                    _lower(left, rows, right(member, adversarial, classes), f"{kind} {attack}", by)
        found[name] = {"accuracy": float(left.mean()), "by": by}
    return found


def _lower(left: Tensor, rows: Tensor | slice, reached: Tensor, name: str, by: list[str]) -> None:
    """Keep the lower probability of each volume, and who lowered the mean."""
    lower = torch.minimum(left[rows], reached)
    if bool((lower < left[rows]).any()):
        by.append(name)
    left[rows] = lower


def main() -> None:
    """Add the named members to the file, or make it anew."""
    torch.set_num_threads(1)
    known: dict[tuple[str, float], list[tuple[str, Tensor]]] = {}

    def transferred(weights: str, severity: float) -> list[tuple[str, Tensor]]:
        if (weights, severity) not in known:
            data = arrays("test")
            known[weights, severity] = list(made(trained(weights), ON_TWIN, *data, severity))
        return known[weights, severity]

    names = sys.argv[1:] or list(ZOO)
    keep = bool(sys.argv[1:]) and FILE.is_file()
    before = json.loads(FILE.read_text(encoding="utf-8"))["members"] if keep else {}
    for name in names:
        before[name] = truth(ZOO[name], transferred)
        print(name, before[name], flush=True)  # noqa: T201
        _write({member: before[member] for member in ZOO if member in before})


def _write(members: dict[str, Any]) -> None:
    made_with = provenance.collect("cpu")
    content = {
        "made_by": "python -m tests.masking.truth",
        "dataset": shapes().digest,
        "volumes": len(shapes().test),
        "on_twin": ON_TWIN,
        "on_twin_and_member": ON_BOTH,
        "on_member": ON_MEMBER,
        "draws": DRAWS,
        "versions": made_with["versions"],
        "members": members,
    }
    FILE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
