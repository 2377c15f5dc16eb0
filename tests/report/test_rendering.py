"""Figures drawn by other processes are those drawn here, in their sections and order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchharness.report.choice import EVERYTHING
from benchharness.report.collect import collect
from benchharness.report.plots.rendering import Drawing
from benchharness.report.sections import sections

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.parts import Section


@pytest.fixture(scope="module")
def undrawn_sections(full_store: Path) -> tuple[Section, ...]:
    found = sections(collect(full_store))
    assert sum(len(section.charts) for section in found) > 6
    # Two charts a section are enough to see their order.
    return tuple(replace(section, charts=section.charts[:2]) for section in found)


def drawn(found: tuple[Section, ...], processes: int) -> tuple[Section, ...]:
    with Drawing(EVERYTHING, processes) as drawing:
        for section in found:
            drawing.begin(section)
        return drawing.finished()


def test_other_processes_draw_the_same_figures(undrawn_sections: tuple[Section, ...]) -> None:
    here, elsewhere = (drawn(undrawn_sections, processes) for processes in (1, 2))
    assert [s.title for s in here] == [s.title for s in undrawn_sections]
    for section, alone, several in zip(undrawn_sections, here, elsewhere, strict=True):
        assert [plot.name for plot in alone.plots] == [chart.name for chart in section.charts]
        assert [p.files for p in several.plots] == [p.files for p in alone.plots]
        assert [p.still for p in several.plots] == [p.still for p in alone.plots]


def test_an_error_while_others_draw_is_raised(undrawn_sections: tuple[Section, ...]) -> None:
    first = next(section for section in undrawn_sections if section.charts)
    broken = replace(first, charts=(replace(first.charts[0], panels=()),))
    with pytest.raises(Exception, match="nothing to draw"):
        drawn((broken,), 2)
