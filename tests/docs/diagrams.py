"""Draw the Mermaid diagrams of the documentation: `python -m tests.docs.diagrams`.

The source stays in the pages, where GitHub draws it. The site shows drawings that are committed in
`docs/diagrams/`, so building and reading it need neither a network nor scripts. A drawing carries
the digest of its source, and `make docs` fails while the two disagree. Drawing needs npm and
Chromium; building the site does not.
"""

from __future__ import annotations

import hashlib
import html
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DRAWINGS = DOCS / "diagrams"
MERMAID = "12.3.0"

FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# Colours are the site's own variables, so one drawing serves its light and its dark scheme.
THEME = """
.node rect, .node polygon, .node path { fill: var(--md-mermaid-node-bg-color, #eceff1) !important;
  stroke: var(--md-mermaid-node-fg-color, #546e7a) !important; }
.cluster rect { fill: transparent !important;
  stroke: var(--md-mermaid-node-fg-color, #546e7a) !important; }
.nodeLabel, .nodeLabel *, .cluster-label *, .edgeLabel, .edgeLabel * {
  color: var(--md-mermaid-label-fg-color, #263238) !important;
  background: var(--md-mermaid-label-bg-color, transparent) !important; }
.nodeLabel, .nodeLabel *, .cluster-label * { background: transparent !important; }
.flowchart-link { stroke: var(--md-mermaid-edge-color, #546e7a) !important; }
.marker, .marker path { fill: var(--md-mermaid-edge-color, #546e7a) !important;
  stroke: var(--md-mermaid-edge-color, #546e7a) !important; }
foreignObject { overflow: visible; }
"""


def digest(source: str) -> str:
    """Digest of a diagram's source, which its drawing carries."""
    return hashlib.sha256(source.encode()).hexdigest()


def sources() -> dict[Path, str]:
    """The source of every diagram in the documentation, by the file of its drawing."""
    found: dict[Path, str] = {}
    for page in sorted(DOCS.rglob("*.md")):
        name = "-".join(page.relative_to(DOCS).with_suffix("").parts)
        for number, fence in enumerate(FENCE.finditer(page.read_text(encoding="utf-8")), start=1):
            found[DRAWINGS / f"{name}-{number}.svg"] = fence[1]
    return found


def stale() -> list[Path]:
    """Drawings that are missing or of another source, and those that no page has."""
    wanted = sources()
    wrong = [
        drawing
        for drawing, source in wanted.items()
        if not drawing.exists() or digest(source) not in drawing.read_text(encoding="utf-8")
    ]
    return wrong + [drawing for drawing in DRAWINGS.glob("*.svg") if drawing not in wanted]


def _draw(source: str, library: Path, browser: str, folder: Path) -> str:
    page = folder / "page.html"
    page.write_text(
        f"""<!doctype html><meta charset="utf-8"><pre id="source">{html.escape(source)}</pre>
<script src="{library.as_uri()}"></script><script>
mermaid.initialize({{startOnLoad: false, theme: "neutral", themeVariables: {{dropShadow: "none"}},
  themeCSS: {THEME!r}, fontFamily: "Helvetica, Arial, sans-serif",
  flowchart: {{useMaxWidth: false, wrappingWidth: 420, rankSpacing: 22, nodeSpacing: 20}}}});
mermaid.render("d{digest(source)[:8]}", document.getElementById("source").textContent)
  .then(drawn => document.body.innerHTML = "<p id=drawn>" + drawn.svg + "</p>");
</script>""",
        encoding="utf-8",
    )
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
    ]
    command += ["--disable-background-networking", f"--user-data-dir={folder / 'profile'}"]
    command += ["--allow-file-access-from-files", "--dump-dom", page.as_uri()]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    drawn = re.search(r"<svg.*</svg>", dumped, re.DOTALL)
    if drawn is None:
        sys.exit(f"Mermaid drew nothing for:\n{source}\n{dumped[-2000:]}")
    return drawn[0].replace("<svg ", f'<svg data-source-sha256="{digest(source)}" ', 1)


def main() -> None:
    """Draw every diagram again that is missing or of another source."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    npm = shutil.which("npm")
    if browser is None or npm is None:
        sys.exit("drawing the diagrams needs npm and Chromium on PATH.")
    wanted = sources()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pack = [npm, "pack", "--silent", f"mermaid@{MERMAID}", "--pack-destination", temporary]
        subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extract("package/dist/mermaid.min.js", folder, filter="data")
        library = folder / "package" / "dist" / "mermaid.min.js"
        DRAWINGS.mkdir(exist_ok=True)
        for drawing in stale():
            if drawing in wanted:
                text = _draw(wanted[drawing], library, browser, folder)
                drawing.write_text(text + "\n", encoding="utf-8")
            else:
                drawing.unlink()
            sys.stdout.write(f"{drawing.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
