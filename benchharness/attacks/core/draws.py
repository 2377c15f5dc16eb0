"""Random draws that belong to a volume, made from its name.

Libraries draw tensors of the batch's shape from the global generator, so a volume's draws depend on
its neighbours and on its place in the batch. `Draws` has a generator for each volume, and
`Draws.intercepted` hands their draws to library code that calls the global one.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function

from benchharness import randomness
from benchharness.errors import CellError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    Fill = Callable[[Tensor, torch.Generator], object]


class Draws:
    """A generator for every volume of a batch, seeded by names alone.

    Args:
        ids: The volumes' names.
        names: What else the draws depend on: the attack, its severity, the seed.
        device: Where drawn tensors end up. They are drawn on the CPU, so that every device gets
            the same bits.
    """

    def __init__(
        self, ids: Sequence[str], *names: randomness.Name, device: torch.device | str = "cpu"
    ) -> None:
        self.ids = tuple(ids)
        self.names = names
        self.device = torch.device(device)
        self.restart(0)

    def restart(self, number: int, *names: randomness.Name) -> None:
        """Begin the draws of one restart, independent of any draws before."""
        self._generators = [
            randomness.torch_generator(identity, *self.names, number, *names)
            for identity in self.ids
        ]

    def renamed(self, *names: randomness.Name) -> Draws:
        """Draws of the same volumes that depend on other names."""
        return Draws(self.ids, *names, device=self.device)

    def select(self, rows: Sequence[int]) -> Draws:
        """The draws of some of the volumes, in the given order; both share their generators."""
        chosen = Draws([], *self.names, device=self.device)
        chosen.ids = tuple(self.ids[row] for row in rows)
        chosen._generators = [self._generators[row] for row in rows]
        return chosen

    def fill(self, like: Tensor, fill: Fill) -> Tensor:
        """Fill a tensor (B, …) volume by volume.

        Args:
            like: Gives shape and dtype.
            fill: Fills one volume's CPU tensor in place from the given generator.

        Returns:
            A new tensor on `device`.
        """

        def filled(like: Tensor) -> Tensor:
            drawn = torch.empty(like.shape, dtype=like.dtype)
            for part, generator in zip(drawn, self._generators, strict=True):
                fill(part, generator)
            return drawn.to(self.device)

        return undisturbed(filled, like)

    def uniform(self, like: Tensor, low: float, high: float) -> Tensor:
        """Draw U(low, high), in the shape of `like`."""
        return self.fill(like, lambda part, own: part.uniform_(low, high, generator=own))

    def normal(self, like: Tensor) -> Tensor:
        """Draw N(0, 1), in the shape of `like`."""
        return self.fill(like, lambda part, own: part.normal_(generator=own))

    def integers(self, shape: tuple[int, ...], high: int) -> Tensor:
        """Draw integers 0..high−1 in a shape that leads with the batch."""
        like = torch.empty(shape, dtype=torch.int64)
        return self.fill(like, lambda part, own: part.random_(0, high, generator=own))

    def signs(self, like: Tensor) -> Tensor:
        """Draw −1 or +1 with equal chance, in the shape of `like`."""
        return self.integers(tuple(like.shape), 2).to(like.dtype) * 2 - 1

    @contextmanager
    def intercepted(self, *, guard: bool = True) -> Iterator[None]:
        """Answer calls to torch's global generator with draws from the volumes' own generators.

        Args:
            guard: Whether to raise when the global generators of NumPy or Python have moved; off
                for networks that draw from them.

        Raises:
            CellError: When a draw cannot be split by volume, or comes from the global generators
                of NumPy or Python.
        """
        before = _other_generators()
        with _Interception(self):
            yield
        if guard and _other_generators() != before:
            raise CellError(
                "the attack draws from the global generator of NumPy or Python, so its draws would "
                "depend on batch and order; draw from batch.draws instead"
            )


def network_draws(call: Callable[[], object]) -> bool:
    """Whether calling a network draws from a global generator of the CPU or of a CUDA device."""

    def states() -> list[object]:
        devices = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
        return [_other_generators(), *(state.numpy().tobytes() for state in devices)]

    before = states()
    call()
    return states() != before


def undisturbed(call: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Call a function outside of any interception.

    A network's own draws are not the attack's, and intercepting an operation takes longer than many
    operations do.
    """
    if has_torch_function((values,)):
        # torch takes the interception off its stack while it handles this, by the call below.
        answer: Tensor = handle_torch_function(undisturbed, (values,), call, values)
        return answer
    return call(values)


def _other_generators() -> tuple[object, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return random.getstate(), name, np.asarray(keys).tobytes(), tuple(rest)


class _Interception(TorchFunctionMode):
    """Answers calls to torch's random functions with draws made volume by volume."""

    def __init__(self, draws: Draws) -> None:
        super().__init__()
        self.draws = draws

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is undisturbed:
            call, values = args
            return call(values)
        name = getattr(func, "__name__", "")
        if name not in _RANDOM or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if name not in _ANSWERS:
            raise CellError(
                f"the attack calls {name}, whose draws would depend on batch and order; draw from "
                "batch.draws instead"
            )
        template, fill = _ANSWERS[name](*args, **kwargs)
        if template.dim() == 0 or len(template) != len(self.draws.ids):
            raise CellError(
                f"the attack calls {name} for shape {tuple(template.shape)} in a batch of "
                f"{len(self.draws.ids)}: draws must lead with the batch to belong to volumes; draw "
                "from batch.draws instead"
            )
        drawn = self.draws.fill(template, fill).to(template.device)
        return template.copy_(drawn) if name.endswith("_") else drawn


def _uniform_(self: Tensor, a: float = 0.0, b: float = 1.0) -> tuple[Tensor, Fill]:
    return self, lambda part, own: part.uniform_(a, b, generator=own)


def _normal_(self: Tensor, mean: float = 0.0, std: float = 1.0) -> tuple[Tensor, Fill]:
    return self, lambda part, own: part.normal_(mean, std, generator=own)


def _rand(*size: Any, **options: Any) -> tuple[Tensor, Fill]:
    return _uniform_(torch.empty(*size, **options))


def _randn(*size: Any, **options: Any) -> tuple[Tensor, Fill]:
    return _normal_(torch.empty(*size, **options))


def _rand_like(like: Tensor, **options: Any) -> tuple[Tensor, Fill]:
    return _uniform_(torch.empty_like(like, **options))


def _randn_like(like: Tensor, **options: Any) -> tuple[Tensor, Fill]:
    return _normal_(torch.empty_like(like, **options))


def _randint(*arguments: Any, **options: Any) -> tuple[Tensor, Fill]:
    *positional, size = (*arguments, options.pop("size")) if "size" in options else arguments
    low = options.pop("low", positional[0] if len(positional) == 2 else 0)
    high = options.pop("high", positional[-1] if positional else None)
    template = torch.empty(size, **{"dtype": torch.int64} | options)
    return template, lambda part, own: part.random_(low, high, generator=own)


_ANSWERS: dict[str, Callable[..., tuple[Tensor, Fill]]] = {
    "uniform_": _uniform_,
    "normal_": _normal_,
    "rand": _rand,
    "randn": _randn,
    "rand_like": _rand_like,
    "randn_like": _randn_like,
    "randint": _randint,
}

_RANDOM = frozenset(_ANSWERS) | {
    "alpha_dropout",
    "bernoulli",
    "bernoulli_",
    "binomial",
    "cauchy_",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "exponential_",
    "feature_alpha_dropout",
    "feature_dropout",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "geometric_",
    "gumbel_softmax",
    "log_normal_",
    "multinomial",
    "normal",
    "poisson",
    "randint_like",
    "random_",
    "randperm",
    "rrelu",
}
"""The names of torch's functions that draw from a global generator."""
