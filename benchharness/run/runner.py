"""A plan → records: train what is missing, measure what is not recorded, append each result.

A run resumes by leaving out what is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.run import engines, measuring
from benchharness.run.cutting import share_of_cells, share_of_trainings
from benchharness.run.driver import Driver
from benchharness.run.engines.serial import Serial
from benchharness.run.ledger import Ledger
from benchharness.store import outlines
from benchharness.store.folder import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchharness.run.config import RunConfig
    from benchharness.run.planning import Plan
    from benchharness.run.progress import Display
    from benchharness.run.summary import Summary


def run(
    config: RunConfig, display: Display, *, stop: Callable[[], bool] = lambda: False
) -> Summary:
    """Run every cell of a config that is not recorded yet.

    Args:
        config: What to run.
        display: Where progress is shown.
        stop: Asked before every training and every cell; nothing more is started once it is true.

    Raises:
        BenchError: For anything a user can get wrong; nothing has been written then.
    """
    engines.check(config)
    planned = share_of_cells(config)
    Store(config.out).records()  # A store that cannot be read is refused before it is locked.
    for note in planned.notes:
        display.note(note)
    ledger = _driven(config, planned, display, stop)
    return ledger.summary()


def train(config: RunConfig, display: Display) -> Summary:
    """Train every checkpoint of a config that is missing.

    Raises:
        BenchError: As `run`.
    """
    engines.check(config)
    planned = share_of_trainings(config)
    for note in planned.notes:
        display.note(note)
    return _driven(config, planned, display, None).summary(cells=False)


def recorded_identities(store: Store) -> set[str]:
    """Cells that need not run again: measured, with their predictions as they were recorded."""
    return set(store.recorded().sound)


def _driven(
    config: RunConfig, planned: Plan, display: Display, stop: Callable[[], bool] | None
) -> Ledger:
    """Do what a plan lacks; only its trainings where `stop` is None.

    An engine is chosen under the store's lock, and only where something is left for it: choosing
    may time a batch or reach for a cluster.
    """
    store = Store(config.out)
    with store.writing(), display:
        ledger = Ledger(planned, store, display.note)
        if ledger.has_work(cells=stop is not None):
            engine = engines.choose(config, planned, display.note)
        else:
            engine = Serial("cpu", planned)
        with engine:
            if planned.outline is not None:
                outlines.keep(store.directory, planned.outline)
            setting = measuring.Setting(
                device=engine.workers[0].device,
                batch_size=config.batch_size,
                compiled=config.compile,
            )
            Driver(planned, engine, ledger, setting, display, stop).drive()
    return ledger
