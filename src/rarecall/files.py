"""Writing files so that a reader never meets half of one."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to fill that takes its place in one step at the end, and vanishes if the block fails.

    A process killed at any moment leaves the old file or the new one, never a part; a write that fails
    (a disk that is full) leaves the old one and nothing beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _new_beside(path)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        _flush_folder(path.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(part)):
            error.filename = str(path)
        raise


def _new_beside(path: Path) -> Path:
    """An empty file in the same folder, with the permissions that the process gives to new files.

    `tempfile` would make it private, and to ask for the usual permissions is to change them for a moment.
    """
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return part


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
