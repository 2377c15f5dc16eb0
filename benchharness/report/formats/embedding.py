"""Pictures inside a page: as data of their `src`, so that the page is one file.

Never as inline SVG: the ids inside several SVGs would collide.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

from markupsafe import Markup

_PLAIN = " !$&'()*+,-./:;<=>?@[]^_`{|}~"
"""Signs that a browser takes as they are in data of type SVG."""
_SWAPPED = str.maketrans("'\"", "\"'")
_PLACES = re.compile(r'(?<= )(?:d|x|y)="[^"]*"')
_ALIKE = re.compile(
    r'<path d="[^"]*"(?P<how> clip-path="[^"]*" style="(?:fill: none|fill: (?P<colour>#\w+))'
    r'; stroke: (?(colour)(?P=colour)|#\w+)"/>)(?:<path d="[^"]*"(?P=how))+'
)
"""Paths in a row of one opaque colour: as one path they look the same."""
_PATH = re.compile(r'(?<= d=")[^"]*')
_NUMBER = re.compile(r"-?\d+\.\d{2,}")


def data_uri(content: bytes, kind: str) -> str:
    """A picture of pixels, `png` or `webp`."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def svg_uri(content: bytes) -> Markup:
    """An SVG of matplotlib's for an attribute in double quotes, half as long as its base64."""
    # In its tags the signs of quotation change places: the attribute's own would be three signs.
    swapped = re.sub(r"<[^>]*>", lambda tag: tag[0].translate(_SWAPPED), compact(content.decode()))
    text = quote(swapped, safe=_PLAIN)
    return Markup("data:image/svg+xml," + text.replace("&", "&amp;"))


def compact(svg: str) -> str:
    """The same picture without prologue and metadata, its places to a tenth of a point.

    Points of one colour become one path.
    """
    svg = re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    svg = _PLACES.sub(lambda found: _NUMBER.sub(_rounded, found[0]), svg)
    return _ALIKE.sub(_joined, svg)


def _joined(alike: re.Match[str]) -> str:
    path = "".join(_PATH.findall(alike[0])).rstrip()
    return f'<path d="{path}"{alike["how"]}'


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".rstrip("0").rstrip(".")
