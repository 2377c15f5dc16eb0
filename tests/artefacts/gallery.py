"""Computed documentation of the artefacts: tables of levels and similarity, and the picture sheet.

`python -m tests.artefacts.gallery`, run in the repository's root, writes the tables between the
marks of `docs/artefacts.md` and the picture sheet that reports show. It takes some minutes.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from benchharness import artefacts, registry
from benchharness.artefacts import LEVELS, STEPS, SUITE_VERSION, corrupt
from tests.artefacts import phantoms
from tests.artefacts.similarity import psnr, ssim, window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from benchharness.artefacts import Artefact

GRIDS = (28, 64)
DATASETS = {
    "phantom3d": ("phantom", "a phantom that stands in for grey-level scans of any kind"),
    "phantom3d_ct": ("ct", "its scenes as CT"),
    "phantom3d_mr": ("mri", "its scenes as MR"),
    "phantom3d_xray": ("x-ray", "its scenes as radiographs of depth 1"),
    "organmnist3d": ("ct", "abdominal CT"),
    "nodulemnist3d": ("ct", "chest CT"),
    "fracturemnist3d": ("ct", "chest CT"),
    "adrenalmnist3d": ("shape", "shape masks from abdominal CT"),
    "vesselmnist3d": ("shape", "shape masks from brain MRA"),
    "synapsemnist3d": ("electron microscopy", "electron microscopy"),
}
"""Modality of every dataset, as in its records, and in words."""

PAGE = Path("docs/artefacts.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """How alike corrupted volumes are to the clean ones, at one level."""

    artefact: str
    level: int
    grid: int
    volumes: int
    ssim: float
    """Mean over volumes."""
    psnr: float
    """Mean over volumes, in dB; volumes that did not change are left out."""
    clipped: float
    """Mean fraction of clipped voxels."""


def names() -> tuple[str, ...]:
    """Every built-in artefact, in the registry's order."""
    return tuple(registry.BUILT_IN["artefacts"])


def measure(artefact: Artefact, grid: int, limit: int) -> list[Similarity]:
    """Corrupt volumes of the phantom's test split at every level and compare.

    The volumes of both grids take the names of the coarse one: they show the same scenes and get
    the same draws.

    Args:
        artefact: The artefact.
        grid: 28 or 64.
        limit: How many volumes, from the split's first on.
    """
    clean = phantoms.split(grid).volumes[:limit]
    ids = tuple(f"phantom3d/test/{index}" for index in range(len(clean)))
    found = []
    for level in LEVELS:
        made = corrupt(artefact, clean, ids, severity=level, seed=0)
        pairs = [
            (before[0] / 255, after[0] / STEPS)
            for before, after in zip(clean, made.volumes, strict=True)
        ]
        noise = [value for pair in pairs if np.isfinite(value := psnr(*pair))]
        found.append(
            Similarity(
                artefact=artefact.name,
                level=level,
                grid=grid,
                volumes=len(clean),
                ssim=float(np.mean([ssim(*pair) for pair in pairs])),
                psnr=float(np.mean(noise)) if noise else float("inf"),
                clipped=float(made.clipped.mean()),
            )
        )
    return found


def similarity_table(found: Sequence[Similarity]) -> str:
    """SSIM at both grids, their largest difference, PSNR and clipped fraction, as Markdown."""
    coarse, fine = GRIDS

    def series(grid: int, artefact: str, what: str, digits: int) -> str:
        own = [s for s in found if s.grid == grid and s.artefact == artefact]
        return " ".join(f"{getattr(s, what):.{digits}f}" for s in own)

    rows = []
    for name in dict.fromkeys(s.artefact for s in found):
        means = {(s.grid, s.level): s.ssim for s in found if s.artefact == name}
        apart = max(abs(means[coarse, level] - means[fine, level]) for level in LEVELS)
        rows.append(
            (
                f"`{name}`",
                series(coarse, name, "ssim", 2),
                series(fine, name, "ssim", 2),
                f"{apart:.3f}",
                series(coarse, name, "psnr", 1),
                series(coarse, name, "clipped", 3),
            )
        )
    counts = {s.grid: s.volumes for s in found}
    head = (
        "artefact",
        f"SSIM at {coarse}³, levels 1 to 5",
        f"SSIM at {fine}³",
        "largest difference",
        f"PSNR at {coarse}³ (dB)",
        f"clipped at {coarse}³",
    )
    body = tabulate(rows, headers=head, tablefmt="github", disable_numparse=True)
    widths = [window((grid,))[0] for grid in GRIDS]
    return (
        f"Suite version {SUITE_VERSION}; means over the first {counts[coarse]} test volumes of "
        "`phantom3d` and the same scenes and draws on the grid of `phantom3d_64`, perturbation "
        f"seed 0. SSIM windows are {widths[0]} and {widths[1]} voxels wide.\n\n{body}"
    )


def level_table() -> str:
    """Parameters, unit and source of every artefact, as Markdown."""
    rows = []
    for artefact in map(artefacts.build, names()):
        levels = [dict(artefact.parameters(level)) for level in LEVELS]
        fields = "; ".join(
            f"{key} {', '.join(_number(row[key]) for row in levels)}" for key in levels[0]
        )
        words = (artefact.group, artefact.summary, fields, artefact.unit, artefact.source)
        rows.append((f"`{artefact.name}`", *words))
    head = ("artefact", "group", "what it models", "levels 1 to 5", "unit", "source")
    return tabulate(rows, headers=head, tablefmt="github", disable_numparse=True)


def plausibility_table() -> str:
    """Which artefacts the acquisition of each dataset can produce, as Markdown."""
    suite = [artefacts.build(name) for name in names()]
    rows = [
        (f"`{artefact.name}`", *("yes" if m in artefact.plausible else "–" for m, _ in _columns()))
        for artefact in suite
    ]
    head = ("artefact", *(heading for _, heading in _columns()))
    body = tabulate(rows, headers=head, tablefmt="github", disable_numparse=True)
    words = "\n".join(f"- `{name}`: {text}" for name, (_, text) in DATASETS.items())
    return f"{body}\n\n{words}"


def _columns() -> list[tuple[str, str]]:
    """Modalities with the datasets that have them."""
    groups: dict[str, list[str]] = {}
    for name, (modality, _) in DATASETS.items():
        groups.setdefault(modality, []).append(name.removesuffix("mnist3d"))
    return [(modality, f"{', '.join(own)} ({modality})") for modality, own in groups.items()]


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def sheet(*, grid: int = 64, index: int = 2) -> bytes:
    """Draw every artefact at five levels: the middle slice of one phantom, as a PNG.

    Args:
        grid: 28 or 64.
        index: Of the test volume.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    split = phantoms.split(grid)
    clean, ids = split.volumes[index : index + 1], split.ids[index : index + 1]
    suite = [artefacts.build(name) for name in names()]
    rows = -(-len(suite) // 2)
    # Two blocks of six pictures with room for names between them.
    widths = [1.0] * 6 + [0.95] + [1.0] * 6
    with mpl.rc_context({"font.size": 6, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(10.6, 0.79 * rows + 0.3))
        FigureCanvasAgg(figure)
        layout = {"wspace": 0.03, "hspace": 0.03, "width_ratios": widths}
        grid_axes = figure.subplots(rows, len(widths), gridspec_kw=layout, squeeze=False)
        for place, axes in enumerate(grid_axes.flat):
            axes.set_axis_off()
            row, column = divmod(place, len(widths))
            block, part = divmod(column, 7)
            number = block * rows + row
            if part == 6 or number >= len(suite):
                continue
            if part == 0:
                axes.imshow(_slice(clean / 255), cmap="gray", vmin=0, vmax=1)
                name = suite[number].name.replace("_", "\n", 1)
                axes.text(-0.05, 0.5, name, transform=axes.transAxes, ha="right", va="center")
            else:
                made = corrupt(suite[number], clean, ids, severity=part, seed=0).volumes
                axes.imshow(_slice(made / STEPS), cmap="gray", vmin=0, vmax=1)
            if row == 0:
                axes.set_title("clean" if part == 0 else f"level {part}", pad=2)
        figure.subplots_adjust(left=0.055, right=0.995, top=0.975, bottom=0.005)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=105)
    grey = io.BytesIO()
    Image.open(stream).convert("L").save(grey, format="png", optimize=True)
    return grey.getvalue()


def _slice(volumes: NDArray[np.float64]) -> NDArray[np.float64]:
    volume = volumes[0, 0]
    middle: NDArray[np.float64] = volume[len(volume) // 2]
    return middle


def sheet_path() -> Path:
    """Where reports look for the sheet."""
    return Path(str(resources.files("benchharness"))) / "report" / "assets" / "artefacts.png"


def fill(page: str, parts: dict[str, str]) -> str:
    """Replace the text between `<!-- NAME -->` and `<!-- end -->` by computed parts."""
    for name, content in parts.items():
        start = f"<!-- {name} -->"
        before, mark, rest = page.partition(start)
        _, end, after = rest.partition("<!-- end -->")
        if not mark or not end:
            raise ValueError(f"the page has no part {start} … <!-- end -->")
        page = f"{before}{start}\n\n{content}\n\n{end}{after}"
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Write tables and sheet."""
    parser = argparse.ArgumentParser(prog="python -m tests.artefacts.gallery", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="page to fill in")
    parser.add_argument("--volumes", type=int, default=16, help="how many are measured")
    parser.add_argument("--measured", type=Path, help="JSON to keep measurements in, or to reuse")
    chosen = parser.parse_args(arguments)
    found = _measured(chosen.measured, chosen.volumes)
    parts = {
        "levels": level_table(),
        "plausibility": plausibility_table(),
        "similarity": similarity_table(found),
    }
    chosen.page.write_text(fill(chosen.page.read_text(encoding="utf-8"), parts))
    sheet_path().write_bytes(sheet())


def _measured(path: Path | None, limit: int) -> list[Similarity]:
    if path is not None and path.exists():
        return [Similarity(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    found = list(_measure_all(limit))
    if path is not None:
        path.write_text(json.dumps([{k: getattr(s, k) for k in s.__slots__} for s in found]))
    return found


def _measure_all(limit: int) -> Iterable[Similarity]:
    for name in names():
        for grid in GRIDS:
            yield from measure(artefacts.build(name), grid, limit)


if __name__ == "__main__":
    main()
