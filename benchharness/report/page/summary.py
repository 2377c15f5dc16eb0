"""What was run in one sentence, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchharness import statistics
from benchharness.report.cells import names
from benchharness.report.cells.rows import patients
from benchharness.report.scoring import scores
from benchharness.report.scoring.conditions import UNPERTURBED
from benchharness.report.scoring.subjects import subjects
from benchharness.report.scoring.threats import threats
from benchharness.report.tables.layout import number
from benchharness.statistics import patients as by_patient
from benchharness.statistics import uncertainty
from benchharness.store.cells import describe_seed, format_budget, format_severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.score import Score
    from benchharness.report.scoring.conditions import Condition
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.scoring.threats import Threat

Tone = Literal["good", "bad", "plain"]

_LISTED = 4
"""Names that a sentence lists before it counts them."""
_SHOWN = 3
"""Datasets whose worst cases the first screen shows."""
_ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement of the verdict."""

    label: str
    """What it is about: `Suspect cells`, `Worst plausible artefact`."""
    value: str
    """The answer in a word or a number."""
    text: str
    """The answer in a sentence."""
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Held:
    """A model's worst case."""

    subject: Subject
    score: Score
    survived: NDArray[np.bool_]
    """(N,), volumes that nothing broke."""
    patients: NDArray[np.str_] | None
    where: str
    """The worst case in words."""


def sentence(findings: Findings) -> str:
    """What was run: models, recipes, seeds, datasets, perturbations, cells and errors."""
    keys = [row.key for row in findings.rows]
    attacks, artefacts = (
        len({key.name for key in keys if key.kind == kind}) for kind in ("attack", "artefact")
    )
    done = [
        _counted(attacks, "attack") if attacks else "",
        _counted(artefacts, "artefact") if artefacts else "",
    ]
    under = " and ".join(filter(None, done)) or "clean volumes alone"
    failed = sum(row.record.status == "error" for row in findings.rows)
    errors = f"{failed} of them failed" if failed else "none failed"
    return (
        f"{_named('model', findings.models)} {_trained(findings)} on {_data(findings)}, measured "
        f"under {under}: {_counted(len(findings.rows), 'cell')}, {errors}."
    )


def _trained(findings: Findings) -> str:
    made = [row.record.cell.checkpoint for row in findings.rows]
    recipes = sorted({one.recipe_name for one in made if one.recipe_name})
    seeds = {one.seed for one in made if one.seed is not None}
    if not recipes:
        return f"with {describe_seed(None)}"
    own = f" or {describe_seed(None)}" if any(one.recipe is None for one in made) else ""
    said = f" and {_counted(len(seeds), 'training seed')}" if len(seeds) > 1 else ""
    return f"with {_named('recipe', recipes)}{own}{said}"


def _data(findings: Findings) -> str:
    sizes = {row.dataset: row.record.cell.dataset for row in findings.rows}
    if len(sizes) > _LISTED:
        return f"{len(sizes)} datasets ({sum(key.count for key in sizes.values()):,} volumes)"
    return ", ".join(f"{key.name} ({_volumes(key.count, key.total)})" for key in sizes.values())


def _volumes(count: int, total: int) -> str:
    return f"{count:,} of {total:,} volumes" if count < total else _counted(count, "volume")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _named(noun: str, found: Sequence[str]) -> str:
    counted = _counted(len(found), noun)
    if len(found) == 1:
        return f"{noun} {found[0]}"
    return f"{counted} ({', '.join(found)})" if len(found) <= _LISTED else counted


def verdict(findings: Findings) -> tuple[Finding, ...]:
    """What to know before any number is read, then the worst cases of each dataset."""
    shown = findings.datasets[:_SHOWN]
    worst = [one for dataset in shown for one in _worst_cases(findings, dataset)]
    return (_suspects(findings), *_failures(findings), *worst)


def _suspects(findings: Findings) -> Finding:
    suspect = [row for row in findings.rows if row.suspicion]
    if not suspect:
        checked = any(row.record.certificate for row in findings.rows) or findings.checks
        return Finding(
            label="Suspect cells",
            value="none" if checked else "unchecked",
            text="Every check that applies has passed."
            if checked
            else "These cells carry no checks: nothing speaks for their numbers or against them.",
            tone="good" if checked else "plain",
        )
    where = _named("model", sorted({row.model for row in suspect}))
    return Finding(
        label="Suspect cells",
        value=f"{len(suspect)} of {len(findings.rows)}",
        text=f"A check failed, so these numbers must not be trusted or ranked: {where}. The matrix "
        "marks them with †; their panels say why.",
        tone="bad",
    )


def _failures(findings: Findings) -> Iterator[Finding]:
    failed = [row for row in findings.rows if row.record.status == "error"]
    if failed:
        yield Finding(
            label="Failed cells",
            value=f"{len(failed)} of {len(findings.rows)}",
            text=f"The first: {failed[0].model}, {failed[0].condition}: {failed[0].record.error}",
            tone="bad",
        )


def _worst_cases(findings: Findings, dataset: str) -> Iterator[Finding]:
    where = f" · {dataset}" if len(findings.datasets) > 1 else ""
    for threat in threats(findings, dataset):
        if threat.limit is None:
            plausible = "plausible " if all(c.plausible for c in threat.wanted) else ""
            title = f"Worst {plausible}artefact"
            hold = partial(_under_one, findings, threat.wanted)
        else:
            family = names.family("attack", threat.family)
            title = f"{family} up to {format_budget(threat.limit)}"
            hold = partial(_under_all, findings, threat, threat.limit)
        yield _best(findings, dataset, f"{title}{where}", hold)


def _best(
    findings: Findings, dataset: str, label: str, hold: Callable[[Subject], _Held | None]
) -> Finding:
    """Which model keeps most volumes in its worst case, and whether the next can be told apart."""
    every = [s for s in subjects(findings, dataset) if len(s.seeds) == 1]
    held = [found for subject in every if (found := hold(subject)) is not None]
    sound = sorted((h for h in held if not h.score.suspect), key=lambda h: -(h.score.value or 0))
    if not sound:
        why = "All models are suspect." if held else "No model has every cell."
        return Finding(label=label, value="not shown", text=why)
    left_out = len(every) - len(sound)
    note = f" {_counted(left_out, 'model')} left out: suspect or incomplete." if left_out else ""
    best, others = sound[0], sound[1:]
    if not best.score.value:
        text = f"Whatever the model, each of its volumes was broken.{note}"
        return Finding(label=label, value="no volume survives", text=text, tone="bad")
    kept = f"{number(best.score)} of its volumes are right {best.where}"
    return Finding(
        label=label, value=best.subject.label, text=f"{kept}{_against(best, others)}.{note}"
    )


def _against(best: _Held, others: Sequence[_Held]) -> str:
    if not others:
        return ""
    p_values = statistics.holm([_p_value(best, other) for other in others])
    near = [o for o, p in zip(others, p_values, strict=True) if p >= _ALPHA]
    following = others[0]
    if not near:
        return f" and is told apart from the next, {following.subject.label} {_plain(following)}"
    same = ", ".join(f"{o.subject.label} {_plain(o)}" for o in near[:_LISTED])
    more = f" and {len(near) - _LISTED} more" if len(near) > _LISTED else ""
    return f"; these volumes cannot tell it apart from {same}{more}"


def _plain(held: _Held) -> str:
    return f"({held.score.value:.3f})"


def _under_all(
    findings: Findings,
    threat: Threat,
    limit: float,
    subject: Subject,
) -> _Held | None:
    """The share of volumes that no attack up to a limit breaks."""
    wanted, witnessed = threat.wanted, threat.witnessed
    rows = scores.gather(findings, subject, subject.seeds[0], [UNPERTURBED, *wanted])
    score = scores.worst_case(findings, subject, wanted, limit, witnessed=witnessed)
    if not isinstance(rows, list) or score.value is None:
        return None
    return _Held(
        subject=subject,
        score=score,
        survived=scores.survivors(findings, rows, limit, witnessed=witnessed),
        patients=patients(rows),
        where="under all of them",
    )


def _under_one(findings: Findings, wanted: Sequence[Condition], subject: Subject) -> _Held | None:
    """The lowest accuracy among conditions."""
    rows = scores.gather(findings, subject, subject.seeds[0], wanted)
    if not isinstance(rows, list):
        return None
    found = [(findings.cell_scores.single(row, "accuracy"), row) for row in rows]
    score, row = min(found, key=lambda one: one[0].value or 0.0)
    correct = row.correct
    assert correct is not None
    return _Held(
        subject=subject,
        score=score,
        survived=correct,
        patients=patients([row]),
        where=f"under its worst, {names.condition(row, format_severity(row.key)).lower()}",
    )


def _p_value(first: _Held, second: _Held) -> float:
    if by_patient.with_several_volumes(first.patients) is None:
        return statistics.mcnemar_exact(first.survived, second.survived).p_value
    gaps = first.survived.astype(np.float64) - second.survived
    return uncertainty.p_value_of_gaps(gaps, first.patients)
