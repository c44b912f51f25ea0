"""What published layouts share: where their files lie, lists of numbered lines, single labels, choices of options."""

import functools
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from rarecall.data.formats._files import Files
from rarecall.errors import DataError, OptionError, unknown_name
from rarecall.images.containers import ARCHIVES, members
from rarecall.labels import ABSENT, PRESENT, LabelMatrix

MOST_FOLDERS = 32  # that are looked into for files; more are classes, each with thousands of images
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def seek(path: Path, markers: Iterable[str], tops: Iterable[str] = ("",)) -> Files | None:
    """The files below the first of some folders that holds all the markers; None if none does.

    Raises:
        DataError: the path is a damaged archive.
    """
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() in ARCHIVES):
        return None
    markers, source = list(markers), Files(path)
    for top in tops:
        below = source.below(top)
        if all(_has(below, marker) for marker in markers):
            return below
    return None


def _has(source: Files, name: str) -> bool:
    """As `source.has`, but archives with a million members are not gone through for each name."""
    if not source.is_archive:
        return source.has(name)
    state = source.path.stat()
    whole = f"{source.top}{name}"
    return whole in members(source.path) or whole in _folders(source.path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)
def _folders(path: Path, modified: int, size: int) -> frozenset[str]:  # noqa: ARG001 - what it is kept by
    """Every folder in an archive."""
    lowest = {name.rpartition("/")[0] for name in members(path)}
    return frozenset(
        "/".join(parts[:depth]) for parts in (one.split("/") for one in lowest) for depth in range(1, len(parts) + 1)
    )


def files_near(path: Path, suffixes: Iterable[str]) -> list[Path]:
    """Files with one of the suffixes in a folder or one level down, sorted."""
    folders = [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]
    places = [path, *(folders if len(folders) <= MOST_FOLDERS else ())]
    wanted = tuple(suffixes)
    found = (file for place in places for file in place.iterdir() if file.name.lower().endswith(wanted))
    return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def holds(path: Path, markers: Iterable[str], tops: Iterable[str] = ("",)) -> bool:
    """Whether one of some folders holds all the markers. What is damaged holds nothing that could be told."""
    try:
        return seek(path, markers, tops) is not None
    except DataError:
        return False


def find(path: Path, markers: Sequence[str], tops: Iterable[str] = ("",)) -> Files:
    """As `seek`.

    Raises:
        DataError: no folder does, or the path is neither a folder nor a readable archive.
    """
    source = seek(path, markers, tops)
    if source is None:
        Files(path)  # which says what is wrong with a path that is no data set at all
        raise DataError(f"{path}: no {' and '.join(markers)} in it: expected the layout that its owners publish")
    return source


def choose(option: str, word: str, known: Iterable[str]) -> str:
    """The word, if it is one of those known.

    Raises:
        OptionError: it is not.
    """
    known = list(known)
    if word not in known:
        raise OptionError(unknown_name(f"value of {option}", str(word), known))
    return word


def one_hot(classes: Sequence[int] | np.ndarray, count: int) -> LabelMatrix:
    """Each row present in its own class, numbered from 0, and absent in all others.

    >>> one_hot([1, 0], 3).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """
    labels = np.full((len(classes), count), ABSENT, np.int8)
    labels[np.arange(len(classes)), np.asarray(classes, np.int64)] = PRESENT
    return labels


def class_numbers(found: Sequence[str], names: Sequence[str], where: str) -> np.ndarray:
    """The place of each word among the names.

    Raises:
        DataError: one is not among them.
    """
    place = {name: number for number, name in enumerate(names)}
    for row, word in enumerate(found, start=1):
        if word not in place:
            raise DataError(f"{where} row {row}: {word!r} is none of its {len(names)} classes")
    return np.array([place[word] for word in found], np.int64)


def fields(source: Files, name: str, count: int, most: int = -1) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line that is not blank, split at most `most` times, with the line's number.

    Raises:
        DataError: a line has fewer than `count`.
    """
    for number, line in source.lines(name):
        found = line.split(None, most)
        if len(found) < count:
            raise DataError(f"{source.where(name)} line {number}: {len(found)} fields in place of {count}")
        yield number, found


def numbered(source: Files, name: str) -> dict[int, str]:
    """Lines of `number text`, as the texts by their numbers.

    Raises:
        DataError: a line is not of this kind, or a number stands twice.
    """
    found: dict[int, str] = {}
    for line, (number, text) in fields(source, name, 2, 1):
        if not number.isdecimal() or int(number) in found:
            wrong = "stands twice" if number.isdecimal() else "is no number"
            raise DataError(f"{source.where(name)} line {line}: {number!r} {wrong}")
        found[int(number)] = text
    if not found:
        raise DataError(f"{source.where(name)}: the file is empty")
    return found


def integers(source: Files, name: str, count: int) -> np.ndarray:
    """The first `count` fields of each line, (lines, count) int64; what stands behind them is not read.

    Raises:
        DataError: a line has fewer, or one of them is no number.
    """
    data = source.read(name).removeprefix(BYTE_ORDER_MARK)
    if not data.strip():
        raise DataError(f"{source.where(name)}: the file is empty")
    try:
        frame = pl.read_csv(
            io.BytesIO(data), separator=" ", has_header=False, infer_schema=False, truncate_ragged_lines=True,
            quote_char=None,
        )  # fmt: skip
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{source.where(name)}: not a list of numbers: {reason}") from None
    frame = frame.with_row_index("line", 1).filter(~pl.all_horizontal(pl.exclude("line").is_null()))
    if frame.width <= count:
        raise DataError(f"{source.where(name)} line 1: {frame.width - 1} fields in place of {count}")
    numbers = frame.select(pl.nth(range(1, count + 1)).cast(pl.Int64, strict=False))
    wrong = numbers.select(pl.any_horizontal(pl.all().is_null())).to_series()
    if wrong.any():
        line = frame["line"][int(wrong.arg_max() or 0)]
        raise DataError(f"{source.where(name)} line {line}: not {count} whole numbers")
    return numbers.to_numpy()


def floats(words: Sequence[str], where: str) -> list[float]:
    """Finite numbers.

    Raises:
        DataError: a word is none.
    """
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = [float("nan")]
    if not np.isfinite(found).all():
        raise DataError(f"{where}: {' '.join(words)!r} are not numbers")
    return found
