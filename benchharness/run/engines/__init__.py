"""Where the work of a run is done: in this process, in several of this machine, or on a cluster.

`engine` says what an engine is and `choose` picks one. `tasks` are what it sends, `worker` performs
them, and `schedule` decides who does what next. The driver, `run.runner`, is the same for all, and
the store's one writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.networks import devices
from benchharness.run.engines.serial import Serial

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.run.config import RunConfig
    from benchharness.run.engines.engine import Engine
    from benchharness.run.planning import Plan


def choose(config: RunConfig, plan: Plan, note: Callable[[str], None]) -> Engine:
    """The engine of a run, not started yet.

    Args:
        config: What was asked for.
        plan: What is to be done.
        note: Told in one line how the engine works, where the user should know.

    Raises:
        BenchError: When it cannot work here, or not with these models.
    """
    engine = _engine(config, plan)
    if engine.about:
        note(engine.about)
    return engine


def _engine(config: RunConfig, plan: Plan) -> Engine:
    return Serial(devices.resolve(config.device), plan)
