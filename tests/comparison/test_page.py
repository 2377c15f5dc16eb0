"""The page of a comparison: what got worse, for whom, and what both sides are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchharness.comparison import Settings, compare, page, subgroups
from benchharness.store import metadata
from tests.factories import Made, store_of, tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    Bench = Callable[..., tuple[int, str, str]]

N = 200
SITES = tuple("Graz" if index % 4 == 0 else "Bern" for index in range(N))
OLD = tiny(n=N, of=N, correct=[True] * N, versions={"torch": "2.12"})
NEW = replace(
    OLD,
    correct=[site != "Graz" for site in SITES],
    weights="b",
    versions={"torch": "2.13"},
)


def saved(folder: Path, made: Made) -> Path:
    store_of(folder, [made])
    ids = made.predictions().ids.tolist()
    names = tuple(str(index) for index in range(N))
    columns = (("site", SITES), ("name", names))
    metadata.keep(folder, made.cell().dataset.digest, ids, columns)
    return folder


def test_the_page_says_for_whom_it_got_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "release-1.3", OLD)
    saved(tmp_path / "release-1.4", NEW)
    code, _, told = bench("compare", "release-1.3", "release-1.4", "--html", "pages/both.html")
    assert (code, "page: pages/both.html" in told) == (1, True)
    text = (tmp_path / "pages" / "both.html").read_text()
    for said in (
        "release-1.4 against release-1.3: worse",
        "What got worse: tiny · sample · clean.",
        "site Graz",
        str(OLD.cell().checkpoint.sha256),
        str(NEW.cell().checkpoint.sha256),
        "2.12",
        "2.13",
        "changed",
    ):
        assert said in text
    assert "://" not in text.replace("http://www.w3.org", "")


def test_groups_are_judged_and_names_group_nobody(tmp_path: Path) -> None:
    base, new = (store_of(tmp_path / name, [made]) for name, made in (("base", OLD), ("new", NEW)))
    saved(tmp_path / "more", OLD)
    result = compare(base, new, Settings())
    assert subgroups.by_group(result.pairing, {}, tolerance=0.02, alpha=0.05) == ()
    rows = metadata.read(tmp_path / "more", OLD.cell().dataset.digest)
    found = subgroups.by_group(result.pairing, {"sample": rows}, tolerance=0.02, alpha=0.05)
    shown = [(one.column, one.group, one.size, one.base, one.new) for one in found]
    assert shown == [("site", "Bern", 150, 1.0, 1.0), ("site", "Graz", 50, 1.0, 0.0)]
    assert [one.judgement.outcome for one in found] == ["indistinguishable", "worse"]
    assert "By group of the data" in page.html(result, {"sample": rows})


def test_patients_are_what_is_counted_where_they_repeat(tmp_path: Path) -> None:
    base, new = (
        store_of(tmp_path / name, [replace(made, patients=2)])
        for name, made in (("base", OLD), ("new", NEW))
    )
    rows = {f"sample/test/{index}": {"half": str(index // 100)} for index in range(N)}
    result = compare(base, new, Settings())
    found = subgroups.by_group(result.pairing, {"sample": rows}, tolerance=0.02, alpha=0.05)
    assert [(one.size, one.unit) for one in found] == [(50, "patients"), (50, "patients")]
