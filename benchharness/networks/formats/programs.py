"""Files that are a network themselves: ONNX, TorchScript and `torch.export`.

Such a file names no factory, so the model's factory is one of this module and the weights are the
file. Its digest is all that the identity of a cell has of it.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchharness.disk import file_sha256
from benchharness.errors import BenchError, CellError
from benchharness.networks.formats import external
from benchharness.outside.containment import contained, in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from benchharness.store.cells import ModelKey

Shape = tuple[int | None, ...]
"""(B, C, D, H, W) of the volumes that a program takes; None where it takes any."""


class Program(nn.Module):
    """A network from a file, which may take volumes of one shape or batches of one size only.

    Args:
        takes: The shape of its input; empty where the file does not say.
    """

    gradient = True
    """Whether a gradient flows through it."""
    uncounted = ""
    """Why parameters, operations and memory cannot be counted; empty where they can."""

    def __init__(self, takes: Shape) -> None:
        super().__init__()
        self.takes = takes

    def misfit(self, shape: tuple[int, ...]) -> str:
        """Why volumes of shape (C, D, H, W) cannot be passed; empty where they can."""
        wanted = self.takes[1:]
        if not wanted or (
            len(wanted) == len(shape)
            and all(n in (None, m) for n, m in zip(wanted, shape, strict=True))
        ):
            return ""
        sizes = " × ".join("any" if n is None else str(n) for n in wanted)
        return (
            f"its program takes volumes of {sizes} (C × D × H × W), got "
            f"{' × '.join(map(str, shape))}. Set size in its preprocessing, or export it anew with "
            "dynamic axes"
        )

    def forward(self, volumes: Tensor) -> Any:
        """Logits of volumes (B, C, D, H, W), in as many passes as the program's batch asks for."""
        if wrong := self.misfit(tuple(volumes.shape[1:])):
            raise CellError(wrong)
        batch = self.takes[0] if self.takes else None
        if batch is None or len(volumes) == batch:
            return self.run(volumes)
        lacking = -len(volumes) % batch
        filled = torch.cat([volumes, volumes[-1:].expand(lacking, *volumes.shape[1:])])
        parts = [self.run(part) for part in torch.split(filled, batch)]
        if not all(isinstance(part, torch.Tensor) for part in parts):
            raise CellError(
                f"its program takes batches of {batch} and returns {type(parts[0]).__name__}; "
                "expected one tensor of logits"
            )
        return torch.cat(parts)[: len(volumes)]

    def run(self, volumes: Tensor) -> Any:
        """One pass."""
        raise NotImplementedError


class _Torch(Program):
    """A program of torch."""

    def __init__(self, program: Callable[[Tensor], Any], takes: Shape) -> None:
        super().__init__(takes)
        self.program = program
        if not any(True for _ in self.parameters()):
            self.uncounted = "the program's weights are constants, so they cannot be counted"
        elif takes and takes[0] not in (None, 1):
            self.uncounted = f"the program takes batches of {takes[0]} volumes only"

    def run(self, volumes: Tensor) -> Any:
        """One pass."""
        return self.program(volumes)


class _Exported(_Torch):
    def train(self, mode: bool = True) -> _Exported:
        """Set the mode of this module alone: an exported program has none, and refuses."""
        self.training = mode
        return self


class _Onnx(Program):
    """An ONNX network behind onnxruntime, on the CPU."""

    gradient = False
    uncounted = "an ONNX file is a black box: its parameters and operations are not counted"

    def __init__(self, session: Any) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        super().__init__(tuple(n if isinstance(n, int) else None for n in inputs[0].shape))
        self.session, self.name, self.output = session, inputs[0].name, outputs[0].name
        self.kind = _ONNX_TYPES[inputs[0].type]

    def run(self, volumes: Tensor) -> Tensor:
        """One pass; its result is cut off from the volumes."""
        if torch.is_grad_enabled() and volumes.requires_grad:
            raise CellError("an ONNX file is a black box: it gives logits and no gradient")
        given = volumes.detach().cpu().numpy().astype(self.kind)
        logits: NDArray[Any] = self.session.run([self.output], {self.name: given})[0]
        return torch.from_numpy(logits.astype(np.float32)).to(volumes.device)


_ONNX_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_ONNX_TYPES["tensor(float16)"] = np.float16


def onnx(num_classes: int, in_channels: int = 1) -> nn.Module:  # noqa: ARG001
    """Stand for the network of an ONNX file; `open_program` opens it."""
    raise _no_factory()


def torchscript(num_classes: int, in_channels: int = 1) -> nn.Module:  # noqa: ARG001
    """Stand for the network of a TorchScript file."""
    raise _no_factory()


def pt2(num_classes: int, in_channels: int = 1) -> nn.Module:  # noqa: ARG001
    """Stand for the network of a file of `torch.export.save`."""
    raise _no_factory()


def _no_factory() -> CellError:
    return CellError("a network from a file is opened, not built")


def _open_onnx(path: Path) -> Program:
    try:
        import onnxruntime
    except ImportError as error:
        raise BenchError(
            "onnx: needs onnxruntime. Install it: pip install 'benchharness[onnx]'."
        ) from error
    whole = external.read(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    names, contents = list(whole.beside), list(whole.beside.values())
    if names:
        options.add_external_initializers_from_files_in_memory(
            names, contents, [len(content) for content in contents]
        )
    session = onnxruntime.InferenceSession(whole.model, options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _ONNX_TYPES:
        kinds = ", ".join(one.type for one in inputs)
        raise BenchError(f"{path} takes {len(inputs)} inputs ({kinds}), expected volumes alone.")
    return _Onnx(session)


def _open_torchscript(path: Path) -> Program:
    program = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return _Torch(program, ())


def _open_pt2(path: Path) -> Program:
    exported = torch.export.load(path)
    names = exported.graph_signature.user_inputs
    if len(names) != 1:
        raise BenchError(f"{path} takes {len(names)} inputs, expected volumes alone.")
    (shape,) = (node.meta["val"].shape for node in exported.graph.nodes if node.name == names[0])
    return _Exported(exported.module(), tuple(n if isinstance(n, int) else None for n in shape))


_OPENERS: dict[str, Callable[[Path], Program]] = {
    f"{__name__}:onnx": _open_onnx,
    f"{__name__}:torchscript": _open_torchscript,
    f"{__name__}:pt2": _open_pt2,
}


def factory(kind: str) -> str:
    """The factory that stands for a kind of program: `onnx`, `torchscript` or `pt2`."""
    return f"{__name__}:{kind}"


def is_program(model: ModelKey) -> bool:
    """Whether a model is a file that is opened, not a factory that is called."""
    return model.factory in _OPENERS


def has_gradient(model: ModelKey) -> bool:
    """Whether gradients flow through a model's network."""
    return model.factory != factory("onnx")


def digest(model: ModelKey, path: Path) -> str:
    """SHA-256 of everything that a model's weights are read from.

    Raises:
        BenchError: When it cannot be read.
    """
    if model.factory == factory("onnx"):
        return external.read(path).digest
    return file_sha256(path, what="checkpoint")


def files(model: ModelKey, path: Path) -> tuple[Path, ...]:
    """Every file that a model's weights are read from; all lie in one folder.

    Raises:
        BenchError: When it cannot be read.
    """
    if model.factory == factory("onnx"):
        return (path, *(path.with_name(name) for name in external.read(path).beside))
    return (path,)


def open_program(model: ModelKey, path: Path) -> Program:
    """Open a program; this may run code in the file, which `sources` asks trust for.

    Raises:
        BenchError: If the file is absent, damaged or takes other than volumes.
    """
    if not path.is_file():
        raise BenchError(f"no file at {path}. Check the path given to --models.")
    try:
        with contained(), warnings.catch_warnings():
            # TorchScript is deprecated, but the files of three years ago are there.
            warnings.simplefilter("ignore")
            program = _OPENERS[model.factory](path)
    except BenchError:
        raise
    except Exception as error:  # a damaged or foreign file may raise any class of error
        raise BenchError(f"cannot open {path}: {in_one_line(error)[:200]}.") from error
    return program
