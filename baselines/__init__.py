"""Baseline 3-D classifiers under one contract: `(num_classes, in_channels=1) -> nn.Module`.

Every network takes float32 volumes `(B, C, D, H, W)` and returns logits `(B, num_classes)`, in
training and in evaluation mode alike. Its attribute `gradcam_layer` names the submodule whose
output Grad-CAM explains: the last stage that leaves a grid of 4 voxels per axis at 28.

In training mode BatchNorm needs more than one value per channel, so PyTorch refuses a batch of one
volume if the last stage has shrunk to a single voxel.
"""
