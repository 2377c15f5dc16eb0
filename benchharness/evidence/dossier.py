"""The dossier: one folder and one zip of everything, with a manifest that may be signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.disk import explaining, write_atomically, zipped
from benchharness.errors import BenchError
from benchharness.evidence import (
    claims_file,
    manifest,
    model_card,
    packing,
    pdf,
    sbom,
    sections,
    signing,
    words,
)
from benchharness.evidence.gathering import gather
from benchharness.report.formats import page

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.evidence.gathering import Evidence

PAGE, PDF, CARD, SBOM, CLAIMS, RUN = (
    "evidence.html",
    "evidence.pdf",
    "model_card.md",
    "sbom.cdx.json",
    "claims.toml",
    "run.zip",
)
"""The files beside the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """What was written."""

    folder: Path
    archive: Path
    """The same files in one zip."""
    evidence: Evidence
    signed: bool


def write(directory: Path, claims: Path, out: Path, *, key: Path | None = None) -> Dossier:
    """Judge claims on a run and write the dossier; the same input gives the same files.

    Args:
        directory: The run's folder.
        claims: The claims file.
        out: A folder that is empty or does not exist; the zip lies beside it.
        key: A secret key of minisign's; None signs nothing.

    Raises:
        BenchError: When the claims are wrong, the run holds nothing they are about, a package of
            the extra is missing, or `out` is not empty or cannot be written.
    """
    archive = out.with_name(f"{out.name}.zip")
    _check_free(out, archive)
    evidence = gather(directory, claims_file.read(claims))
    files = _files(evidence, directory, claims)
    files[manifest.MANIFEST] = manifest.of(files)
    if key is not None:
        product = evidence.claims.product
        comment = f"{product.name} {product.release}, {product.date}, manifest of the evidence"
        files[manifest.SIGNATURE] = signing.sign(files[manifest.MANIFEST], key, comment)
    with explaining(f"to {out}", "Pass another --out."):
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(out / name, content)
        write_atomically(archive, zipped(files))
    return Dossier(folder=out, archive=archive, evidence=evidence, signed=key is not None)


def _check_free(out: Path, archive: Path) -> None:
    """Refuse to mix two dossiers: a file that stays would not be in the manifest."""
    if archive.exists() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        taken = archive if archive.exists() else out
        raise BenchError(f"{taken} is there already. Remove it, or name another folder with --out.")


def _files(evidence: Evidence, directory: Path, claims: Path) -> dict[str, bytes]:
    """The content of every file but the manifest, by its name."""
    product = evidence.claims.product
    title = f"{product.name} {product.release}: evidence"
    cover, parts = sections.cover(evidence), sections.sections(evidence)
    footer = f"{title} · {product.author} · {product.date}"
    said = [
        product.intended_use,
        f"By {product.author}, {product.date}. {words.tally(evidence.outcomes)}.",
        evidence.counts,
    ]
    return {
        PAGE: page.document(title, said, parts).encode(),
        PDF: pdf.document(title, cover, parts, footer=footer),
        CARD: model_card.document(evidence).encode(),
        SBOM: sbom.document(product, evidence.code, sbom.installed()),
        CLAIMS: claims.read_bytes(),
        RUN: packing.packed(directory, evidence.measured),
    }


def summary(evidence: Evidence) -> list[str]:
    """The verdicts in words, one line a claim and group."""
    lines = [
        f"{one.verdict}: {outcome.claim.name} ({one.group}): {words.number(one.found)} against at "
        f"least {outcome.claim.bound:g}. "
        + " ".join([words.reason(outcome, one), *words.doubts(outcome)])
        for outcome in evidence.outcomes
        for one in outcome.judged
    ]
    return [*lines, words.tally(evidence.outcomes)]
