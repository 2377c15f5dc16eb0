"""Files of weights as people's scripts write them, generated, and what is read from each.

`docs/how-to/own-weights.md` shows this table; a test holds the two together.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import sys
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from tests import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    State = Mapping[str, Tensor]

CLASSES = 2


def network(seed: int = 1) -> nn.Module:
    """The network whose weights are in every file."""
    torch.manual_seed(seed)
    return samples.tiny(CLASSES)


def prefixed(state: State, prefix: str) -> dict[str, Tensor]:
    """The same tensors under longer names."""
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def other(state: State) -> dict[str, Tensor]:
    """An averaged copy: other values."""
    return {name: tensor + 1 for name, tensor in state.items()}


def optimiser() -> dict[str, Any]:
    """The state of a real optimiser after a step."""
    made = network()
    optimizer = torch.optim.AdamW(made.parameters())
    made(torch.rand(2, 1, 8, 8, 8)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def attribute_dict(**values: Any) -> dict[str, Any]:
    """Lightning's class of hyperparameters, which is not installed here."""
    name = "pytorch_lightning.utilities.parsing"
    module = sys.modules.get(name) or ModuleType(name)
    kind = type("AttributeDict", (dict,), {"__module__": name})
    module.AttributeDict = kind  # type: ignore[attr-defined]
    for parent in ("pytorch_lightning", "pytorch_lightning.utilities"):
        sys.modules.setdefault(parent, ModuleType(parent))
    sys.modules[name] = module
    made: dict[str, Any] = kind(values)
    return made


def _tutorial(state: State) -> Any:
    return {
        "model_state_dict": state,
        "optimizer_state_dict": optimiser(),
        "epoch": 3,
        "loss": np.float64(0.3),
    }


def _parallel(state: State) -> Any:
    arguments = argparse.Namespace(lr=0.1, data=Path("scans"), weights=PureWindowsPath("c:/w.pt"))
    return {"state_dict": prefixed(state, "module."), "args": arguments, "best": np.float32(0.9)}


def _lightning(state: State) -> Any:
    aside = {"criterion.weight": torch.ones(CLASSES), "val_loss.total": torch.ones(())}
    return {
        "state_dict": prefixed(state, "model.") | aside,
        "hyper_parameters": attribute_dict(lr=1e-3, root=Path("scans"), window=slice(0, 2)),
        "optimizer_states": [optimiser()],
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best": torch.tensor(0.5)}},
        "loops": collections.defaultdict(dict, {"fit": {"epoch": 3}}),
    }


def _nnunet(state: State) -> Any:
    return {
        "network_weights": state,
        "optimizer_state": optimiser(),
        "logging": {"val_losses": [np.float64(0.1)], "started": datetime.datetime.now()},
        "init_args": {"plans": {"spacing": np.array([1.0, 1.0, 3.0]), "type": np.dtype("f4")}},
    }


def _without_counters(state: State) -> Any:
    return {name: tensor for name, tensor in state.items() if "num_batches" not in name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file."""

    shown: str
    """What it is called in the documentation."""
    content: Callable[[State], Any]
    line: str
    """What the reader says that it did."""
    name: str = "w.pt"
    part: str = ""
    """What has to be typed after `::`."""
    save: Callable[[Any, Path], Any] = torch.save
    values: str = "plain"
    """Which copy is meant, where there are several."""


def _is(state: State) -> Any:
    return state


def _in(*keys: str, prefix: str = "") -> Callable[[State], Any]:
    def content(state: State) -> Any:
        made: Any = prefixed(state, prefix)
        for key in reversed(keys):
            made = {key: made, "epoch": 3}
        return made

    return content


KINDS = (
    Kind(shown="a plain state dict", content=_is, line="read 11 tensors"),
    Kind(
        shown="safetensors",
        content=_is,
        name="w.safetensors",
        save=save_file,
        line="read 11 tensors",
    ),
    Kind(
        shown="safetensors under any name",
        content=_is,
        name="w.bin",
        save=save_file,
        line="read 11 tensors",
    ),
    Kind(
        shown="torch.save's format before 1.6",
        content=_is,
        save=lambda made, path: torch.save(made, path, _use_new_zipfile_serialization=False),
        line="read 11 tensors",
    ),
    Kind(
        shown="PyTorch's tutorial, with optimiser and loss",
        content=_tutorial,
        line="read model_state_dict",
    ),
    Kind(
        shown="DataParallel or DDP, with arguments",
        content=_parallel,
        line="read state_dict, dropped prefix 'module.'",
    ),
    Kind(
        shown="Lightning",
        content=_lightning,
        name="w.ckpt",
        line="read state_dict, dropped prefix 'model.', left 2 keys of losses and metrics unread",
    ),
    Kind(
        shown="Lightning, network called net",
        content=_in("state_dict", prefix="net."),
        line="read state_dict, dropped prefix 'net.'",
    ),
    Kind(
        shown="torch.compile",
        content=_in(prefix="_orig_mod."),
        line="read 11 tensors, dropped _orig_mod.",
    ),
    Kind(
        shown="DDP around Lightning around torch.compile",
        content=_in("state_dict", prefix="module.model._orig_mod."),
        line="read state_dict, dropped prefix 'module.model.', dropped _orig_mod.",
    ),
    Kind(
        shown="torch.compile of a part",
        content=lambda state: {
            name.replace("features.", "features._orig_mod."): t for name, t in state.items()
        },
        line="read 11 tensors, dropped _orig_mod.",
    ),
    Kind(shown="nnU-Net v2", content=_nnunet, line="read network_weights"),
    Kind(shown="MedMNIST's scripts", content=_in("net"), line="read net"),
    Kind(
        shown="wrappers in wrappers",
        content=_in("checkpoint", "model", "params", prefix="network."),
        line="read checkpoint.model.params, dropped prefix 'network.'",
    ),
    Kind(
        shown="a prefix of one's own",
        content=_in("state_dict", prefix="my_encoder.inner."),
        line="read state_dict, dropped prefix 'my_encoder.inner.'",
    ),
    Kind(
        shown="BatchNorm's counters missing",
        content=_without_counters,
        line="read 10 tensors, filled 1 num_batches_tracked with 0",
    ),
    Kind(
        shown="timm, with averaged weights",
        content=lambda state: {"state_dict": state, "state_dict_ema": other(state)},
        line="read state_dict, left 11 EMA keys unread",
    ),
    Kind(
        shown="timm, the averaged weights",
        content=lambda state: {"state_dict": other(state), "model_ema": state},
        part="model_ema",
        line="read model_ema",
    ),
    Kind(
        shown="averages among the names",
        content=lambda state: {**state, **prefixed(other(state), "model_ema.module.")},
        line="read 22 tensors, left 11 EMA keys unread",
    ),
    Kind(
        shown="torch's AveragedModel",
        content=lambda state: {"n_averaged": torch.tensor(4), **prefixed(state, "module.")},
        line="read 12 tensors, dropped prefix 'module.', left 1 EMA keys unread",
    ),
    Kind(
        shown="DINO, mean teacher",
        content=lambda state: {
            "student": prefixed(other(state), "module.backbone."),
            "teacher": prefixed(state, "backbone.") | {"head.mlp.weight": torch.ones(3)},
        },
        part="teacher.backbone",
        line="read teacher, dropped prefix 'backbone.', left 1 other keys unread",
    ),
    Kind(
        shown="averages alone",
        content=lambda state: {"ema_state_dict": state, "step": 5},
        line="read ema_state_dict",
    ),
    Kind(
        shown="half precision",
        content=lambda state: {
            name: t.half() if t.is_floating_point() else t for name, t in state.items()
        },
        line="read 11 tensors",
        values="half",
    ),
)
"""Every kind that is read."""


def write(kind: Kind, folder: Path) -> Path:
    """Write a file of a kind."""
    path = folder / kind.name
    kind.save(kind.content(network().state_dict()), path)
    return path
