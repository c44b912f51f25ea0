"""Large arrays in a file of our own, which is mapped: their pages are in memory only while they are worked on.

The file has no name, so that it ends with the process however that ends, and nobody can cut it short: a user's own
file is never mapped, as reading behind its new end would end the process. What is written to such an array is kept.
"""

import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np

from rarecall.errors import DataError

LARGE = 128 << 20  # bytes from which on an array is mapped
AT_ONCE = 16 << 20  # bytes that are read at a time
NEAR = 64 << 20  # bytes from the first to the last of some rows that may all come in


class _Map(mmap.mmap):
    """A map that knows its file, which is what another process needs to share it."""

    file: IO[bytes]

    def __del__(self) -> None:
        self.file.close()


def is_large(shape: Sequence[int]) -> bool:
    """Whether numbers of 32 bits in this shape are too many to lie in memory."""
    return 4 * math.prod(shape) >= LARGE


def filled(shape: Sequence[int], blocks: Iterable[np.ndarray]) -> np.ndarray:
    """A float32 array of this shape, its rows taken from blocks in their order; mapped if it is large.

    Args:
        shape: of the whole.
        blocks: some rows each, together as many as the shape has.

    Raises:
        DataError: the temporary folder has no room for it.
        ValueError: fewer or more rows.
    """
    if not is_large(shape):
        array = np.empty(shape, np.float32)
        start = 0
        for block in blocks:
            array[start : start + len(block)] = block
            start += len(block)
        if start != shape[0]:
            raise ValueError(f"{start} rows for {shape[0]}")
        return array
    file = _new_file(4 * math.prod(shape))
    try:
        for block in blocks:
            _write(file, np.ascontiguousarray(block, np.float32))
        if file.tell() != 4 * math.prod(shape):
            raise ValueError(f"{file.tell()} bytes for {tuple(shape)}")
        return _map(file, shape)
    except BaseException:
        file.close()
        raise


def is_mapped(array: np.ndarray) -> bool:
    """Whether an array, or what it is a view of, lies in a file of our own."""
    return _map_of(array) is not None


def forget(array: np.ndarray) -> None:
    """Let go of the pages of a mapped array; they come back when they are read. Of others nothing happens."""
    if (found := _map_of(array)) is not None and hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)


def rows_at_once(array_shape: Sequence[int], itemsize: int = 4) -> int:
    """How many rows are read at a time."""
    return max(1, AT_ONCE // max(1, itemsize * math.prod(array_shape[1:])))


def in_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """All rows, some at a time, each block forgotten after it."""
    step = rows_at_once(array.shape, array.itemsize)
    for start in range(0, len(array), step):
        yield array[start : start + step]
        forget(array)


class Reader:
    """Rows of an array in any order, of which none stays in memory if the array is mapped.

    Rows that stand near each other are read as pages. Others are read from the file, as each would bring in a page,
    and with it, as the file was written in large pieces, up to two MiB around it.
    """

    def __init__(self, array: np.ndarray) -> None:
        own = _map_of(array) if is_whole(array) and hasattr(os, "preadv") else None
        self._array, self._file = array, None if own is None else own.file.fileno()

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """A copy of some rows (n, ...)."""
        if self._file is None or not len(rows) or (np.ptp(rows) + 1) * self._array[0].nbytes <= NEAR:
            found: np.ndarray = self._array[rows]
            forget(self._array)
            return found
        found = np.empty((len(rows), *self._array.shape[1:]), np.float32)
        size = found[0].nbytes
        for own, row in zip(found, rows.tolist(), strict=True):
            if os.preadv(self._file, [own], row * size) != size:
                raise OSError("features in the temporary folder are cut short")
        return found


class Lent:
    """A mapped array on its way to a process that is about to start, which maps the same file.

    Pickled while that process is started, and only then, it becomes the array there.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd

        found = _map_of(self.array)
        assert found is not None
        return _taken, (DupFd(found.file.fileno()), self.array.shape)


def is_whole(array: np.ndarray) -> bool:
    """Whether an array is all of a file of our own, as it stands there."""
    found = _map_of(array)
    whole = found is not None and array.nbytes == len(found) and array.flags.c_contiguous
    return whole and array.dtype == np.float32


def can_lend(array: np.ndarray) -> bool:
    """Whether a process that is about to start can map the same file: where it inherits descriptors."""
    return is_whole(array) and os.name == "posix"


def _taken(descriptor: Any, shape: tuple[int, ...]) -> np.ndarray:
    return _map(os.fdopen(descriptor.detach(), "r+b"), shape)


def _new_file(size: int) -> IO[bytes]:
    try:
        file = tempfile.TemporaryFile(prefix="rarecall-")  # noqa: SIM115 - it lives as long as the array
        free = shutil.disk_usage(tempfile.gettempdir()).free
    except OSError as error:
        raise _no_room(size, error.strerror or str(error)) from None
    if free < size:
        file.close()
        raise _no_room(size, f"{free / 2**20:,.0f} MiB are free")
    return file


def _write(file: IO[bytes], block: np.ndarray) -> None:
    try:
        file.write(block.data)
    except OSError as error:
        raise _no_room(file.tell() + block.nbytes, error.strerror or str(error)) from None


def _no_room(size: int, reason: str) -> DataError:
    return DataError(
        f"{_folder()}: {size / 2**20:,.0f} MiB of features do not fit into the temporary folder: {reason}: "
        "free some, or let TMPDIR name a folder with more room"
    )


def _folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "TMPDIR"


def _map(file: IO[bytes], shape: Sequence[int]) -> np.ndarray:
    file.flush()
    own = _Map(file.fileno(), 4 * math.prod(shape), access=mmap.ACCESS_WRITE)
    own.file = file
    return np.ndarray(tuple(shape), np.float32, buffer=own)


def _map_of(array: Any) -> _Map | None:
    while array is not None and not isinstance(array, _Map):
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return array
