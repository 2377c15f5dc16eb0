"""Training: recipes, the weights that they begin from, and the loop that follows them.

Importing any module of this package loads torch, even recipes. Nothing is lost by that: whoever
takes a recipe takes its preprocessing, and builds networks next.
"""

from __future__ import annotations

from benchharness.training.loop import EpochReport, Job, train

__all__ = ["EpochReport", "Job", "train"]
