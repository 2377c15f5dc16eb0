"""Attacks: perturbations that need the model, each within a budget and verified to be."""

from __future__ import annotations

from benchharness.attacks.base import Attack, Batch, Cost, Outcome, build, parameter

__all__ = ["Attack", "Batch", "Cost", "Outcome", "build", "parameter"]
