"""Records: what is known of a cell after it ran, as one JSON line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchharness.canonical import canonical_json
from benchharness.errors import BenchError
from benchharness.store import schema
from benchharness.store.cells import CONTROL_FAMILY, CONTROLS, Cell

NOT_APPLICABLE = "not applicable"
"""How the reasons begin where a perturbation changes no voxel of the dataset."""

Verdict = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of a certificate."""

    name: str
    """What was checked, in words: `norm within its bound`."""
    verdict: Verdict
    value: float | None = None
    """What was measured; None when not applicable."""
    bound: float | None = None
    """The limit for `value`; None where there is no such number."""
    reason: str = ""
    """Why it failed or does not apply; empty when passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A predictions file as a record names it."""

    path: str
    """Relative to the store's folder."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What a network costs, measured together with the clean cell."""

    parameters: int
    """Number of trainable and frozen parameters."""
    flops: int
    """Floating-point operations of a forward pass of one volume; a multiply-add counts as two."""
    latency_ms: float
    """Median milliseconds per volume in a batch of `latency_batch`, on the provenance's device."""
    latency_batch: int
    peak_memory_mib: float | None
    """Peak memory of a forward pass of that batch in MiB, weights included; None where the device
    does not report it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The result of one cell: metrics, certificate, provenance."""

    cell: Cell
    status: Literal["ok", "error"]
    metrics: dict[str, float | None]
    """Point values by name; None where undefined. Intervals are computed when reading."""
    undefined: dict[str, str]
    """The reason for each metric that is None."""
    certificate: tuple[Check, ...]
    """Record checks; empty for clean cells, and for artefacts that have none."""
    facts: dict[str, Any]
    """What the perturbation reports about itself: clipped fraction, effective protocol, …"""
    cost: ModelCost | None
    """None except in clean cells."""
    predictions: Stored | None
    """None when the cell failed, or its perturbation changes no voxel of the dataset."""
    provenance: dict[str, Any]
    """Device, batch size, versions, times, host: what may differ without changing the identity."""
    error: str | None
    """Why the cell failed, in one line; None when it did not."""
    schema: int = schema.SCHEMA

    @property
    def identity(self) -> str:
        """The cell's identity."""
        return self.cell.identity

    @property
    def doubts(self) -> tuple[str, ...]:
        """The failed record checks in words; a record with any must not be ranked."""
        return tuple(
            f"{check.name}: {check.reason}" if check.reason else f"{check.name} failed"
            for check in self.certificate
            if check.verdict == "failed"
        )

    @property
    def suspect(self) -> bool:
        """Whether a record check failed."""
        return bool(self.doubts)

    @property
    def control(self) -> bool:
        """Whether the cell only shows how far the other numbers can be trusted.

        Such are the checks of a checkpoint and every attack whose access to the network is `none`.
        A control is no result: it enters no mean, worst case, rank, plot or endpoint.
        """
        key = self.cell.perturbation
        return (
            key.family == CONTROL_FAMILY
            or key.name in CONTROLS
            or (key.kind == "attack" and self.facts.get("access") == "none")
        )

    @property
    def inapplicable(self) -> str:
        """Why the perturbation does not apply to the dataset; empty where it does."""
        if self.predictions is not None:
            return ""
        reasons = (why for why in self.undefined.values() if why.startswith(NOT_APPLICABLE))
        return next(reasons, "")

    def thresholds(self, classes: int) -> list[float | None] | None:
        """The threshold of each class that a clean cell froze on the validation volumes.

        None for a class that could not be told from the others there, and None where the record
        holds no thresholds for this number of classes.
        """
        found = self.facts.get("thresholds")
        values = found.get("by_class") if isinstance(found, dict) else None
        if not isinstance(values, list) or len(values) != classes:
            return None
        return [float(value) if isinstance(value, int | float) else None for value in values]

    def to_line(self) -> str:
        """The record as one line of JSON, without a newline; NaN and infinity raise ValueError."""
        payload = asdict(self)
        payload["cell"] = self.cell.to_json()
        payload["identity"] = self.identity
        return canonical_json(payload)

    @classmethod
    def from_line(cls, line: str) -> Record:
        """Read what `to_line` gave.

        Raises:
            BenchError: When the line is not a record, comes from a newer schema, or its identity
                does not follow from its cell.
        """
        payload = schema.parse(line)
        try:
            identity = payload.pop("identity")
            record = cls._from_json(payload)
            schema.check_types(record)
            expected = record.identity
        except schema.MISFIT as error:
            reason = f"{type(error).__name__}: {error}"
            raise BenchError(f"not a record of schema {schema.SCHEMA}: {reason}.") from error
        if identity != expected:
            raise BenchError(
                f"record {str(identity)[:12]} does not match its own cell ({expected[:12]}): the "
                "line was edited. Remove it and run again."
            )
        return record

    @classmethod
    def _from_json(cls, payload: dict[str, Any]) -> Record:
        cost, stored = payload["cost"], payload["predictions"]
        parts = {
            "cell": Cell.from_json(payload["cell"]),
            "certificate": tuple(Check(**check) for check in payload["certificate"]),
            "cost": None if cost is None else ModelCost(**cost),
            "predictions": None if stored is None else Stored(**stored),
        }
        return cls(**(payload | parts))
