"""Charts as data, and as Vega-Lite for the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from benchharness.errors import BenchError
from benchharness.report.charts.chart import Axis, Chart, Mark, Panel
from benchharness.report.charts.looks import COLOURS, look
from benchharness.report.choice import Choice
from benchharness.report.collect import collect
from benchharness.report.page import charts, runtime
from benchharness.report.page.payload import script_json
from benchharness.report.plots import costs, styles
from benchharness.report.plots.canvas import drawn, render
from benchharness.report.plots.conditions import compared
from benchharness.report.plots.guessing import chance
from benchharness.report.plots.reliability import reliabilities
from benchharness.report.plots.severities import curves
from benchharness.report.scoring.subjects import together
from benchharness.statistics import metrics
from tests.factories import Made, store_of, whole_matrix

DATA = "adrenalmnist3d"
PGD = Made(perturbation="pgd", severity=8 / 255, correct=0.2, n=20)


def marks_of(spec, kind):
    return [layer for layer in spec["layer"] if layer["mark"]["type"] == kind]


def test_every_chart_gives_a_model_the_same_colour_in_both_drawings(full_store):
    findings = collect(full_store)
    for chart in (
        curves(findings, DATA, "linf", "accuracy"),
        costs.against_cost(findings, DATA, "flops"),
        *compared(findings, DATA, "accuracy"),
        *reliabilities(findings, DATA),
    ):
        for own in chart.looks:
            assert own == look(findings, own.model)
        wanted = {own.model: own.colour for own in chart.looks}
        spec = charts.specification(chart, chart.shown[0])
        scale = spec["encoding"]["color"]["scale"]
        assert dict(zip(scale["domain"], scale["range"], strict=True)) == wanted
        axes = drawn(chart).axes[0]
        used = {line.get_color() for line in axes.get_lines()} | {
            to_hex(colour).upper()
            for collection in axes.collections
            for colour in collection.get_edgecolors()
        }
        assert set(wanted.values()) <= used


def test_colours_can_be_seen_on_white_and_on_dark():
    def luminance(colour):
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark = luminance("#14171a")
    for colour in COLOURS:
        assert 1.05 / (luminance(colour) + 0.05) >= 3
        assert (luminance(colour) + 0.05) / (dark + 0.05) >= 3


def test_a_dumbbell_joins_the_clean_score_to_the_perturbed_one(make_store):
    findings = collect(make_store(Made(n=20, correct=0.8), PGD))
    chart = costs.against_cost(findings, DATA, "latency")
    (mark,) = chart.panels[0].marks
    assert (mark.x, chart.panels[0].x.title) == (12.5, "Latency (ms for one volume)")
    found = Made(n=20, correct=0.8).predictions()
    assert mark.clean.value == metrics.correct(found.labels, found.logits).mean()
    assert mark.score.value < mark.clean.value
    spec = charts.specification(chart, chart.panels[0])
    (value,) = spec["data"]["values"]
    assert (value["y"], value["clean"]) == (mark.score.value, mark.clean.value)
    rule = next(
        one for one in marks_of(spec, "rule") if one["encoding"].get("y2") == {"field": "y"}
    )
    assert rule["encoding"]["y"]["field"] == "clean"


def test_a_cost_that_nobody_measured_is_said_and_not_drawn(make_store):
    findings = collect(make_store(PGD))
    assert list(costs.against_costs(findings, DATA)) == []
    assert costs.not_measured(findings, DATA) == "Not measured: parameters, FLOPs, latency."
    assert costs.not_measured(collect(make_store(Made(n=20))), DATA) == ""


def test_panels_without_a_value_are_left_out(make_store, tmp_path):
    failed = Made(perturbation="motion", severity=1, error="NaN logits", n=20)
    findings = collect(make_store(Made(n=20), PGD, failed))
    chart = costs.against_cost(findings, DATA, "parameters")
    assert [panel.title for panel in chart.shown] == ["Under L∞ attacks"] * 2
    assert len(drawn(chart).axes) == 2
    with pytest.raises(BenchError, match="there is nothing to draw"):
        drawn(replace(chart, panels=()))
    alone = collect(store_of(tmp_path / "alone", [Made(n=20), failed]).directory)
    (clean, _) = costs.against_cost(alone, DATA, "parameters").shown
    assert clean.title == "Clean"


def test_chance_is_the_commonest_class_and_half_an_auc(make_store):
    findings = collect(make_store(Made(n=10, labels=[0] * 7 + [1] * 3)))
    found = [chance(findings, DATA, m) for m in ("accuracy", "auc", "balanced_accuracy")]
    assert found == [0.7, 0.5, 0.5]
    assert chance(findings, None, "accuracy") is None


def test_a_reliability_diagram_sums_to_the_calibration_error(make_store):
    made = Made(n=60, correct=0.7)
    findings = collect(make_store(made))
    (chart,) = reliabilities(findings, DATA)
    (panel,) = chart.panels
    error = sum(mark.weight * abs(mark.score.value - mark.x) for mark in panel.marks)
    found = made.predictions()
    values, _ = metrics.compute(found.labels, found.logits)
    assert error == pytest.approx(values["ece"])
    assert sum(mark.weight for mark in panel.marks) == pytest.approx(1)
    assert all(mark.score.low < mark.score.high for mark in panel.marks)


def test_models_stand_side_by_side_and_tooltips_keep_the_place(full_store):
    findings = collect(full_store)
    chart = costs.against_cost(findings, DATA, "flops")
    first, second = charts.specification(chart, chart.panels[0])["data"]["values"]
    assert first["x"] < 2.5 < second["x"]
    assert first["at"] == second["at"] == "2.5"
    lines = curves(findings, DATA, "mr", "accuracy")
    values = charts.specification(lines, lines.panels[0])["data"]["values"]
    level = [value["x"] for value in values if value["where"].endswith("level 3")]
    assert len(set(level)) == 2
    assert level == pytest.approx([3, 3], abs=0.1)


def test_names_are_readable_and_suspects_hollow(make_store):
    doubtful = replace(PGD, failed_check="gradients vanish")
    bias = Made(perturbation="bias_field", severity=2, n=20)
    findings = collect(make_store(Made(n=20), doubtful, bias))
    titles = {panel.title for panel in curves(findings, DATA, "mr", "accuracy").panels}
    assert any(title.startswith("Bias field") for title in titles)
    chart = curves(findings, DATA, "linf", "accuracy")
    spec = charts.specification(chart, chart.panels[0])
    suspects = [value["suspect"] for value in spec["data"]["values"]]
    assert suspects[0] == ""
    assert "gradients vanish" in suspects[1]
    (points,) = marks_of(spec, "point")
    assert points["encoding"]["fill"]["condition"]["test"] == "datum.suspect"
    assert {"field": "suspect", "type": "nominal", "title": "Suspect"} in points["encoding"][
        "tooltip"
    ]


def test_the_specification_and_the_csv_hold_the_same_numbers(full_store):
    chart = curves(collect(full_store), DATA, "mr", "auc")
    frame = chart.frame()
    for panel in chart.shown:
        values = charts.specification(chart, panel)["data"]["values"]
        lines = frame[frame.panel == panel.title]
        assert [value["y"] for value in values] == lines.value.tolist()
        ends = [value.get("low") for value in values]
        assert ends == pytest.approx(lines.low.tolist(), abs=1e-4, nan_ok=True)


def test_no_name_ends_the_element_that_holds_a_specification():
    mark = Mark(model="</script><b>", x=1.0, score=_score(0.5), where='"]</script>')
    own = replace(_look(), model="</script><b>")
    panel = Panel(
        title="<i>",
        x=Axis(title="", low=0, high=2, ticks=((1.0, "</script>"),)),
        y="y",
        marks=(mark,),
    )
    chart = Chart(
        name="n",
        title="</script>",
        caption="",
        kind="conditions",
        looks=(own,),
        panels=(panel,),
        across=1,
    )
    text = script_json(charts.specification(chart, panel))
    assert "<" not in text
    assert json.loads(text)["data"]["values"][0]["where"] == '"]</script>'


def _score(value):
    from benchharness.report.cells.score import Score

    return Score(value=value)


def _look():
    from benchharness.report.charts.looks import Look

    return Look(model="m", colour=COLOURS[0], marker="o")


def test_the_runtime_ends_no_element_and_loads_nothing():
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")
    text = runtime.script()
    assert "</script" not in text
    assert "window.vegaEmbed" in text
    assert len(text) < 1_000_000
    assert not re.search(r"""(?:src|href)\s*=\s*["']https?:""", text)


def test_without_the_extra_the_page_has_pictures(monkeypatch):
    monkeypatch.setattr(runtime, "available", lambda: False)
    assert runtime.script() == ""


@pytest.mark.parametrize(("width", "inches"), [("column", 3.5), ("page", 7.2), ("5.5", 5.5)])
def test_figures_are_as_wide_as_asked(full_store, width, inches):
    choice = Choice.of(style="paper", width=width)
    figure = drawn(curves(collect(full_store), DATA, "mr", "accuracy"), choice)
    assert figure.get_figwidth() == inches
    assert figure.get_suptitle() == ""
    assert figure.axes[0].xaxis.label.get_size() == 7


def test_the_fonts_of_a_pdf_are_embedded_and_the_style_changes_no_colour(full_store, tmp_path):
    own = tmp_path / "own.mplstyle"
    own.write_text("font.size: 6\naxes.prop_cycle: cycler('color', ['red'])\npdf.fonttype: 3\n")
    chart = curves(collect(full_store), DATA, "linf", "auc")
    plot = render(chart, Choice.of(style=str(own), formats=["pdf"]))
    assert [kind for kind, _ in plot.files] == ["pdf"]
    assert b"/FontFile2" in plot.files[0][1]
    assert b"/Type3" not in plot.files[0][1]
    lines = drawn(chart, Choice.of(style=str(own))).axes[0].get_lines()
    assert {own.colour for own in chart.looks} <= {line.get_color() for line in lines}


@pytest.mark.parametrize(
    ("style", "width", "message"),
    [
        ("papr", "", "unknown style of figures 'papr'. Did you mean 'paper'"),
        ("none.mplstyle", "", "--style cannot read none.mplstyle"),
        ("report", "wide", r"--width got 'wide'. Type column \(3.5 inches\)"),
        ("report", "0.2", "--width got '0.2'"),
        ("report", "nan", "--width got 'nan'"),
    ],
)
def test_a_style_or_width_that_is_none_is_one_line(style, width, message):
    with pytest.raises(BenchError, match=message) as caught:
        styles.check(style, width)
    assert "\n" not in str(caught.value)


def test_seeds_are_faint_and_their_mean_is_not(make_store):
    seeds = whole_matrix(models=("resnet3d_18",), seeds=(0, 1), n=20)
    findings = collect(make_store(*seeds))
    assert together(findings, DATA, "resnet3d_18").seeds == (0, 1)
    chart = curves(findings, DATA, "mr", "accuracy")
    kinds = {
        value["seed"] for value in charts.specification(chart, chart.panels[0])["data"]["values"]
    }
    assert kinds == {"all", "0", "1"}
