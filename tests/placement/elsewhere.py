"""A second device for a build of torch that has none: what a first run on a GPU would find.

Inside `Elsewhere()` the device `DEVICE` exists. A tensor there keeps its values in a tensor on the
CPU and runs every operation on them, so results equal those of the CPU where the same kernels run.
It mixes with tensors on the CPU only where CUDA allows it, and every crossing is counted.

What CUDA allows (torch's TensorIterator, `index` and `index_put_`, `copy_`): one tensor without
axes among the arguments of an operation that works element by element; indices on the CPU; copies
from one device to the other. Generators on the CPU fill no tensor elsewhere. NumPy takes none.

Not covered: streams, memory that runs out, the generators of a CUDA device, kernels that round
otherwise, `torch.compile`, and what asks for "cuda" by name. Tests marked `gpu` are for those.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn, Self
from unittest import mock

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from torch import Tensor

# A real meta tensor has no index, so that one that gets in by mistake is seen.
DEVICE = torch.device("meta", 0)

READ = "read"
"""A number goes to the host, which waits for the device: `item`, `bool`, `equal`, `tolist`."""
DOWN = "down"
"""A tensor goes to the host."""
UP = "up"
"""A tensor comes from the host."""
SELECT = "select"
"""The host waits to learn how large a result is: boolean masks, `nonzero`, `unique`."""

aten = torch.ops.aten
_PACKETS = {
    READ: {aten._local_scalar_dense, aten.equal, aten.is_nonzero, aten.allclose},
    SELECT: {
        aten.nonzero,
        aten.nonzero_numpy,
        aten.masked_select,
        aten.argwhere,
        aten.unique_consecutive,
        aten.unique_dim,
        aten._unique,
        aten._unique2,
        aten.bincount,
    },
}
_COPIES = {aten.copy_, aten._copy_from, aten._copy_from_and_resize}
_INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
# These work element by element but torch does not tag them so.
_ELEMENTWISE = {aten.fill, aten.fill_, aten.masked_fill, aten.masked_fill_, aten.where, aten.lerp}
_OWN = ("benchharness", "medvit3d", "baselines")


class AstrayError(RuntimeError):
    """What CUDA would have refused."""


class There(torch.Tensor):
    """A tensor elsewhere."""

    inner: Tensor
    is_meta = False

    @staticmethod
    def __new__(cls, inner: Tensor) -> Self:
        assert not isinstance(inner, There)
        assert inner.device.type == "cpu", inner.device
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def numpy(self, **_: Any) -> NoReturn:
        raise TypeError(
            f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first."
        )

    def __array__(self, dtype: Any = None) -> NoReturn:
        self.numpy()

    def tolist(self) -> Any:
        _note(READ)
        return self.inner.tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.inner.untyped_storage()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device} | options)

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_lists_moved(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_lists_moved(index), value)

    def pin_memory(self, *_: Any) -> NoReturn:
        raise AstrayError("only dense CPU tensors can be pinned")

    def __deepcopy__(self, memo: dict[int, Any]) -> There:
        if id(self) not in memo:
            made = There(copy.deepcopy(self.inner.detach(), memo))
            made.requires_grad_(self.requires_grad)
            if isinstance(self, torch.nn.Parameter):
                made._is_param = True
            memo[id(self)] = made
        found: There = memo[id(self)]
        return found

    def __reduce_ex__(self, protocol: Any) -> Any:
        # As a file is read again with `map_location="cpu"`.
        return self.inner.__reduce_ex__(protocol)

    def _set_data(self, other: Tensor) -> None:
        if not isinstance(other, There):
            raise AstrayError("the data of a tensor elsewhere were replaced by a tensor on the CPU")
        self.inner = other.inner
        _follow(self)

    data = property(lambda self: self.detach(), _set_data)  # type: ignore[assignment]

    def __repr__(self, **_: Any) -> str:
        return f"There({self.inner})"


def _lists_moved(index: Any) -> Any:
    """torch makes tensors of lists and arrays among indices, on the device of what they index."""
    if isinstance(index, tuple):
        return tuple(map(_lists_moved, index))
    return torch.tensor(index, device=DEVICE) if isinstance(index, list | np.ndarray) else index


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the inner values, if CUDA would run it."""
    given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    there = [leaf for leaf in given if isinstance(leaf, There)]
    for leaf in given:
        assert isinstance(leaf, There) or leaf.device != torch.device("meta"), (
            f"{func}: a tensor of the real meta device got in"
        )
    wanted = kwargs.get("device")
    if not there and wanted != DEVICE:
        return func(*args, **kwargs)
    packet = func.overloadpacket
    _check(func, packet, args, kwargs, given, there)
    _count(packet, args, there, wanted)
    goes = DEVICE if wanted is None else wanted
    if wanted == DEVICE:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain_args, plain_kwargs = pytree.tree_map_only(There, lambda leaf: leaf.inner, (args, kwargs))
    made = func(*plain_args, **plain_kwargs)
    if packet in _COPIES and not isinstance(args[0], There):
        return args[0]
    known = {id(leaf.inner): leaf for leaf in there}
    for leaf in there:
        _follow(leaf)
    if goes != DEVICE:
        return made
    return pytree.tree_map_only(
        torch.Tensor, lambda leaf: known[id(leaf)] if id(leaf) in known else There(leaf), made
    )


def _follow(tensor: There) -> None:
    """Give a tensor the layout of its values, which an operation in place may have changed."""
    inner = tensor.inner
    if tensor.shape == inner.shape and tensor.stride() == inner.stride():
        return
    # As in torch's `return_and_correct_aliasing`: the meta kernel changes the wrapper alone.
    before = torch._C._meta_in_tls_dispatch_include()
    with no_dispatch():
        torch._C._set_meta_in_tls_dispatch_include(True)
        try:
            aten.as_strided_.default(tensor, inner.shape, inner.stride(), inner.storage_offset())
        finally:
            torch._C._set_meta_in_tls_dispatch_include(before)


def _check(
    func: Any,
    packet: Any,
    args: Any,
    kwargs: dict[str, Any],
    given: list[Tensor],
    there: list[There],
) -> None:
    """Raise where CUDA would."""
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type == "cpu":
        raise AstrayError(f"{func}: expected a generator elsewhere, found one on the CPU")
    if packet in _COPIES or packet is aten._to_copy:
        return
    if packet in _INDEXED:
        if not isinstance(args[0], There):
            raise AstrayError(f"{func}: indices must be on the CPU, as the indexed tensor is")
        given = [args[0], *(value for value in args[2:] if isinstance(value, torch.Tensor))]
    plain = [leaf for leaf in given if not isinstance(leaf, There)]
    if not plain or not there:
        return
    written = args[0] if str(packet).endswith("_") else kwargs.get("out")
    elementwise = torch.Tag.pointwise in func.tags or packet in _ELEMENTWISE | _INDEXED
    numbers = [leaf for leaf in plain if leaf.dim() == 0 and leaf is not written]
    if not (elementwise and len(plain) == len(numbers) == 1):
        shapes = ", ".join(str(tuple(leaf.shape)) for leaf in plain)
        raise AstrayError(
            f"{func}: expected all tensors to be on the same device, found those of shape "
            f"{shapes} on the CPU"
        )


def _count(packet: Any, args: Any, there: list[There], wanted: torch.device | None) -> None:
    if packet is aten._to_copy and wanted is not None:
        source = isinstance(args[0], There)
        if source != (wanted == DEVICE):
            _note(DOWN if source else UP)
    elif packet in _COPIES:
        target, source = (isinstance(value, There) for value in args[:2])
        # A number travels with the kernel.
        if target != source and (source or args[1].dim() > 0):
            _note(DOWN if source else UP)
    elif packet in _INDEXED:
        _count_indices(packet, args)
    elif packet is aten.repeat_interleave and isinstance(args[0], There):
        _note(SELECT)
    elif there:
        for kind, packets in _PACKETS.items():
            if packet in packets:
                _note(kind)


def _count_indices(packet: Any, args: Any) -> None:
    for index in args[1]:
        if index is None:
            continue
        if not isinstance(index, There):
            _note(UP)
        elif index.dtype in (torch.bool, torch.uint8):
            # One number into one mask is a fill, for which nobody counts.
            filled = "put" in str(packet) and args[2].numel() == 1 and len(args[1]) == 1
            if not filled:
                _note(SELECT)


_watching: list[Elsewhere] = []


def _note(kind: str) -> None:
    for one in _watching:
        one.crossings[kind, _site()] += 1


def _site() -> str:
    """The line of this project that asked, and its function."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in _OWN and frame.f_code.co_name != "__torch_function__":
            return f"{module}:{frame.f_code.co_name}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


class Elsewhere(TorchDispatchMode):
    """The device exists inside; `crossings` counts what goes between it and the host.

    Attributes:
        crossings: How often, by kind and place.
    """

    def __init__(self) -> None:
        super().__init__()
        self.crossings: Counter[tuple[str, str]] = Counter()
        self._patches: list[ExitStack] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __enter__(self) -> Self:
        stack = ExitStack()
        # These make a meta tensor without values before any mode is asked.
        for name in ("tensor", "as_tensor", "asarray"):
            stack.enter_context(mock.patch.object(torch, name, _moved(getattr(torch, name))))
        # The fused optimisers have a list of devices.
        for place in ("adam", "optimizer"):
            stack.enter_context(
                mock.patch(
                    f"torch.optim.{place}._get_fused_kernels_supported_devices",
                    return_value=["cpu", DEVICE.type],
                    create=True,
                )
            )
        self._patches.append(stack)
        super().__enter__()
        _watching.append(self)
        return self

    def __exit__(self, *reason: Any) -> None:
        _watching.remove(self)
        super().__exit__(*reason)
        self._patches.pop().close()

    def total(self, *kinds: str) -> int:
        """How many crossings there were of some kinds; of all where none is named."""
        return sum(
            count for (kind, _), count in self.crossings.items() if kind in kinds or not kinds
        )

    def report(self) -> str:
        """Every place, for the message of a failed test."""
        return "\n".join(
            f"{n:4} {kind} {site}" for (kind, site), n in sorted(self.crossings.items())
        )


def _moved(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def made(data: Any, *rest: Any, device: Any = None, **options: Any) -> Tensor:
        if isinstance(data, torch.Tensor) or device is None or torch.device(device) != DEVICE:
            return make(data, *rest, device=device, **options)
        return make(data, *rest, **options).to(DEVICE)

    return made
