"""Names of models, datasets, attacks and artefacts, and what they name.

A name resolves through (1) the built-in table below, (2) entry points of installed packages in the
groups `benchharness.models`, `.datasets`, `.attacks` and `.artefacts`, (3) `module:attribute` typed
by the user. Nothing is imported until it is loaded.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from benchharness.errors import BenchError, unknown_name
from benchharness.outside.containment import contained, in_one_line

Registry = Literal["models", "datasets", "attacks", "artefacts"]

_DATASETS = "benchharness.datasets"
_ATTACKS = "benchharness.attacks"
_ARTEFACTS = "benchharness.artefacts"
_MEDMNIST3D = ("organ", "nodule", "fracture", "adrenal", "vessel", "synapse")
_MEDMNIST2D = (
    *("path", "derma", "oct", "pneumonia", "retina", "breast", "blood", "tissue"),
    *("organa", "organc", "organs"),
)
_SIZES_2D = ("", "_64", "_128", "_224")

BUILT_IN: dict[Registry, dict[str, str]] = {
    "models": {
        "medvit3d_n": "medvit3d.variants:medvit3d_n",
        "medvit3d_t": "medvit3d.variants:medvit3d_t",
        "medvit3d_s": "medvit3d.variants:medvit3d_s",
        "medvit3d_l": "medvit3d.variants:medvit3d_l",
        "medvit3d_cbam": "medvit3d.variants:medvit3d_cbam",
        "resnet3d_18": "baselines.resnet:resnet3d_18",
        "resnet3d_34": "baselines.resnet:resnet3d_34",
        "resnet3d_50": "baselines.resnet:resnet3d_50",
        "medmnist_resnet3d_18": "baselines.resnet:medmnist_resnet3d_18",
        "medmnist_resnet3d_50": "baselines.resnet:medmnist_resnet3d_50",
        "densenet3d_121": "baselines.densenet:densenet3d_121",
    },
    "datasets": {
        "phantom3d": f"{_DATASETS}.embedded:phantom3d",
        "phantom3d_64": f"{_DATASETS}.embedded:phantom3d_64",
        "phantom3d_ct": f"{_DATASETS}.embedded:phantom3d_ct",
        "phantom3d_mr": f"{_DATASETS}.embedded:phantom3d_mr",
        "phantom3d_xray": f"{_DATASETS}.embedded:phantom3d_xray",
        "hippocampus3d": f"{_DATASETS}.hippocampus:hippocampus3d",
        **{
            f"{organ}mnist3d{size}": f"{_DATASETS}.medmnist3d:{organ}mnist3d{size}"
            for organ in _MEDMNIST3D
            for size in ("", "_64")
        },
        **{
            f"{what}mnist{size}": f"{_DATASETS}.medmnist2d:{what}mnist{size}"
            for what in _MEDMNIST2D
            for size in _SIZES_2D
        },
    },
    "attacks": {
        "noise_sign": f"{_ATTACKS}.noise_sign:NoiseSign",
        "fgsm": f"{_ATTACKS}.fgsm:FGSM",
        "pgd": f"{_ATTACKS}.pgd:PGD",
        "mifgsm": f"{_ATTACKS}.mifgsm:MIFGSM",
        "apgd_ce": f"{_ATTACKS}.apgd:APGDCE",
        "apgd_dlr": f"{_ATTACKS}.apgd:APGDDLR",
        "apgd_margin": f"{_ATTACKS}.apgd:APGDMargin",
        "apgd_t": f"{_ATTACKS}.apgd:APGDT",
        "fab": f"{_ATTACKS}.fab:FAB",
        "square3d": f"{_ATTACKS}.square:Square3D",
        "autoattack3d": f"{_ATTACKS}.autoattack:AutoAttack3D",
        "pgd_l2": f"{_ATTACKS}.pgd:PGDL2",
        "apgd_ce_l2": f"{_ATTACKS}.apgd:APGDCEL2",
        "apgd_margin_l2": f"{_ATTACKS}.apgd:APGDMarginL2",
        "fab_l2": f"{_ATTACKS}.fab:FABL2",
        "square3d_l2": f"{_ATTACKS}.square:Square3DL2",
        "cw": f"{_ATTACKS}.cw:CarliniWagner",
        "deepfool": f"{_ATTACKS}.deepfool:DeepFool",
        "voxel_flip": f"{_ATTACKS}.voxel_flip:VoxelFlip",
        "slab": f"{_ATTACKS}.slab:Slab",
        "cube": f"{_ATTACKS}.cube:Cube",
        "transfer": f"{_ATTACKS}.transfer:Transfer",
    },
    "artefacts": {
        "motion": f"{_ARTEFACTS}.mr:Motion",
        "ghosting": f"{_ARTEFACTS}.mr:Ghosting",
        "spike": f"{_ARTEFACTS}.mr:Spike",
        "bias_field": f"{_ARTEFACTS}.mr:BiasField",
        "rician_noise": f"{_ARTEFACTS}.mr:RicianNoise",
        "gibbs_ringing": f"{_ARTEFACTS}.mr:GibbsRinging",
        "anisotropy": f"{_ARTEFACTS}.mr:Anisotropy",
        "poisson_noise": f"{_ARTEFACTS}.ct:PoissonNoise",
        "streaks": f"{_ARTEFACTS}.ct:Streaks",
        "gaussian_noise": f"{_ARTEFACTS}.general:GaussianNoise",
        "blur": f"{_ARTEFACTS}.general:Blur",
        "gamma": f"{_ARTEFACTS}.general:Gamma",
        "contrast": f"{_ARTEFACTS}.general:Contrast",
        "downsample": f"{_ARTEFACTS}.general:Downsample",
        "quantise": f"{_ARTEFACTS}.general:Quantise",
        "dropout_slices": f"{_ARTEFACTS}.general:DropoutSlices",
        "occlusion_cube": f"{_ARTEFACTS}.general:OcclusionCube",
        "affine": f"{_ARTEFACTS}.geometric:Affine",
        "elastic": f"{_ARTEFACTS}.geometric:Elastic",
    },
}

GROUPS: dict[Registry, dict[str, tuple[str, ...]]] = {
    "models": {},
    "datasets": {
        "medmnist3d": tuple(f"{organ}mnist3d" for organ in _MEDMNIST3D),
        "medmnist3d_64": tuple(f"{organ}mnist3d_64" for organ in _MEDMNIST3D),
        **{
            f"medmnist2d{size}": tuple(f"{what}mnist{size}" for what in _MEDMNIST2D)
            for size in _SIZES_2D
        },
    },
    "attacks": {"all": tuple(BUILT_IN["attacks"])},
    "artefacts": {
        "all": tuple(BUILT_IN["artefacts"]),
        "mr": (
            "motion",
            "ghosting",
            "spike",
            "bias_field",
            "rician_noise",
            "gibbs_ringing",
            "anisotropy",
        ),
        "ct": ("poisson_noise", "streaks"),
        "general": (
            "gaussian_noise",
            "blur",
            "gamma",
            "contrast",
            "downsample",
            "quantise",
            "dropout_slices",
            "occlusion_cube",
        ),
        "geometric": ("affine", "elastic"),
    },
}
"""Names of groups and their built-in members; `members` adds those of plug-ins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A resolved name."""

    name: str
    """The registered name, or the attribute of an import string."""
    target: str
    """Import string `module:attribute`."""
    source: str
    """`built in`, `plug-in DISTRIBUTION` or `import string`."""


@cache
def entries(registry: Registry) -> dict[str, Entry]:
    """Every name of a registry, built in or installed.

    Raises:
        BenchError: When two owners claim one name.
    """
    found = {
        name: Entry(name=name, target=target, source="built in")
        for name, target in BUILT_IN[registry].items()
    }
    for point in entry_points(group=f"benchharness.{registry}"):
        owner = point.dist.name if point.dist is not None else "unknown"
        if point.name in found or point.name in GROUPS[registry]:
            taken = found[point.name].source if point.name in found else "a group"
            raise BenchError(
                f"the {registry[:-1]} name {point.name!r} of plug-in {owner} is already taken "
                f"({taken}). Rename its entry point or uninstall one of the two."
            )
        found[point.name] = Entry(name=point.name, target=point.value, source=f"plug-in {owner}")
    return found


def expand(registry: Registry, names: tuple[str, ...]) -> tuple[str, ...]:
    """Replace groups by their members and drop repeated names, keeping the order."""
    found = [
        member
        for name in names
        for member in (members(registry, name) if name in GROUPS[registry] else (name,))
    ]
    return tuple(dict.fromkeys(found))


def members(registry: Registry, group: str) -> tuple[str, ...]:
    """The members of a group: the built-in ones, then plug-ins by name.

    Every plug-in is part of `all`. Of the other groups, those of artefacts have plug-ins: each
    artefact says which group it is of.

    Raises:
        BenchError: When a plug-in has to be asked for its group and cannot be imported.
    """
    built_in = GROUPS[registry][group]
    plug_ins = sorted(entries(registry).keys() - BUILT_IN[registry].keys())
    if group == "all":
        return (*built_in, *plug_ins)
    if registry != "artefacts":
        return built_in
    own = [name for name in plug_ins if getattr(load(registry, name), "group", None) == group]
    return (*built_in, *own)


def resolve(registry: Registry, name: str) -> Entry:
    """Find the entry of a name, without importing anything.

    Raises:
        BenchError: When the name is unknown; it lists close matches, then all names.
    """
    known = entries(registry)
    if name in known:
        return known[name]
    if ":" in name:
        return Entry(name=name.rpartition(":")[2], target=name, source="import string")
    groups = GROUPS[registry]
    hint = "A 'module:attribute' import string works too."
    raise unknown_name(registry[:-1], name, [*known, *groups], hint=hint)


def load(registry: Registry, name: str) -> Any:
    """Import the object of a name.

    Raises:
        BenchError: When the name is unknown, or its module or attribute cannot be imported.
    """
    return import_target(resolve(registry, name).target)


def import_target(target: str) -> Any:
    """Import `module:attribute`, also from the working directory.

    Raises:
        BenchError: When the module cannot be imported or lacks the attribute.
    """
    module_name, _, attribute = target.partition(":")
    if not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise BenchError(f"{target!r} is not an import string. Type 'package.module:attribute'.")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        with contained(importing=True):
            module = import_module(module_name)
    except Exception as error:  # importing runs a module, which may raise anything
        reason = in_one_line(error)
        raise BenchError(f"cannot import {module_name!r} for {target!r}: {reason}.") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise unknown_name(f"attribute of module {module_name!r}:", attribute, public) from error
