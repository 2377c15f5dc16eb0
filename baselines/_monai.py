"""Shared by all families: MONAI's network modules without torchvision, and checked arguments."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def monai_networks(name: str) -> ModuleType:
    """Import `monai.networks.nets.<name>` and keep torchvision out of the process.

    MONAI's package imports all of its networks, and two of them try `torchvision.models`. None of
    the networks here needs it, it takes seconds to load, and a torchvision built for another torch
    fails while registering its operators, which no `except ImportError` catches. A None in
    `sys.modules` is Python's own way to make an import fail cleanly, and MONAI takes the failure
    for "not installed". The entry lasts only for this import; a torchvision that is already loaded
    is left alone.

    Args:
        name: A module of `monai.networks.nets`, such as `"resnet"`.

    Returns:
        The module.
    """
    blocked = "torchvision" not in sys.modules
    if blocked:
        sys.modules["torchvision"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module(f"monai.networks.nets.{name}")
    finally:
        if blocked:
            del sys.modules["torchvision"]


def check_arguments(num_classes: int, in_channels: int) -> None:
    """Refuse counts that no network can be built from.

    Raises:
        ValueError: If either count is below 1.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}; give the label count")
    if in_channels < 1:
        raise ValueError(f"in_channels must be at least 1, got {in_channels}; grey volumes have 1")
