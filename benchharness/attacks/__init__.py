"""Attacks: perturbations that need the model, within a budget that is verified.

Each attack is one module, named after it; `core` holds what they share. Every attack is exported by
its class name, beside what you need to write another one.
"""

from __future__ import annotations

from benchharness.attacks.apgd import (
    APGDCE,
    APGDCEL2,
    APGDDLR,
    APGDT,
    APGDMargin,
    APGDMarginL2,
)
from benchharness.attacks.autoattack import AutoAttack3D
from benchharness.attacks.core.arguments import parameter
from benchharness.attacks.core.base import (
    CHECKING,
    WATCHING,
    Access,
    Attack,
    Batch,
    Cost,
    Outcome,
    build,
)
from benchharness.attacks.core.gradient_check import WATCHED, chosen
from benchharness.attacks.cube import Cube
from benchharness.attacks.cw import CarliniWagner
from benchharness.attacks.deepfool import DeepFool
from benchharness.attacks.fab import FAB, FABL2
from benchharness.attacks.fgsm import FGSM
from benchharness.attacks.full_range import FullRange
from benchharness.attacks.mifgsm import MIFGSM
from benchharness.attacks.noise_sign import NoiseSign
from benchharness.attacks.pgd import PGD, PGDL2
from benchharness.attacks.probe import Probe, Surrogate
from benchharness.attacks.slab import Slab
from benchharness.attacks.square import Square3D, Square3DL2
from benchharness.attacks.transfer import Transfer
from benchharness.attacks.voxel_flip import VoxelFlip

__all__ = [
    "APGDCE",
    "APGDCEL2",
    "APGDDLR",
    "APGDT",
    "CHECKING",
    "FAB",
    "FABL2",
    "FGSM",
    "MIFGSM",
    "PGD",
    "PGDL2",
    "WATCHED",
    "WATCHING",
    "APGDMargin",
    "APGDMarginL2",
    "Access",
    "Attack",
    "AutoAttack3D",
    "Batch",
    "CarliniWagner",
    "Cost",
    "Cube",
    "DeepFool",
    "FullRange",
    "NoiseSign",
    "Outcome",
    "Probe",
    "Slab",
    "Square3D",
    "Square3DL2",
    "Surrogate",
    "Transfer",
    "VoxelFlip",
    "build",
    "chosen",
    "parameter",
]
