"""From what a network returns to logits (B, K).

Networks return tensors, tuples, dicts and objects; one logit of a binary task; maps of a single
voxel. `find` chooses how the logits are taken from one such answer, and `Outputs` takes them. The
choice depends on the structure of the answer alone, so a plan and a record give the same identity.
Probabilities are no logits: only where a user asks for it is their logarithm taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

import torch

from benchharness.canonical import Pairs, pairs
from benchharness.errors import CellError
from benchharness.networks.asked import NOTHING, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from benchharness.networks.asked import Asked, Form, Place

_NAMES = ("logits", "logit", "out", "output", "outputs", "pred", "preds", "prediction", "scores")
"""What logits are called in dicts and objects; the first of them wins."""
_DEEPEST, _MOST = 3, 100
"""Containers inside one another, and tensors in all, that are looked at."""

_EXACT = 1e-4
"""By how much probabilities of float32 may miss a sum of one."""
_ROUNDED = 1e-2
"""The same for values that half precision holds, where the softmax was taken in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """How logits are taken from what a network returns; the default takes logits (B, K) as is."""

    take: Place = ()
    """The way to the tensor: places in sequences, keys of mappings, names of attributes."""
    form: Form = "logits"
    """What the tensor holds. `logit` is the logit z of class 1 of a binary task, (B,) or (B, 1),
    and gives [0, z]: softmax then gives class 1 the probability sigmoid(z). `probabilities` are
    (B, K), or those of class 1, and give their logarithms."""
    trailing: bool = False
    """Whether axes of size one behind (B, K) or (B, 1) are dropped."""

    def __call__(self, returned: object, count: int, classes: int) -> Tensor:
        """Logits (B, K).

        Args:
            returned: What the network returned for `count` volumes.
            count: B.
            classes: K.

        Raises:
            CellError: If it is not what these outputs expect.
        """
        tensor = self.tensor(returned)
        if self.trailing and not any(size != 1 for size in tensor.shape[2:]):
            tensor = tensor.flatten(1)
        single = classes == 2 and self.form != "logits" and tensor.shape in ((count,), (count, 1))
        if self.form == "logit" and not single:
            raise CellError(
                f"the network returned shape {tuple(tensor.shape)} for {count} volumes of a task "
                f"with {classes} classes; expected one logit of a binary task, {(count, 1)}"
            )
        if not single and tensor.shape != (count, classes):
            raise CellError(
                f"the network returned shape {tuple(tensor.shape)} for {count} volumes of a "
                f"task with {classes} classes; expected {(count, classes)}"
            )
        if self.form == "probabilities":
            return _logarithm(tensor.reshape(count, -1))
        if single:
            value = tensor.reshape(count, 1)
            return torch.cat([torch.zeros_like(value), value], dim=1)
        return tensor

    def tensor(self, returned: object) -> Tensor:
        """The tensor inside what a network returned.

        Raises:
            CellError: If there is none at that place.
        """
        found = returned
        for step in self.take:
            try:
                found = dict(_members(found))[step]
            except KeyError:
                raise CellError(
                    f"the network returned {described(returned)}; expected a tensor at "
                    f"{written(self.take)!r}"
                ) from None
        if not isinstance(found, torch.Tensor):
            raise CellError(
                f"the network returned {described(found)}; expected one tensor of logits"
            )
        return found

    @property
    def in_words(self) -> str:
        """What is done, for people: `its element 0 is taken as logits`."""
        place = written(self.take) if self.take else ""
        what = {
            "logits": "as logits",
            "logit": "as the logit z of class 1, with logits [0, z]",
            "probabilities": "as probabilities, and their logarithm as logits",
        }[self.form]
        dropped = ", without its axes of size one" if self.trailing else ""
        return f"{f'its {place!r}' if place else 'this'} is taken {what}{dropped}"

    def to_pairs(self) -> Pairs:
        """The settings that change anything, as they enter a cell's identity."""
        nothing = asdict(Outputs())
        return pairs({k: v for k, v in asdict(self).items() if v != nothing[k]})

    @classmethod
    def assumed(cls, asked: Asked) -> Outputs:
        """The outputs of a network that nobody could run."""
        return cls(take=asked.take or (), form=asked.form or "logits")

    @classmethod
    def from_pairs(cls, settings: Pairs) -> Outputs:
        """The outputs whose `to_pairs` these settings are."""
        return cls(**dict(settings))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What `find` chose."""

    outputs: Outputs
    others: tuple[Place, ...] = ()
    """Where else there were tensors of the same shape, any of which could be the logits."""


def find(returned: object, count: int, classes: int, asked: Asked = NOTHING) -> Found | None:
    """Choose how logits are taken from an answer.

    Of several tensors that could be logits those that are no probabilities come first, then those
    in the fewest containers, then those that a dict or an object calls `logits`, `out`, `output` or
    the like, then the first.

    Args:
        returned: What a network returned for `count` volumes.
        count: B.
        classes: K.
        asked: What the user said.

    Returns:
        The choice; None where nothing in the answer could be logits.
    """
    fitting = []
    for place, (path, tensor) in enumerate(_tensors(returned)):
        form = _form(tensor, count, classes)
        probable = form is not None and like_probabilities(tensor, form)
        said = asked.form == "probabilities" and (probable or (form == "logit" and _inside(tensor)))
        wanted = said or asked.form in (None, form)
        if form is None or not wanted or asked.take not in (None, path):
            continue
        late = probable != (asked.form == "probabilities")
        rank = (form == "logit", late, len(path), _rank(path), place)
        fitting.append((rank, path, form, tensor.ndim > 2))
    if not fitting:
        return None
    first, *others = sorted(fitting)
    _, path, form, trailing = first
    outputs = Outputs(take=path, form=asked.form or form, trailing=trailing)
    return Found(outputs=outputs, others=tuple(o[1] for o in others if o[0][:2] == first[0][:2]))


def like_probabilities(tensor: Tensor, form: Form = "logits") -> bool:
    """Whether every volume's values lie in [0, 1] and, if they are of all classes, add up to one.

    Args:
        tensor: Of shape (B, K) for `logits` and (B,) or (B, 1) for `logit`; axes of size one may
            follow.
        form: What the tensor would hold otherwise. A single value must also lie on both sides of
            one half in some of the volumes, since a logit may well be between 0 and 1.
    """
    values = tensor.detach().float().reshape(len(tensor), -1)
    if not _inside(values):
        return False
    if form == "logit":
        return bool(values.min() < 0.5 < values.max())
    bound = _ROUNDED if _half_precise(tensor) else _EXACT
    return bool(((values.sum(1) - 1).abs() <= bound).all())


def described(returned: object, depth: int = 0) -> str:
    """What a network returned, in a few words: `tuple of 2: tensor (3, 2), list of 4`."""
    if isinstance(returned, torch.Tensor):
        kind = "tensor" if returned.is_floating_point() else str(returned.dtype)[6:]
        return f"{kind} {tuple(returned.shape)}"
    members = [] if depth > 1 else _members(returned)[:5]
    name = type(returned).__name__
    inner = ", ".join(
        described(value, depth + 1)
        if isinstance(returned, tuple | list)
        else f"{step} ({described(value, depth + 1)})"
        for step, value in members
    )
    return f"{name} of {inner}" if inner else name


def _members(container: object) -> Sequence[tuple[int | str, object]]:
    """What a container holds, by place, key or name; nothing where it is none."""
    if isinstance(container, torch.Tensor | torch.nn.Module | str | bytes):
        return ()
    if isinstance(container, Mapping):
        return [(key, value) for key, value in container.items() if isinstance(key, int | str)]
    if isinstance(container, tuple | list):
        return list(enumerate(container))
    if is_dataclass(container):
        return [(field.name, getattr(container, field.name, None)) for field in fields(container)]
    named: dict[str, object] = getattr(container, "__dict__", {})
    return [(name, value) for name, value in named.items() if not name.startswith("_")]


def _tensors(returned: object) -> Iterator[tuple[Place, Tensor]]:
    """The tensors inside an answer, in their order, with the ways to them."""
    todo: list[tuple[Place, object]] = [((), returned)]
    seen = 0
    while todo and seen < _MOST:
        path, value = todo.pop(0)
        seen += 1
        if isinstance(value, torch.Tensor):
            yield path, value
        elif len(path) < _DEEPEST:
            todo = [((*path, step), inner) for step, inner in _members(value)] + todo


def _form(tensor: Tensor, count: int, classes: int) -> Form | None:
    """What a tensor of this shape and type could hold; None where it is no answer to the task."""
    shape = tensor.shape
    if not tensor.is_floating_point() or tensor.ndim == 0 or shape[0] != count:
        return None
    if any(size != 1 for size in shape[2:]):
        return None
    if tensor.ndim > 1 and shape[1] == classes:
        return "logits"
    return "logit" if classes == 2 and (tensor.ndim == 1 or shape[1] == 1) else None


def _inside(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _rank(path: Place) -> int:
    """The place of the best name on the way to a tensor; behind all where it has none."""
    named = [_NAMES.index(step) for step in path if isinstance(step, str) and step in _NAMES]
    return min(named, default=len(_NAMES))


def _half_precise(tensor: Tensor) -> bool:
    """Whether half precision holds every value, so that rounding to it may have happened."""
    values = tensor.detach()
    return any(torch.equal(values, values.to(half).to(values.dtype)) for half in _HALVES)


_HALVES = (torch.float16, torch.bfloat16)


def _logarithm(probabilities: Tensor) -> Tensor:
    """Logarithms (B, K) of probabilities (B, K), or of those of class 1, (B, 1).

    Raises:
        CellError: When they are no probabilities.
    """
    single = probabilities.shape[1] == 1
    if not (_inside(probabilities) if single else like_probabilities(probabilities)):
        raise CellError(
            "the network was said to return probabilities, but its values do not lie in [0, 1] "
            "and add up to one"
        )
    if single:
        probabilities = torch.cat([1 - probabilities, probabilities], dim=1)
    # A probability that rounds to zero would have the logarithm −∞.
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
