"""Run, compare and report in one step; report what a limited budget cannot detect."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from benchharness import comparison, report
from benchharness.comparison import render
from benchharness.disk import explaining, write_atomically
from benchharness.errors import BenchError
from benchharness.outside import escaping
from benchharness.run import runner
from benchharness.store.folder import Store
from benchharness.store.opening import open_source

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.comparison import Settings, StoreComparison
    from benchharness.run.config import RunConfig
    from benchharness.run.progress import Display
    from benchharness.run.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the step found."""

    summary: Summary
    comparison: StoreComparison
    price: tuple[str, ...]
    """What the budget cost, a line for each endpoint; empty when everything was measured."""
    files: Path
    """The folder with `comparison.md`, `comparison.json` and `junit.xml`."""
    report: Path | None
    """The report's page; None when every cell failed."""

    @property
    def exit_code(self) -> int:
        """The comparison's; a failed cell fails the step as well."""
        return self.comparison.exit_code or int(bool(self.summary.failures))


def run(
    config: RunConfig,
    reference: Path,
    settings: Settings,
    display: Display,
    *,
    max_minutes: float | None = None,
    resume: bool = False,
) -> Outcome:
    """Run a config, compare its records with a baseline, and write comparison and report.

    Args:
        config: What to run; `limit` is the budget of volumes.
        reference: A baseline's file or a store's folder.
        settings: How to compare.
        display: Where progress is shown.
        max_minutes: No training and no cell starts after this many; None sets no limit.
        resume: Whether records already in `config.out` may be compared.

    Raises:
        BenchError: For anything that `runner.run`, `comparison.compare` or `report.write` refuse,
            and when `config.out` already holds records that may not be compared.
    """
    if max_minutes is not None and not max_minutes > 0:
        raise BenchError(f"--max-minutes must be more than 0, got {max_minutes:g}. Try 20.")
    if config.shard is not None:
        raise config.shard.refuse(
            "bench ci",
            "It judges a whole run. Run shares with bench run, join them with bench records merge, "
            "and judge the result with bench compare.",
        )
    base = open_source(reference)
    store = Store(config.out)
    if store.records() and not resume:
        raise BenchError(
            f"{config.out} holds records of an earlier run, and they would be compared instead of "
            "this code. Remove records.jsonl and predictions/ there, pass another --out, or add "
            "--resume to go on with an interrupted run of the same code."
        )
    settings.check()
    deadline = None if max_minutes is None else monotonic() + 60 * max_minutes
    summary = runner.run(
        config, display, stop=lambda: deadline is not None and monotonic() >= deadline
    )
    if not store.records():
        raise BenchError(
            f"no cell was measured: {summary.skipped} were not started within --max-minutes "
            f"{max_minutes}, {len(summary.failures)} failed. Allow more minutes."
        )
    result = comparison.compare(base, store, settings, names=(str(reference), str(config.out)))
    price = price_of_budget(result, skipped=summary.skipped)
    page = None
    if any(record.status == "ok" for record in store.records().values()):
        page = report.write(config.out).html
    files = config.out / "gate"
    _write(files, result, price)
    return Outcome(summary=summary, comparison=result, price=price, files=files, report=page)


def price_of_budget(result: StoreComparison, *, skipped: int = 0) -> tuple[str, ...]:
    """Which difference the measured part could detect, and which the whole would.

    Args:
        result: A comparison of what was measured.
        skipped: Cells that were not started in time.

    Returns:
        A line for each endpoint that was measured in part.
    """
    lines = [f"{skipped} cells were not started within the time given."] if skipped else []
    for endpoint in result.endpoints:
        if endpoint.judgement is None or (
            endpoint.n == endpoint.total and endpoint.cells == endpoint.of
        ):
            continue
        whole = (
            "one cell alone does not show what all of them would detect"
            if endpoint.complete is None
            else f"all of them would detect {endpoint.complete:.3f}"
        )
        lines.append(
            f"{endpoint.name}: {endpoint.n} of {endpoint.total} volumes and {endpoint.cells} of "
            f"{endpoint.of} cells detect a difference of {endpoint.judgement.detectable:.3f} with "
            f"80 % power; {whole}."
        )
    return tuple(lines)


def _write(folder: Path, result: StoreComparison, price: tuple[str, ...]) -> None:
    budget = "".join(f"- {escaping.github(line)}\n" for line in price)
    markdown = render.markdown(result) + (f"\n**Budget**\n\n{budget}" if price else "")
    with explaining(f"to {folder}", "Pass another --out."):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("comparison.md", markdown),
            ("comparison.json", render.as_json(result)),
            ("junit.xml", render.junit(result)),
        ):
            write_atomically(folder / name, content.encode())
