"""Volumes that a perturbation broke: which are shown, and how many fit the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from benchharness.statistics import metrics
from benchharness.store import volumes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchharness.report.cells.findings import Findings
    from benchharness.report.cells.rows import Row
    from benchharness.store.volumes import Drawn, Pictures

    Wanted = Mapping[str, tuple[str, ...]]
    """Ids of volumes, by the identity of the cell that broke them."""

_CAPTION = (
    "Right when clean, wrong when perturbed, the widest margin first. Centre slices along three "
    "axes. In the difference grey is no change, and white and black are ± the number beside it, "
    "where intensities range from 0 to 1."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broke:
    """What a cell broke, with margins by volume."""

    ids: tuple[str, ...]
    """Widest margin first."""
    right: int
    """Volumes that are right when clean."""
    margins: Mapping[str, tuple[float, float]]
    """Perturbed and clean, by id."""


def broke(findings: Findings, row: Row) -> Broke | None:
    """The volumes that are right when clean and wrong in a cell; None where that is not known."""
    clean = findings.clean(row)
    if clean is None or clean is row or row.predictions is None or clean.predictions is None:
        return None
    found, before = row.predictions, clean.predictions
    if found.ids.tolist() != before.ids.tolist():
        return None
    right = metrics.correct(before.labels, before.logits)
    broken = right & ~metrics.correct(found.labels, found.logits)
    margins = metrics.margins(found.labels, found.logits)
    clean_margins = metrics.margins(before.labels, before.logits)
    places = np.flatnonzero(broken)
    places = places[np.argsort(margins[places], kind="stable")]
    ids = found.ids.tolist()
    return Broke(
        ids=tuple(ids[place] for place in places),
        right=int(right.sum()),
        margins={ids[p]: (float(margins[p]), float(clean_margins[p])) for p in places},
    )


def wanted(findings: Findings, most: int) -> dict[str, tuple[str, ...]]:
    """Choose what is shown: at most so many of each network, dataset and family.

    Cells take turns, the strongest severity of each perturbation first, so that every perturbation
    of a family has its share.
    """
    families: dict[tuple[object, ...], list[Row]] = {}
    for row in findings.rows:
        if row.key.kind != "none":
            place = (row.dataset, row.model, row.seed, row.family)
            families.setdefault(place, []).append(row)
    found: dict[str, tuple[str, ...]] = {}
    for rows in families.values():
        found |= _turns(findings, rows, most)
    return found


def _turns(findings: Findings, rows: Sequence[Row], most: int) -> dict[str, tuple[str, ...]]:
    chosen: dict[str, tuple[str, ...]] = {}
    cells = [
        (row.record.identity, found.ids)
        for row in _strongest_first(rows)
        if (found := broke(findings, row)) is not None
    ]
    left = most
    for turn in zip_longest(*(ids for _, ids in cells)):
        for (identity, _), name in zip(cells, turn, strict=True):
            if name is not None and left > 0:
                chosen[identity] = (*chosen.get(identity, ()), name)
                left -= 1
    return chosen


def _strongest_first(rows: Sequence[Row]) -> list[Row]:
    """The strongest severity of every perturbation, then the next of each."""
    series: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: -(row.severity or 0.0)):
        series.setdefault(row.perturbation, []).append(row)
    names = sorted(series)
    turns = zip_longest(*(series[name] for name in names))
    return [row for turn in turns for row in turn if row is not None]


def missing(findings: Findings, chosen: Wanted) -> dict[str, tuple[str, ...]]:
    """What of it is not in the store yet."""
    found = {}
    for identity, ids in chosen.items():
        known = volumes.read(findings.directory, identity)
        if known is None or not set(ids) <= set(known.asked):
            found[identity] = ids
    return found


def undrawn(absent: Wanted) -> tuple[str, ...]:
    """Why volumes are not on the page that nobody drew, a sentence; none where all are there."""
    if not absent:
        return ()
    return (f"Volumes of {len(absent)} cells are not drawn: type bench report for them.",)


def payload(
    findings: Findings, chosen: Wanted, places: Mapping[str, int], reasons: Sequence[str], room: int
) -> dict[str, Any]:
    """The page's data of volumes, as much as fits.

    Args:
        findings: The store.
        chosen: From `wanted`.
        places: Where each cell is in the page's data, by identity.
        reasons: Why some could not be drawn, a sentence each.
        room: Bytes for all of it.

    Returns:
        `caption`; `images`, data URIs; `cells`, by place the volumes that are shown, whose pictures
        are places in `images` counted from 1; `note`, what is not shown and why.
    """
    rows = {row.record.identity: row for row in findings.rows}
    known: dict[str, Pictures] = {}
    for identity in chosen:
        if (found := volumes.read(findings.directory, identity)) is not None:
            known[identity] = found
    queues = [
        [(identity, drawn) for drawn in known[identity].drawn if drawn.volume in ids]
        for identity, ids in chosen.items()
        if identity in known
    ]
    turns = [one for turn in zip_longest(*queues) for one in turn if one is not None]
    images: dict[str, int] = {}
    cells: dict[int, list[dict[str, Any]]] = {}
    left = 0
    for identity, drawn in turns:
        pictures = [p for p in (drawn.clean, drawn.perturbed, drawn.difference, drawn.map) if p]
        entry = _entry(drawn, broke(findings, rows[identity]), images)
        cost = sum(len(p) + 3 for p in set(pictures) if p not in images) + len(json.dumps(entry))
        if cost > room:
            left += 1
            continue
        room -= cost
        for picture in pictures:
            images.setdefault(picture, len(images) + 1)
        entry = _entry(drawn, broke(findings, rows[identity]), images)
        cells.setdefault(places[identity], []).append(entry)
    notes = [*reasons]
    if left:
        notes.append(f"{left} of {len(turns)} volumes left out: the page stays under 5 MB.")
    return {"caption": _CAPTION, "images": list(images), "cells": cells, "note": " ".join(notes)}


def _entry(drawn: Drawn, found: Broke | None, images: Mapping[str, int]) -> dict[str, Any]:
    margins = (None, None) if found is None else found.margins.get(drawn.volume, (None, None))
    after, before = ("–" if m is None else f"{m:+.2f}" for m in margins)
    return {
        "id": drawn.volume,
        "label": drawn.label,
        "answer": drawn.answer,
        "margin": after,
        "before": before,
        "scale": f"± {drawn.peak:.3g}",
        "clean": images.get(drawn.clean, 0),
        "perturbed": images.get(drawn.perturbed, 0),
        "difference": images.get(drawn.difference, 0),
        "map": images.get(drawn.map, 0) if drawn.map else 0,
    }
