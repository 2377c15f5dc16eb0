import re
from dataclasses import replace

import matplotlib as mpl
import pytest

from benchharness.report.charts.looks import look
from benchharness.report.choice import Choice
from benchharness.report.collect import collect
from benchharness.report.plots.canvas import drawn, render
from benchharness.report.plots.costs import against_cost
from benchharness.report.plots.severities import curves
from benchharness.report.plots.tradeoff import tradeoffs
from benchharness.report.sections import sections
from tests.factories import Made, whole_matrix


def test_a_figure_is_the_same_twice_and_leaves_no_settings(full_store):
    before = dict(mpl.rcParams)
    first, second = (
        render(curves(collect(full_store), "adrenalmnist3d", "linf", "accuracy")) for _ in range(2)
    )
    assert (first.files, first.still) == (second.files, second.still)
    assert dict(mpl.rcParams) == before
    assert dict(first.files)["png"].startswith(b"\x89PNG")


def test_models_differ_in_colour_and_marker_and_keep_them(make_store):
    names = [f"model_{index:02}" for index in range(42)]
    findings = collect(make_store(*(Made(model=name, n=4) for name in names)))
    looks = {(own.colour, own.marker) for own in (look(findings, name) for name in names)}
    assert len(looks) == 42


def test_single_cells_gaps_and_suspects_can_be_drawn(make_store):
    attacked = Made(perturbation="pgd", severity=8 / 255, failed_check="gradients vanish")
    lone = replace(attacked, perturbation="fgsm", error="NaN logits")
    findings = collect(make_store(Made(), attacked, lone))
    drawn = {chart.name: render(chart) for s in sections(findings) for chart in s.charts}
    assert set(drawn) == {
        "parameters_adrenalmnist3d",
        "flops_adrenalmnist3d",
        "latency_adrenalmnist3d",
        "reliability_adrenalmnist3d",
        "curves_adrenalmnist3d_linf_accuracy",
        "curves_adrenalmnist3d_linf_auc",
    }
    assert all(dict(plot.files)["svg"].startswith(b"<?xml") for plot in drawn.values())


@pytest.mark.parametrize("style", ["report", "classic"])
def test_a_long_title_stays_inside_a_narrow_figure(make_store, style):
    long = replace(Made(), dataset="a_dataset_whose_name_is_long")
    attacked = replace(long, perturbation="pgd", severity=8 / 255)
    cells = (replace(one, model=name) for one in (long, attacked) for name in ("one", "two"))
    (chart,) = tradeoffs(collect(make_store(*cells)), "a_dataset_whose_name_is_long")
    figure = drawn(chart, Choice.of(style=style, width="column"))
    figure.draw_without_rendering()
    title = figure.get_suptitle()
    assert "\n" in title
    assert title.replace("\n", " ") == chart.title
    box = next(text for text in figure.texts if text.get_text() == title).get_window_extent()
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height


def test_svg_names_no_date_and_its_colours_are_the_palette(full_store):
    chart = against_cost(collect(full_store), "adrenalmnist3d", "parameters")
    svg = dict(render(chart).files)["svg"].decode().lower()
    assert "<dc:date>" not in svg
    assert {"#0072b2", "#d55e00"} <= set(re.findall(r"#[0-9a-f]{6}", svg))


def test_several_seeds_draw_each(make_store):
    seeds = whole_matrix(models=("resnet3d_18",), seeds=(0, 1), n=20)
    findings = collect(make_store(*seeds))
    one = curves(findings, "adrenalmnist3d", "mr", "accuracy")
    assert "several training seeds" in one.caption
