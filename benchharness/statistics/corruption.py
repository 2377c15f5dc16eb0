"""What corruptions do to a network, computed from stored predictions.

Corruption errors follow Hendrycks and Dietterich, "Benchmarking neural network robustness to common
corruptions and perturbations", ICLR 2019, on plain error (1 − accuracy) and, as MedMNIST-C (Di
Salvo et al., 2024), on balanced error (1 − balanced accuracy). An undefined number is None and says
why; it is never NaN and never 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from benchharness.errors import BenchError
from benchharness.statistics import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from benchharness.statistics.metrics import Labels, Logits

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
"""The headings of what `measures` returns. The first four are relative to the reference."""


class Answers(Protocol):
    """A network's output on named volumes, such as `Predictions` of a store."""

    @property
    def ids(self) -> NDArray[np.str_]:
        """(N,): the volumes' names."""
        ...

    @property
    def labels(self) -> Labels:
        """(N,)."""
        ...

    @property
    def logits(self) -> Logits:
        """(N, K)."""
        ...

    @property
    def metrics(self) -> tuple[metrics.Values, dict[str, str]]:
        """What `metrics.compute` gives for them."""
        ...


def measures(
    clean: Answers,
    corrupted: Sequence[Answers],
    reference_clean: Answers | None,
    reference: Sequence[Answers],
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
        A value for each name in `HEADINGS`. `error`, `balanced_error`, `ece` and `brier` are means
        over the severities, `auc_drop` is the clean AUC minus the mean AUC, and `flip_rate` is the
        mean share of volumes whose predicted class changed.

    Raises:
        BenchError: When the predictions are of different volumes.
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
    """Average each measure over artefacts: CE becomes mCE.

    An artefact whose denominator vanishes has no ratio for any network, so the mean leaves it out
    for all of them and names it in the second part of the value.

    Returns:
        For each measure a number and the artefacts it leaves out, or None and the reason.
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


def corruption_error(errors: Sequence[float], reference: Sequence[float]) -> Value:
    """Error summed over severities, relative to that of a reference network.

    CE = Σₛ e(model, s) / Σₛ e(reference, s): Hendrycks & Dietterich, "Benchmarking neural network
    robustness to common corruptions and perturbations", ICLR 2019. With e = 1 − balanced accuracy
    it is the BE of MedMNIST-C (Di Salvo et al., 2024).

    Args:
        errors: The network's error at each severity, in [0, 1].
        reference: The reference network's at the same severities.

    Returns:
        The ratio and "", or None and the reason.

    Raises:
        BenchError: When the severities differ in number, or there are none.
    """
    _check_severities(errors, reference)
    return _ratio(sum(errors), sum(reference), "the reference makes no error under the corruption")


def relative_corruption_error(
    errors: Sequence[float], clean: float, reference: Sequence[float], reference_clean: float
) -> Value:
    """Error that a corruption adds, relative to what it adds to a reference network's.

    Relative CE = Σₛ (e(model, s) − e(model)) / Σₛ (e(reference, s) − e(reference)), where the terms
    without s are clean errors; the source is that of `corruption_error`. Where the corruption does
    not harm the reference the ratio has no meaning: it would reward harm or explode.

    Args:
        errors: The network's error at each severity, in [0, 1].
        clean: Its error on clean volumes.
        reference: The reference network's error at the same severities.
        reference_clean: Its error on clean volumes.

    Returns:
        The ratio and "", or None and the reason.

    Raises:
        BenchError: When the severities differ in number, or there are none.
    """
    _check_severities(errors, reference)
    added = sum(error - clean for error in errors)
    added_to_reference = sum(error - reference_clean for error in reference)
    return _ratio(added, added_to_reference, "the corruption adds no error to the reference")


def _ratio(numerator: float, denominator: float, reason: str) -> tuple[float | None, str]:
    # Accuracies are multiples of 1/N; anything smaller than that is rounding.
    return (None, reason) if denominator < 1e-9 else (numerator / denominator, "")


def _check_severities(errors: Sequence[float], reference: Sequence[float]) -> None:
    if len(errors) != len(reference) or not errors:
        raise BenchError(
            f"a corruption error needs the same severities of both networks, got {len(errors)} of "
            f"the network and {len(reference)} of the reference. Run both over one grid."
        )


def _values(answers: Answers) -> dict[str, Value]:
    values, undefined = answers.metrics
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
    """CE and relative CE on one minus a metric.

    Args:
        groups: Metrics of the network clean and corrupted, then of the reference clean and
            corrupted.
        metric: The metric's name.
    """
    errors = [[_error(values, metric) for values in group] for group in groups]
    reason = next((why for group in errors for value, why in group if value is None), "")
    if reason:
        return (None, reason), (None, reason)
    own_clean, own, other_clean, other_errors = (
        [value for value, _ in group if value is not None] for group in errors
    )
    return (
        corruption_error(own, other_errors),
        relative_corruption_error(own, own_clean[0], other_errors, other_clean[0]),
    )


def _same_volumes(one: Answers, other: Answers) -> None:
    if not np.array_equal(one.ids, other.ids) or not np.array_equal(one.labels, other.labels):
        raise BenchError(
            f"corruption measures need predictions of the same volumes, got {len(one.ids)} and "
            f"{len(other.ids)} that differ. Run both on the same test set."
        )
