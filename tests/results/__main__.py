"""Make, complete and describe results/medmnist3d.

python -m tests.results run       measure what is missing, stage after stage; stop it at any time
python -m tests.results missing   say which cells are missing and what they would cost
python -m tests.results pack      write records and predictions into one file of under 5 MB
python -m tests.results write     write the tables of docs/results.md and of the folder's README,
                                  and draw the plots
"""

from __future__ import annotations

import sys

from rich.console import Console

from benchharness.run import runner
from benchharness.run.progress import Display
from benchharness.store import baseline
from benchharness.store.merging import merge
from benchharness.store.opening import open_source
from tests.results import page
from tests.results.missing import missing, table
from tests.results.stages import HOME, ROOT, configs

PACKED = HOME / "records.zip"
LARGEST = 5 * 10**6
"""Bytes of the packed records and predictions."""

_PAGE = """# Results

What training buys on MedMNIST3D, hippocampi and phantoms, with 95 % intervals. Every number between
the markers is written by `python -m tests.results write` from `results/medmnist3d/records.zip`.
"""
_README = """# MedMNIST3D, trained for robustness

`make results` measures what is missing here, in stages of which each leaves a complete table. It
begins with `records.zip`. Weights are not in there: those that a missing cell needs are trained
again. On a machine of the same kind they are the same to the bit, and what is recorded of them is
skipped; elsewhere they may differ in their last bits, and then their cells are measured anew.
"""


def unpack() -> None:
    """Put the packed records into the store, which a fresh clone begins without."""
    if PACKED.exists():
        merge([PACKED], HOME)


def run() -> None:
    """Measure every stage that lacks a cell; what is recorded of the same weights is kept."""
    for name, config in configs():
        (stage,) = missing([(name, config)])
        if stage.why or not stage.missing:
            print(f"stage: {name}: {stage.why or 'complete'}", flush=True)  # noqa: T201
            continue
        print(f"stage: {name}: {stage.missing} of {stage.cells} cells", flush=True)  # noqa: T201
        summary = runner.run(config, Display(Console()))
        for failure in summary.failures:
            print(f"  failed: {failure}", flush=True)  # noqa: T201


def pack() -> None:
    """Pack the store; refuse what is too large to be committed."""
    content = baseline.pack(open_source(HOME))
    if len(content) > LARGEST:
        sys.exit(f"the packed records have {len(content) / 1e6:.1f} MB, at most {LARGEST / 1e6}")
    saved = baseline.save(open_source(HOME), PACKED)
    print(f"{len(saved.records())} records, {saved.size / 1e6:.2f} MB: {PACKED}")  # noqa: T201


def write() -> None:
    """Write what follows from the packed records, and what is missing."""
    page.write(ROOT / "docs" / "results.md", page.render(PACKED), blank=_PAGE)
    page.draw(PACKED, HOME / "plots")
    lacking = table(missing(configs()))
    text = f"## Missing\n\n{lacking}\n\n## Checkpoints\n\n{page.checkpoints(PACKED)}"
    page.write(HOME / "README.md", text, blank=_README)


def main() -> None:
    """Do what was typed."""
    steps = {
        "run": run,
        "missing": lambda: print(table(missing(configs()))),  # noqa: T201
        "pack": pack,
        "write": write,
    }
    if len(sys.argv) != 2 or sys.argv[1] not in steps:
        sys.exit(__doc__)
    unpack()
    steps[sys.argv[1]]()


if __name__ == "__main__":
    main()
