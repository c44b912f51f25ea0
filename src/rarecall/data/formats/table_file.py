"""Parquet and JSON Lines tables of images: columns as in a CSV, with tags as text or as lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from rarecall.data.formats import _columns
from rarecall.data.table import LabelTable
from rarecall.errors import DataError

NAME = "table"
SUFFIXES = (".parquet", ".jsonl", ".ndjson")
FIRST_ROW = 1  # as neither has a header


def recognises(path: Path) -> bool:
    """A .parquet, .jsonl or .ndjson file, or a folder with train.parquet or a single such file in it."""
    return bool(_columns.files_of(path, SUFFIXES))


def read(
    path: Path,
    *,
    image_column: str | None = None,
    tags_column: str | None = None,
    split_column: str | None = None,
    separator: str | None = None,
    blank: str = "unknown",
    unlisted: str = "absent",
    ignore: str | Sequence[str] | None = None,
    images: str | None = None,
    group: str | None = None,
) -> LabelTable:
    """Read it.

    Args:
        path: the file, or a folder with train.parquet, test.parquet and perhaps val.parquet.
        image_column: default: a column named image, file, path, id, …, else the first that holds no labels.
        tags_column: default: a column named tags, labels, …, the first of lists, or the only one left if it holds
            no labels. A list holds names of classes, or whole numbers.
        split_column: default: a column named split, subset or partition.
        separator: between tags in a text; default: found among `|`, `;` and `,`.
        blank: what a missing value means (null, or no such key) in a class column, or in place of a row's tags:
            `unknown` or `absent`.
        unlisted: what a tag that a row does not list means: `absent` or `unknown`. An empty list lists none.
        ignore: columns that are no classes, separated by commas; they become the table's `columns`, as
            do those beside a column of tags.
        images: the folder that image paths are relative to; default: the folder of the file.
        group: the column whose values stay together in one part; it is no class.
    """
    options = _columns.Options(
        image_column, tags_column, split_column, separator, blank, unlisted, ignore, images, group
    )  # fmt: skip
    files = [path] if path.is_file() else _columns.files_of(path, SUFFIXES)
    if not files:
        raise DataError(f"{path}: no train.parquet and no single table in this folder: name the file")
    return _columns.image_table(NAME, path, {file: frame(file) for file in files}, options, FIRST_ROW)


def frame(file: Path) -> pl.DataFrame:
    frame = _columns.read_parquet(file) if file.suffix.lower() == ".parquet" else _read_lines(file)
    if frame.is_empty():
        raise DataError(f"{file}: no rows: expected one row per image")
    _columns.require_distinct(frame.columns, str(file))
    return frame


def _read_lines(file: Path) -> pl.DataFrame:
    rows = _objects(file)
    keys = dict.fromkeys(key for row in rows for key in row)
    return pl.DataFrame([_series(key, [row.get(key) for row in rows], file) for key in keys])


def _objects(file: Path) -> list[dict[str, Any]]:
    data = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    decoder = msgspec.json.Decoder(dict[str, Any])
    rows = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise DataError(
                    f"{file} line {number}: not a JSON object in UTF-8 ({error}): write one object a line"
                ) from None
    return rows


def _series(key: str, values: list[Any], file: Path) -> pl.Series:
    """A column of the type that its values have, of texts where they differ."""
    try:
        return pl.Series(key, values)
    except (TypeError, pl.exceptions.PolarsError, OverflowError):
        kinds = {type(value) for value in values if value is not None}
        if kinds & {list, dict}:
            found = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise DataError(f'{file}: key "{key}" holds values of different kinds ({found}): use one') from None
        return pl.Series(key, [None if value is None else str(value) for value in values], dtype=pl.String)
