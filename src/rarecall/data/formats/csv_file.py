"""A CSV of items with one column per class or one column of tags; or a folder with train.csv and test.csv."""

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from rarecall.data.csv_rows import rows_of
from rarecall.data.formats import _columns
from rarecall.data.table import LabelTable
from rarecall.errors import DataError

NAME = "csv"
DELIMITERS = ",;\t"
FIRST_ROW = 2  # as a spreadsheet counts: the header is row 1
SUFFIXES = (".csv", ".tsv", ".txt")


def recognises(path: Path) -> bool:
    """A .csv, .tsv or .txt file, or a folder with a train.csv or a single CSV in it."""
    return bool(_files(path))


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
        path: the file, or a folder with train.csv, test.csv and perhaps val.csv.
        image_column: default: a column named image, file, path, id, …, else the first that holds no labels.
        tags_column: default: a column named tags, labels, …, or the only one left if it holds no labels. A blank
            cell of it lists no tag: the row was looked at.
        split_column: default: a column named split, subset or partition.
        separator: between tags; default: found among `|`, `;` and `,`.
        blank: what a blank means in a class column: `unknown` or `absent`.
        unlisted: what a tag that a row does not list means: `absent` or `unknown`.
        ignore: columns that are no classes, separated by commas; they become the table's `columns`, as
            do those beside a column of tags.
        images: the folder that image paths are relative to; default: the folder of the CSV.
        group: the column whose values stay together in one part; it is no class.
    """
    options = _columns.Options(
        image_column, tags_column, split_column, separator, blank, unlisted, ignore, images, group
    )  # fmt: skip
    files = [path] if path.is_file() else _files(path)
    if not files:
        raise DataError(f"{path}: no train.csv and no single CSV in this folder: name the file")
    return _columns.image_table(NAME, path, {file: frame(file) for file in files}, options, FIRST_ROW)


def _files(path: Path) -> list[Path]:
    return _columns.files_of(path, (".csv",) if path.is_dir() else SUFFIXES)


def frame(file: Path) -> pl.DataFrame:
    data = file.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{file}: this is UTF-16: save the file as UTF-8")
    if b"\0" in data:
        raise DataError(
            f"{file}: byte {data.index(0)} is NUL: this is a binary file, not a CSV (or UTF-16: save as UTF-8)"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8: save the file as UTF-8") from None
    if not text.strip():
        raise DataError(f"{file}: the file is empty: expected a header row and one row per image")
    header_line = text.lstrip("\n\r").splitlines()[0]
    delimiter = max(DELIMITERS, key=header_line.count)
    rows = rows_of(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    header = next(rows)
    _columns.require_distinct(header, str(file))
    _require_whole_rows(rows, len(header), file)
    if "" in (names := [name.strip() for name in header]):
        place = names.index("") + 1
        raise DataError(f"{file} row 1: column {place} has no name: name it, or remove the comma that makes it")
    try:
        frame = pl.read_csv(
            io.BytesIO(text.encode()),
            separator=delimiter,
            new_columns=header,
            infer_schema=False,
            truncate_ragged_lines=False,
        )
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{file}: cannot be read as CSV: {_first_line(error)}") from None
    if frame.is_empty():
        raise DataError(f"{file}: a header but no rows: expected one row per image")
    return frame.fill_null("")  # a blank cell is there, and empty; elsewhere a value may be missing


def _require_whole_rows(rows: Iterable[list[str]], width: int, file: Path) -> None:
    """Refuse a row with more or fewer cells than the header: a file cut short must not pass for unknowns."""
    for number, row in enumerate(rows, start=FIRST_ROW):
        if row and len(row) != width:
            hint = ": put a name with commas between quotes" if len(row) > width else ""
            raise DataError(f"{file} row {number}: {len(row)} cells where the header has {width}{hint}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
