"""What a network object is, as a digest: its classes, their code and settings, and its weights.

A network from a factory is known by an import string. One that a caller hands over as an object may
come from a notebook, where the same name means something else a minute later, so it is known by
what it consists of. Two objects with one fingerprint compute the same; the reverse need not hold.
"""

from __future__ import annotations

import enum
import inspect
import types
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchharness.canonical import digest, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

_PLAIN = frozenset(vars(nn.Module()))
"""Attributes that every module has. Parameters, buffers and children are described by name."""
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
"""Of these, the ones that change what a forward pass gives."""
_DEEPEST = 12
"""Objects inside one another that are still told apart."""


def of_weights(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors: names, types, shapes and every byte."""
    return digest([[name, _tensor(tensor)] for name, tensor in weights.items()])


def of_code(thing: Callable[..., Any] | nn.Module) -> str:
    """SHA-256 of what a network or a factory does, apart from the network's weights.

    It holds the code and the settings of every module, closures, and the global values and
    functions that the code names. Code of installed packages counts by its name.
    """
    return digest(_Description().of(thing, 0))


class _Description:
    """Turns objects into JSON values; each object is described once."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._kept: list[object] = []

    def of(self, value: Any, depth: int) -> Any:
        """Describe any value."""
        if value is None or isinstance(value, bool | int | str):
            return [type(value).__name__, str(value)]
        if isinstance(value, float | complex | bytes | torch.dtype | torch.device | enum.Enum):
            return repr(value)
        if isinstance(value, torch.Tensor):
            return _tensor(value)
        if isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            return [str(array.dtype), list(array.shape), sha256(array.tobytes())]
        if isinstance(value, tuple):
            # Equal tuples may be one object or two, as the compiler likes.
            return [_name(type(value)), [self.of(item, depth) for item in value]]
        if (number := self._seen.get(id(value))) is not None:
            return ["as", number]
        if depth > _DEEPEST:
            return _name(type(value))
        self._seen[id(value)] = len(self._seen)
        # A collected object's id may be given to another.
        self._kept.append(value)
        return self._compound(value, depth + 1)

    def _compound(self, value: Any, depth: int) -> Any:
        if isinstance(value, list):
            return [_name(type(value)), [self.of(item, depth) for item in value]]
        if isinstance(value, dict):
            return [[self.of(k, depth), self.of(v, depth)] for k, v in value.items()]
        if isinstance(value, set | frozenset):
            return sorted(digest(self.of(item, depth)) for item in value)
        if isinstance(value, nn.Module):
            return self._module(value, depth)
        if isinstance(value, partial):
            return [self.of(part, depth) for part in (value.func, value.args, value.keywords)]
        if isinstance(value, types.MethodType):
            return [self.of(value.__self__, depth), self.of(value.__func__, depth)]
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, type):
            return self._class(value, depth)
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType):
            return _name(value)
        return [self.of(type(value), depth), self._settings(value, depth)]

    def _module(self, module: nn.Module, depth: int) -> Any:
        settings = {k: v for k, v in vars(module).items() if k not in _PLAIN}
        hooks = {name: list(getattr(module, name).values()) for name in _HOOKS}
        return [
            self.of(type(module), depth),
            self.of(settings, depth),
            self.of({name: found for name, found in hooks.items() if found}, depth),
            [[name, self.of(child, 0)] for name, child in module.named_children()],
        ]

    def _settings(self, value: object, depth: int) -> Any:
        return self.of(dict(vars(value)), depth) if hasattr(value, "__dict__") else None

    def _class(self, cls: type, depth: int) -> Any:
        """The name of a class, and the code of its own methods and of its bases'."""
        if _installed(cls):
            return _name(cls)
        own = {
            name: member
            for name, member in vars(cls).items()
            if name not in ("__doc__", "__dict__", "__weakref__", "__firstlineno__")
        }
        return [_name(cls), self.of(own, depth), [self.of(base, depth) for base in cls.__bases__]]

    def _function(self, function: types.FunctionType, depth: int) -> Any:
        if _installed(function):
            return _name(function)
        closure = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
        return [
            _source(function),
            self.of([function.__defaults__, function.__kwdefaults__, closure], depth),
            [self.of(value, depth) for value in _globals(function)],
        ]


def _globals(function: types.FunctionType) -> list[Any]:
    """The global values that a function names, in order."""
    known = function.__globals__
    names = dict.fromkeys(name for code in _codes(function.__code__) for name in code.co_names)
    return [known[name] for name in names if name in known]


def _codes(code: types.CodeType) -> list[types.CodeType]:
    """The code of a function and of the functions inside it."""
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return [code, *(found for one in inner for found in _codes(one))]


def _source(function: types.FunctionType) -> str:
    """The digest of a function's text; of its bytecode where there is no text."""
    try:
        return sha256(inspect.getsource(function).encode(errors="backslashreplace"))
    except (OSError, TypeError):
        parts = _codes(function.__code__)
        return digest([[code.co_code.hex(), _constants(code), code.co_names] for code in parts])


def _constants(code: types.CodeType) -> list[str]:
    return [repr(one) for one in code.co_consts if not isinstance(one, types.CodeType)]


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _installed(thing: Any) -> bool:
    """Whether a class or function is of an installed package, whose name is enough."""
    try:
        path = inspect.getfile(thing)
    except (OSError, TypeError):
        return getattr(thing, "__module__", "") not in ("__main__", "builtins", None) and (
            "<locals>" not in getattr(thing, "__qualname__", "")
        )
    return "site-packages" in path or "dist-packages" in path


def _tensor(tensor: Tensor) -> Any:
    plain = tensor.detach().cpu().contiguous()
    raw = plain.reshape(-1).view(torch.uint8) if plain.numel() else plain
    return [str(plain.dtype), list(plain.shape), sha256(raw.numpy().tobytes())]


def _name(thing: Any) -> str:
    """A readable name without an address: `torch.nn.modules.conv.Conv3d`."""
    module = getattr(thing, "__module__", None) or ""
    return f"{module}.{getattr(thing, '__qualname__', getattr(thing, '__name__', ''))}"
