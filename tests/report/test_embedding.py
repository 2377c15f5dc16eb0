"""Pictures in a page: an SVG stays the same picture, and its texts the same texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from benchharness.report.collect import collect
from benchharness.report.formats import embedding
from benchharness.report.plots.canvas import render
from benchharness.report.plots.severities import curves
from tests.factories import whole_matrix

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from markupsafe import Markup


NAMES = ('it\'s "5 < 6" & 100 %', "größe 1.23456 #2")


@pytest.fixture
def svg(make_store: Callable[..., Path]) -> bytes:
    store = make_store(*whole_matrix(models=NAMES, n=12))
    return render(curves(collect(store), "adrenalmnist3d", "mr", "accuracy")).still


def texts(svg: str) -> list[str]:
    return [
        node.text or "" for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")
    ]


def opened(uri: Markup) -> str:
    """What a browser reads: HTML's entities first, then the address's."""
    assert '"' not in uri
    assert re.search(r"&(?!amp;)", uri) is None
    kind, _, data = uri.unescape().partition(",")
    assert kind == "data:image/svg+xml"
    assert "#" not in data
    return unquote(data)


def pieces(svg: str) -> list[tuple[str, dict[str, str], list[float]]]:
    """Everything that an SVG draws: its tag, how it is drawn, and where; a line is a piece."""
    found = []
    for node in ElementTree.fromstring(svg).iter():
        how = {name: " ".join(value.split()) for name, value in node.attrib.items()}
        places = [how.pop(name) for name in ("x", "y") if name in how]
        for line in re.split(r"(?=M)", how.pop("d", ""))[1:] or [""]:
            numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", " ".join([*places, line]))]
            found.append((node.tag, how, numbers))
    return found


def test_the_picture_has_the_same_texts(svg: bytes) -> None:
    shown = opened(embedding.svg_uri(svg))
    assert set(NAMES) <= set(texts(svg.decode()))
    assert texts(shown) == texts(svg.decode())


def test_the_same_is_drawn_in_the_same_way_with_places_rounded(svg: bytes) -> None:
    whole = re.sub(r"<metadata>.*?</metadata>", "", svg.decode(), flags=re.DOTALL)
    shown = opened(embedding.svg_uri(svg))
    moved = 0
    for (tag, how, before), (same, styled, after) in zip(pieces(whole), pieces(shown), strict=True):
        assert tag == same
        assert {name: value.replace('"', "'") for name, value in styled.items()} == how
        assert after == pytest.approx(before, abs=0.051)
        moved += before != after
    assert moved > 20
    assert shown.count("<path") < whole.count("<path")


@pytest.mark.parametrize(
    "how",
    [
        "fill: #ffffff; stroke: #0072b2",
        "fill: #0072b2; fill-opacity: 0.5; stroke: #0072b2",
        "fill: none; stroke: #0072b2; stroke-opacity: 0.35",
    ],
)
def test_points_of_which_one_shows_through_another_stay_apart(how: str) -> None:
    one = f'<path d="M 1 1 L 2 2" clip-path="url(#p)" style="{how}"/>'
    assert embedding.compact(f"<svg>{one}{one}</svg>").count("<path") == 2


def test_points_of_two_colours_stay_apart() -> None:
    one, other = (
        f'<path d="M 1 1 L 2 2" clip-path="url(#p)" style="fill: {colour}; stroke: {colour}"/>'
        for colour in ("#0072b2", "#d55e00")
    )
    assert embedding.compact(f"<svg>{one}{other}{one}{one}</svg>").count("<path") == 3


def test_it_takes_at_most_two_thirds_of_base64(svg: bytes) -> None:
    assert 3 * len(embedding.svg_uri(svg)) < 2 * len(embedding.data_uri(svg, "svg+xml"))
