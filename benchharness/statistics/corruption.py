"""What corruptions do to a network, from stored predictions alone.

Corruption errors follow Hendrycks and Dietterich, "Benchmarking neural network robustness to common
corruptions and perturbations", ICLR 2019, on plain error (1 − accuracy) and, as MedMNIST-C (Di
Salvo et al., 2024), on balanced error (1 − balanced accuracy). An undefined number is None and says
why; it is never NaN and never 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.errors import BenchError
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchharness.store.predictions import Predictions

    Value = tuple[float | None, str]
    """A number and "", or None and the reason."""

HEADINGS: dict[str, str] = {
    "ce": "CE",
    "relative_ce": "Relative CE",
    "balanced_ce": "Balanced CE",
    "relative_balanced_ce": "Relative balanced CE",
    "error": "Error",
    "balanced_error": "Balanced error",
    "auc_drop": "AUC drop",
    "flip_rate": "Flip rate",
    "ece": "ECE",
    "brier": "Brier",
}
"""Every measure of `measures`, as a heading. The first four are relative to the reference."""


def measures(
    clean: Predictions,
    corrupted: Sequence[Predictions],
    reference_clean: Predictions | None,
    reference: Sequence[Predictions],
    *,
    lacking: str = "",
) -> dict[str, Value]:
    """Every measure of one network under one artefact.

    Args:
        clean: The network on clean volumes.
        corrupted: The network at each severity, on the same volumes in the same order.
        reference_clean: The reference network on clean volumes; None where there is none.
        reference: The reference network at the same severities.
        lacking: Why there is no reference; empty where there is one.

    Returns:
        By the names of `HEADINGS`. `error`, `balanced_error`, `ece` and `brier` are means over the
        severities, `auc_drop` is the clean AUC less the mean AUC, `flip_rate` the mean share of
        volumes whose predicted class is another than on the clean volume.

    Raises:
        BenchError: When predictions are of different volumes.
    """
    for other in corrupted:
        _same_volumes(clean, other)
    before, own = _values(clean), [_values(one) for one in corrupted]
    flips = [metrics.flip_rate(clean.logits, one.logits) for one in corrupted]
    found: dict[str, Value] = {
        "error": _mean([_error(values, "accuracy") for values in own]),
        "balanced_error": _mean([_error(values, "balanced_accuracy") for values in own]),
        "auc_drop": _drop(before, own),
        "flip_rate": _mean([(rate, "" if rate is not None else "no volumes") for rate in flips]),
        "ece": _mean([values["ece"] for values in own]),
        "brier": _mean([values["brier"] for values in own]),
    }
    groups = None
    if reference_clean is not None:
        for other in (reference_clean, *reference):
            _same_volumes(clean, other)
        groups = ([before], own, [_values(reference_clean)], [_values(one) for one in reference])
    for prefix, metric in (("", "accuracy"), ("balanced_", "balanced_accuracy")):
        ratios: tuple[Value, Value] = ((None, lacking), (None, lacking))
        if groups is not None:
            ratios = _ratios(groups, metric)
        found[f"{prefix}ce"], found[f"relative_{prefix}ce"] = ratios
    return {name: found[name] for name in HEADINGS}


def means(by_artefact: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    """Each measure as its mean over artefacts: CE becomes mCE.

    An artefact whose denominator vanishes has no ratio for any network; it is left out for all
    alike, and the second part of the value names it.

    Returns:
        A number and which artefacts it leaves out, or None and the reason.
    """
    found: dict[str, Value] = {}
    for name in HEADINGS:
        values = {artefact: own[name] for artefact, own in by_artefact.items()}
        known = [value for value, _ in values.values() if value is not None]
        reasons: dict[str, list[str]] = {}
        for artefact, (value, reason) in values.items():
            if value is None:
                reasons.setdefault(reason, []).append(artefact)
        said = "; ".join(f"{', '.join(who)}: {why}" for why, who in reasons.items())
        if known:
            found[name] = float(np.mean(known)), f"without {said}" if said else ""
        else:
            whole = next(iter(reasons), "no artefact applies")
            found[name] = None, whole if len(reasons) < 2 else said
    return found


def _values(predictions: Predictions) -> dict[str, Value]:
    values, undefined = metrics.compute(predictions.labels, predictions.logits)
    return {name: (value, undefined.get(name, "")) for name, value in values.items()}


def _error(values: Mapping[str, Value], metric: str) -> Value:
    value, reason = values[metric]
    return (None, reason) if value is None else (1 - value, "")


def _mean(values: Sequence[Value]) -> Value:
    numbers = [value for value, _ in values if value is not None]
    if len(numbers) < len(values) or not values:
        return None, next((reason for value, reason in values if value is None), "not run")
    return float(np.mean(numbers)), ""


def _drop(clean: Mapping[str, Value], corrupted: Sequence[Mapping[str, Value]]) -> Value:
    before, reason = clean["auc"]
    after, why = _mean([values["auc"] for values in corrupted])
    if before is None or after is None:
        return None, reason or why
    return before - after, ""


def _ratios(groups: Sequence[Sequence[Mapping[str, Value]]], metric: str) -> tuple[Value, Value]:
    """CE and relative CE on the error that belongs to a metric.

    Args:
        groups: Metrics of the network clean and corrupted, then of the reference alike.
        metric: Its name.
    """
    errors = [[_error(values, metric) for values in group] for group in groups]
    reason = next((why for group in errors for value, why in group if value is None), "")
    if reason:
        return (None, reason), (None, reason)
    own_clean, own, other_clean, other_errors = (
        [value for value, _ in group if value is not None] for group in errors
    )
    return (
        metrics.corruption_error(own, other_errors),
        metrics.relative_corruption_error(own, own_clean[0], other_errors, other_clean[0]),
    )


def _same_volumes(one: Predictions, other: Predictions) -> None:
    if not np.array_equal(one.ids, other.ids) or not np.array_equal(one.labels, other.labels):
        raise BenchError(
            f"corruption measures need predictions of the same volumes, got {len(one.ids)} and "
            f"{len(other.ids)} that differ. Run both on the same test set."
        )
