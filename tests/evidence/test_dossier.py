"""The dossier: its files, its manifest, its signature, and what tampering leaves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from benchharness.evidence import hashes, manifest, mapping, sbom
from benchharness.store import metadata
from benchharness.store.folder import Store
from tests.evidence.conftest import PRODUCT, WithVal, claim
from tests.factories import store_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Bench = Callable[..., tuple[int, str, str]]

for _package in ("reportlab", "cyclonedx"):
    pytest.importorskip(_package, reason="needs pip install 'benchharness[evidence]'")

CELL = WithVal(
    n=80,
    correct=0.9,
    patients=2,
    thresholds=[0.5, 0.5],
    val_labels=(0, 0, 1, 1),
    val_scores=(0.2, 0.3, 0.6, 0.8),
)
CLAIMS = (
    PRODUCT
    + '[groups]\ncolumns = ["site"]\n'
    + claim(bound="0.6")
    + claim(name='"<b>second</b>"', bound="0.99")
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in the working directory, and claims beside it."""
    monkeypatch.chdir(tmp_path)
    store_of(tmp_path / "run", [CELL])
    ids = CELL.predictions().ids.tolist()
    sites = tuple("Bern" if index % 4 < 2 else "Graz" for index in range(80))
    metadata.keep(tmp_path / "run", CELL.cell().dataset.digest, ids, (("site", sites),))
    (tmp_path / "claims.toml").write_text(CLAIMS, encoding="utf-8")
    return tmp_path


WRITE = ("evidence", "run", "--claims", "claims.toml", "--out", "out")


def test_the_dossier_holds_every_file_and_verifies(run: Path, bench: Bench) -> None:
    code, said, told = bench(*WRITE)
    assert code == 1  # not every claim is met
    assert "met: first (all): 0.887 [" in said
    assert "2 claims: 1 met, 1 not" in said
    assert "Evidence: out and out.zip, not signed." in told
    names = sorted(path.name for path in (run / "out").iterdir())
    assert names == [
        "claims.toml",
        "evidence.html",
        "evidence.pdf",
        "manifest.json",
        "model_card.md",
        "run.zip",
        "sbom.cdx.json",
    ]
    page = (run / "out" / "evidence.html").read_text()
    for text in (
        "Finder 1.4",
        "A. Author, 2026-11-26",
        "site Graz",
        "no legal claim",
        "80 volumes",
    ):
        assert text in page
    assert "<b>second</b>" not in page
    for path in ("out", "out.zip"):
        code, said, _ = bench("evidence", "verify", path)
        assert (code, said) == (0, f"{path}: 6 files, as written; not signed.\n")


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(run: Path, bench: Bench) -> None:
    bench(*WRITE)
    bench(*WRITE[:-1], "again")
    for path in (run / "out").iterdir():
        assert path.read_bytes() == (run / "again" / path.name).read_bytes(), path.name


def test_two_dossiers_are_not_mixed(run: Path, bench: Bench) -> None:
    bench(*WRITE)
    code, _, told = bench(*WRITE)
    assert (code, "out.zip is there already. Remove it" in told) == (2, True)


@pytest.mark.slow
def test_the_packed_run_is_a_run_again(run: Path, bench: Bench) -> None:
    bench(*WRITE)
    with zipfile.ZipFile(run / "out" / "run.zip") as archive:
        archive.extractall(run / "unpacked")
    first, second = (Store(run / name).records() for name in ("run", "unpacked"))
    assert dict(first) == dict(second)
    code, said, _ = bench("evidence", "unpacked", "--claims", "claims.toml", "--out", "other")
    assert (code, "1 met, 1 not" in said) == (1, True)


def test_what_was_changed_removed_or_added_is_found(run: Path, bench: Bench) -> None:
    bench(*WRITE)
    out = run / "out"
    card = (out / "model_card.md").read_text()
    (out / "model_card.md").write_text(card.replace("0.9", "1.0", 1))
    (out / "sbom.cdx.json").unlink()
    (out / "sub").mkdir()
    (out / "sub" / "note.txt").write_text("better")
    code, said, _ = bench("evidence", "verify", "out")
    assert code == 1
    assert said.splitlines() == [
        "changed: model_card.md",
        "missing: sbom.cdx.json",
        "added: sub/note.txt",
        "out: 6 files, not as written; not signed.",
    ]


def test_a_manifest_that_is_damaged_missing_or_newer_is_refused(run: Path, bench: Bench) -> None:
    bench(*WRITE)
    path = run / "out" / manifest.MANIFEST
    content = json.loads(path.read_text())
    for text, said in (
        (json.dumps(content | {"version": 2}), "manifest.json is of version 2, and this program"),
        (json.dumps(content | {"sha256": []}), "manifest.json is damaged"),
        ("{", "manifest.json is damaged"),
    ):
        path.write_text(text)
        code, _, told = bench("evidence", "verify", "out")
        assert (code, said in told) == (2, True)
    path.unlink()
    assert "out has no manifest.json" in bench("evidence", "verify", "out")[2]


@pytest.mark.parametrize("name", ["../up.txt", "/root.txt", "a/../../b", "c:\\x", "a\\b"])
def test_a_zip_that_leads_out_of_its_folder_is_refused(run: Path, bench: Bench, name: str) -> None:
    with zipfile.ZipFile(run / "bad.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"x")
    code, _, told = bench("evidence", "verify", "bad.zip")
    assert (code, "would lead out of its folder" in told) == (2, True)


def test_links_and_damage_are_refused(run: Path, bench: Bench) -> None:
    bench(*WRITE)
    (run / "out" / "link").symlink_to(run / "claims.toml")
    assert "link is a link" in bench("evidence", "verify", "out")[2]
    (run / "damaged.zip").write_bytes((run / "out.zip").read_bytes()[:200])
    assert "cannot read damaged.zip" in bench("evidence", "verify", "damaged.zip")[2]


@pytest.fixture
def keys(run: Path) -> tuple[str, str]:
    """A secret key and its public one, as minisign's own program writes them."""
    minisign = pytest.importorskip("minisign")
    if not hasattr(minisign, "KeyPair"):
        pytest.skip("another package has the name minisign")
    for name in ("own", "other"):
        pair = minisign.KeyPair.generate()
        (run / f"{name}.key").write_bytes(bytes(pair.secret_key))
        (run / f"{name}.pub").write_bytes(bytes(pair.public_key))
    return "own.key", "own.pub"


def test_a_signature_is_verified_and_refused_with_another_key(
    run: Path, bench: Bench, keys: tuple[str, str]
) -> None:
    secret, public = keys
    code, _, told = bench(*WRITE, "--key", secret)
    assert (code, "out.zip, signed." in told) == (1, True)
    for path in ("out", "out.zip"):
        code, said, _ = bench("evidence", "verify", path, "--public-key", public)
        assert (code, "as written; signed by own.pub" in said) == (0, True)
        code, _, told = bench("evidence", "verify", path, "--public-key", "other.pub")
        assert (code, "the signature is not one of this manifest by other.pub" in told) == (2, True)
    # Who changes a file and the manifest with it cannot sign again.
    out = run / "out"
    (out / "model_card.md").write_text("changed")
    files = manifest.read(out)
    (out / manifest.MANIFEST).write_bytes(manifest.of(files))
    assert bench("evidence", "verify", "out")[0] == 0
    assert bench("evidence", "verify", "out", "--public-key", public)[0] == 2


def test_a_signature_that_is_asked_for_must_be_there(
    run: Path, bench: Bench, keys: tuple[str, str]
) -> None:
    bench(*WRITE)
    code, _, told = bench("evidence", "verify", "out", "--public-key", keys[1])
    assert (code, "out is not signed" in told) == (2, True)
    code, _, told = bench(*WRITE[:-1], "more", "--key", "claims.toml")
    assert (code, "cannot sign with claims.toml" in told) == (2, True)


@pytest.mark.slow
def test_an_encrypted_key_needs_its_password(
    run: Path, bench: Bench, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import minisign

    key = minisign.SecretKey.from_file(run / keys[0])
    key.encrypt("right", opslimit=minisign.OPSLIMIT // 32, memlimit=minisign.MEMLIMIT)
    (run / "locked.key").write_bytes(bytes(key))
    monkeypatch.delenv("BENCH_KEY_PASSWORD", raising=False)
    assert "locked.key is encrypted" in bench(*WRITE, "--key", "locked.key")[2]
    monkeypatch.setenv("BENCH_KEY_PASSWORD", "wrong")
    assert "cannot sign with locked.key" in bench(*WRITE, "--key", "locked.key")[2]
    monkeypatch.setenv("BENCH_KEY_PASSWORD", "right")
    assert bench(*WRITE, "--key", "locked.key")[0] == 1
    assert bench("evidence", "verify", "out", "--public-key", keys[1])[0] == 0


def test_the_model_card_is_yaml_that_the_hub_reads(run: Path, bench: Bench) -> None:
    hub = pytest.importorskip("huggingface_hub")
    bench(*WRITE)
    card = hub.ModelCard((run / "out" / "model_card.md").read_text())
    results = card.data.eval_results
    assert [(one.metric_type, one.dataset_name) for one in results] == [
        ("accuracy", "adrenalmnist3d"),
        ("accuracy", "adrenalmnist3d"),
    ]
    assert card.data.pipeline_tag == "image-classification"
    assert "Finds what is there\\." in card.text or "Finds what is there." in card.text


def test_the_list_of_materials_is_valid_cyclonedx(run: Path, bench: Bench) -> None:
    bench(*WRITE)
    content = json.loads((run / "out" / "sbom.cdx.json").read_text())
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    assert content["metadata"]["component"]["name"] == "Finder"
    named = {one["name"]: one for one in content["components"]}
    assert named["numpy"]["version"] == sbom.installed()["numpy"]
    assert named["numpy"]["purl"].startswith("pkg:pypi/numpy@")
    (digest,) = named["benchharness (files)"]["hashes"]
    assert digest["content"] == hashes.package("benchharness")


def test_the_pdf_has_a_cover_and_every_table(run: Path, bench: Bench) -> None:
    bench(*WRITE)
    content = (run / "out" / "evidence.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    pages = re.findall(rb"/Type\s*/Page\b", content)
    assert len(pages) >= 3
    if shutil.which("pdftotext") is None:
        return
    command = ["pdftotext", "-layout", str(run / "out" / "evidence.pdf"), "-"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    first, second = text.split("\f")[:2]
    for said in ("Finder 1.4", "Intended use", "A. Author", "2026-11-26", "80 volumes of 40"):
        assert said in first
    assert "Confidence" in second
    for heading in mapping.HEADER[2:]:
        assert heading.split(",")[0][:12] in text
    assert all(page.strip() for page in text.split("\f")[:-1])


def test_a_digest_of_code_is_that_of_its_files(tmp_path: Path) -> None:
    assert hashes.package("no_such_package_anywhere") is None
    found = hashes.code("baselines.resnet:resnet3d_18")
    assert list(found) == ["benchharness", "baselines"]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in found.values())
    assert list(hashes.code("/some/file.onnx")) == ["benchharness"]
