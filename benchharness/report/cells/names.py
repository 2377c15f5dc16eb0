"""Names as people read them: `Bias field`, `PGD`, `ε = 8/255`, `level 3`, `12 voxels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchharness.store.cells import CLEAN_FAMILY, CONTROL_FAMILY, TRANSFER_FAMILY, family_title

if TYPE_CHECKING:
    from benchharness.report.cells.rows import Row
    from benchharness.store.cells import Kind, PerturbationKey

_ATTACKS = {
    "fgsm": "FGSM",
    "pgd": "PGD",
    "pgd_l2": "PGD L2",
    "mifgsm": "MI-FGSM",
    "apgd_ce": "APGD-CE",
    "apgd_ce_l2": "APGD-CE L2",
    "apgd_dlr": "APGD-DLR",
    "apgd_margin": "APGD margin",
    "apgd_margin_l2": "APGD margin L2",
    "apgd_t": "APGD-T",
    "fab": "FAB",
    "fab_l2": "FAB L2",
    "square3d": "Square 3D",
    "square3d_l2": "Square 3D L2",
    "autoattack3d": "AutoAttack 3D",
    "cw": "C&W",
    "deepfool": "DeepFool",
    "quantise": "Quantisation",
    "dropout_slices": "Dropped slices",
}
"""Names that the field writes otherwise than by a capital letter."""
_UNITS = {"voxel_flip": "voxels", "slab": "slices", "cube": "voxels wide"}
"""What the counts of sparse attacks count."""
_SHORTEST = 2
"""What is shorter stays as it is."""


def perturbation(label: str) -> str:
    """A perturbation's label with a readable name: `bias_field` is `Bias field`.

    What tells namesakes apart, such as ` (steps=20)`, stays.
    """
    if label == CLEAN_FAMILY:
        return "Clean"
    name, space, rest = label.partition(" ")
    words = _ATTACKS.get(name) or name.replace("_", " ")
    return words[:1].upper() + words[1:] + space + rest


def severity(key: PerturbationKey, text: str) -> str:
    """A severity with its unit; empty where there is none.

    Args:
        key: What was done.
        text: The severity as `cells.format_severity` writes it.
    """
    if not text or key.kind != "attack":
        return text
    unit = _UNITS.get(key.name)
    return f"{text} {unit}" if unit else f"ε = {text}"


def family(kind: Kind, name: str) -> str:
    """A family as a heading: `Clean`, `L∞ attacks`, `MR artefacts`, `Transfer`."""
    if name in (CLEAN_FAMILY, CONTROL_FAMILY, TRANSFER_FAMILY):
        return name.capitalize()
    words = family_title(kind, name)
    return words[:1].upper() + words[1:]


def condition(row: Row, text: str) -> str:
    """A row's perturbation and severity: `Bias field, level 3`."""
    parts = (perturbation(row.perturbation), severity(row.key, text))
    return ", ".join(part for part in parts if part)
