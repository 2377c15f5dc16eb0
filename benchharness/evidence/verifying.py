"""Whether a dossier is the one that was written, and who signed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchharness.errors import BenchError
from benchharness.evidence import manifest, signing

if TYPE_CHECKING:
    from pathlib import Path

    from benchharness.evidence.manifest import Differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found."""

    differences: Differences
    signature: str
    """In words."""

    @property
    def sound(self) -> bool:
        """Whether every file is the one that the manifest lists, and no other is there."""
        return not self.differences.lines


def verify(path: Path, public_key: Path | None = None) -> Verified:
    """Hold a folder or a zip against its manifest, and its signature against a key.

    Args:
        path: What `dossier.write` wrote.
        public_key: Of minisign's; None looks at no signature.

    Raises:
        BenchError: When there is no manifest, a path leads out of the zip, or the signature is
            missing or not by this key.
    """
    files = manifest.read(path)
    found = manifest.differences(files, path)
    signature = files.get(manifest.SIGNATURE)
    if public_key is None:
        said = "not signed" if signature is None else "signed, and not checked: give --public-key"
        return Verified(differences=found, signature=said)
    if signature is None:
        raise BenchError(f"{path} is not signed, and --public-key asks for a signature.")
    signing.verify(files[manifest.MANIFEST], signature, public_key)
    return Verified(differences=found, signature=f"signed by {public_key}")
