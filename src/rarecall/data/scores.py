"""Scores of any model: a table with a row for each item and a column for each class, matched to a LabelTable."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from rarecall.data.formats import csv_file, table_file
from rarecall.data.formats._columns import find
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, listing, unknown_name

ITEM_COLUMNS = ("image", "item", "items", "file", "filename", "path", "name", "id")
PREFIX = "score:"  # of the columns that `rarecall predict` writes
SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".npy")


def read_scores(path: Path, table: LabelTable) -> tuple[np.ndarray, np.ndarray]:
    """Read the scores of a table's items.

    A .csv, .tsv, .parquet, .jsonl or .ndjson file has a column of items (named image, item, file, path, …, else
    the first) and a column for each class, named as the class or `score:<class>`, or an object `scores`: what
    `rarecall predict` writes is of this kind. Items are matched as they are written, else as files, else by file
    name. A .npy file has a row for each row of the table and a column for each class, in their order.

    Args:
        path: the file.
        table: the labelled items.

    Returns:
        The numbers of the table's rows that have scores, in rising order, and their scores (N, C) in the table's
        order of classes. A row of nothing but blanks, as `rarecall predict` writes for an image that it cannot
        read, counts as none.

    Raises:
        DataError: the file cannot be read, lacks classes, names unknown or repeated items, or holds scores that
            are no finite numbers.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: {unknown_name('suffix of a scores file', path.suffix, SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file: name a table of scores, or a run folder")
    if path.suffix.lower() == ".npy":
        return np.arange(len(table)), _read_array(path, table)
    frame = csv_file.frame(path) if path.suffix.lower() in csv_file.SUFFIXES else table_file.frame(path)
    if "scores" in frame.columns and isinstance(frame["scores"].dtype, pl.Struct):
        frame = frame.unnest("scores")
    columns = _class_columns(frame, table, path)
    items = frame[find(frame.columns, ITEM_COLUMNS) or _first_other(frame, columns, path)].cast(pl.String)
    scores = np.stack([_numbers(frame[name], items, path) for name in columns], axis=1)
    rows = _rows_of(table, items.fill_null("").to_list(), path)

    read = ~np.isnan(scores).all(1)
    if not read.any():
        raise DataError(f"{path}: no row has scores")
    order = np.argsort(rows[read])
    rows, scores = rows[read][order], scores[read][order]
    _require_finite(scores, [table.items[row] for row in rows.tolist()], table.names, path)
    return rows, scores


def _read_array(path: Path, table: LabelTable) -> np.ndarray:
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as an array: {str(error).splitlines()[0]}") from None
    if scores.shape != (shape := table.labels.shape) or not np.issubdtype(scores.dtype, np.floating):
        raise DataError(
            f"{path}: {scores.dtype} {scores.shape}, where {table.source} has {shape[0]:,} items and {shape[1]:,} "
            "classes: write floats, a row for each item and a column for each class"
        )
    scores = np.array(scores)
    _require_finite(scores, table.items, table.names, path)
    return scores


def _class_columns(frame: pl.DataFrame, table: LabelTable, path: Path) -> list[str]:
    """The column of each class."""
    prefixed = any(name.startswith(PREFIX) for name in frame.columns)
    columns = [f"{PREFIX}{name}" if prefixed else name for name in table.names]
    if missing := [name for name in columns if name not in frame.columns]:
        raise DataError(
            f"{path}: no column for {len(missing):,} of the {len(columns):,} classes of {table.source}: "
            f"{listing(missing)}; it has {listing(frame.columns)}"
        )
    return columns


def _first_other(frame: pl.DataFrame, columns: Sequence[str], path: Path) -> str:
    """The first column that holds no class."""
    others = [name for name in frame.columns if name not in set(columns)]
    if not others:
        raise DataError(f"{path}: every column is a class: add a column with the items, named image")
    return others[0]


def _numbers(column: pl.Series, items: pl.Series, path: Path) -> np.ndarray:
    """A column as floats, NaN where nothing stands."""
    if column.dtype == pl.String:
        stripped = column.str.strip_chars()
        column = stripped.replace("", None)
    numbers = column if column.dtype.is_float() else column.cast(pl.Float64, strict=False)
    if (wrong := (numbers.is_null() & column.is_not_null()).arg_true()).len():
        row = int(wrong[0])
        raise DataError(f'{path}: item {items[row]!r}, column "{column.name}": {column[row]!r} is not a number')
    return numbers.fill_null(float("nan")).to_numpy()


def _rows_of(table: LabelTable, items: list[str], path: Path) -> np.ndarray:
    """The row of the table that each item of a scores file is."""
    for key in _keys(table):
        own = [key(item, table.root) for item in table.items]
        theirs = [key(item, None) for item in items]
        place = {item: row for row, item in enumerate(own)}
        if not set(theirs) & place.keys() or len(place) < len(own):
            continue
        if unknown := [item for item, name in zip(items, theirs, strict=True) if name not in place]:
            raise DataError(
                f"{path}: {len(unknown):,} of its {len(items):,} items are not in {table.source}: {listing(unknown)}"
            )
        if twice := [item for item, times in Counter(theirs).items() if times > 1]:
            raise DataError(f"{path}: {len(twice):,} items stand in more than one row: {listing(twice)}")
        return np.array([place[name] for name in theirs], np.int64)
    raise DataError(
        f"{path}: none of its items is in {table.source}: it has {listing(items, 3)}, "
        f"the data has {listing(table.items, 3)}"
    )


def _keys(table: LabelTable) -> list[Callable[[str, Path | None], str]]:
    """Ways to tell that two names mean one item, the strictest first."""
    as_written = [lambda item, _: item]
    if table.root is None:
        return as_written
    as_files: list[Callable[[str, Path | None], str]] = [
        lambda item, root: str((root or Path()).joinpath(item).resolve()),
        lambda item, _: Path(item).name,
    ]
    return as_written + as_files


def _require_finite(scores: np.ndarray, items: Sequence[str], names: Sequence[str], path: Path) -> None:
    if np.isfinite(scores).all():
        return
    row, column = np.argwhere(~np.isfinite(scores))[0].tolist()
    raise DataError(
        f"{path}: item {items[row]!r}, class {names[column]!r}: the score is {scores[row, column]}: "
        "every score must be a finite number"
    )
