"""What a table says of volumes reaches the store, and a merged one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from benchharness.errors import BenchError
from benchharness.store import merging, metadata
from benchharness.store.folder import Store
from tests.factories import cell, predictions, record

if TYPE_CHECKING:
    from pathlib import Path

IDS = ("own/test/a", "own/test/b")
COLUMNS = (("site", ("Zürich", "=HYPERLINK(1)")), ("age", ("61", "")))


def test_columns_are_kept_by_id_and_safe_for_a_spreadsheet(tmp_path: Path) -> None:
    metadata.keep(tmp_path, "sha256:ab", IDS, COLUMNS)
    (path,) = metadata.files(tmp_path)
    assert path == tmp_path / "metadata" / "ab.csv"
    found = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert found.to_dict("list") == {
        "id": list(IDS),
        "site": ["Zürich", "'=HYPERLINK(1)"],
        "age": ["61", ""],
    }
    before = path.stat()
    metadata.keep(tmp_path, "sha256:ab", IDS, COLUMNS)
    assert path.stat() == before
    metadata.keep(tmp_path, "sha256:ab", IDS, COLUMNS[1:])
    assert "site" not in path.read_text(encoding="utf-8")


def test_nothing_is_written_without_columns(tmp_path: Path) -> None:
    metadata.keep(tmp_path, "sha256:ab", IDS, ())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "metadata").touch()
    with pytest.raises(BenchError, match=r"cannot write .*ab.csv"):
        metadata.keep(tmp_path, "sha256:ab", IDS, COLUMNS)


@pytest.mark.parametrize("exists", [False, True])
def test_a_merge_brings_what_is_known_of_volumes(tmp_path: Path, exists: bool) -> None:
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        with store.writing():
            of = cell(model={"name": name})
            stored = store.save_predictions(of, predictions(4))
            store.append(record(of, predictions=stored))
    metadata.keep(tmp_path / "one", "sha256:ab", IDS, COLUMNS)
    metadata.keep(tmp_path / "two", "sha256:cd", IDS, COLUMNS[1:])
    out = tmp_path / "out"
    if exists:
        merging.merge([tmp_path / "one"], out)
    merging.merge([tmp_path / "one", tmp_path / "two"], out)
    assert [path.name for path in metadata.files(out)] == ["ab.csv", "cd.csv"]
    one = (tmp_path / "one" / "metadata" / "ab.csv").read_bytes()
    assert (out / "metadata" / "ab.csv").read_bytes() == one
    assert not list(out.rglob(".merging*"))
