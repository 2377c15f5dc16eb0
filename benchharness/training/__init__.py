"""Training: recipes, the weights that they begin from, and the loop that follows them.

`recipes` has the settings, `initialisation` the weights to begin from, `loop` the training itself,
which ends in a checkpoint with its model card. Importing any of them loads torch.
"""

from __future__ import annotations

from benchharness.training.job import EpochReport, Job
from benchharness.training.loop import train

__all__ = ["EpochReport", "Job", "train"]
