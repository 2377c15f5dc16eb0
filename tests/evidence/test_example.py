"""The committed evidence is as it was written, and its run gives its verdicts again."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from benchharness.evidence import claims_file
from benchharness.evidence.gathering import gather
from benchharness.evidence.verifying import verify

EXAMPLE = Path(__file__).parents[2] / "results" / "evidence"
DOSSIER = EXAMPLE / "dossier"


def test_the_committed_folder_verifies_and_is_small() -> None:
    found = verify(DOSSIER)
    assert found.sound, found.differences.lines
    assert sum(path.stat().st_size for path in DOSSIER.iterdir()) < 3_000_000
    assert (DOSSIER / "claims.toml").read_bytes() == (EXAMPLE / "claims.toml").read_bytes()


@pytest.mark.slow
def test_its_run_gives_one_claim_met_one_not_met_and_one_not_shown(tmp_path: Path) -> None:
    with zipfile.ZipFile(DOSSIER / "run.zip") as archive:
        archive.extractall(tmp_path)
    evidence = gather(tmp_path, claims_file.read(EXAMPLE / "claims.toml"))
    verdicts = {outcome.claim.name: outcome.verdict for outcome in evidence.outcomes}
    assert verdicts == {
        "sensitivity when clean": "met",
        "specificity under motion and ghosting": "met",
        "accuracy under attacks": "not met",
        "sensitivity at each site": "not shown",
    }
    page = (DOSSIER / "evidence.html").read_text(encoding="utf-8")
    for outcome in evidence.outcomes:
        for one in outcome.judged:
            assert f"{one.found.value:.3f} [{one.found.low:.3f}, {one.found.high:.3f}]" in page
