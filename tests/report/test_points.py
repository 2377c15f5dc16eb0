"""Points and intervals inside a figure stand where their numbers are."""

from __future__ import annotations

import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from benchharness.report.cells.score import Score
from benchharness.report.charts.chart import Mark
from benchharness.report.charts.looks import Look
from benchharness.report.plots import points
from benchharness.report.plots.points import Placed

RED = Look(model="red", colour="#FF0000", marker="o")
BLUE = Look(model="blue", colour="#0000FF", marker="s")
NO_NUMBER = Score()


def placed(own, at, score, **others):
    return Placed(own, at, Mark(model=own.model, x=at, score=score, where="", **others))


def within(value, low, high, suspect=""):
    return Score(value=value, low=low, high=high, suspect=suspect)


def alone(value):
    return Score(value=value)


def panel():
    return Figure().subplots()


def lines(axes):
    """Every line of a panel: its colour and its ends."""
    return sorted(
        (to_hex(colour), *(tuple(round(float(v), 6) for v in end) for end in segment))
        for found in axes.collections
        if isinstance(found, LineCollection)
        for colour, segment in zip(found.get_colors(), found.get_segments(), strict=True)
    )


def markers(axes):
    """Every point above the intervals: its edge, its face and its place."""
    return sorted(
        (to_hex(edge), to_hex(face), *(round(float(v), 6) for v in place))
        for found in axes.collections
        if found.get_zorder() == 3
        for edge, face, place in zip(
            found.get_edgecolors(), found.get_facecolors(), found.get_offsets(), strict=True
        )
    )


def test_intervals_and_points_of_all_models_stand_where_their_numbers_are():
    axes = panel()
    points.scores(
        axes,
        [
            placed(RED, 1.0, within(0.5, 0.4, 0.7)),
            placed(BLUE, 2.0, within(0.25, 0.25, 0.5, suspect="masked")),
            placed(BLUE, 3.0, alone(0.75)),
            placed(RED, 4.0, NO_NUMBER),
        ],
    )
    assert lines(axes) == [
        ("#0000ff", (2.0, 0.25), (2.0, 0.5)),
        ("#ff0000", (1.0, 0.4), (1.0, 0.7)),
    ]
    assert markers(axes) == [
        ("#0000ff", "#0000ff", 3.0, 0.75),
        ("#0000ff", "#ffffff", 2.0, 0.25),
        ("#ff0000", "#ff0000", 1.0, 0.5),
    ]


def test_scores_that_lie_go_to_the_right():
    axes = panel()
    points.scores(axes, [placed(RED, 1.0, within(0.5, 0.4, 0.7))], lying=True)
    assert lines(axes) == [("#ff0000", (0.4, 1.0), (0.7, 1.0))]
    assert markers(axes) == [("#ff0000", "#ff0000", 0.5, 1.0)]


def test_a_score_along_the_axis_has_its_interval_there():
    axes = panel()
    points.scores(axes, [placed(RED, 0.8, within(0.5, 0.4, 0.7), along=within(0.8, 0.6, 0.9))])
    assert lines(axes) == [
        ("#ff0000", (0.6, 0.5), (0.9, 0.5)),
        ("#ff0000", (0.8, 0.4), (0.8, 0.7)),
    ]


def test_an_interval_that_rounding_left_beside_its_score_ends_at_it():
    axes = panel()
    points.scores(axes, [placed(RED, 1.0, within(0.5, 0.5 + 1e-12, 0.7))])
    ((_, low, _),) = lines(axes)
    assert low == (1.0, 0.5)


def test_a_clean_score_is_joined_to_its_score_and_a_seed_is_a_dot():
    axes = panel()
    points.joins(
        axes,
        [
            placed(RED, 1.0, alone(0.25), clean=alone(0.75)),
            placed(BLUE, 2.0, alone(0.5), clean=NO_NUMBER),
            placed(BLUE, 3.0, NO_NUMBER, clean=alone(0.5)),
        ],
    )
    assert lines(axes) == [("#ff0000", (1.0, 0.75), (1.0, 0.25))]
    points.seeds(
        axes, [placed(BLUE, 2.0, alone(0.5), seed=1), placed(BLUE, 3.0, NO_NUMBER, seed=2)]
    )
    dots = axes.collections[-1]
    assert to_hex(dots.get_facecolors()[0]) == "#0000ff"
    assert dots.get_offsets().tolist() == [[2.0, 0.5]]


@pytest.mark.parametrize("draw", [points.scores, points.joins, points.seeds])
def test_nothing_to_draw_draws_nothing(draw):
    axes = panel()
    draw(axes, [placed(RED, 1.0, NO_NUMBER)])
    assert not axes.collections
