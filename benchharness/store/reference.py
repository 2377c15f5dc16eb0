"""The reference network's predictions, whose errors corruption errors are divided by.

They come with the package, so that everyone divides by the same numbers: for each dataset a file
and a card with its SHA-256. `save` makes them from a store.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.canonical import canonical_json, digest, read_json, sha256
from benchharness.disk import write_atomically
from benchharness.errors import BenchError
from benchharness.store.folder import Store
from benchharness.store.predictions import Predictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchharness.store.cells import DatasetKey, PerturbationKey
    from benchharness.store.entries import Entry
    from benchharness.store.records import Record

MODEL = "resnet3d_18"
"""The reference network, as AlexNet is in ImageNet-C and MedMNIST-C.

For volumes no network is agreed on yet.
"""

VERSION = 1
"""Version of the files' layout."""

_AROUND = ("preprocessing", "outputs")
"""What is done before and after a network."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The reference network on one dataset."""

    card: Mapping[str, Any]
    """Model, checkpoint, recipe, seed, dataset, perturbations and the SHA-256 of the file."""
    ids: NDArray[np.str_]
    """Shape (N,)."""
    labels: NDArray[np.int64]
    """Shape (N,)."""
    logits: Mapping[str, NDArray[np.float32]]
    """Shape (N, K) each, by `perturbation_digest`."""

    def predictions(
        self, perturbation: PerturbationKey, ids: NDArray[np.str_]
    ) -> tuple[Predictions | None, str]:
        """The reference's predictions on some volumes under a perturbation.

        An artefact's draws follow from the volume's name, so the predictions on a subset of the
        volumes are a subset of the predictions.

        Returns:
            Predictions and "", or None and the reason.
        """
        logits = self.logits.get(perturbation_digest(perturbation))
        if logits is None:
            return None, (
                f"the reference was not measured under {perturbation.name} with these parameters"
            )
        places = {name: place for place, name in enumerate(self.ids.tolist())}
        missing = sum(name not in places for name in ids.tolist())
        if missing:
            return None, (
                f"the reference was measured on {len(places)} volumes and lacks {missing} of these"
            )
        chosen = [places[name] for name in ids.tolist()]
        return Predictions(ids=ids, labels=self.labels[chosen], logits=logits[chosen]), ""


def perturbation_digest(perturbation: PerturbationKey) -> str:
    """Digest of everything in a perturbation that can change a number."""
    # Committed references were named when the digest still included an artefact's lack of a source.
    return digest(perturbation.numbers() | {"source": None})


def folder() -> Path:
    """The folder of the committed references."""
    return Path(str(resources.files("benchharness.store") / "references"))


def find(dataset: DatasetKey) -> Reference | None:
    """The committed reference of a dataset, found by the digest of its data; None without one.

    Raises:
        BenchError: When the file cannot be read or is not the one that its card names.
    """
    for path in sorted(folder().glob("*.json")):
        card = _card(path)
        if (
            card["dataset"]["digest"] == dataset.digest
            and card["dataset"]["split"] == dataset.split
        ):
            return _load(path)
    return None


@cache
def _card(path: Path) -> dict[str, Any]:
    card: dict[str, Any] = read_json(path.read_bytes())
    if card.get("version") != VERSION:
        raise BenchError(
            f"the reference {path} has layout {card.get('version')!r}, this benchharness reads "
            f"{VERSION}. Make it again with 'bench reference'."
        )
    return card


@cache
def _load(path: Path) -> Reference:
    card, file = _card(path), path.with_suffix(".npz")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BenchError(f"cannot read the reference {file}: {error.strerror}.") from error
    if sha256(content) != card["sha256"]:
        raise BenchError(
            f"{file} is not the reference that its card names (its SHA-256 differs). Take both "
            "from the repository, or make them again with 'bench reference'."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        ids, labels, logits = (archive[name] for name in ("ids", "labels", "logits"))
    names = [entry["digest"] for entry in card["perturbations"]]
    return Reference(
        card=card, ids=ids, labels=labels, logits=dict(zip(names, logits, strict=True))
    )


def save(store_dir: Path, out: Path | None = None, *, seed: int = 0) -> tuple[Path, ...]:
    """Write the reference of every dataset on which a store has the reference network's cells.

    Args:
        store_dir: Folder that `bench run` wrote to.
        out: Where to write; the package's folder when None.
        seed: The training seed whose checkpoint is the reference.

    Returns:
        The paths of the cards.

    Raises:
        BenchError: When the store has no clean cell of the network, or several trainings of it on
            one dataset.
    """
    store, out = Store(store_dir), folder() if out is None else out
    groups: dict[str, list[Record]] = {}

    def usable(entry: Entry) -> bool:
        measured = entry.predictions is not None and entry.kind != "attack"
        return measured and entry.model == MODEL and entry.seed == seed

    for record in store.records(usable).values():
        groups.setdefault(record.cell.dataset.digest, []).append(record)
    groups = {name: own for name, own in groups.items() if _has_clean(own)}
    if not groups:
        raise BenchError(
            f"{store_dir} has no clean cell of {MODEL} trained with seed {seed}. Type 'bench run "
            f"--models {MODEL} --artefacts all --out {store_dir}' first."
        )
    out.mkdir(parents=True, exist_ok=True)
    written = tuple(_write(store, records, out) for records in groups.values())
    _card.cache_clear()
    _load.cache_clear()
    return written


def _has_clean(records: Sequence[Record]) -> bool:
    return any(record.cell.perturbation.kind == "none" for record in records)


def _write(store: Store, records: Sequence[Record], out: Path) -> Path:
    dataset = max((record.cell.dataset for record in records), key=lambda key: key.count)
    records = [record for record in records if record.cell.dataset == dataset]
    trainings = {(r.cell.checkpoint, r.cell.model) for r in records}
    if len(trainings) > 1:
        raise BenchError(
            f"{store.directory} holds {len(trainings)} trainings of {MODEL} on {dataset.name}. "
            "Keep one of them in a separate folder and give that folder."
        )
    ((checkpoint, model),) = trainings
    by_digest = {perturbation_digest(r.cell.perturbation): r for r in records}
    ordered = dict(sorted(by_digest.items(), key=lambda item: _order(item[1].cell.perturbation)))
    answers = [store.predictions(record) for record in ordered.values()]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=answers[0].ids,
        labels=answers[0].labels,
        logits=np.stack([answer.logits for answer in answers]),
    )
    content = buffer.getvalue()
    card = {
        "version": VERSION,
        "model": {"name": model.name, "factory": model.factory, "arguments": model.arguments},
        **{name: dict(value) for name, value in model.numbers().items() if name in _AROUND},
        "checkpoint": {
            "sha256": checkpoint.sha256,
            "seed": checkpoint.seed,
            "recipe": None if checkpoint.recipe is None else dict(checkpoint.recipe),
        },
        "dataset": asdict(dataset),
        "perturbations": [
            {"digest": name} | asdict(record.cell.perturbation) for name, record in ordered.items()
        ],
        "sha256": sha256(content),
    }
    path = out / f"{dataset.name}.json"
    write_atomically(path.with_suffix(".npz"), content)
    text = json.dumps(json.loads(canonical_json(card)), indent=1, sort_keys=True)
    write_atomically(path, text.encode() + b"\n")
    return path


def _order(key: PerturbationKey) -> tuple[bool, str, float]:
    return key.kind != "none", key.name, float(key.severity or 0)
