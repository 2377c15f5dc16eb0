"""Heat maps that `bench explain` stored, as sections of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.report.cells.score import Score
from benchharness.report.parts import Picture, Section, slug
from benchharness.report.tables.layout import Line, score_table, text_table
from benchharness.store import heatmaps

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.report.tables.layout import Table
    from benchharness.store.heatmaps import Estimate, HeatMaps, Located, NetworkMaps

_TARGETS = {"label": "each volume's own class", "predicted": "the predicted class"}


def sections(store_dir: Path) -> tuple[Section, ...]:
    """A section for every result of `bench explain` in a store; none where it was not run.

    Raises:
        BenchError: When a result or one of its pictures cannot be read.
    """
    found = heatmaps.read(store_dir)
    names = [result.dataset for _, result in found]
    return tuple(
        _section(path, result, several=names.count(result.dataset) > 1) for path, result in found
    )


def _section(path: Path, result: HeatMaps, *, several: bool) -> Section:
    subset = "" if result.count == result.total else " (a subset)"
    which = f" ({path.stem.rpartition('-')[2]})" if several else ""
    known = "" if result.structure is None else f" Structure fills {result.structure:.1%} of them."
    return Section(
        title=f"Heat maps: {result.dataset}{which}",
        text=f"3-D Grad-CAM of {_TARGETS.get(result.target, result.target)} on {result.count} of "
        f"{result.total} test volumes{subset}.{known}",
        lead=(_location(result), *_movement(result), *_sanity(result), _layers(result)),
        pictures=tuple(_picture(path, picture) for picture in result.pictures),
    )


def _picture(path: Path, picture: heatmaps.Picture) -> Picture:
    where = path.with_name(picture.file)
    try:
        content = where.read_bytes()
    except OSError as error:
        raise BenchError(
            f"cannot read {where}: {error.strerror}. Remove {path} or run bench explain again."
        ) from error
    stem = picture.file.removesuffix(".png")
    return Picture(
        name=f"heat_maps_{slug(stem)}",
        title=f"Heat maps of {picture.volume}",
        caption=picture.caption,
        png=content,
    )


def _location(result: HeatMaps) -> Table:
    lines = []
    for network in result.networks:
        lines += [
            Line(
                names=(network.name, one.condition),
                fields=(
                    _score(one.accuracy),
                    *_both(one.located),
                    Score(value=one.empty / result.count),
                ),
            )
            for one in network.measured
        ]
        lines.append(
            Line(
                names=(network.name, "clean, randomised weights"),
                fields=(None, *_both(network.randomised), None),
            )
        )
    lines.append(Line(names=("centre box", "any"), fields=(None, *_both(result.box), None)))
    return score_table(
        "Where networks look",
        ("Network", "Condition", "Accuracy", "Peak inside", "Energy inside", "Empty"),
        lines,
        caption="Peak inside: share of maps whose peak lies inside the structure (pointing game, "
        "Zhang et al. 2018, without tolerance). Energy inside: mean share of a map's sum inside "
        "the structure (after Wang et al. 2020). Empty: share of maps that are 0 everywhere, which "
        "count as misses with no energy inside. The "
        f"centre box is a map that is 1 in the middle {result.box_side:.0%} of each axis.",
    )


def _movement(result: HeatMaps) -> tuple[Table, ...]:
    lines = [
        Line(names=(network.name, one.condition), fields=(_score(one.moved), _score(one.shift)))
        for network in result.networks
        for one in network.measured
        if one.moved is not None
    ]
    if not lines:
        return ()
    return (
        score_table(
            "How far maps move",
            ("Network", "Condition", "1 − rank correlation", "Centroid shift"),
            lines,
            caption="Each perturbed map against the clean map of the same volume: one minus "
            "Spearman's correlation over voxels, and the distance between centroids in fields of "
            "view. Means over volumes where both maps are defined.",
        ),
    )


def _sanity(result: HeatMaps) -> tuple[Table, ...]:
    lines = [
        Line(
            names=(network.name, _verdict(network)),
            fields=(
                _score(network.above_randomised),
                _score(network.above_box),
                _score(network.similarity),
            ),
        )
        for network in result.networks
    ]
    return (
        score_table(
            "Sanity check",
            (
                "Network",
                "Verdict",
                "Energy above randomised",
                "Energy above centre box",
                "Rank correlation with randomised",
            ),
            lines,
            caption="After Adebayo et al. (2018): each trained network against its architecture "
            f"with random weights ({result.randomised_networks} draws, alternating over volumes). "
            "Passed means that the trained network puts more energy into the structure: the 95 % "
            "interval of the paired difference lies above 0. Maps that do not beat the centre box "
            "locate the structure no better than guessing that it lies near the middle.",
        ),
    )


def _verdict(network: NetworkMaps) -> str:
    return {True: "passed", False: "failed", None: "structure not known"}[network.sane]


def _layers(result: HeatMaps) -> Table:
    return text_table(
        "Layers",
        ("Network", "Layer", "Grid", "SHA-256 of the weights"),
        [
            (network.name, network.layer, " × ".join(map(str, network.grid)), network.checkpoint)
            for network in result.networks
        ],
    )


def _both(located: Located) -> tuple[Score | None, Score | None]:
    return _score(located.pointing), _score(located.energy)


def _score(found: Estimate | None) -> Score | None:
    if found is None or found.value is None:
        return None
    return Score(value=found.value, low=found.low, high=found.high, method=found.method)
