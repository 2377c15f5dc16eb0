"""How models were trained beside what judges them: attacks, and artefacts seen and unseen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchharness.report.cells.score import INTERVALS, Score
from benchharness.report.scoring import scores, training
from benchharness.report.scoring.conditions import UNPERTURBED, conditions
from benchharness.report.scoring.subjects import subjects
from benchharness.report.tables.gains import Pair, gains
from benchharness.report.tables.layout import Line, score_table, text_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchharness.report.cells.findings import Findings
    from benchharness.report.scoring.conditions import Condition
    from benchharness.report.scoring.subjects import Subject
    from benchharness.report.tables.layout import Table


def tables(findings: Findings, dataset: str) -> Iterator[Table]:
    """All of them, where the models of a dataset were trained so."""
    of = [(s, training.settings(findings, s)) for s in subjects(findings, dataset, each=False)]
    if any(training.adversarial(recipe) for _, recipe in of):
        yield _judged(findings, dataset)
    subsets: dict[frozenset[str], dict[str, None]] = {}
    for _, recipe in of:
        if seen := training.artefacts(recipe):
            subsets.setdefault(seen, {})[str(recipe["name"])] = None
    for seen, names in subsets.items():
        if _artefacts(findings, dataset):
            yield _unseen(findings, dataset, seen, " and ".join(names), several=len(names) > 1)
    if any(training.robust(a) for _, a in of) and any(training.plain(b) for _, b in of):
        yield from _gains(findings, dataset)


def _judged(findings: Findings, dataset: str) -> Table:
    rows = []
    for subject in subjects(findings, dataset, each=False):
        recipe = training.settings(findings, subject)
        if not training.adversarial(recipe):
            rows.append((subject.label, training.trained_with(recipe), "", ""))
            continue
        found = training.strongest(findings, subject, recipe)
        weak = training.no_stronger(found, recipe)
        rows.append(
            (
                subject.label,
                training.trained_with(recipe),
                "none at this ε" if found is None else found.condition,
                "no stronger than what trained or chose it: add autoattack3d"
                if weak
                else "stronger",
            )
        )
    return text_table(
        f"Training of {dataset}",
        ("Model", "Trained with", "Strongest L∞ attack at that ε or above", "Judged by it"),
        rows,
        caption="An attack that is no stronger than the one in the training, by steps and "
        "restarts, overrates a network; a cascade is stronger.",
        kinds=("training",),
    )


def _artefacts(findings: Findings, dataset: str) -> list[tuple[str, Condition]]:
    """Name and condition of every artefact that was run."""
    rows = [row for row in findings.of(dataset) if row.key.kind == "artefact"]
    names = {row.condition: row.key.name for row in rows}
    families = dict.fromkeys(row.family for row in rows)
    return [
        (names[condition.label], condition)
        for family in families
        for condition in conditions(findings, dataset, family)
        if condition.label in names
    ]


def _groups(findings: Findings, dataset: str, seen: frozenset[str]) -> list[list[Condition]]:
    """The artefacts that were seen in training, and the others."""
    run = _artefacts(findings, dataset)
    return [
        [condition for name, condition in run if (name in seen) == whether]
        for whether in (True, False)
    ]


def _unseen(
    findings: Findings, dataset: str, seen: frozenset[str], recipe: str, *, several: bool
) -> Table:
    groups = _groups(findings, dataset, seen)
    counts = [len({condition.perturbation for condition in group}) for group in groups]
    lines, it = [], "them" if several else "it"
    for subject in subjects(findings, dataset):
        fields = [
            scores.mean(findings, subject, group, "accuracy")
            if group
            else Score(gap="none was run")
            for group in ([UNPERTURBED], *groups)
        ]
        lines.append(Line(names=(subject.label,), fields=tuple(fields)))
    return score_table(
        f"Artefacts seen and unseen in training on {dataset}",
        (
            "Model",
            "Clean",
            f"Seen by {recipe} ({counts[0]})",
            f"Unseen by {it} ({counts[1]})",
        ),
        lines,
        caption=f"Mean accuracy over artefacts and all their levels. {recipe} "
        f"{'train' if several else 'trains'} on "
        f"{', '.join(sorted(seen))}; the columns are the same artefacts for every model. "
        f"{INTERVALS}",
        kinds=("training",),
    )


def _gains(findings: Findings, dataset: str) -> Iterator[Table]:
    """Every recipe that trains for robustness against those of the same network that do not."""
    found = [
        (s, training.network(findings, s), training.settings(findings, s))
        for s in subjects(findings, dataset, each=False)
    ]
    words = Counter((network, training.trained_with(recipe)) for _, network, recipe in found)

    def called(subject: Subject, network: str, recipe: dict[str, object]) -> str:
        """The recipe in words, or the model's whole label where two settings share these words."""
        said = training.trained_with(recipe)
        return said if words[network, said] == 1 else subject.model

    yield from gains(
        findings,
        f"What training for robustness gains on {dataset}",
        ("Network", "Recipe", "Over", "On"),
        [
            Pair(
                names=(network, called(new, network, recipe), called(base, other, plain), where),
                new=new,
                base=base,
                conditions=labels,
            )
            for new, network, recipe in found
            for base, other, plain in found
            if other == network and training.robust(recipe) and training.plain(plain)
            for where, labels in _met(findings, dataset, recipe)
        ],
        kind="training",
        metrics=("accuracy",),
        said=" Artefacts: the mean over them and all their levels.",
    )


def _met(
    findings: Findings, dataset: str, recipe: dict[str, object]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a recipe is judged by, in words, and the labels of its conditions."""
    yield UNPERTURBED.label, (UNPERTURBED.label,)
    for condition in conditions(findings, dataset, "linf"):
        yield condition.label, (condition.label,)
    seen = training.artefacts(recipe)
    words = ("artefacts it saw", "artefacts it did not see") if seen else ("", "artefacts")
    for where, group in zip(words, _groups(findings, dataset, seen), strict=True):
        if labels := tuple(one.label for one in group if not one.inapplicable):
            yield where, labels
