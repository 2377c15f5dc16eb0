"""Attacks: perturbations that need the model, each within a budget and verified to be."""

from __future__ import annotations

from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import CHECKING, Access, Attack, Batch, Cost, Outcome, build

__all__ = ["CHECKING", "Access", "Attack", "Batch", "Cost", "Outcome", "build", "parameter"]
