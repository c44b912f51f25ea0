"""Where an image's bytes are: a file, a member of an archive, a record among many; all of it or a region.

An item is a path below its table's root. It may lead through a container, as in `images.zip/train/0001.jpg`,
`shard-000.tar/dog.jpg`, `data_batch_1.bin/17` (CIFAR's binary records) or `data-00000-of-00001.arrow/17/image` (a row
and a column of an Arrow or Parquet file), and may end in a region of pixels, `street.jpg#xywh=12,30,64,128`: left,
top, width and height, as in the W3C's media fragments. So a table needs one name for each row, whatever it was read
from. Nothing outside the root is ever opened.
"""

import os
import re
import tarfile
import threading
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]
ARCHIVES = (".zip", ".tar")
LARGEST_MEMBER = 1 << 29  # bytes; a member that claims more is no image
MOST_PACKED, SMALL = 1000, 1 << 26  # what unpacks to so many times its size is a bomb, unless it stays small, in bytes
LARGEST_GROUP = 1 << 31  # bytes of one column in a group of rows of a Parquet file, which is decoded as a whole
ROWS_AT_ONCE = 16  # of such a group, between two looks at how much it has become
MOST_LISTED = 1 << 23  # files of all indexes that are kept, of some 200 bytes each
MOST_DECODED = 1 << 28  # bytes of the groups that are kept
CIFAR_SIDE, CIFAR_LABELS = 32, {3073: 1, 3074: 2}  # bytes of a record: bytes of labels before its pixels
_NUMBER = r"(-?\d{1,9}(?:\.\d*)?)"
_REGION = re.compile(f"#xywh={_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}$")
_CONTAINER = re.compile(r"[^/]\.(?:zip|tar|bin|arrow|parquet)/", re.IGNORECASE)


class UnreadableItem(ValueError):  # noqa: N818 - a state of the data, said in a table's row
    """Why an item has no bytes."""


class _Damage(UnreadableItem):
    """What stays as it is until the file changes."""


class Located(NamedTuple):
    """An item below a root. No link may lead it out of `top`, a folder below the root, or the root itself."""

    root: Path
    item: str
    top: str = ""

    def exists(self) -> bool:
        """Whether there is such a file, or such a member of an archive; records are not counted."""
        try:
            container, member = self._find()
            if not member:
                return container.is_file()
            return container.suffix.lower() not in ARCHIVES or member in members(container)
        except (UnreadableItem, OSError):
            return False

    def open(self) -> Path | bytes | Image.Image:
        """The file, or what a container holds.

        Raises:
            UnreadableItem: there is none, it lies outside the root, or its container is damaged.
        """
        container, member = self._find()
        return read_member(container, member) if member else container

    def _find(self) -> tuple[Path, str]:
        """The file, and the name inside it if it is a container.

        Raises:
            UnreadableItem: it lies outside.
        """
        name = without_region(self.item)
        if is_unsafe(name):
            raise UnreadableItem("leads out of the data's folder")
        if "#xywh=" in name and not os.path.lexists(self.root / name):
            raise UnreadableItem("its region is not four numbers: left, top, width and height")
        path, member = self.root / name, ""
        try:
            if not os.path.lexists(path):
                path, member = _split(self.root, name)
            if os.path.lexists(path) and not path.resolve().is_relative_to((self.root / self.top).resolve()):
                raise UnreadableItem("a link that leads out of the data's folder")
        except (OSError, RuntimeError) as error:  # a name that is too long, links in a circle
            raise UnreadableItem(f"no such file ({type(error).__name__})") from None
        return path, member

    def digestible(self) -> bytes:
        """Bytes that tell this image from others.

        Raises:
            UnreadableItem: there are none.
        """
        found, (_, box) = self.open(), split_region(self.item)
        if isinstance(found, Image.Image):
            found = found.tobytes()
        try:
            content = found.read_bytes() if isinstance(found, Path) else found
        except (OSError, ValueError) as error:
            raise UnreadableItem(f"no such file ({type(error).__name__})") from None
        return content + (b"" if box is None else repr(box).encode())


def split_region(item: str) -> tuple[str, Box | None]:
    """The image's name, and left, top, width and height of its region if it has one.

    >>> split_region("a.jpg#xywh=1,2,30,40")
    ('a.jpg', (1, 2, 30, 40))
    """
    found = _REGION.search(item)
    if not found:
        return item, None
    left, top, width, height = (round(float(number)) for number in found.groups())
    return item[: found.start()], (left, top, width, height)


def without_region(item: str) -> str:
    """The image's name alone."""
    return split_region(item)[0] if "#xywh=" in item else item


def with_region(item: str, box: Iterable[float]) -> str:
    """The item that is a region of an image; fractions of pixels are rounded.

    >>> with_region("a.jpg", (1, 2, 30.4, 40))
    'a.jpg#xywh=1,2,30,40'
    """
    return f"{item}#xywh=" + ",".join(str(round(number)) for number in box)


def is_unsafe(name: str) -> bool:
    """Whether a name leads, or may lead, out of the folder that it is relative to."""
    if name.startswith(("/", "\\")) or "\0" in name or name[1:3] in (":\\", ":/"):
        return True
    return ".." in name and ".." in PurePosixPath(name.replace("\\", "/")).parts


def crop(image: Image.Image, box: Box) -> Image.Image:
    """The part of a region that lies within the image.

    Raises:
        UnreadableItem: no part of it does.
    """
    left, top, width, height = box
    edges = max(left, 0), max(top, 0), min(left + width, image.width), min(top + height, image.height)
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise UnreadableItem(f"its region {width} x {height} at {left}, {top} lies outside the image")
    return image if edges == (0, 0, *image.size) else image.crop(edges)


def members(container: Path) -> Mapping[str, int]:
    """The files in an archive and their sizes in bytes.

    Raises:
        UnreadableItem: the archive is damaged, or holds a path that leads out of it.
    """
    return _members(*_state(container))


def read_member(container: Path, member: str, largest: int = LARGEST_MEMBER) -> bytes | Image.Image:
    """What a container holds under a name.

    Raises:
        UnreadableItem: nothing, too much, or the container is damaged.
    """
    try:
        return _READERS[container.suffix.lower()](container, member, largest)
    except UnreadableItem:
        raise
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged archives raise errors of every kind
        raise UnreadableItem(f"{container.name} is damaged: {type(error).__name__}") from None


def _read_zip(container: Path, member: str, largest: int) -> bytes:
    archive = _zip(os.getpid(), *_state(container))
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise UnreadableItem(f"not in {container.name}") from None
    _check_size(info.file_size, largest, member)
    if info.file_size > max(SMALL, MOST_PACKED * info.compress_size):
        raise UnreadableItem(f"{member} would be more than {MOST_PACKED:,} times as large as it is packed")
    with archive.open(info) as stream:
        return stream.read(largest)


def _read_tar(container: Path, member: str, largest: int) -> bytes:
    place = _tar(*_state(container)).get(member)
    if place is None:
        raise UnreadableItem(f"not in {container.name}")
    _check_size(place[1], largest, member)
    with container.open("rb") as stream:
        stream.seek(place[0])
        data = stream.read(place[1])
    if len(data) < place[1]:
        raise UnreadableItem(f"{container.name} is truncated")
    return data


def _read_record(container: Path, member: str, _: int) -> Image.Image:
    length = record_length(container)
    number = int(member) if member.isdecimal() else -1
    with container.open("rb") as stream:
        stream.seek(length * max(number, 0))
        record = stream.read(length)
    if number < 0 or len(record) < length:
        raise UnreadableItem(f"no record {member} in {container.name}")
    pixels = np.frombuffer(record, np.uint8)[CIFAR_LABELS[length] :]
    return Image.fromarray(np.ascontiguousarray(pixels.reshape(3, CIFAR_SIDE, CIFAR_SIDE).transpose(1, 2, 0)))


def _read_arrow(container: Path, member: str, largest: int) -> bytes:
    row, column = _cell(container, member)
    return _embedded(_arrow(*_state(container)), row, column, container, largest)


def _read_parquet(container: Path, member: str, largest: int) -> bytes:
    row, column = _cell(container, member)
    starts = _row_groups(*_state(container))
    if row >= starts[-1]:
        raise UnreadableItem(f"no row {row} in {container.name}")
    group = bisect_right(starts, row) - 1
    decoded = _row_group(*_state(container), group, column)
    return _embedded(decoded, row - starts[group], column, container, largest)


def _cell(container: Path, member: str) -> tuple[int, str]:
    number, _, column = member.partition("/")
    if not number.isdecimal():
        raise UnreadableItem(f"no row {number} in {container.name}")
    return int(number), column


def _embedded(table: Any, row: int, column: str, container: Path, largest: int) -> bytes:
    """The bytes of an image: a cell of bytes, or of the record `{bytes, path}` that Hugging Face writes."""
    if column not in table.column_names or row >= table.num_rows:
        raise UnreadableItem(f"no row {row} with {column!r} in {container.name}")
    cell = table.column(column)[row].as_py()
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise UnreadableItem(f"row {row} of {container.name} holds no image")
    _check_size(len(data), largest, f"row {row}")
    return data


_READERS: dict[str, Callable[[Path, str, int], bytes | Image.Image]] = {
    ".zip": _read_zip,
    ".tar": _read_tar,
    ".bin": _read_record,
    ".arrow": _read_arrow,
    ".parquet": _read_parquet,
}


def record_length(container: Path) -> int:
    """Bytes of a record of CIFAR's binary files: of one label (CIFAR-10) or of two (CIFAR-100).

    Raises:
        UnreadableItem: the file is not of whole records.
    """
    size = container.stat().st_size
    fitting = [length for length in CIFAR_LABELS if size and size % length == 0]
    if len(fitting) != 1:
        raise UnreadableItem(f"{container.name} is not of whole CIFAR records")
    return fitting[0]


def _check_size(size: int, largest: int, member: str) -> None:
    if size > largest:
        raise UnreadableItem(f"{member} would be {size / 2**20:,.0f} MiB, more than {largest / 2**20:,.0f}")


def _split(root: Path, name: str) -> tuple[Path, str]:
    """The container that a name leads through, and the rest of the name; the whole path if it leads through none."""
    for found in _CONTAINER.finditer(name):
        container = root / name[: found.end() - 1]
        if container.is_file():
            return container, name[found.end() :]
    return root / name, ""


def _state(container: Path) -> tuple[str, int, int]:
    """What is known of an archive is remembered by: the file and its version."""
    found = container.stat()
    return str(container), found.st_mtime_ns, found.st_size


Found = TypeVar("Found")


class _Outcome(NamedTuple):
    found: Any
    damage: str
    weight: int


class _Remembered(Generic[Found]):
    """What a function reads from a file, and what damage it finds, once for all threads.

    Forked processes begin with what their parent knows.

    Args:
        read: takes a file's path, its state and perhaps more, by which its result is remembered.
        most: the weight of all results that are kept; beyond it the oldest are dropped, but never the last.
        weigh: gives the weight of a result.
    """

    def __init__(self, read: Callable[..., Found], most: int, weigh: Callable[[Found], int]) -> None:
        self._read, self._most, self._weigh = read, most, weigh
        self._kept: dict[tuple[Any, ...], _Outcome] = {}
        self._weight = 0
        self._unlock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def __call__(self, *key: Any) -> Found:
        outcome = self._kept.get(key)
        if outcome is None:
            with self._lock:
                outcome = self._kept.get(key) or self._keep(key)
        if outcome.damage:
            raise _Damage(outcome.damage)
        found: Found = outcome.found
        return found

    def _keep(self, key: tuple[Any, ...]) -> _Outcome:
        try:
            found = self._read(*key)
            outcome = _Outcome(found, "", self._weigh(found))
        except _Damage as error:
            outcome = _Outcome(None, str(error), 1)
        self._kept[key] = outcome
        self._weight += outcome.weight
        while self._weight > self._most and len(self._kept) > 1:
            self._weight -= self._kept.pop(next(iter(self._kept))).weight
        return outcome

    def _unlock(self) -> None:
        """A lock of this process alone: what another thread held when it was forked would never be released."""
        self._lock = threading.Lock()


def _unreadable(path: str, kind: str, error: Exception) -> UnreadableItem:
    """What an error says of a file: of the file, or of a system that may do better the next time."""
    why = UnreadableItem if isinstance(error, OSError) and error.errno else _Damage
    return why(f"{Path(path).name} is not a readable {kind} ({str(error) or type(error).__name__})")


def _open_zip(_: int, path: str, *__: int) -> zipfile.ZipFile:
    """Kept by process, which its place in the file belongs to."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _unreadable(path, "zip", error) from None


def _index_tar(path: str, *_: int) -> dict[str, tuple[int, int]]:
    """Where each file begins, and its size. A name that stands twice is the last of that name."""
    try:
        with tarfile.open(path, "r:") as archive:
            return {one.name.removeprefix("./"): (one.offset_data, one.size) for one in archive if one.isreg()}
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise _unreadable(path, "uncompressed tar", error) from None


def _list_members(path: str, *state: int) -> dict[str, int]:
    if path.lower().endswith(".zip"):
        infos = _zip(os.getpid(), path, *state).infolist()
        found = {one.filename: one.file_size for one in infos if not one.is_dir()}
    else:
        found = {name: size for name, (_, size) in _tar(path, *state).items()}
    if unsafe := next((name for name in found if is_unsafe(name)), None):
        raise _Damage(f"holds {unsafe!r}, which leads out of it")
    return found


def open_arrow(file: Path) -> Any:
    """The table of an Arrow file, of the stream or the random access kind, mapped into memory and not read.

    Raises:
        UnreadableItem: it is damaged.
    """
    import pyarrow

    try:
        mapped = pyarrow.memory_map(str(file))
        try:
            return pyarrow.ipc.open_stream(mapped).read_all()
        except pyarrow.ArrowInvalid:
            mapped.seek(0)
            return pyarrow.ipc.open_file(mapped).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        why = UnreadableItem if isinstance(error, OSError) and error.errno else _Damage
        raise why(f"{file.name} is not a readable Arrow file ({type(error).__name__})") from None


def _list_row_groups(path: str, *_: int) -> list[int]:
    """The first row of each group of rows, and how many there are in all."""
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, "Parquet file", error) from None
    rows = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    return [0, *accumulate(rows)]


def _decode_row_group(path: str, _: int, __: int, group: int, column: str) -> Any:
    """One column, and no more of it than may be: what the file says of its size need not be so."""
    import pyarrow
    from pyarrow import parquet

    name, batches, size = f"column {column!r} of row group {group}", [], 0
    with parquet.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:
            raise UnreadableItem(f"no column {column!r} in {Path(path).name}")
        _check_size(_unpacked_size(file.metadata.row_group(group), column), LARGEST_GROUP, name)
        for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[column]):
            batches.append(batch)
            size += batch.nbytes
            _check_size(size, LARGEST_GROUP, name)
    return pyarrow.Table.from_batches(batches)


def _unpacked_size(group: Any, column: str) -> int:
    parts = (group.column(number) for number in range(group.num_columns))
    wanted = (part for part in parts if f"{part.path_in_schema}.".startswith(f"{column}."))
    return sum(part.total_uncompressed_size for part in wanted)


_zip = _Remembered(_open_zip, MOST_LISTED, lambda found: max(len(found.filelist), MOST_LISTED // 64))  # 64 open files
_tar = _Remembered(_index_tar, MOST_LISTED, len)
_members = _Remembered(_list_members, MOST_LISTED, len)
_arrow = _Remembered(lambda path, *_: open_arrow(Path(path)), 256, lambda _: 1)
_row_groups = _Remembered(_list_row_groups, MOST_LISTED, len)
_row_group = _Remembered(_decode_row_group, MOST_DECODED, lambda found: max(found.nbytes, MOST_DECODED // 256))
