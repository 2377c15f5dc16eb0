"""Signatures of the manifest in minisign's format, which its own program verifies as well.

Through the package `py-minisign`, which rests on `cryptography`: Ed25519 over the BLAKE2b-512
digest of the file. A detached signature of one small file needs no server and no account, as
sigstore does, and the key file is the company's own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from benchharness.errors import BenchError
from benchharness.evidence.extra import needed

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "BENCH_KEY_PASSWORD"
"""The environment variable with the password of an encrypted key."""


def sign(content: bytes, key_file: Path, comment: str) -> bytes:
    """Sign bytes with a secret key of `minisign -G`.

    Args:
        content: What is signed.
        key_file: The secret key; an encrypted one needs its password in `BENCH_KEY_PASSWORD`.
        comment: One line that is signed as well.

    Raises:
        BenchError: When the key cannot be read or decrypted, or py-minisign is absent.
    """
    library = _library()
    try:
        key = library.SecretKey.from_file(key_file)
        if key.is_encrypted():
            key.decrypt(_password(key_file))
        return bytes(key.sign(content, trusted_comment=comment))
    except (OSError, ValueError, library.Error) as error:
        raise BenchError(
            f"cannot sign with {key_file}: {_reason(error)}. Give the secret key that "
            f"'minisign -G' wrote, and its password in {PASSWORD} if it has one."
        ) from error


def _password(key_file: Path) -> str:
    if PASSWORD not in os.environ:
        raise BenchError(f"{key_file} is encrypted. Give its password in {PASSWORD}.")
    return os.environ[PASSWORD]


def verify(content: bytes, signature: bytes, key_file: Path) -> None:
    """Check a signature.

    Raises:
        BenchError: When a file is none of minisign's, or the signature is not that of this content
            by this key.
    """
    library = _library()
    try:
        key = library.PublicKey.from_file(key_file)
        found = library.Signature.from_bytes(signature)
    except (OSError, ValueError, library.ParseError) as error:
        raise BenchError(
            f"cannot read {key_file} or the signature: {_reason(error)}. Give the public key, the "
            "file that 'minisign -G' wrote beside the secret one."
        ) from error
    try:
        key.verify(content, found)
    except library.VerifyError as error:
        raise BenchError(
            f"the signature is not one of this manifest by {key_file}: {_reason(error)}."
        ) from error


def _library() -> Any:
    found = needed("minisign", "signatures")
    if not hasattr(found, "SecretKey"):  # another package of this name
        raise BenchError(
            "signatures need py-minisign, and the package 'minisign' takes its place. Type pip "
            "uninstall minisign, then pip install 'benchharness[evidence]'."
        )
    return found


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
