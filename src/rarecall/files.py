"""Writing files so that a reader never meets half of one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


UMASK = _umask()  # read once: reading it sets it for a moment, for every thread


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to fill that takes its place in one step at the end, and vanishes if the block fails.

    A process killed at any moment leaves the old file or the new one, never a part; a write that fails
    (a disk that is full) leaves the old one and nothing beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o666 & ~UMASK)
        part.replace(path)
        _flush_folder(path.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, name):
            error.filename = str(path)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Put a whole file in place in one step."""
    with replacing(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Put a UTF-8 text in place in one step."""
    write_bytes(path, text.encode())


def remove_parts(folder: Path) -> None:
    """Remove what a killed process left unfinished in `folder`."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Bring the new name to the disk, so that it outlives a loss of power; Windows does so by itself."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
