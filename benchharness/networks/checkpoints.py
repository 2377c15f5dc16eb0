"""Checkpoints: weights as safetensors with a model card beside them, loaded strictly."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from benchharness.canonical import digest as digest_of
from benchharness.canonical import read_json
from benchharness.disk import file_sha256, replacing, write_atomically
from benchharness.errors import BenchError
from benchharness.networks.building import build_network
from benchharness.networks.cards import ModelCard
from benchharness.networks.classifier import Classifier
from benchharness.networks.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from benchharness.canonical import Pairs
    from benchharness.store.cells import ModelKey

WEIGHTS = "model.safetensors"
CARD = "model_card.json"


def folder(
    root: Path, model: ModelKey, dataset: str, digest: str, recipe: Pairs, seed: int
) -> Path:
    """The folder of this training's checkpoint; another value of any input gives another folder."""
    key = digest_of(
        {
            "factory": model.factory,
            "arguments": model.arguments,
            "preprocessing": model.preprocessing,
            "dataset": digest,
            "recipe": recipe,
            "seed": seed,
        }
    )
    return root / dataset / f"{model.name}-{dict(recipe)['name']}-seed{seed}-{key[:8]}"


def read_card(directory: Path) -> ModelCard | None:
    """The card of a finished checkpoint; None if there is none yet.

    Raises:
        BenchError: If the card cannot be read, or the weights are not those it describes.
    """
    path = directory / CARD
    if not path.exists():
        return None
    try:
        card = ModelCard(**read_json(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise BenchError(
            f"cannot read model card {path}: {error}. Remove {directory} to train it anew."
        ) from error
    if file_sha256(directory / WEIGHTS, what="checkpoint") != card.sha256:
        raise BenchError(
            f"{directory / WEIGHTS} is not the file its model card describes (SHA-256 differs). "
            f"Remove {directory} to train it anew."
        )
    return card


def save(directory: Path, weights: Mapping[str, Tensor]) -> str:
    """Write weights atomically and return their SHA-256, which the card needs."""
    directory.mkdir(parents=True, exist_ok=True)
    # safetensors refuses views and tied weights; copies are neither.
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }
    with replacing(directory / WEIGHTS) as partial:
        save_file(copies, partial)
    return file_sha256(directory / WEIGHTS, what="checkpoint")


def save_card(directory: Path, card: ModelCard) -> None:
    """Write the card, after which the checkpoint counts as finished."""
    write_atomically(directory / CARD, card.to_json().encode())


def read_weights(path: Path, *, flag: str = "--checkpoint") -> dict[str, Tensor]:
    """Read a state dict from .safetensors, or from .pt/.pth without running any code in it.

    Args:
        path: The file; a state dict, or a dict that holds one under `state_dict`, `model` or `net`.
        flag: The option that named the file, for messages.

    Raises:
        BenchError: If the file is absent, of another kind or damaged.
    """
    if not path.is_file():
        raise BenchError(f"no checkpoint at {path}. Check the path given to {flag}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Training scripts often save their parsed arguments too; a Namespace runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BenchError(f"cannot read checkpoint {path}: {first}") from error
    except Exception as error:  # unpickling a damaged file may raise any class of error
        raise BenchError(
            f"cannot read checkpoint {path}: it is damaged or holds more than tensors. Save a "
            "plain state dict."
        ) from error
    for wrapper in ("state_dict", "model", "net"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise BenchError(f"checkpoint {path} is not a state dict of tensors.")
    return content


def load_classifier(
    model: ModelKey, weights: Path, *, num_classes: int, in_channels: int, device: str
) -> Classifier:
    """Build a network, load its weights strictly and put its preprocessing in front.

    Raises:
        BenchError: If the weights do not have the names and shapes of the network's.
    """
    network = build_network(model, num_classes=num_classes, in_channels=in_channels)
    state = read_weights(weights)
    _check_fit(model, weights, state, network.state_dict())
    network.load_state_dict(state, strict=True)
    preprocessing = Preprocessing.from_pairs(model.preprocessing)
    return Classifier(network, preprocessing, num_classes=num_classes, device=device)


def _check_fit(
    model: ModelKey, path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> None:
    missing = [name for name in wanted if name not in found]
    unused = [name for name in found if name not in wanted]
    misshapen = [
        f"{name} has shape {tuple(found[name].shape)}, expected {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    complaints = [
        *([f"{len(missing)} keys are missing (first: {missing[0]})"] if missing else []),
        *([f"{len(unused)} keys are not the network's (first: {unused[0]})"] if unused else []),
        *misshapen[:1],
    ]
    if complaints:
        raise BenchError(
            f"checkpoint {path} does not fit model {model.name!r}: {'; '.join(complaints)}. "
            "Pass the checkpoint of this model, trained for this number of classes and channels."
        )
