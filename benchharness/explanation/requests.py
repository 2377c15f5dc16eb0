"""The options of `bench explain` beyond networks, data and perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from benchharness.errors import BenchError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.explanation.subjects import Subject

Target = Literal["label", "predicted"]

DEFAULT_WORST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to draw and where to look; validated, nothing resolved."""

    ids: tuple[str, ...] = ()
    """Volumes to draw; empty draws the worst."""
    worst: int = DEFAULT_WORST
    """How many volumes to draw where no ids are given: those of lowest margin."""
    target: Target = "label"
    """The class to explain: each volume's label, or what the network predicts."""
    layers: tuple[tuple[str, str], ...] = ()
    """(model, layer) where the user names one."""

    @classmethod
    def checked(
        cls,
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
            ids=wanted,
            worst=DEFAULT_WORST if worst is None else worst,
            target=cast("Target", target),
            layers=tuple(named.items()),
        )


def refuse_unknown_layers(request: Request, subjects: Sequence[Subject]) -> None:
    """Refuse a layer of a model that is not explained.

    Raises:
        BenchError: When there is one.
    """
    models = {network.model.name for subject in subjects for network in subject.networks}
    for model, layer in request.layers:
        if model not in models:
            raise BenchError(
                f"--layer {model}={layer} names a model that is not explained "
                f"({', '.join(sorted(models))}). Add it to --models or take it out."
            )


def chosen_ids(request: Request, subjects: Sequence[Subject]) -> frozenset[str]:
    """Full ids of the volumes asked for; the part after the last slash is enough to type.

    Raises:
        BenchError: When a test split has no such volume.
    """
    known = [name for subject in subjects for name in subject.dataset.test.ids]
    found: set[str] = set()
    for item in request.ids:
        matches = [name for name in known if name == item or name.endswith(f"/{item}")]
        if not matches:
            raise BenchError(
                f"no test volume {item!r}.{did_you_mean(item, known)} Ids look like {known[0]!r}, "
                f"of which {known[0].rpartition('/')[2]!r} is enough."
            )
        found.update(matches)
    return frozenset(found)
