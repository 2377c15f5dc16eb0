"""A split's volumes as they are corrupted: with the spacing that they have, if any."""

from __future__ import annotations

import numpy as np
import torch

from benchharness import artefacts
from benchharness.artefacts.corruption import corrupt
from tests import samples

IDS = ("a/test/0", "a/test/1")


def test_a_spacing_reaches_the_artefact_and_changes_what_it_does() -> None:
    volumes = samples.volumes("test")[0][:2, None]
    blur = artefacts.build("blur")
    spacing = (3.0, 1.0, 1.0)
    made = corrupt(blur, volumes, IDS, severity=3, seed=0, spacing=spacing).volumes
    for volume, name, found in zip(volumes, IDS, made, strict=True):
        alone = blur(
            torch.from_numpy(volume).float() / 255, severity=3, id=name, seed=0, spacing=spacing
        )
        np.testing.assert_allclose(found / 65535, alone.volume.numpy(), atol=1e-5)
    assert not np.array_equal(made, corrupt(blur, volumes, IDS, severity=3, seed=0).volumes)


def test_16_bits_that_may_not_be_written_are_corrupted_as_8_bits_are() -> None:
    volumes = samples.volumes("test")[0][:2, None]
    fine = volumes.astype(np.uint16) * 257
    fine.flags.writeable = False
    gamma = artefacts.build("gamma")
    one = corrupt(gamma, volumes, IDS, severity=3, seed=0)
    other = corrupt(gamma, fine, IDS, severity=3, seed=0)
    np.testing.assert_array_equal(one.volumes, other.volumes)
    np.testing.assert_array_equal(one.changed, other.changed)
    assert other.changed.all()
