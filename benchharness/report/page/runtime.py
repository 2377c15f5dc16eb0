"""The scripts that draw charts in a browser: Vega, Vega-Lite and Vega-Embed, in one text.

They come out of vl-convert, which carries them, so nothing is downloaded and nothing is copied into
this repository. It is an extra: its 84 MB hold a JavaScript engine of which a report needs nothing
else, and a page without it shows the same figures as pictures.
"""

from __future__ import annotations

from functools import cache

EXTRA = "page"
MISSING = (
    "charts of the page are pictures: vl-convert-python is not installed. "
    f"Type pip install 'benchharness[{EXTRA}]' for tooltips and legends."
)


def available() -> bool:
    """Whether vl-convert is installed."""
    from importlib.util import find_spec

    return find_spec("vl_convert") is not None


def script() -> str:
    """The text of a `<script>` element that defines `vegaEmbed`; empty without vl-convert."""
    return _bundle() if available() else ""


@cache
def _bundle() -> str:
    """Made once: it takes a second."""
    import vl_convert

    found = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    # Inside a function its short names meet none of the page's. The sign that would end the element
    # stands in texts alone, where \u003c means the same.
    return "(() => {" + found.replace("</script", "\\u003c/script") + "\n})();"
