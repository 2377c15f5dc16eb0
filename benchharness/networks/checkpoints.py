"""Checkpoints: weights as safetensors with a model card beside them, loaded strictly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from benchharness.disk import file_sha256, replacing, write_atomically
from benchharness.errors import BenchError
from benchharness.networks.building import build_network
from benchharness.networks.classifier import Classifier
from benchharness.networks.formats import content, matching, programs
from benchharness.store import cards

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from benchharness.canonical import Pairs
    from benchharness.store.cards import ModelCard
    from benchharness.store.cells import ModelKey


WEIGHTS, CARD = cards.WEIGHTS, cards.CARD


def folder(
    root: Path, model: ModelKey, dataset: str, digest: str, recipe: Pairs, seed: int
) -> Path:
    """The folder of this training's checkpoint; another value of any input gives another folder.

    Raises:
        BenchError: When a name is too long for a file system.
    """
    return root / cards.folder(model, dataset, digest, recipe, seed)


def read_card(directory: Path) -> ModelCard | None:
    """The card of a finished checkpoint; None if there is none yet.

    Raises:
        BenchError: If the card cannot be read, is that of another folder, or the weights are not
            those it describes.
    """
    return cards.read(directory)


def save(directory: Path, weights: Mapping[str, Tensor]) -> str:
    """Write weights atomically and return their SHA-256, which the card needs.

    Raises:
        BenchError: If they cannot be written; the folder is as it was then.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # safetensors refuses views and tied weights; copies are neither.
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }
    try:
        with replacing(directory / WEIGHTS) as partial:
            save_file(copies, partial)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise BenchError(
            f"cannot write checkpoint {directory / WEIGHTS}: {reason}. Free some space, or pass "
            "another --out, and run the same command again."
        ) from error
    return file_sha256(directory / WEIGHTS, what="checkpoint")


def save_card(directory: Path, card: ModelCard) -> None:
    """Write the card, after which the checkpoint counts as finished."""
    write_atomically(directory / CARD, card.to_json().encode())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A network with its weights, and how they were read."""

    network: nn.Module
    line: str
    """In words: `read state_dict, dropped prefix 'model.'`."""
    part: str = ""
    """What names the weights among several in their file; empty where nothing had to be chosen."""


def opened(
    model: ModelKey, weights: Path, *, num_classes: int, in_channels: int, part: str = ""
) -> Opened:
    """Build a network and load its weights strictly, or open the program that is both.

    Args:
        model: Its factory may stand for a program; see `formats.programs`.
        weights: The file.
        num_classes: Number of logits.
        in_channels: Channels of a volume.
        part: Which of several weights in the file is meant.

    Raises:
        BenchError: If the file cannot be read, or its weights do not have the names and shapes of
            the network's.
        CellError: If the network cannot be built.
    """
    if programs.is_program(model):
        return Opened(network=programs.open_program(model, weights), line="opened as a program")
    network = build_network(model, num_classes=num_classes, in_channels=in_channels)
    wanted = network.state_dict()
    found = matching.fit(
        content.read(weights, flag="--checkpoint"), wanted, weights, owner=model.name, part=part
    )
    _check_fit(model, weights, found.tensors, wanted)
    network.load_state_dict(found.tensors, strict=True)
    return Opened(network=network, line=found.line, part=found.part)


def load_classifier(
    model: ModelKey,
    weights: Path,
    *,
    num_classes: int,
    in_channels: int,
    device: str,
    part: str = "",
) -> Classifier:
    """Open a network and put its preprocessing in front.

    Raises:
        BenchError: As `opened`.
        CellError: As `opened`.
    """
    made = opened(model, weights, num_classes=num_classes, in_channels=in_channels, part=part)
    return Classifier.of(model, made.network, num_classes=num_classes, device=device)


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
        *miscast(found, wanted)[:1],
    ]
    if complaints:
        raise BenchError(
            f"checkpoint {path} does not fit model {model.name!r}: {'; '.join(complaints)}. "
            "Pass the checkpoint of this model, trained for this number of classes and channels."
        )


def miscast(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Tensors whose values loading would silently turn into others.

    A float may become a float of another width that holds it. Between floats, integers and booleans
    the values would mean something else: int8 weights, say, lack the scale of their quantisation.

    Args:
        found: A state dict that was read.
        wanted: The network's own. Names that it lacks are looked at too, since a network may load
            them under others.

    Returns:
        A line for each.
    """
    lines = []
    for name, tensor in found.items():
        own = wanted.get(name)
        if own is None:
            if tensor.is_quantized or tensor.dtype == torch.int8:
                lines.append(f"{name} holds quantised weights ({_name(tensor)}), expected floats")
        elif _kind(tensor) != _kind(own):
            lines.append(f"{name} holds {_name(tensor)}, expected {_name(own)}")
        elif not _holds(own.dtype, tensor):
            lines.append(f"{name} holds {_name(tensor)} too large for {_name(own)}")
    return lines


def _holds(dtype: torch.dtype, tensor: Tensor) -> bool:
    """Whether a type of the same kind has room for every value."""
    if tensor.dtype == dtype or dtype == torch.bool:
        return True
    if _kind(tensor) == "integer":
        return torch.equal(tensor.to(dtype).to(tensor.dtype), tensor)
    if torch.finfo(tensor.dtype).max <= torch.finfo(dtype).max:
        return True
    cast, original = tensor.to(dtype).isfinite(), tensor.isfinite()
    return torch.equal(cast, original)


def _kind(tensor: Tensor) -> str:
    if tensor.is_quantized:
        return "quantised"
    if tensor.dtype == torch.bool:
        return "boolean"
    if tensor.is_complex():
        return "complex"
    return "float" if tensor.is_floating_point() else "integer"


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
