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


def test_the_picture_has_the_same_texts_and_elements(svg: bytes) -> None:
    shown = opened(embedding.svg_uri(svg))
    assert set(NAMES) <= set(texts(svg.decode()))
    assert texts(shown) == texts(svg.decode())
    tags = [node.tag for node in ElementTree.fromstring(shown).iter()]
    whole = re.sub(r"<metadata>.*?</metadata>", "", svg.decode(), flags=re.DOTALL)
    assert tags == [node.tag for node in ElementTree.fromstring(whole).iter()]


def test_places_are_rounded_and_nothing_else(svg: bytes) -> None:
    first, second = (
        [
            (name, value)
            for node in ElementTree.fromstring(text).iter()
            for name, value in node.attrib.items()
        ]
        for text in (
            re.sub(r"<metadata>.*?</metadata>", "", svg.decode(), flags=re.DOTALL),
            opened(embedding.svg_uri(svg)),
        )
    )
    number = re.compile(r"-?\d+(?:\.\d+)?")
    moved = 0
    for (name, value), (same, rounded) in zip(first, second, strict=True):
        assert name == same
        if name not in ("d", "x", "y", "transform"):
            assert rounded.replace('"', "'").split() == value.split()
            continue
        before, after = ([float(n) for n in number.findall(v)] for v in (value, rounded))
        assert after == pytest.approx(before, abs=0.0051)
        moved += before != after
    assert moved > 20


def test_it_takes_at_most_two_thirds_of_base64(svg: bytes) -> None:
    assert 3 * len(embedding.svg_uri(svg)) < 2 * len(embedding.data_uri(svg, "svg+xml"))
