"""`bench check`: reproduce what the owner of a network got, or say where the pipelines part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness.datasets.base import SPLITS
from benchharness.errors import BenchError
from benchharness.networks import devices
from benchharness.outside.containment import loading
from benchharness.run import measuring
from benchharness.run.parity import expected
from benchharness.run.parity.by_logits import by_logits
from benchharness.run.parity.by_metric import by_metric
from benchharness.run.parity.subject import Subject
from benchharness.run.planning import plan
from benchharness.run.weights import untrained
from benchharness.store import parity, provenance

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.run.config import RunConfig
    from benchharness.run.parity.subject import Found
    from benchharness.run.planning import Job
    from benchharness.store.parity import Parity


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check found."""

    passed: bool
    lines: tuple[str, ...]
    """What to tell, a line each: the comparison, and what explains a difference."""


def check(
    config: RunConfig,
    expect: str,
    *,
    split: str = "test",
    tolerance: float | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Compare one network on one dataset with what its owner got elsewhere.

    A pass is written into the store of the config; a failure removes an earlier pass.

    Args:
        config: Names one network, with its weights, and one dataset; attacks and artefacts of it
            are left out.
        expect: As `expected.read` takes it.
        split: Which split was evaluated.
        tolerance: As `expected.read` takes it.
        note: Told what is being done.

    Raises:
        BenchError: As `plan` and `expected.read`, and where there is not one trained network.
    """
    if split not in SPLITS:
        raise BenchError(f"--split takes {', '.join(SPLITS)}, got {split!r}.")
    wanted = expected.read(expect, tolerance)
    job = _job(config, note)
    device = devices.resolve(config.device)
    setting = measuring.Setting(device=device, batch_size=config.batch_size)
    with loading(f"model {job.weights.model.name!r} on {job.dataset.name}"):
        network = measuring.load(job.weights, job.dataset, device).for_evaluation()
        subject = Subject(job, network, getattr(job.dataset, split), split, setting, note)
        if isinstance(wanted, expected.Metric):
            found = by_metric(subject, wanted)
        else:
            found = by_logits(subject, wanted)
    return _kept(config, job, found)


def _job(config: RunConfig, note: Callable[[str], None]) -> Job:
    """The clean job of the one network and dataset that the config names."""
    if config.shard is not None:
        raise config.shard.refuse("bench check", "It checks one network: take shard out.")
    planned = plan(replace(config, attacks=(), artefacts=(), attack_parameters=()))
    for remark in planned.notes:
        note(remark)
    if len(planned.jobs) != 1:
        names = ", ".join(f"{j.weights.model.name} on {j.dataset.name}" for j in planned.jobs)
        raise BenchError(
            f"bench check takes one network and one dataset, got {names}. Name one of each, and "
            "one training seed."
        )
    (job,) = planned.jobs
    if job.weights.broken:
        raise BenchError(f"{job.weights.model.name} cannot be checked: {job.weights.broken}.")
    if job.weights.to_train:
        raise untrained(job.weights, job.dataset, config)
    return job


def _kept(config: RunConfig, job: Job, found: Found) -> Verdict:
    """Write a pass into the store, or remove an earlier one."""
    key = parity.key_of(job.weights.model, job.weights.checkpoint, job.dataset.digest)
    if found.explanations:
        earlier = parity.withdraw(config.out, key)
        more = ("An earlier pass is withdrawn: later cells do not name it.",) if earlier else ()
        return Verdict(passed=False, lines=(found.line, *found.explanations, *more))
    passed = _parity(found)
    path = parity.save(config.out, key, passed)
    return Verdict(passed=True, lines=(found.line, f"passed; later cells name it: {path}"))


def _parity(found: Found) -> Parity:
    return parity.Parity(
        expected=found.expected,
        difference=found.difference,
        tolerance=found.tolerance,
        split=found.split,
        volumes=found.volumes,
        sha256=found.sha256,
        checked=provenance.now(),
    )
