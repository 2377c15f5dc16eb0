"""Pending cells → evaluate → append: progress, failures and resume."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchharness import training
from benchharness.errors import CellError
from benchharness.networks import checkpoints, costs, devices
from benchharness.run import evaluation
from benchharness.run.planning import plan
from benchharness.statistics import metrics
from benchharness.store import provenance
from benchharness.store.cells import ACCURACY_ONLY, CLEAN, describe
from benchharness.store.folder import Store
from benchharness.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from benchharness.networks.classifier import Classifier
    from benchharness.run.config import RunConfig
    from benchharness.run.planning import Plan, Work
    from benchharness.run.progress import Display
    from benchharness.store.cards import ModelCard
    from benchharness.store.cells import Cell
    from benchharness.store.predictions import Predictions
    from benchharness.store.records import ModelCost
    from benchharness.training.loop import EpochReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a run did."""

    evaluated: int
    """Cells measured now."""
    recorded: int
    """Cells of the plan that were recorded before."""
    trained: int
    """Checkpoints trained now."""
    failures: tuple[str, ...]
    """One line for each cell or training that failed."""
    skipped: int = 0
    """Cells that were not started because `stop` said so."""


def run(
    config: RunConfig, display: Display, *, stop: Callable[[], bool] = lambda: False
) -> Summary:
    """Run every cell of a config that is not recorded yet.

    Args:
        config: What to run.
        display: Where progress is shown.
        stop: Asked before every training and every cell; once it says so, no other is started.

    Raises:
        BenchError: For anything a user can get wrong; nothing has been written then.
    """
    device = devices.resolve(config.device)
    if config.compile:
        devices.check_compiler(device)
    planned = plan(config)
    store = Store(config.out)
    store.records()  # A store that cannot be read is refused before it is locked.
    for note in planned.notes:
        display.note(note)
    with store.writing(), display:
        session = _Run(config=config, plan=planned, store=store, device=device, display=display)
        return session.go(stop)


def train(config: RunConfig, display: Display) -> Summary:
    """Train every checkpoint of a config that is not there yet.

    Raises:
        BenchError: As `run`.
    """
    device = devices.resolve(config.device)
    planned = plan(config)
    store = Store(config.out)
    with store.writing(), display:
        session = _Run(config=config, plan=planned, store=store, device=device, display=display)
        for work in planned.work:
            session.located(work)
    return session.summary(recorded=0)


class _Run:
    """One run under the store's lock."""

    def __init__(
        self, *, config: RunConfig, plan: Plan, store: Store, device: str, display: Display
    ) -> None:
        self.config, self.plan, self.store = config, plan, store
        self.device, self.display = device, display
        devices.keep_memory()
        found = store.recorded()
        self.recorded, self.damaged = set(found.sound), found.damaged
        self.digests: dict[Path, str | None] = {}
        self.failures: list[str] = []
        self.evaluated = self.trained = self.skipped = 0

    def go(self, stop: Callable[[], bool]) -> Summary:
        before = sum(self._is_recorded(cell) for cell in self.plan.cells)
        self.display.start(total=len(self.plan.cells), done=before)
        for work in self.plan.work:
            if all(self._is_recorded(cell) for cell in work.cells):
                continue
            if work.to_train and stop():
                self.skipped += len(work.cells)
                continue
            cells = self.located(work)
            if cells is None:
                self.display.advance(len(work.cells))
                continue
            pending = [cell for cell in cells if not self._is_recorded(cell)]
            before += len(cells) - len(pending) if work.cells[0].pending else 0
            self._evaluate(replace(work, cells=cells), pending, stop)
        return self.summary(recorded=before)

    def summary(self, *, recorded: int) -> Summary:
        return Summary(
            evaluated=self.evaluated,
            recorded=recorded,
            trained=self.trained,
            failures=tuple(self.failures),
            skipped=self.skipped,
        )

    def located(self, work: Work) -> tuple[Cell, ...] | None:
        """Its cells with every checkpoint known; trains what is missing, None if that fails."""
        cells = work.cells
        if work.to_train:
            digest = self._digest(work)
            if digest is None:
                return None
            cells = tuple(cell.trained(digest) for cell in cells)
        if work.source is not None and work.source.to_train:
            digest = self._digest(work.source)
            if digest is None:
                return None
            cells = tuple(cell.source_trained(digest) for cell in cells)
        return cells

    def _digest(self, work: Work) -> str | None:
        """Digest of the weights, trained once; None when the training failed."""
        if work.weights not in self.digests:
            card = self._train(work)
            self.digests[work.weights] = None if card is None else card.sha256
        return self.digests[work.weights]

    def _is_recorded(self, cell: Cell) -> bool:
        return cell.identity in self.recorded

    def _train(self, work: Work) -> ModelCard | None:
        """Train one checkpoint; None when the training failed, which is then noted."""
        assert work.recipe is not None
        assert work.seed is not None
        name = f"{work.model.name} on {work.dataset.name}"
        self.display.note(
            f"training {name}: no checkpoint in {self.config.out} yet "
            f"(recipe {work.recipe.name}, seed {work.seed})"
        )
        job = training.Job(
            model=work.model,
            dataset=work.dataset,
            recipe=work.recipe,
            seed=work.seed,
            directory=work.weights.parent,
            initial=work.initial,
        )
        try:
            with self.display.task(f"train {name}", total=work.recipe.epochs) as task:

                def report(epoch: EpochReport) -> None:
                    auc = "–" if epoch.val_auc is None else f"{epoch.val_auc:.3f}"
                    task.reach(
                        epoch.epoch,
                        f"loss {epoch.loss:.3f}, val AUC {auc} (best {epoch.best_val_auc:.3f})",
                        seconds_left=epoch.seconds_left,
                    )

                card = training.train(job, device=self.device, report=report)
        except CellError as error:
            self._failed(f"training {name}: {error}")
            return None
        self.trained += 1
        return card

    def _evaluate(self, work: Work, pending: list[Cell], stop: Callable[[], bool]) -> None:
        if not pending:
            return
        compiled = self.config.compile
        classifier = self._load(work).for_evaluation(compiled=compiled)
        source = (
            None
            if work.source is None
            else self._load(work.source).for_evaluation(compiled=compiled)
        )
        for index, cell in enumerate(pending):
            if stop():
                self.skipped += len(pending) - index
                return
            if reason := self.damaged.get(cell.identity):
                self.display.note(f"{describe(cell)} was recorded, but is run again: {reason}")
            with self.display.task(describe(cell), total=len(work.split)) as task:
                record = self._record(cell, work, classifier, source, task.advance)
            self.store.append(record)
            if record.status == "ok":
                self.recorded.add(cell.identity)
            self.evaluated += 1
            self.display.advance(1)
            if record.error is not None:
                self._failed(f"{describe(cell)}: {record.error}")

    def _load(self, work: Work) -> Classifier:
        return checkpoints.load_classifier(
            work.model,
            work.weights,
            num_classes=work.dataset.num_classes,
            in_channels=work.dataset.in_channels,
            device=self.device,
        )

    def _cost(self, cell: Cell, work: Work) -> ModelCost | None:
        """What the network costs as its author wrote it; known of clean cells."""
        if cell.perturbation != CLEAN:
            return None
        channels, depth, height, width = work.split.volumes.shape[1:]
        return costs.measure(self._load(work), (channels, depth, height, width))

    def _before(self, cell: Cell, work: Work) -> tuple[Predictions, ...] | None:
        """What tells which volumes `--accuracy-only` leaves out; None where none are."""
        smaller = dict(cell.perturbation.parameters).get(ACCURACY_ONLY)
        if smaller is None:
            return None
        needed = [
            other
            for other in work.cells
            if other.perturbation == CLEAN
            or (other.perturbation.name == cell.perturbation.name and _is_in(other, smaller))
        ]
        for other in needed:
            if not self._is_recorded(other):
                raise CellError(f"it rests on {describe(other)}, which failed")
        records = self.store.records()
        return tuple(self.store.predictions(records[other.identity]) for other in needed)

    def _record(
        self,
        cell: Cell,
        work: Work,
        classifier: Classifier,
        source: Classifier | None,
        progress: Callable[[int], None],
    ) -> Record:
        batch_size = self.config.batch_size or devices.batch_size(self.device, work.dataset.grid)
        made = provenance.collect(self.device) | {
            "started": provenance.now(),
            "batch_size": batch_size,
            "compiled": self.config.compile,
        }
        if work.dataset.preparation:
            made["preparation"] = dict(work.dataset.preparation)
        began = time.perf_counter()

        def record(**findings: Any) -> Record:
            seconds = round(time.perf_counter() - began, 3)
            empty: dict[str, Any] = {
                "metrics": {},
                "undefined": {},
                "certificate": (),
                "facts": {},
                "cost": None,
                "predictions": None,
                "error": None,
            }
            return Record(cell=cell, provenance=made | {"seconds": seconds}, **(empty | findings))

        try:
            found = evaluation.evaluate(
                cell,
                classifier,
                work.split,
                self.plan.perturbations.get(cell.perturbation.name),
                batch_size=batch_size,
                source=source,
                before=self._before(cell, work),
                progress=progress,
                val=work.dataset.val,
            )
        except CellError as error:
            return record(status="error", error=str(error))
        except Exception as error:
            # A user's network may raise anything; the other cells are worth having all the same.
            return record(status="error", error=_in_one_line(error))
        if found.predictions is None:
            return record(
                status="ok",
                metrics=dict.fromkeys(metrics.NAMES),
                undefined=dict.fromkeys(metrics.NAMES, found.inapplicable),
                facts=found.facts,
            )
        values, undefined = metrics.compute(found.predictions.labels, found.predictions.logits)
        return record(
            status="ok",
            metrics=values | dict.fromkeys(found.undefined),
            undefined=undefined | found.undefined,
            certificate=found.certificate,
            facts=found.facts,
            cost=self._cost(cell, work),
            predictions=self.store.save_predictions(cell, found.predictions),
        )

    def _failed(self, line: str) -> None:
        self.failures.append(line)
        self.display.note(f"failed: {line}")


def _is_in(cell: Cell, severities: object) -> bool:
    return isinstance(severities, tuple) and cell.perturbation.severity in severities


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def recorded_identities(store: Store) -> set[str]:
    """Cells that need not run again: measured, with their predictions as they were recorded."""
    return set(store.recorded().sound)
