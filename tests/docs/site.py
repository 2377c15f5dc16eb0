"""Build the documentation as a site that a browser reads from disk: `python -m tests.docs.site`.

Zensical builds a copy of `docs/`, in which Mermaid sources are replaced by their drawings and links
to files outside `docs/` lead to copies of these. What comes out is checked: no link may lead
nowhere, and no page may load anything from the network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs import diagrams, links

ROOT = diagrams.ROOT
COPY = ROOT / "build" / "docs"
SITE = ROOT / "site"

PAGES = {ROOT / "CONTRIBUTING.md": "contributing.md", ROOT / "CHANGELOG.md": "changelog.md"}
"""Pages of the site whose source is outside `docs/`."""


def _copied(file: Path) -> Path:
    """Where a file of the repository is in the copy; a file outside `docs/` is copied there."""
    if file in PAGES:
        return COPY / PAGES[file]
    if file.is_relative_to(diagrams.DOCS):
        return COPY / file.relative_to(diagrams.DOCS)
    copied = COPY / "files" / file.relative_to(ROOT)
    copied.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copied)
    return copied


def prepared(page: Path) -> str:
    """Text of a page as the site has it: diagrams drawn, links leading to the copy."""
    drawings = {source: drawing for drawing, source in diagrams.sources().items()}

    def drawn(fence: re.Match[str]) -> str:
        svg = drawings[fence[1]].read_text(encoding="utf-8")
        return f'<div class="diagram">{" ".join(svg.split())}</div>'

    def moved(link: re.Match[str]) -> str:
        path, mark, anchor = link[1].partition("#")
        file = (page.parent / path).resolve()
        if links.is_external(link[1]) or not path or not file.is_file():
            return link[0]
        place = os.path.relpath(_copied(file), _copied(page).parent)
        return f"]({Path(place).as_posix()}{mark}{anchor})"

    parts = re.split(
        r"(^```.*?^```$|`[^`\n]*`)", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    parts[::2] = [re.sub(r"\]\(([^)\s]+)\)", moved, part) for part in parts[::2]]
    return diagrams.FENCE.sub(drawn, "".join(parts))


def prepare() -> None:
    """Fill the folder that Zensical builds."""
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(diagrams.DOCS, COPY, ignore=shutil.ignore_patterns("diagrams"))
    for page in [*diagrams.DOCS.rglob("*.md"), *PAGES]:
        _copied(page).write_text(prepared(page), encoding="utf-8")


def main() -> None:
    """Build the site and fail at the first thing that is wrong with it."""
    if wrong := diagrams.stale():
        names = ", ".join(str(one.relative_to(ROOT)) for one in wrong)
        sys.exit(
            f"{names}: not drawn from the present source; run 'python -m tests.docs.diagrams'."
        )
    prepare()
    shutil.rmtree(SITE, ignore_errors=True)
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    environment = os.environ | {"NO_COLOR": "1"}
    if code := subprocess.run(build, cwd=ROOT, env=environment, check=False).returncode:
        sys.exit(code)
    if wrong_links := links.broken_in_site(SITE):
        sys.exit("\n".join(["links that lead nowhere:", *wrong_links]))
    sys.stdout.write(f"open {(SITE / 'index.html').as_uri()}\n")


if __name__ == "__main__":
    main()
