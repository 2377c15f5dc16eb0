"""Ranks of many models, in groups that the volumes cannot tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchharness.statistics.paired import holm, mcnemar_exact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchharness.statistics.basis import Booleans


def rank_groups(values: Sequence[float], different: Booleans) -> tuple[int, ...]:
    """Rank models in groups that cannot be told apart from their best member.

    Models are taken from best to worst. The best opens group 1. Each of the others joins the
    current group, or opens the next if it differs from the current group's opener. So openers of
    neighbouring groups differ, and no member differs from its group's opener. Members of
    neighbouring groups may still be indistinguishable.

    Args:
        values: (M,), more is better.
        different: (M, M), symmetric: whether two models are told apart.

    Returns:
        The group of each model, 1 the best, in the order given.
    """
    order = sorted(range(len(values)), key=lambda index: -values[index])
    groups, opener, group = [0] * len(values), -1, 0
    for index in order:
        if opener < 0 or different[opener, index]:
            opener, group = index, group + 1
        groups[index] = group
    return tuple(groups)


def indistinguishable_groups(correct: Booleans, alpha: float = 0.05) -> tuple[int, ...]:
    """Rank models by accuracy in groups: exact McNemar on every pair, Holm over all pairs.

    Args:
        correct: (M, N), which of N volumes each of M models classified correctly.
        alpha: Chance that any two equally good models are told apart.

    Returns:
        The group of each model, 1 the best; `rank_groups` says what a group means.
    """
    firsts, seconds = np.triu_indices(len(correct), k=1)
    tests = [mcnemar_exact(correct[i], correct[j]) for i, j in zip(firsts, seconds, strict=True)]
    different = np.zeros((len(correct), len(correct)), dtype=np.bool_)
    different[firsts, seconds] = np.array(holm([test.p_value for test in tests])) < alpha
    return rank_groups(correct.mean(axis=1).tolist(), different | different.T)
