"""Robustness benchmarks for 3-D medical image classifiers.

```python
import benchharness as bh

result = bh.benchmark(net, "adrenalmnist3d", attacks=["pgd"], eps=["2/255"], artefacts=["motion"])
result.frame()
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

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


# A command that needs no torch does not wait for it.
__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submodules={"attacks"},
    submod_attrs={
        "api": ["Comparison", "Result", "Trained", "benchmark", "compare", "train"],
        "errors": ["BenchError"],
        "networks.classifier": ["Classifier"],
        "networks.preprocessing": ["Preprocessing"],
        "report": ["plots"],
        "store.frames": ["load_records"],
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
