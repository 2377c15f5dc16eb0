"""MedViT-3D: the volumetric MedViT (arXiv 2302.09462) as a plain PyTorch library.

from medvit3d import medvit3d_t

logits = medvit3d_t(num_classes=2)(volumes)  # (B, 1, D, H, W) -> (B, 2)
"""

from medvit3d.architecture import Architecture
from medvit3d.network import MedViT3D
from medvit3d.variants import medvit3d_cbam, medvit3d_l, medvit3d_n, medvit3d_s, medvit3d_t

__all__ = [
    "Architecture",
    "MedViT3D",
    "medvit3d_cbam",
    "medvit3d_l",
    "medvit3d_n",
    "medvit3d_s",
    "medvit3d_t",
]
