"""Pending cells → evaluate → append: progress, failures and resume."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness import checkpoints, devices, evaluation, metrics, provenance, training
from benchharness.cells import format_severity
from benchharness.errors import CellError
from benchharness.planning import plan
from benchharness.records import Record, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from benchharness.cells import Cell
    from benchharness.checkpoints import ModelCard
    from benchharness.classifier import Classifier
    from benchharness.config import RunConfig
    from benchharness.planning import Plan, Work
    from benchharness.progress import Display
    from benchharness.training import EpochReport


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


def run(config: RunConfig, display: Display) -> Summary:
    """Run every cell of a config that is not recorded yet.

    Raises:
        BenchError: For anything a user can get wrong; nothing has been written then.
    """
    device = devices.resolve(config.device)
    planned = plan(config)
    store = Store(config.out)
    store.records()  # A store that cannot be read is refused before it is locked.
    for note in planned.notes:
        display.note(note)
    with store.writing(), display:
        return _Run(config=config, plan=planned, store=store, device=device, display=display).go()


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
            if work.to_train:
                session.train(work)
    return session.summary(recorded=0)


class _Run:
    """One run under the store's lock."""

    def __init__(
        self, *, config: RunConfig, plan: Plan, store: Store, device: str, display: Display
    ) -> None:
        self.config, self.plan, self.store = config, plan, store
        self.device, self.display = device, display
        devices.keep_memory()
        self.failures: list[str] = []
        self.evaluated = self.trained = 0

    def go(self) -> Summary:
        recorded = recorded_identities(self.store)
        before = sum(cell.identity in recorded for cell in self.plan.cells)
        self.display.start(total=len(self.plan.cells), done=before)
        for work in self.plan.work:
            if all(cell.identity in recorded for cell in work.cells):
                continue
            cells = work.cells
            if work.to_train:
                card = self.train(work)
                if card is None:
                    self.display.advance(len(cells))
                    continue
                cells = tuple(cell.trained(card.sha256) for cell in cells)
            pending = [cell for cell in cells if cell.identity not in recorded]
            before += len(cells) - len(pending) if work.to_train else 0
            self._evaluate(work, pending)
        return self.summary(recorded=before)

    def summary(self, *, recorded: int) -> Summary:
        return Summary(
            evaluated=self.evaluated,
            recorded=recorded,
            trained=self.trained,
            failures=tuple(self.failures),
        )

    def train(self, work: Work) -> ModelCard | None:
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

    def _evaluate(self, work: Work, pending: list[Cell]) -> None:
        if not pending:
            return
        classifier = checkpoints.load_classifier(
            work.model,
            work.weights,
            num_classes=work.dataset.num_classes,
            in_channels=work.dataset.in_channels,
            device=self.device,
        )
        for cell in pending:
            with self.display.task(describe(cell), total=len(work.split)) as task:
                record = self._record(cell, work, classifier, task.advance)
            self.store.append(record)
            self.evaluated += 1
            self.display.advance(1)
            if record.error is not None:
                self._failed(f"{describe(cell)}: {record.error}")

    def _record(
        self, cell: Cell, work: Work, classifier: Classifier, progress: Callable[[int], None]
    ) -> Record:
        batch_size = self.config.batch_size or devices.batch_size(self.device, work.dataset.grid)
        source = provenance.collect(self.device) | {
            "started": provenance.now(),
            "batch_size": batch_size,
        }
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
            return Record(cell=cell, provenance=source | {"seconds": seconds}, **(empty | findings))

        try:
            found = evaluation.evaluate(
                cell,
                classifier,
                work.split,
                self.plan.perturbations.get(cell.perturbation.name),
                batch_size=batch_size,
                progress=progress,
            )
        except CellError as error:
            return record(status="error", error=str(error))
        except Exception as error:
            # A user's network may raise anything; the other cells are worth having all the same.
            return record(status="error", error=_in_one_line(error))
        values, undefined = metrics.compute(found.predictions.labels, found.predictions.logits)
        return record(
            status="ok",
            metrics=values,
            undefined=undefined,
            certificate=found.certificate,
            facts=found.facts,
            cost=found.cost,
            predictions=self.store.save_predictions(cell, found.predictions),
        )

    def _failed(self, line: str) -> None:
        self.failures.append(line)
        self.display.note(f"failed: {line}")


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def recorded_identities(store: Store) -> set[str]:
    """Cells that need not run again: recorded, and not as an error."""
    return {identity for identity, record in store.records().items() if record.status == "ok"}


def describe(cell: Cell) -> str:
    """A cell in a few words: `resnet3d_18 · phantom3d · pgd 8/255 · seed 0`."""
    perturbation = cell.perturbation
    what = "clean" if perturbation.kind == "none" else perturbation.name
    severity = format_severity(perturbation)
    seed = "own weights" if cell.checkpoint.seed is None else f"seed {cell.checkpoint.seed}"
    parts = (cell.model.name, cell.dataset.name, f"{what} {severity}".strip(), seed)
    return " · ".join(parts)
