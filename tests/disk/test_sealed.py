"""Sealed archives: written piece by piece, mapped where they are large, refused where changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from benchharness.disk import sealed, write_arrays
from benchharness.networks.batches import as_float

if TYPE_CHECKING:
    from pathlib import Path

KEY = {"made": "here"}
VALUES = np.random.default_rng(0).integers(0, 65536, (7, 1, 4, 5, 6)).astype(np.uint16)


def written(folder: Path) -> Path:
    path = folder / "a.npz"
    with sealed.sealing(path, KEY) as archive:
        archive.stack("volumes", iter(VALUES), VALUES.shape, VALUES.dtype)
        archive.add("marks", np.asarray(b"none"))
    return path


def test_what_is_written_in_pieces_is_what_is_written_at_once(tmp_path: Path) -> None:
    path = written(tmp_path)
    arrays = {"volumes": VALUES, "marks": np.asarray(b"none")}
    write_arrays(tmp_path / "b.npz", **sealed.seal(KEY, arrays))
    for place in (path, tmp_path / "b.npz"):
        found = sealed.unsealed(place, KEY)
        assert found is not None
        assert sorted(found) == ["marks", "volumes"]
        np.testing.assert_array_equal(found["volumes"], VALUES)
        with np.load(place) as plain:
            np.testing.assert_array_equal(plain["volumes"], VALUES)


def test_large_arrays_are_mapped_and_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    monkeypatch.setattr(sealed, "MAPPED_FROM", 1000)
    found = sealed.unsealed(path, KEY)
    assert found is not None
    mapped = found["volumes"]
    assert isinstance(mapped.base, np.memmap)
    assert not mapped.flags.writeable
    assert type(mapped[2:4]) is np.ndarray
    np.testing.assert_array_equal(mapped, VALUES)
    assert found["marks"].item() == b"none"
    path.unlink()  # the system keeps what is mapped
    wanted = torch.from_numpy(VALUES[2:5].astype(np.float32)) / 65535
    assert torch.equal(as_float(mapped[2:5], "cpu"), wanted)


@pytest.mark.parametrize("mapped_from", [1000, 1 << 28])
def test_a_changed_archive_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped_from: int
) -> None:
    monkeypatch.setattr(sealed, "MAPPED_FROM", mapped_from)
    path = written(tmp_path)
    content = path.read_bytes()
    assert sealed.unsealed(path, {"made": "elsewhere"}) is None
    draws = np.random.default_rng(1)
    changed = 0
    for place in draws.integers(0, len(content), 60).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        found = sealed.unsealed(path, KEY)
        changed += found is None
        if found is not None:
            np.testing.assert_array_equal(found["volumes"], VALUES)
    assert changed > 50
    path.write_bytes(content[:-500])
    assert sealed.unsealed(path, KEY) is None


def test_items_that_do_not_make_the_array_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    wrong = ((VALUES[:6], VALUES.shape), (VALUES[:, :, 1:], VALUES.shape), (VALUES[:0], (1, 2)))
    for items, shape in wrong:
        with (
            pytest.raises(ValueError, match=r"make|belong"),
            sealed.sealing(path, KEY) as archive,
        ):
            archive.stack("volumes", iter(items), shape, VALUES.dtype)
    assert list(tmp_path.iterdir()) == []
