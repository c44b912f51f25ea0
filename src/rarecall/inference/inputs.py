"""Which images to predict for: files, folders, patterns and CSVs, one path at a time."""

import csv
import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from rarecall.data.columns import ITEM_NAMES, find
from rarecall.data.csv_rows import rows_of
from rarecall.data.formats import csv_file, feature_table
from rarecall.errors import DataError
from rarecall.images.containers import ARCHIVES, UnreadableItem, members
from rarecall.images.decoding import SUFFIXES
from rarecall.listener import Listener


def image_paths(
    words: Iterable[str],
    images: Path | None = None,
    image_column: str | None = None,
    listener: Listener | None = None,
) -> Iterator[Path]:
    """The images that words stand for, in the order of the words.

    Args:
        words: image files, also inside an archive or with a region (`shots.zip/1.jpg`, `1.jpg#xywh=0,0,9,9`); folders,
            zips and tars, which stand for every image below them; patterns such as `shots/*.jpg`; and CSVs with a
            column of image paths.
        images: the folder that a CSV's paths are relative to; default: the CSV's own.
        image_column: of a CSV; default: a column named image, file, path, …, else the first.
        listener: told of a word that stands for no image, where others do.

    Raises:
        DataError: no image at all, a CSV without the column, or a file of features.
    """
    found, empty = False, []
    for word in words:
        try:
            for path in _of_word(word, images, image_column):
                found = True
                yield path
        except _NothingError as nothing:
            empty.append(str(nothing))
    if not found:
        raise DataError(empty[0] if empty else "no image is named: name files, folders, patterns or a CSV")
    for sentence in empty:
        (listener or Listener()).say("warning", sentence)


class _NothingError(Exception):
    """A word that stands for no image."""


def _of_word(word: str, images: Path | None, image_column: str | None) -> Iterator[Path]:
    path = Path(word).expanduser()
    if path.is_dir():
        yield from _some(_below(path), f"{path}: no image in this folder: check the path")
    elif path.suffix.lower() in ARCHIVES and path.is_file():
        yield from _some(_inside(path), f"{path}: no image in this archive: check it")
    elif path.suffix.lower() in csv_file.SUFFIXES and path.is_file():
        yield from _listed(path, images, image_column)
    elif feature_table.recognises(path):
        raise DataError(f"{path}: holds features, and this model takes images")
    elif not path.exists() and glob.has_magic(word):
        found = sorted(glob.iglob(str(path), recursive=True))  # noqa: PTH207 - pathlib takes no absolute pattern
        yield from _some(map(Path, found), f"{word}: no file fits this pattern: check it")
    else:
        yield path  # one that is not there becomes a row that says so


def _below(folder: Path) -> Iterator[Path]:
    """Every image below a folder, in the order of names; one folder's names are in memory at a time."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = (name for name in sorted(files) if not name.startswith("."))
        yield from (Path(place) / name for name in names if Path(name).suffix.lower() in SUFFIXES)


def _inside(archive: Path) -> Iterator[Path]:
    """Every image in an archive, in the order of names."""
    try:
        names = sorted(members(archive))
    except UnreadableItem as error:
        raise DataError(f"{archive}: {error}: fetch it again") from None
    yield from (archive / name for name in names if Path(name).suffix.lower() in SUFFIXES)


def _listed(path: Path, images: Path | None, image_column: str | None) -> Iterator[Path]:
    base = path.parent if images is None else images
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            header = stream.readline()
            stream.seek(0)
            if Path(header.strip()).suffix.lower() in SUFFIXES:  # a plain list of paths, without a header
                yield from (base / line.strip() for line in stream if line.strip())
                return
            delimiter = max(csv_file.DELIMITERS, key=header.count)
            reader = csv.DictReader(stream, delimiter=delimiter)
            columns = list(reader.fieldnames or [])
            if not columns:
                raise _NothingError(f"{path}: is empty")
            column = image_column or find(columns, ITEM_NAMES) or columns[0]
            if column not in columns:
                raise DataError(f"{path}: no column {column!r}: it has {', '.join(columns)}")
            cells = ((row[column] or "").strip() for row in rows_of(reader))
            yield from _some((base / cell for cell in cells if cell), f"{path}: names no image")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not readable as CSV in UTF-8 ({error}): mend it") from None


def _some(paths: Iterator[Path], otherwise: str) -> Iterator[Path]:
    first = next(paths, None)
    if first is None:
        raise _NothingError(otherwise)
    yield first
    yield from paths


def feature_blocks(words: Iterable[str]) -> Iterator[tuple[list[str], np.ndarray]]:
    """Item names and features of each file.

    Raises:
        DataError: a file that holds no features.
    """
    for word in words:
        path = Path(word).expanduser()
        if not path.is_file() or not feature_table.recognises(path):
            raise DataError(f"{word}: this model takes features: pass an .npz or a .parquet file of them")
        items, features = feature_table.read_features(path)
        if not items:
            raise DataError(f"{word}: holds no rows")
        yield items, features
