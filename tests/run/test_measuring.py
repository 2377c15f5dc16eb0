"""A cell is measured from plain values, as another process would do it, and nothing is written."""

from __future__ import annotations

import dataclasses
import io
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from rich.console import Console

from benchharness.attacks.core import whole_gradient
from benchharness.run import config, measuring, runner
from benchharness.run.planning import plan
from benchharness.run.progress import Display
from benchharness.store.folder import Store
from tests import samples

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.run.measuring import Measured, Setting
    from benchharness.run.planning import Job, Plan

    Planned = tuple[config.RunConfig, Plan, Setting]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """A plan of a network with weights of no training, and how to measure it."""
    torch.manual_seed(0)
    torch.save(samples.tiny(2).state_dict(), tmp_path / "tiny.pth")
    flags = {
        "models": "tests.samples:tiny",
        "datasets": str(samples.write_archive(tmp_path / "data.npz")),
        "checkpoint": [f"tiny={tmp_path / 'tiny.pth'}"],
        "attacks": "fgsm",
        "eps": "8/255",
        "artefacts": "bias_field",
        "severities": "3",
        "limit": 6,
        "device": "cpu",
        "out": tmp_path / "out",
    }
    settings = config.load(None, flags)
    return settings, plan(settings), measuring.Setting(device="cpu")


def measure_all(job: Job, made: Plan, setting: Setting) -> list[Measured]:
    networks = measuring.networks_of(job, setting)
    return [
        measuring.measure(
            cell, job, made.perturbations.get(cell.perturbation.name), networks, setting
        )
        for cell in job.cells
    ]


def test_what_is_measured_without_a_store_is_what_the_run_records(planned: Planned) -> None:
    settings, made, setting = planned
    found = measure_all(made.jobs[0], made, setting)
    assert not settings.out.exists()
    assert runner.run(settings, Display(Console(file=io.StringIO()))).failures == ()
    store = Store(settings.out)
    assert len(found) == 3
    for measured in found:
        record = store.records()[measured.record.identity]
        assert measured.record.predictions is None
        assert measured.predictions is not None
        assert measured.predictions.to_bytes() == store.predictions(record).to_bytes()
        for name in ("cell", "status", "metrics", "undefined", "certificate", "facts", "error"):
            assert getattr(measured.record, name) == getattr(record, name)
        assert (measured.record.cost is None) == (record.cost is None)
        assert measured.record.provenance.keys() == record.provenance.keys()


def test_the_checks_of_the_whole_gradient_stand_with_attacks_that_follow_it(
    planned: Planned,
) -> None:
    settings, _, setting = planned
    made = plan(dataclasses.replace(settings, attacks=("fgsm", "square3d")))
    names = {
        measured.record.cell.perturbation.name: {c.name for c in measured.record.certificate}
        for measured in measure_all(made.jobs[0], made, setting)
    }
    whole = {whole_gradient.BETWEEN, whole_gradient.EACH, whole_gradient.SILENT}
    assert {name for name, found in names.items() if whole <= found} == {"fgsm"}
    assert not any(whole & found for name, found in names.items() if name != "fgsm")


def test_what_goes_in_and_what_comes_out_can_be_sent_to_another_process(planned: Planned) -> None:
    _, made, setting = planned
    sent = pickle.loads(pickle.dumps((made.jobs[0], made, setting)))
    here, there = measure_all(made.jobs[0], made, setting), measure_all(*sent)
    for one, other in zip(here, pickle.loads(pickle.dumps(there)), strict=True):
        assert one.record.identity == other.record.identity
        assert one.predictions is not None
        # Pickling changes the strides of an axis of length 1, which may choose other kernels.
        np.testing.assert_allclose(one.predictions.logits, other.predictions.logits, atol=1e-4)


def test_whatever_a_network_raises_becomes_a_record(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made, setting = planned
    job = made.jobs[0]
    networks = measuring.networks_of(job, setting)

    def broken(*_: object) -> None:
        raise ValueError("cannot\nanswer")

    monkeypatch.setattr(type(networks.judged), "forward", broken)
    measured = measuring.measure(job.cells[0], job, None, networks, setting)
    assert (measured.record.status, measured.record.error) == ("error", "ValueError: cannot answer")
    assert measured.predictions is None
    assert measured.record.metrics == {}


def test_a_cell_that_cannot_start_is_a_record_with_its_reason(planned: Planned) -> None:
    _, made, setting = planned
    job = made.jobs[0]
    setting = dataclasses.replace(setting, batch_size=5)
    record = measuring.failed(job.cells[1], job, setting, "it rests on another").record
    assert (record.status, record.error) == ("error", "it rests on another")
    assert (record.provenance["batch_size"], record.provenance["seconds"]) == (5, 0.0)
    assert record.from_line(record.to_line()) == record
