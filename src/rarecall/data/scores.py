"""Scores of any model: a table with a row for each item and a column for each class, matched to a LabelTable."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from rarecall.data.columns import ITEM_NAMES, find
from rarecall.data.formats import csv_file, table_file
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, listing, unknown_name

PREFIX = "score:"  # of the columns that `rarecall predict` writes
SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".npy")

Key = Callable[[str, Path | None], str]


@dataclass(frozen=True)
class Scores:
    """The scores of some rows of a table.

    Attributes:
        rows: (N,) numbers of the table's rows, in rising order.
        values: (N, C), in the table's order of classes.
        notes: what a user should know of how they were matched.
    """

    rows: np.ndarray
    values: np.ndarray
    notes: tuple[str, ...] = ()


def read_scores(path: Path, table: LabelTable) -> Scores:
    """Read the scores of a table's items.

    A .csv, .tsv, .parquet, .jsonl or .ndjson file has a column of items (named image, file, path, item, …, else
    the first that is no class) and a column for each class, named as the class or `score:<class>`, or an object
    `scores`: what `rarecall predict` writes is of this kind. A row without any score counts as none. Items are
    matched as they are written, else as files, else by file name; rows of the table with the same item share its
    scores. A .npy file has a row for each row of the table and a column for each class, in their order.

    Args:
        path: the file.
        table: the labelled items.

    Raises:
        DataError: the file cannot be read, lacks classes, names unknown items or an item twice with other scores,
            or holds scores that are no finite numbers.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file: name a table of scores, or a run folder")
    if path.suffix.lower() not in SUFFIXES:
        wanted = ", ".join(SUFFIXES)
        raise DataError(f"{path}: scores are read from {wanted}, not from {path.suffix or 'a file without suffix'}")
    if path.suffix.lower() == ".npy":
        return Scores(np.arange(len(table)), _read_array(path, table))
    frame = csv_file.frame(path) if path.suffix.lower() in csv_file.SUFFIXES else table_file.frame(path)
    if "scores" in frame.columns and isinstance(frame["scores"].dtype, pl.Struct):
        scores = frame["scores"].struct.unnest()
        frame = frame.drop("scores").hstack(scores.rename(lambda name: f"{PREFIX}{name}"))
    columns = _class_columns(frame, table, path)
    named = frame[_item_column(frame, columns, path)]
    if named.dtype.is_nested():
        raise DataError(f'{path}: column "{named.name}" holds lists and no names: name the column of the items image')
    items = named.cast(pl.String).fill_null("")
    values = [_numbers(frame[name], items, path) for name in columns]
    scored = ~np.logical_and.reduce([column.is_null().to_numpy() for column in values])
    if not scored.any():
        raise DataError(f"{path}: no row has scores")
    matrix = np.stack([column.fill_null(float("nan")).to_numpy() for column in values], axis=1)[scored]
    own = items.filter(pl.Series(scored)).to_list()
    _require_finite(matrix, own, table.names, path)
    return _matched(table, own, matrix, items.name, path)


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
    scores = np.array(scores, np.float32 if scores.dtype.itemsize <= 4 else np.float64)
    _require_finite(scores, table.items, table.names, path)
    return scores


def _class_columns(frame: pl.DataFrame, table: LabelTable, path: Path) -> list[str]:
    """The column of each class."""
    prefixed = any(name.startswith(PREFIX) for name in frame.columns)
    columns = [f"{PREFIX}{name}" if prefixed else name for name in table.names]
    if missing := [name for name in columns if name not in frame.columns]:
        if {"top_1", "top"} & set(frame.columns):
            raise DataError(f"{path}: holds the highest scores of each item only: predict without --top")
        raise DataError(
            f"{path}: no column for {len(missing):,} of the {len(columns):,} classes of {table.source}: "
            f"{unknown_name('column', missing[0], frame.columns)}"
        )
    return columns


def _item_column(frame: pl.DataFrame, columns: Sequence[str], path: Path) -> str:
    """The column that names the items."""
    others = [name for name in frame.columns if name not in set(columns)]
    if not others:
        raise DataError(f"{path}: every column is a class: add a column with the items, named image")
    return find(others, ITEM_NAMES) or others[0]


def _numbers(column: pl.Series, items: pl.Series, path: Path) -> pl.Series:
    """A column as floats, null where nothing stands."""
    if column.dtype.is_nested():
        raise DataError(f'{path}: column "{column.name}" holds lists: write a column for each class')
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
    numbers = column if column.dtype.is_float() else column.cast(pl.Float64, strict=False)
    wrong = numbers.is_null() & column.is_not_null()
    if column.dtype == pl.Boolean or wrong.any():
        row = int((wrong if wrong.any() else column.is_not_null()).arg_true()[0])
        raise DataError(
            f'{path}: item {items[row]!r}, column "{column.name}": {column[row]!r} is not a number: write it with a '
            "decimal point, or leave it blank where there is no score"
        )
    return numbers


def _matched(table: LabelTable, items: list[str], scores: np.ndarray, column: str, path: Path) -> Scores:
    """The rows of the table that the items are, in the strictest way in which any of them is found."""
    for key, note in _keys(table):
        rows: dict[str, list[int]] = defaultdict(list)
        for row, item in enumerate(table.items):
            rows[key(item, table.root)].append(row)
        names = [key(item, None) for item in items]
        if not rows.keys() & set(names):
            continue
        if unknown := [item for item, name in zip(items, names, strict=True) if name not in rows]:
            raise DataError(
                f'{path}: {len(unknown):,} of the {len(items):,} items in column "{column}" are not in '
                f"{table.source}: {listing(unknown)}"
            )
        if clash := [name for name in names if len({table.items[row] for row in rows[name]}) > 1]:
            raise DataError(f"{path}: {clash[0]!r} is several items of {table.source}: write their paths in full")
        place = _place_of_each(names, scores, path)
        pairs = sorted((row, at) for name, at in place.items() for row in rows[name])
        return Scores(np.array([row for row, _ in pairs]), scores[[at for _, at in pairs]], note)
    raise DataError(
        f'{path}: none of the items in column "{column}" is in {table.source}: it has {listing(items, 3)}, the data '
        f"has {listing(table.items, 3)}; name the column of the items image"
    )


def _place_of_each(names: list[str], scores: np.ndarray, path: Path) -> dict[str, int]:
    """The row of the scores of each name; the same name may stand twice with the same scores."""
    place: dict[str, int] = {}
    for at, name in enumerate(names):
        if not np.array_equal(scores[place.setdefault(name, at)], scores[at]):
            raise DataError(f"{path}: {name!r} stands in more than one row, with different scores: keep one")
    return place


def _keys(table: LabelTable) -> list[tuple[Key, tuple[str, ...]]]:
    """Ways to tell that two names mean one item, the strictest first, with what has to be said of each."""
    as_written: list[tuple[Key, tuple[str, ...]]] = [(lambda item, _: item, ())]
    if table.root is None:
        return as_written
    by_name = "items are matched by their file names alone, as no path is the same: make sure they are the same images"
    return [
        *as_written,
        (lambda item, root: str((root or Path()).joinpath(item).resolve()), ()),
        (lambda item, _: Path(item).name, (by_name,)),
    ]


def _require_finite(scores: np.ndarray, items: Sequence[str], names: Sequence[str], path: Path) -> None:
    if np.isfinite(scores).all():
        return
    row, column = np.argwhere(~np.isfinite(scores))[0].tolist()
    raise DataError(
        f"{path}: item {items[row]!r}, class {names[column]!r}: the score is {scores[row, column]}: "
        "every score must be a finite number"
    )
