"""The matrix and its panel: sorted, filtered, walked by keyboard."""

from __future__ import annotations

import pytest

from tests.browser.stores import HOSTILE, MODELS

pytestmark = pytest.mark.browser

MATRIX = ".screen .matrix"
ROWS = f"{MATRIX} tbody tr:not([hidden])"


def models(page):
    """The models of the rows that are shown, in their order."""
    return page.eval_on_selector_all(
        f"{ROWS} > th", "all => all.map(one => one.firstChild.data.trim())"
    )


def column(page, title):
    """What the shown rows say under a heading, as numbers; None where there is none."""
    return page.evaluate(
        """([rows, title]) => {
          const heads = [...document.querySelectorAll(".screen .matrix .levels th")];
          const place = heads.findIndex(one => one.textContent.includes(title));
          return [...document.querySelectorAll(rows)].map(row => {
            const text = row.cells[place + 1].textContent;
            return text === "" ? null : parseFloat(text);
          });
        }""",
        [ROWS, title],
    )


def heading(page, title):
    return page.locator(f"{MATRIX} .levels th", has_text=title).locator("button")


def focused(page):
    """The heading and the row of the cell that has the focus."""
    return page.evaluate(
        """() => {
          const cell = document.activeElement, row = cell.closest("tr");
          const heads = [...document.querySelectorAll(".screen .matrix .levels th")];
          return [row.cells[0].firstChild.data.trim(), heads[cell.cellIndex - 1].textContent];
        }"""
    )


def test_a_heading_sorts_down_then_up_then_not_at_all(opened):
    with opened() as (page, _):
        before = models(page)
        head = heading(page, "Motion, 5")
        head.click()
        falling = [one for one in column(page, "Motion, 5") if one is not None]
        assert falling == sorted(falling, reverse=True)
        assert len(set(falling)) > 2
        shown = page.locator(f"{MATRIX} th[aria-sort]")
        assert shown.get_attribute("aria-sort") == "descending"
        head.click()
        rising = [one for one in column(page, "Motion, 5") if one is not None]
        assert rising == sorted(falling)
        assert shown.get_attribute("aria-sort") == "ascending"
        head.click()
        assert models(page) == before
        assert shown.count() == 0


def test_what_was_not_run_sorts_last_in_both_directions(opened):
    with opened() as (page, _):
        for _ in range(2):
            heading(page, "Motion, 5").click()
            assert column(page, "Motion, 5")[-1] is None
            assert models(page)[-1] == HOSTILE


def test_filters_hide_rows_and_columns_and_say_how_many(opened):
    with opened() as (page, _):
        page.select_option("select[name=model]", MODELS[1])
        assert models(page) == [MODELS[1]]
        page.select_option("select[name=family]", label="L∞ attacks")
        heads = page.locator(f"{MATRIX} .levels th:visible").all_text_contents()
        assert [head.split(",")[0] for head in heads] == ["Clean", "PGD", "PGD"]
        assert page.locator(".tools output").text_content().startswith("1 of ")
        page.click(".tools button[type=reset]")
        page.wait_for_function(f"document.querySelectorAll('{ROWS}').length > 4")
        assert page.locator(f"{MATRIX} .levels th:visible").count() == 9


def test_the_address_keeps_what_was_chosen(opened):
    with opened() as (page, _):
        page.select_option("select[name=model]", MODELS[2])
        heading(page, "Clean").click()
        address = page.url
        assert "#matrix?" in address
        page.goto("about:blank")
        page.goto(address)
        assert models(page) == [MODELS[2]]
        assert page.locator(f"{MATRIX} th[aria-sort]").count() == 1


def test_another_metric_shows_other_numbers(opened):
    with opened() as (page, _):
        accuracy = column(page, "Motion, 5")
        page.select_option("select[name=metric]", label="AUC")
        auc = column(page, "Motion, 5")
        assert auc != accuracy
        assert all(one is None or 0 <= one <= 1 for one in auc)
        page.select_option("select[name=metric]", label="Accuracy")
        assert column(page, "Motion, 5") == accuracy


def test_a_suspect_cell_says_so_and_its_panel_says_why(opened):
    with opened() as (page, _):
        cell = page.locator(f"{ROWS} td.suspect").first
        assert "†" in cell.text_content()
        cell.click()
        panel = page.locator("#panel")
        assert panel.is_visible()
        assert "gradients vanish" in panel.text_content()
        assert "Suspect, not ranked." in panel.text_content()


def test_the_keyboard_walks_the_matrix_opens_a_panel_and_comes_back(opened):
    with opened() as (page, _):
        page.locator(f"{MATRIX} td[tabindex='0']").focus()
        model, head = focused(page)
        assert "Clean" in head
        page.keyboard.press("ArrowRight")
        assert focused(page) == [model, head], "nothing else of this row was run"
        page.keyboard.press("ArrowDown")
        below, _ = focused(page)
        assert below != model
        page.keyboard.press("ArrowRight")
        assert focused(page) == [below, "PGD, 2/255"]
        page.keyboard.press("Enter")
        panel = page.locator("#panel")
        assert panel.is_visible()
        first = page.locator("#panel-title").text_content()
        page.keyboard.press("ArrowRight")
        assert page.locator("#panel-title").text_content() != first
        assert page.evaluate("document.querySelector('#panel').contains(document.activeElement)")
        page.keyboard.press("Escape")
        assert panel.is_hidden()
        assert page.evaluate("document.activeElement.matches('.screen .matrix td[data-cell]')")
        assert page.locator("#panel-title").text_content().split(",")[0] in focused(page)[1]


def test_a_panel_has_interval_certificate_and_provenance(opened):
    with opened() as (page, watched):
        page.locator(f"{ROWS}:nth-child(2) td[data-cell]").last.click()
        text = page.locator("#panel").text_content()
        for part in ("95 % interval", "Certificate", "Parameters", "Provenance"):
            assert part in text
        assert page.locator("#panel svg").count() >= 1
        assert watched.complaints == []
