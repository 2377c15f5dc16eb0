"""Robustness benchmarks for 3-D medical image classifiers.

```python
import benchharness as bh

result = bh.benchmark(net, "adrenalmnist3d", attacks=["pgd"], eps=["2/255"], artefacts=["motion"])
result.frame()
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchharness.store.provenance import package_version

if TYPE_CHECKING:
    from benchharness import attacks
    from benchharness.api import Comparison, Result, Trained, benchmark, compare, train
    from benchharness.errors import BenchError
    from benchharness.networks.classifier import Classifier
    from benchharness.networks.preprocessing import Preprocessing
    from benchharness.report import plots
    from benchharness.store.frames import load_records

__version__ = package_version()

_PUBLIC = {
    "BenchError": "benchharness.errors:BenchError",
    "Classifier": "benchharness.networks.classifier:Classifier",
    "Comparison": "benchharness.api:Comparison",
    "Preprocessing": "benchharness.networks.preprocessing:Preprocessing",
    "Result": "benchharness.api:Result",
    "Trained": "benchharness.api:Trained",
    "attacks": "benchharness.attacks",
    "benchmark": "benchharness.api:benchmark",
    "compare": "benchharness.api:compare",
    "load_records": "benchharness.store.frames:load_records",
    "plots": "benchharness.report.plots",
    "train": "benchharness.api:train",
}
"""Imported when first used, so that a command that needs no torch does not wait for it."""

__all__ = [
    "BenchError",
    "Classifier",
    "Comparison",
    "Preprocessing",
    "Result",
    "Trained",
    "__version__",
    "attacks",
    "benchmark",
    "compare",
    "load_records",
    "plots",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    found = import_module(module)
    found = getattr(found, attribute) if attribute else found
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
