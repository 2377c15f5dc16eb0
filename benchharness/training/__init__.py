"""Training: recipes, the weights that they begin from, and the loop that follows them."""

from __future__ import annotations

from benchharness.training.loop import EpochReport, Job, train

__all__ = ["EpochReport", "Job", "train"]
