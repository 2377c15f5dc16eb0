"""Where the work of a run is done: in this process, in several of this machine, or on a cluster.

`engine` says what an engine is and `choose` picks one. `tasks` are what it sends, `worker` performs
them, and `schedule` decides who does what next. The driver, `run.runner`, is the same for all, and
the store's one writer.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from benchharness import machine
from benchharness.errors import BenchError
from benchharness.networks import devices
from benchharness.run import measuring
from benchharness.run.engines import auto, cluster
from benchharness.run.engines.local import Local
from benchharness.run.engines.serial import Serial
from benchharness.run.values import flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.run.config import RunConfig
    from benchharness.run.engines.engine import Engine
    from benchharness.run.planning import Plan


_OF_RAY = ("address", "cpus_per_worker", "gpus_per_worker")
"""Config keys that only a cluster has."""

_MOST = 16
"""Workers for each core; more are a typing mistake."""


def check(config: RunConfig) -> None:
    """Find out early whether the engine of a run can work here at all.

    Raises:
        BenchError: When a device or the compiler does not work, or the models cannot leave this
            process.
    """
    if config.engine == "ray":
        _check_ray(config)
        return
    for field in fields(config):
        if field.name in _OF_RAY and getattr(config, field.name) != field.default:
            raise BenchError(
                f"{flag(field.name)} is for a cluster. Add --engine ray, or take it out."
            )
    found = devices.several(config.device)
    if config.compile:
        devices.check_compiler(found[0])
    for device in found:
        devices.check_precision(config.precision, device)
    if config.workers not in (None, 1) or len(found) > 1:
        _refuse_objects(config, "workers= and take one device")
    most = _MOST * machine.cores()
    if isinstance(config.workers, int) and config.workers > most:
        raise BenchError(
            f"--workers must be at most {most} here, {_MOST} for each core, got {config.workers}. "
            "Type --workers auto for the number that suits this machine."
        )
    if isinstance(config.workers, int) and config.workers < len(found):
        raise BenchError(
            f"--workers {config.workers} leaves {len(found) - config.workers} of {len(found)} "
            f"devices idle ({', '.join(found)}). Name fewer devices, or more workers."
        )


def _check_ray(config: RunConfig) -> None:
    if "," in config.device or config.device == devices.ALL or config.device.startswith("cuda:"):
        raise BenchError(
            f"--device {config.device} names GPUs of this machine, and Ray gives each worker its "
            "own. Type --device cuda, and --gpus-per-worker N for more or less than one."
        )
    if config.device == "cpu" and config.gpus_per_worker:
        raise BenchError("--device cpu leaves --gpus-per-worker idle. Keep one of the two.")
    if config.device not in ("auto", "cpu", "cuda"):
        devices.resolve(config.device)
    if not (config.gpus_per_worker or config.device == "cuda"):
        devices.check_precision(config.precision, "cpu")
    _refuse_objects(config, "engine=")
    cluster.library()


def _refuse_objects(config: RunConfig, leave: str) -> None:
    """Refuse networks that are objects of this process.

    Raises:
        BenchError: When there is one.
    """
    if config.given:
        raise BenchError(
            f"{config.given[0].name} was handed over as an object, which other processes cannot "
            f"see. Leave out {leave}, or name its factory: 'package.module:factory'."
        )


def choose(config: RunConfig, plan: Plan, note: Callable[[str], None]) -> Engine:
    """The engine of a run that `check` has passed, not started yet.

    Args:
        config: What was asked for.
        plan: What is to be done.
        note: Told in one line how the engine works, where the user should know.
    """
    if config.engine == "ray":
        # Imported on use: the package may be absent.
        from benchharness.run.engines.ray import Ray

        return Ray(config, plan, note)
    found = devices.several(config.device)
    count, why = len(found), ""
    if config.workers == "auto":
        if found[0] == "cpu":
            setting = measuring.Setting(
                device="cpu", batch_size=config.batch_size, compiled=config.compile
            )
            choice = auto.decide(auto.measure(plan, setting))
            count, why = choice.workers, f": {choice.reason}"
        else:
            why = ": one for each device"
    elif config.workers is not None:
        count = config.workers
    engine = _local(found, count, why) if count > 1 else Serial(found[0], plan)
    if engine.about:
        note(engine.about)
    elif why:
        note(f"one worker, in this process{why}")
    return engine


def _local(found: tuple[str, ...], count: int, why: str) -> Engine:
    """Workers that take the devices in turn, or share the cores."""
    threads = max(1, machine.cores() // count)
    placed = [found[place % len(found)] for place in range(count)]
    if found[0] == "cpu":
        each = machine.own_threads() or threads
        how = f"{each} thread{'s' if each > 1 else ''} each"
    else:
        how = f"on {', '.join(placed)}"
    return Local(placed, threads=threads, about=f"{count} workers, {how}{why}")
