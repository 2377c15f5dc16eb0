"""The harness as Python calls: `benchmark`, `train` and `compare`, each a name of `benchharness`.

They use the same engine, store, resume and certificates as the command line. `models` sorts out
what is handed over, `calls` makes a config of it and runs it, `results` shows what came out.
Nothing global is changed: no generator is seeded, no number of threads, dtype or style is set.
"""

from benchharness.api.calls import benchmark, compare, train
from benchharness.api.results import Comparison, Result, Trained

__all__ = ["Comparison", "Result", "Trained", "benchmark", "compare", "train"]
