"""Charts of the page, as a reader meets them."""

from __future__ import annotations

import re

import pytest

from benchharness.report.charts.looks import COLOURS
from tests.browser import stores
from tests.browser.conftest import PHONE

pytestmark = pytest.mark.browser

CHART = "#chart-parameters_adrenalmnist3d"


def drawn(page, chart=CHART):
    """The views of a chart, once Vega has drawn them."""
    page.locator(chart).scroll_into_view_if_needed()
    views = page.locator(f"{chart} .view")
    for number in range(views.count()):
        views.nth(number).scroll_into_view_if_needed()
        page.wait_for_function(
            "([chart, n]) => document.querySelectorAll(`${chart} .view`)[n].dataset.drawn",
            arg=[chart, number],
        )
    return views


def points(page, chart=CHART):
    """How many points a chart shows."""
    return page.locator(f"{chart} .view .mark-symbol path").count()


def test_every_chart_is_drawn_without_a_word_on_the_console(opened):
    with opened() as (page, watched):
        names = page.eval_on_selector_all(".chart", "found => found.map(one => one.id)")
        assert len(names) >= 8
        for name in names:
            views = drawn(page, f"#{name}")
            assert views.count() == views.locator("svg.marks").count() > 0
            assert page.locator(f"#{name} .still").is_hidden()
        assert watched.complaints == []
        assert len(watched.requests) == 1


def test_a_legend_hides_a_model_in_every_chart(opened):
    with opened() as (page, _):
        drawn(page)
        drawn(page, "#chart-curves_adrenalmnist3d_mr_accuracy")
        before = points(page), points(page, "#chart-curves_adrenalmnist3d_mr_accuracy")
        button = page.locator(f"{CHART} .legend button", has_text="resnet3d_18")
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        page.wait_for_function(
            "([chart, n]) => document.querySelectorAll(`${chart} .mark-symbol path`).length < n",
            arg=[CHART, before[0]],
        )
        # Two artefacts, each at clean and at three levels.
        other = points(page, "#chart-curves_adrenalmnist3d_mr_accuracy")
        assert (before[0] - points(page), before[1] - other) == (4, 8)
        button.click()
        page.wait_for_function(
            "([chart, n]) => document.querySelectorAll(`${chart} .mark-symbol path`).length === n",
            arg=[CHART, before[0]],
        )


def test_a_point_says_its_interval_and_why_it_is_suspect(opened):
    with opened() as (page, _):
        chart = "#chart-curves_adrenalmnist3d_linf_accuracy"
        drawn(page, chart)
        label = page.locator(f"{chart} .view").nth(0).locator(".mark-symbol path")
        hollow = [
            n for n in range(label.count()) if label.nth(n).get_attribute("fill") == "#ffffff"
        ]
        assert len(hollow) == 2  # PGD of the last model at two budgets
        label.nth(hollow[0]).hover(force=True)
        tooltip = page.locator("#vg-tooltip-element")
        tooltip.wait_for(state="visible")
        said = tooltip.inner_text()
        assert re.search(r"0\.\d+ \[0\.\d+, 0\.\d+\]", said)
        assert "gradients vanish" in said
        assert "unet3d" in said


def test_names_from_outside_are_text(opened):
    with opened() as (page, watched):
        drawn(page, "#chart-reliability_adrenalmnist3d")
        names = page.locator("#chart-reliability_adrenalmnist3d .legend button")
        assert names.filter(has_text=stores.HOSTILE).count() == 1
        assert page.locator("img[src=x]").count() == 0
        assert watched.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_colours_of_the_page(opened, scheme):
    with opened(color_scheme=scheme) as (page, _):
        views = drawn(page)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        background = views.first.locator("svg.marks").evaluate(
            "svg => getComputedStyle(svg).backgroundColor"
        )
        assert background == paper
        light = sum(map(int, re.findall(r"\d+", paper))) > 600
        assert light == (scheme == "light")
        fills = page.eval_on_selector_all(
            f"{CHART} .mark-symbol path", "found => found.map(one => one.getAttribute('stroke'))"
        )
        assert set(fills) <= {colour.lower() for colour in COLOURS} | set(COLOURS)


def test_charts_follow_when_the_system_turns_dark(opened):
    with opened(color_scheme="light") as (page, _):
        drawn(page)
        paper = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(paper)
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(paper) != before
        page.wait_for_function(
            "chart => getComputedStyle(document.querySelector(`${chart} svg.marks`))"
            ".backgroundColor === getComputedStyle(document.body).backgroundColor",
            arg=CHART,
        )


def test_on_a_phone_panels_stand_below_each_other(opened):
    with opened(viewport=PHONE) as (page, _):
        views = drawn(page)
        boxes = [views.nth(number).bounding_box() for number in range(views.count())]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"] for box in boxes)
        assert len({round(box["x"]) for box in boxes}) == 1
        for svg in page.locator(f"{CHART} svg.marks").all():
            assert svg.bounding_box()["width"] <= PHONE["width"]


def test_without_scripts_the_pictures_are_there(opened):
    with opened(java_script_enabled=False) as (page, watched):
        assert page.locator(f"{CHART} .still").count() == 1
        assert page.locator(f"{CHART} .still").get_attribute("alt").startswith("Accuracy and AUC")
        assert page.locator(".chart .legend").count() == 0
        assert watched.complaints == []
