"""What a user gets who runs a member: numbers, marks, and every check with its value and bound.

Each member is run alone through the public path of `bench run`, first with `pgd` and then with
`pgd,apgd_ce,square3d,noise_sign` into a copy of what that left.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchharness.errors import BenchError
from benchharness.report.collect import collect
from benchharness.run import config, runner
from benchharness.run.progress import Display
from tests.masking.base import weights_of
from tests.masking.truth import BUDGETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from tests.masking.member import Member

SUITES = {"pgd alone": "pgd", "four attacks": "pgd,apgd_ce,square3d,noise_sign"}
"""What the user asks for, by the name of the column."""
QUERIES = 300
"""Of `square3d`: fewer than a user's 5,000, so a masking has it easier to pass."""
BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number that a report shows."""

    suite: str
    condition: str
    """`pgd 2/255`, `clean`."""
    budget: str
    """A key of `BUDGETS`; empty for clean volumes."""
    judged: bool
    """Whether the rule is about it: it is clean, or made with the gradient."""
    accuracy: float | None
    """None where it was refused."""
    reasons: str
    """Why it is suspect, or was refused; empty where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One check of one cell or of the matrix."""

    suite: str
    where: str
    """The condition, or `matrix`."""
    name: str
    verdict: str
    value: float | None
    bound: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything about one network."""

    name: str
    numbers: tuple[Number, ...]
    checks: tuple[Seen, ...]

    @property
    def suites(self) -> tuple[str, ...]:
        """The runs that were made."""
        return tuple(suite for suite in SUITES if any(suite == n.suite for n in self.numbers))

    def of(self, suite: str) -> Measured:
        """One of the runs alone."""
        return Measured(
            name=self.name,
            numbers=tuple(one for one in self.numbers if one.suite == suite),
            checks=tuple(one for one in self.checks if one.suite == suite),
        )


def measure(
    member: Member,
    *,
    suites: Sequence[str] = tuple(SUITES),
    budgets: Sequence[str] = tuple(BUDGETS),
    stores: Path | None = None,
) -> Measured:
    """Run one member of the zoo.

    Args:
        member: The network.
        suites: Keys of `SUITES`.
        budgets: Keys of `BUDGETS`.
        stores: Where results folders are kept; a run takes up what it finds there. None keeps none.
    """
    flags = {
        "models": f"tests.masking.zoo:{member.name}",
        "datasets": "tests.masking.task:shapes",
        "checkpoint": [f"{member.name}={weights_of(member.weights)}"],
        "eps": ",".join(budgets),
        "batch_size": BATCH,
    }
    with _folder(stores, member.name) as folder:
        return run(member.name, folder, flags, suites)


def run(name: str, folder: Path, flags: dict[str, Any], suites: Sequence[str]) -> Measured:
    """Run something into results folders, one for each suite, and read what reports would show."""
    numbers: list[Number] = []
    checks: list[Seen] = []
    for suite in suites:
        try:
            found = _collected(results(folder, suite), SUITES[suite], flags)
        except BenchError as error:
            numbers.append(_refused(suite, str(error)))
            continue
        numbers += [_number(suite, row) for row in found.rows]
        checks += _checks(suite, found)
    return Measured(name=name, numbers=tuple(numbers), checks=tuple(checks))


def results(folder: Path, suite: str, *, copy: bool = True) -> Path:
    """The results folder of a suite; it begins as a copy of that of the suite before."""
    mine = folder / suite.replace(" ", "_")
    place = list(SUITES).index(suite)
    if copy and place and not mine.exists():
        before = results(folder, list(SUITES)[place - 1])
        if before.exists():
            shutil.copytree(before, mine)
    return mine


def _collected(folder: Path, attacks: str, flags: dict[str, Any]) -> Findings:
    settings = config.load(None, {**flags, "attacks": attacks, "out": folder, "device": "cpu"})
    if "square3d" in attacks:
        few = (("square3d", (("queries", QUERIES),)),)
        settings = dataclasses.replace(settings, attack_parameters=few)
    runner.run(settings, Display(Console(file=io.StringIO())))
    return collect(folder)


def _number(suite: str, row: Row) -> Number:
    severity = row.severity or 0.0
    near = [name for name, value in BUDGETS.items() if abs(value - severity) < 1e-9]
    access = row.record.facts.get("access")
    return Number(
        suite=suite,
        condition=row.condition,
        budget=near[0] if near else "",
        judged=row.key.kind == "none" or access in ("white box", "both") or not access,
        accuracy=row.record.metrics.get("accuracy"),
        reasons=row.suspicion or row.record.error or "",
    )


def _refused(suite: str, reason: str) -> Number:
    return Number(
        suite=suite, condition="all", budget="", judged=True, accuracy=None, reasons=reason
    )


def _checks(suite: str, found: Findings) -> Iterator[Seen]:
    of_records = [
        (row.condition, check)
        for row in (*found.rows, *found.controls)
        for check in row.record.certificate
    ]
    for where, check in [*of_records, *(("matrix", one.check) for one in found.checks)]:
        yield Seen(
            suite=suite,
            where=where,
            name=check.name,
            verdict=check.verdict,
            value=check.value,
            bound=check.bound,
            reason=check.reason,
        )


@contextmanager
def _folder(stores: Path | None, name: str) -> Iterator[Path]:
    if stores is not None:
        yield stores / name
        return
    with tempfile.TemporaryDirectory(prefix="masking") as folder:
        yield Path(folder)
