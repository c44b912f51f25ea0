"""Label columns of a table: one column per class, or one column of tags. CSV and Parquet share this."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from rarecall.data.table import PART_NAMES
from rarecall.errors import DataError, OptionError, listing, unknown_name
from rarecall.labels import ABSENT, PRESENT, UNKNOWN

ITEM_NAMES = ("image", "file", "filename", "file_name", "filepath", "path", "item", "id", "image_id", "name")
TAG_NAMES = ("tags", "labels", "attributes", "classes", "label", "tag")
SPLIT_NAMES = ("split", "subset", "partition")
SEPARATORS = ("|", ";", ",")
VALUES = {
    "1": PRESENT, "1.0": PRESENT, "true": PRESENT,
    "0": ABSENT, "0.0": ABSENT, "false": ABSENT,
    "-1": UNKNOWN, "-1.0": UNKNOWN,
}  # fmt: skip
CODES = {"unknown": UNKNOWN, "absent": ABSENT}


def find(columns: Sequence[str], known: Sequence[str]) -> str | None:
    """The first column with one of the known names, whatever its case."""
    folded = {column.strip().lower(): column for column in columns}
    return next((folded[name] for name in known if name in folded), None)


def parts(frame: pl.DataFrame, column: str | None, where: str, first_row: int) -> np.ndarray:
    """The part of each row; everything is train without a split column."""
    if column is None:
        return np.full(len(frame), "train")
    folded = frame[column].cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
    split = folded.replace_strict(PART_NAMES, default=None, return_dtype=pl.String)
    if split.null_count():
        row = int(split.is_null().arg_max() or 0)
        word = frame[column][row] or "blank"
        raise DataError(f'{where} row {row + first_row}, column "{column}": {word!r} is not train, val or test')
    return split.to_numpy().astype(str)


def class_columns(frame: pl.DataFrame, columns: Sequence[str], blank: str, where: str, first_row: int) -> np.ndarray:
    """Labels from one column per class: 1, 0, -1 or blank, where `blank` says what a blank means."""
    code = _code("blank", blank)
    labels = np.empty((len(frame), len(columns)), np.int8)
    for position, column in enumerate(columns):
        text = frame[column].cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
        values = text.replace_strict({**VALUES, "": code}, default=None, return_dtype=pl.Int8)
        if values.null_count():
            row = int(values.is_null().arg_max() or 0)
            raise DataError(
                f'{where} row {row + first_row}, column "{column}": {frame[column][row]} is not 1, 0, -1 or blank'
                + ("" if _is_number(text[row]) else "; remove the column, or name the images with --image-column")
            )
        labels[:, position] = values.to_numpy()
    return labels


def tags_column(column: pl.Series, unlisted: str, separator: str | None, where: str) -> tuple[list[str], np.ndarray]:
    """Class names and labels from one column of tags, where `unlisted` says what a tag not listed means."""
    if column.dtype == pl.String:
        if separator and not column.str.contains(separator, literal=True).any():
            raise DataError(f'{where}: column "{column.name}": no row contains the separator {separator!r}')
        separator = separator or detect_separator(column)
        lists = [[tag.strip() for tag in cell.split(separator)] if separator else [cell.strip()]
                 for cell in column.fill_null("")]  # fmt: skip
    else:
        lists = [list(cell) if cell is not None else [] for cell in column]
    lists = [[tag for tag in tags if tag] for tags in lists]
    names = sorted({tag for tags in lists for tag in tags})
    if not names:
        raise DataError(f'{where}: column "{column.name}" lists no tag in any row')
    place = {name: position for position, name in enumerate(names)}
    labels = np.full((len(lists), len(names)), _code("unlisted", unlisted), np.int8)
    for row, tags in enumerate(lists):
        labels[row, [place[tag] for tag in tags]] = PRESENT
    return names, labels


def detect_separator(column: pl.Series) -> str | None:
    """The separator that most cells contain; None where every cell is a single tag."""
    cells = column.drop_nulls()
    found = Counter({mark: int(cells.str.contains(mark, literal=True).sum()) for mark in SEPARATORS})
    mark, cells_with = found.most_common(1)[0]
    return mark if cells_with else None


def find_tags(frame: pl.DataFrame, columns: Sequence[str], where: str) -> str | None:
    """The column of tags: one with a known name that holds no labels, or the only column if it holds words."""
    named = find(columns, TAG_NAMES)
    if named is not None and (_is_blank(frame[named]) or not looks_like_labels(frame[named])):
        classes = [name for name in columns if name != named and looks_like_labels(frame[name])]
        if classes:
            raise DataError(
                f'{where}: column "{named}" holds tags, but {listing(classes)} hold labels: name the one to take '
                "with --tags-column, or remove it"
            )
        return named
    return columns[0] if len(columns) == 1 and _holds_words(frame[columns[0]]) else None


def _is_blank(column: pl.Series) -> bool:
    return column.dtype == pl.String and bool((column.fill_null("").str.strip_chars() == "").all())


def _holds_words(column: pl.Series) -> bool:
    words = column.cast(pl.String).str.strip_chars() if not isinstance(column.dtype, pl.List) else None
    if words is None:
        return True
    numbers = words.cast(pl.Float64, strict=False)
    return bool((numbers.is_null() & words.is_not_null() & (words != "")).any()) and not looks_like_labels(column)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def looks_like_labels(column: pl.Series) -> bool:
    """Whether every value is a label or blank."""
    if isinstance(column.dtype, pl.List):
        return False
    text = column.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
    return bool(text.is_in([*VALUES, ""]).all())


def require_distinct(columns: Sequence[str], where: str) -> None:
    """Refuse a header that names a column twice."""
    counted = Counter(column.strip() for column in columns)
    if repeated := [name for name, times in counted.items() if times > 1]:
        raise DataError(f"{where}: duplicate column {listing(map(repr, repeated))}: rename one of each")


def _code(option: str, word: str) -> int:
    if word not in CODES:
        raise OptionError(unknown_name(option, word, CODES))
    return CODES[word]
