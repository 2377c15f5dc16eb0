"""Files: written whole or not at all, hashed, and unpacked without trusting what is in them."""

from __future__ import annotations

import errno
import hashlib
import io
import lzma
import math
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
from filelock import FileLock

from benchharness.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    SyntaxError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
)
"""What reading damaged bytes raises, in `zipfile` and in NumPy's parser of headers."""

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
"""What a file system without locks answers."""

UNPACKED_LIMIT = 1 << 28
"""The most bytes that an archive may unpack to, which keeps a zip bomb from filling the memory.

The logits of a million volumes with sixty classes fit.
"""


_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can hold."""

LONGEST_NAME = 255
"""Bytes that the name of a file or folder may have on every common file system."""


def user_path(text: str | Path, *, what: str) -> Path:
    """A path that a person wrote, with `~` replaced by the home folder.

    Args:
        text: What was written.
        what: Where, for the message: `--out`, `BENCH_DATA_ROOT`.

    Raises:
        BenchError: When no file can have this name, or the user after `~` does not exist.
    """
    if "\0" in str(text):
        raise BenchError(f"{what} has a NUL character in {str(text)!r}. No file has such a name.")
    path = Path(text)
    for part in path.parts:
        size = _encoded_size(part, what)
        if size > LONGEST_NAME:
            raise BenchError(
                f"{what} has a name of {size} bytes, {part[:20]!r}…; the name of a file or folder "
                f"can have {LONGEST_NAME}. Shorten it."
            )
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise BenchError(
            f"{what} names the home folder of a user who does not exist: {str(path)!r}. Write ./~… "
            "for a folder whose name begins with ~."
        ) from error


def _encoded_size(name: str, what: str) -> int:
    try:
        return len(os.fsencode(name))
    except UnicodeEncodeError as error:
        raise BenchError(
            f"{what} has {name!r}, which is no file name in this system's encoding "
            f"({error.encoding}). Set LANG=C.UTF-8, or rename it."
        ) from error


def file_sha256(path: Path, *, what: str = "file") -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Args:
        path: The file.
        what: What it is, for the message: `checkpoint`, `volume`.

    Raises:
        BenchError: When the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(f"cannot read {what} {path}: {error.strerror}.") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    with writing_atomically(path) as stream:
        stream.write(content)


@contextmanager
def writing_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name only once it is whole and on disk.

    After an exception inside, the file that was there before remains.
    """
    with replacing(path) as partial, partial.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def explaining(place: str, remedy: str = "") -> Iterator[None]:
    """Tell a person in one line why something cannot be written.

    Args:
        place: What is written, or "to" and the folder.
        remedy: What to do about it, as a sentence; empty where there is nothing to say.

    Raises:
        BenchError: For an `OSError` inside.
    """
    try:
        yield
    except OSError as error:
        raise BenchError(f"cannot write {place}: {error.strerror}. {remedy}".rstrip()) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; the file moves to `path` unless something was raised.

    The file gets the permissions that the umask leaves, whatever the writer gave it. A process
    killed inside leaves `.NAME.PID.partial`, which `clear_partial` removes.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        if partial.stat().st_mode != mode:
            partial.chmod(stat.S_IMODE(mode))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a path under a folder leads out of it, through a symbolic link or through `..`.

    A store may come from somebody else, and a link in it could name any file of the reader's.
    """
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name no system takes
        return True


def files_within(directory: Path, folder: str, pattern: str) -> Iterator[Path]:
    """Files of one folder of a directory by name; links that lead out of it are not among them."""
    for path in sorted((directory / folder).glob(pattern)):
        if path.is_file() and not leads_out(path, directory):
            yield path


def clear_partial(folder: Path) -> None:
    """Remove what killed writers left in a folder; call it only while no other process writes."""
    for partial in folder.glob(".*.partial"):
        partial.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, timeout: float = -1) -> Iterator[None]:
    """Hold a lock file while inside; on a file system without locks, go on without one.

    Args:
        path: The lock file; it stays.
        timeout: Seconds to wait for another holder; below 0 waits as long as it takes.

    Raises:
        filelock.Timeout: When another holds it for longer.
        OSError: When the file cannot be made.
    """
    lock = FileLock(path, timeout=timeout)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()


def unpack(content: bytes) -> dict[str, bytes]:
    """The members of a zip archive by name.

    Raises:
        ValueError: When two members share a name, or all are larger than `UNPACKED_LIMIT`; other
            damage raises one of `DAMAGE`.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise ValueError("two members of the archive share a name")
        size = sum(member.file_size for member in members)
        if size > UNPACKED_LIMIT:
            raise ValueError(f"{size} bytes unpacked, expected at most {UNPACKED_LIMIT}")
        return {member.filename: archive.read(member) for member in members}


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip archive of members by name; the same members give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), member, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def read_array(content: bytes) -> NDArray[Any]:
    """Read an .npy file without allocating more than it holds and without opening a pickle.

    Raises:
        ValueError: When its shape does not follow from its size or it holds objects; other damage
            raises one of `DAMAGE`.
    """
    stream = io.BytesIO(content)
    shape, fortran, dtype = array_header(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be read, they could run code")
    body = content[stream.tell() :]
    count = math.prod(shape)
    if dtype.itemsize == 0 or min(shape, default=0) < 0 or count * dtype.itemsize != len(body):
        raise ValueError(f"{len(body)} bytes do not hold {shape} of {dtype}")
    values: NDArray[Any] = np.frombuffer(body, dtype=dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def array_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type of an .npy file; the stream is left at the first value.

    Raises:
        ValueError: When it is not a header; other damage raises one of `DAMAGE`.
    """
    if np.lib.format.read_magic(stream) == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write an uncompressed .npz, whole or not at all."""
    with writing_atomically(path) as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npz that `write_arrays` wrote; no pickle is opened.

    Nothing is allocated before the header of an array agrees with what the file holds.

    Raises:
        OSError: When the file cannot be read; a damaged one raises one of `DAMAGE`.
    """
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        size = path.stat().st_size
        return {
            member.filename.removesuffix(".npy"): _member(archive, member, size)
            for member in archive.infolist()
        }


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> NDArray[Any]:
    """Read one array of an uncompressed archive of at most so many bytes."""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > most:
        raise ValueError(f"{member.filename} is not stored as it was written")
    with archive.open(member) as content:
        shape, _, dtype = array_header(content)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be read, they could run code")
        if math.prod(shape) * dtype.itemsize != member.file_size - content.tell():
            raise ValueError(f"{member.file_size} bytes do not hold {shape} of {dtype}")
    with archive.open(member) as content:
        array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    return array
