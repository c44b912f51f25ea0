"""A CSV of items with one column per class or one column of tags; or a folder with train.csv and test.csv."""

import csv
import io
from pathlib import Path

import numpy as np
import polars as pl

from rarecall.data.formats import _columns
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, listing

NAME = "csv"
DELIMITERS = ",;\t"
FIRST_ROW = 2  # as a spreadsheet counts: the header is row 1
SUFFIXES = (".csv", ".tsv", ".txt")


def recognises(path: Path) -> bool:
    """A .csv or .tsv file, or a folder with a train.csv or a single CSV in it."""
    return (path.is_file() and path.suffix.lower() in SUFFIXES) or (path.is_dir() and bool(_inside(path)))


def read(
    path: Path,
    *,
    image_column: str | None = None,
    tags_column: str | None = None,
    split_column: str | None = None,
    separator: str | None = None,
    blank: str = "unknown",
    unlisted: str = "absent",
    images: str | None = None,
) -> LabelTable:
    """Read it.

    Args:
        path: the file, or a folder with train.csv, test.csv and perhaps val.csv.
        image_column: default: a column named image, file, path, id, …, else the first that holds no labels.
        tags_column: default: a column named tags, labels, …, or the only one left if it holds no labels.
        split_column: default: a column named split, subset or partition.
        separator: between tags; default: found among `|`, `;` and `,`.
        blank: what a blank means in a class column: `unknown` or `absent`.
        unlisted: what a tag that a row does not list means: `absent` or `unknown`.
        images: the folder that image paths are relative to; default: the folder of the CSV.
    """
    files = [path] if path.is_file() else _inside(path)
    if not files:
        raise DataError(f"{path}: no train.csv and no single CSV in this folder: name the file")
    frames = {file: _frame(file) for file in files}
    columns = _same_columns({file: frame.columns for file, frame in frames.items()})
    everything = pl.concat(list(frames.values()))
    where = str(path)

    items = _known_column(image_column, columns, where) or _columns.find(columns, _columns.ITEM_NAMES)
    if items is None:
        items = next((name for name in columns if not _columns.looks_like_labels(everything[name])), None)
    if items is None:
        raise DataError(f"{where}: no column names the images: name it with --image-column")
    split = _known_column(split_column, columns, where) or _columns.find(columns, _columns.SPLIT_NAMES)
    rest = [name for name in columns if name not in (items, split)]
    if not rest:
        raise DataError(f"{where}: no class column beside {items!r}: add one column per class, or one of tags")
    tags = _known_column(tags_column, columns, where) or _columns.find_tags(everything, rest, where)
    if tags is not None:
        names, labels = _columns.tags_column(everything[tags], unlisted, separator, where)
    else:
        names = rest
        labels = np.concatenate(
            [_columns.class_columns(frame, rest, blank, str(file), FIRST_ROW) for file, frame in frames.items()]
        )
    parts = [
        np.full(len(frame), file.stem)
        if path.is_dir() and len(files) > 1
        else _columns.parts(frame, split, str(file), FIRST_ROW)
        for file, frame in frames.items()
    ]
    return LabelTable(
        items=everything[items].cast(pl.String).fill_null("").to_list(),
        names=[name.strip() for name in names],
        labels=labels,
        split=np.concatenate(parts),
        source=f"{NAME}:{path}",
        root=Path(images).expanduser() if images else files[0].parent,
    )


def _inside(folder: Path) -> list[Path]:
    parts = [file for part in ("train", "val", "test") if (file := folder / f"{part}.csv").is_file()]
    if parts and parts[0].stem == "train":
        return parts
    single = sorted(folder.glob("*.csv"))
    return single if len(single) == 1 else []


def _frame(file: Path) -> pl.DataFrame:
    data = file.read_bytes()
    if not data.strip():
        raise DataError(f"{file}: the file is empty: expected a header row and one row per image")
    if b"\0" in data:
        raise DataError(
            f"{file}: byte {data.index(0)} is NUL: this is a binary file, not a CSV (or UTF-16: save as UTF-8)"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8: save the file as UTF-8") from None
    header_line = text.lstrip("\n\r").splitlines()[0]
    delimiter = max(DELIMITERS, key=header_line.count)
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    _columns.require_distinct(header, str(file))
    _require_whole_rows(text, delimiter, len(header), file)
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
    return frame


def _require_whole_rows(text: str, delimiter: str, width: int, file: Path) -> None:
    """Refuse a row with more or fewer cells than the header: a file cut short must not pass for unknowns."""
    csv.field_size_limit(2**31 - 1)
    for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1):
        if row and len(row) != width:
            raise DataError(f"{file} row {number}: {len(row)} cells where the header has {width}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _same_columns(columns: dict[Path, list[str]]) -> list[str]:
    (first, wanted), *others = columns.items()
    for file, found in others:
        if found != wanted:
            differing = sorted(set(found) ^ set(wanted)) or ["the order"]
            raise DataError(f"{file}: its columns differ from those of {first.name}: {listing(differing)}")
    return wanted


def _known_column(name: str | None, columns: list[str], where: str) -> str | None:
    if name is not None and name not in columns:
        raise DataError(f"{where}: no column {name!r}: it has {listing(columns, 8)}")
    return name
