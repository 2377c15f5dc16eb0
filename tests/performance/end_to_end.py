"""`bench run` of PGD-10 on one trained network against a script that a user would write.

Two processes in turn, each from an empty interpreter to the numbers on the terminal: the harness
with its plan, certificate, controls, records and predictions; the script with torchattacks on the
stock network and scikit-learn's metrics, on an `.npz` of the same volumes. What the controls took
is told beside it: the script has none.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchharness import datasets
from benchharness.networks.devices import batch_size
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from torch import nn

ROUNDS = 2
MODELS = ("medvit3d_t", "medvit3d_n", "resnet3d_18")
EPSILON = 8 / 255
BATCH = batch_size("cpu", (28, 28, 28))

SCRIPT = """
import sys
import numpy as np, torch, torchattacks
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, roc_auc_score
from tests.performance.end_to_end import network

data, weights, name = np.load(sys.argv[1]), sys.argv[2], sys.argv[3]
volumes = torch.from_numpy(data["volumes"]).float() / 255
labels = torch.from_numpy(data["labels"])
model = network(name)
model.load_state_dict(load_file(weights))
model.eval()
attack = torchattacks.PGD(model, eps=EPS, alpha=2.5 * EPS / 10, steps=10)
for adversarial in (False, True):
    logits = []
    for start in range(0, len(volumes), BATCH):
        seen, truth = volumes[start : start + BATCH], labels[start : start + BATCH]
        if adversarial:
            seen = attack(seen, truth)
        with torch.no_grad():
            logits.append(model(seen))
    probabilities = torch.cat(logits).softmax(1).numpy()
    print("accuracy", accuracy_score(labels, probabilities.argmax(1)))
    print("auc", roc_auc_score(labels, probabilities, multi_class="ovr"))
"""


def network(name: str) -> nn.Module:
    """The network as torch runs it; what the script builds."""
    from benchharness import registry
    from medvit3d import layers
    from tests.performance.attack_speed import stock

    layers.channels_last = lambda features: features
    return stock(registry.load("models", name)(4))


def main(arguments: list[str] | None = None) -> None:
    """Print the seconds of both for each model, and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m tests.performance.end_to_end")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(arguments)
    test = datasets.load("phantom3d", None).test
    print(f"clean and PGD-10 at ε = 8/255 on {len(test)} volumes, whole processes, seconds")
    print(f"{'model':<14}{'script':>9}{'bench':>9}{'controls':>10}{'ratio':>8}{'without':>9}")
    for name in given.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            script, ours, controls = _both(Path(folder), name, given.rounds)
        print(
            f"{name:<14}{script:>9.1f}{ours:>9.1f}{controls:>10.1f}"
            f"{script / ours:>8.2f}{script / (ours - controls):>9.2f}",
            flush=True,
        )


def _both(folder: Path, name: str, rounds: int) -> tuple[float, float, float]:
    """Median seconds of the script and of `bench run`, and of the latter's controls."""
    test = datasets.load("phantom3d", None).test
    archive = folder / "test.npz"
    np.savez(archive, volumes=test.volumes, labels=test.labels)
    weights = folder / "weights.safetensors"
    _train(name, weights)
    source = SCRIPT.replace("EPS", repr(EPSILON)).replace("BATCH", str(BATCH))
    script = [sys.executable, "-W", "ignore", "-c", source, str(archive), str(weights), name]
    bench = [sys.executable, "-m", "benchharness", "run", "--models", name, "--attacks", "pgd"]
    bench += ["--eps", "8/255", "--checkpoint", f"{name}={weights}", "--out"]
    seconds: tuple[list[float], list[float]] = ([], [])
    controls = []
    for number in range(rounds):
        for found, command in zip(
            seconds, (script, [*bench, str(folder / f"out{number}")]), strict=True
        ):
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            found.append(time.perf_counter() - began)
        records = Store(folder / f"out{number}").records().values()
        controls.append(sum(one.provenance["seconds"] for one in records if one.control))
    return statistics.median(seconds[0]), statistics.median(seconds[1]), statistics.median(controls)


def _train(name: str, weights: Path) -> None:
    """Weights of the network; random ones but for the normalisations, which have seen volumes."""
    from safetensors.torch import save_file

    from benchharness.networks.batches import as_float
    from tests.performance.attack_speed import prepared

    volumes = as_float(datasets.load("phantom3d", None).train.volumes[:BATCH], "cpu")
    state = prepared(name, volumes).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, weights)


if __name__ == "__main__":
    main()
