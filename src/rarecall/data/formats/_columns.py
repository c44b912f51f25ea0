"""Tables of a user's own: an item column, one column per class or one of tags. Every format of tables shares this."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from rarecall.data.columns import ITEM_NAMES, SPLIT_NAMES, TAG_NAMES, find
from rarecall.data.identities import looks_like_identity
from rarecall.data.table import PART_NAMES, LabelTable
from rarecall.errors import DataError, OptionError, counted, listing, unknown_name
from rarecall.labels import ABSENT, PRESENT, UNKNOWN

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet as pq

SEPARATORS = ("|", ";", ",")
VALUES = {
    "1": PRESENT, "1.0": PRESENT, "true": PRESENT,
    "0": ABSENT, "0.0": ABSENT, "false": ABSENT,
    "-1": UNKNOWN, "-1.0": UNKNOWN,
}  # fmt: skip
CODES = {"unknown": UNKNOWN, "absent": ABSENT}
LARGEST = 1 << 34  # labels that a table holds, a byte each
MOST_CLASSES = 100_000  # that are known by their numbers alone: one larger number would make as many names
BUFFER = 1 << 20  # bytes of a Parquet file that are read at a time
LONGEST_SHOWN = 60  # characters of a value in a message
LONGEST_FIXED = 256  # characters up to which all texts of a column may take the same room


@dataclass(frozen=True)
class Options:
    """What a user says about the columns; the formats' docstrings say what each means."""

    image_column: str | None = None
    tags_column: str | None = None
    split_column: str | None = None
    separator: str | None = None
    blank: str = "unknown"
    unlisted: str = "absent"
    ignore: str | Sequence[str] | None = None
    images: str | None = None
    group: str | None = None


def files_of(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """The file itself; of a folder its train, val and test files of one suffix, or the only file of one."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in suffixes else []
    for suffix in suffixes:
        found = [file for part in ("train", "val", "test") if (file := path / f"{part}{suffix}").is_file()]
        if found and found[0].stem == "train":
            return found
    every = sorted(file for suffix in suffixes for file in path.glob(f"*{suffix}"))
    return every if len(every) == 1 else []


def image_table(
    name: str, path: Path, frames: dict[Path, pl.DataFrame], options: Options, first_row: int
) -> LabelTable:
    """The table of images that the frames of some files are together; `first_row` is the first row's number."""
    where = str(path)
    columns = _same_columns({file: frame.columns for file, frame in frames.items()})
    everything = (
        pl.concat(list(frames.values()), how="vertical_relaxed") if len(frames) > 1 else frames[next(iter(frames))]
    )
    beside = left_out(options, columns, where)
    columns = [column for column in columns if column not in beside]
    items = _known_column(options.image_column, columns, where) or find(columns, ITEM_NAMES)
    if items is None and options.group is not None and find([options.group], ITEM_NAMES):
        raise DataError(f"{where}: {options.group!r} is the group: name the column of the images with --image-column")
    items = items or next((column for column in columns if not looks_like_labels(everything[column])), None)
    if items is None:
        raise DataError(f"{where}: no column names the images: name it with --image-column")
    split = _known_column(options.split_column, columns, where) or find(columns, SPLIT_NAMES)
    rest = [column for column in columns if column not in (items, split)]
    if not rest:
        raise DataError(f"{where}: no class column beside {items!r}: add one column per class, or one of tags")
    tags = _known_column(options.tags_column, columns, where) or find_tags(everything, rest, where)
    if tags is not None:
        names, labels = tags_column(everything[tags], options.blank, options.unlisted, options.separator, where)
        beside += [column for column in rest if column != tags]
    else:
        names = rest
        labels = np.concatenate(
            [class_columns(frame, rest, options.blank, str(file), first_row) for file, frame in frames.items()]
        )
    by_file = path.is_dir() and len(frames) > 1
    images = texts(everything[items], where, "paths: name another one with --image-column").fill_null("")
    return LabelTable(
        items=images.to_list(),
        names=[one.strip() for one in names],
        labels=labels,
        split=np.concatenate(
            [
                np.full(len(frame), file.stem) if by_file else parts(frame, split, str(file), first_row)
                for file, frame in frames.items()
            ]
        ),
        source=f"{name}:{path}",
        root=Path(options.images).expanduser() if options.images else next(iter(frames)).parent,
        columns=further(everything, beside),
        notes=_item_notes(images),
        group=group_of(options),
    )


def further(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    """What else is known of each row; lists and bytes are dropped."""
    return {name.strip(): as_array(frame[name]) for name in names if _is_flat(frame[name])}


def group_of(options: Options) -> str | None:
    """The name of the group's column among those of `further`."""
    return None if options.group is None else options.group.strip()


def as_array(column: pl.Series) -> np.ndarray:
    """A column's values as NumPy has them, a missing text as an empty one."""
    if column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.Boolean:
        return column.to_numpy()
    texts = column.cast(pl.String).fill_null("")
    longest = texts.str.len_chars().max()
    values = texts.to_numpy().astype(object)
    return values.astype(str) if isinstance(longest, int) and longest <= LONGEST_FIXED else values


def _is_flat(column: pl.Series) -> bool:
    return not column.dtype.is_nested() and column.dtype != pl.Binary


def texts(column: pl.Series, where: str, wanted: str) -> pl.Series:
    """A column as texts, where `wanted` says what else it should have held."""
    if not _is_flat(column):
        raise DataError(f'{where}: column "{column.name}" holds {column.dtype}, not {wanted}')
    return column.cast(pl.String)


def _item_notes(items: pl.Series) -> tuple[str, ...]:
    repeated = items.filter(items.is_duplicated()).unique(maintain_order=True)
    blank = int((items == "").sum())
    notes = []
    if len(repeated):
        stand, example = counted(len(repeated), "image stands", "images stand"), _shown(repeated[0])
        notes.append(f"{stand} in more than one row, such as {example}: each row counts")
    if blank:
        notes.append(f"{counted(blank, 'row names', 'rows name')} no image")
    return tuple(notes)


def left_out(options: Options, columns: Sequence[str], where: str) -> list[str]:
    """The columns that are said to be no classes: those that are ignored, and the group's."""
    ignored = _ignored(options.ignore, columns, where)
    group = _known_column(options.group, columns, where)
    return ignored if group is None or group in ignored else [*ignored, group]


def _ignored(names: str | Sequence[str] | None, columns: Sequence[str], where: str) -> list[str]:
    if isinstance(names, str):
        try:
            names = next(csv.reader([names], skipinitialspace=True), [])
        except csv.Error as error:
            raise OptionError(f"ignore={names[:LONGEST_SHOWN]!r}: not names separated by commas: {error}") from None
    return [one for name in names or () if (one := _known_column(name.strip(), columns, where)) is not None]


def _same_columns(columns: dict[Path, list[str]]) -> list[str]:
    (first, wanted), *others = columns.items()
    for file, found in others:
        if found != wanted:
            differing = sorted(set(found) ^ set(wanted)) or ["the order"]
            raise DataError(f"{file}: its columns differ from those of {first.name}: {listing(differing)}")
    return wanted


def _known_column(name: str | None, columns: Sequence[str], where: str) -> str | None:
    if name is None:
        return None
    found = next((column for column in columns if column == name or column.strip() == name), None)
    if found is None:
        raise DataError(f"{where}: no column {name!r}: it has {listing(columns, 8)}")
    return found


def parts(frame: pl.DataFrame, column: str | None, where: str, first_row: int) -> np.ndarray:
    """The part of each row; everything is train without a split column."""
    if column is None:
        return np.full(len(frame), "train")
    folded = frame[column].cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
    split = folded.replace_strict(PART_NAMES, default=None, return_dtype=pl.String)
    if split.null_count():
        row = int(split.is_null().arg_max() or 0)
        word = str(frame[column][row] or "blank")[:LONGEST_SHOWN]
        raise DataError(f'{where} row {row + first_row}, column "{column}": {word!r} is not train, val or test')
    return split.to_numpy().astype(str)


def class_columns(frame: pl.DataFrame, columns: Sequence[str], blank: str, where: str, first_row: int) -> np.ndarray:
    """Labels from one column per class: 1, 0, -1 or blank, where `blank` says what a blank means."""
    code = _code("blank", blank)
    labels = np.empty((len(frame), len(columns)), np.int8)
    for position, column in enumerate(columns):
        values = _label_codes(frame[column], code)
        if values.null_count():
            row = int(values.is_null().arg_max() or 0)
            place, value = f'{where} row {row + first_row}, column "{_shown(column)}"', _shown(frame[column][row])
            raise DataError(
                f"{place}: {value} is not 1, 0, -1 or blank: if the column is no class, leave it out with "
                f"--option ignore={_shown(column)}{_or_group_by(frame[column])}"
            )
        labels[:, position] = values.to_numpy()
    return labels


def _or_group_by(column: pl.Series) -> str:
    """What else can be done with a column that looks like what several rows belong to."""
    if not _is_flat(column) or not looks_like_identity(column.name, as_array(column)):
        return ""
    return f", or keep the rows of each of its values in one part with --group {_shown(column.name)}"


def _label_codes(column: pl.Series, blank: int) -> pl.Series:
    """1, 0 and -1, with nulls for what is no label."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        numbers = column.cast(pl.Float64).fill_nan(None).fill_null(float(blank))
        return numbers.set(~numbers.is_in([1.0, 0.0, -1.0]), None).cast(pl.Int8)
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        return pl.Series([None] * len(column), dtype=pl.Int8)
    text = column.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
    return text.replace_strict({**VALUES, "": blank}, default=None, return_dtype=pl.Int8)


def _shown(value: object) -> str:
    text = str(value)
    if len(text) > LONGEST_SHOWN:
        return f"{text[:LONGEST_SHOWN]!r}…"
    return text if text.isprintable() else repr(text)


def tags_column(
    column: pl.Series, blank: str, unlisted: str, separator: str | None, where: str
) -> tuple[list[str], np.ndarray]:
    """Class names and labels from one column of tags, where `unlisted` says what a tag not listed means.

    A row's tags are one text with separators, or a list of texts or of class numbers. An empty one lists no tag; of a
    missing one `blank` says what it means. A missing tag within a list leaves all that is not listed unknown.
    """
    code, code_of_missing = _code("unlisted", unlisted), _code("blank", blank)
    missing = column.is_null().to_numpy()
    if not isinstance(column.dtype, pl.List | pl.Array):
        column = _split_tags(column.cast(pl.String), separator, where)
    rows, tags, unclear = _flat(column, where)
    classes = tags.unique().sort()
    if not len(classes):
        raise DataError(f'{where}: column "{column.name}" lists no tag in any row')
    if len(column) * len(classes) > LARGEST:
        raise DataError(
            f'{where}: column "{column.name}" has {len(classes):,} different tags in {len(column):,} rows, more than '
            "a table can hold: is it free text? Name another with --tags-column"
        )
    names = classes.cast(pl.String).to_list()
    codes = tags.cast(pl.String).cast(pl.Enum(names)).to_physical().to_numpy()
    shape = len(column), len(names)
    labels = np.full(shape, code, np.int8) if code else np.zeros(shape, np.int8)  # which takes no memory untouched
    labels[unclear] = UNKNOWN
    labels[missing] = code_of_missing
    labels.reshape(-1)[rows * len(names) + codes] = PRESENT
    return names, labels


def _split_tags(column: pl.Series, separator: str | None, where: str) -> pl.Series:
    if separator and not column.str.contains(separator, literal=True).any():
        raise DataError(f'{where}: column "{column.name}": no row contains the separator {separator!r}')
    separator = separator or detect_separator(column)
    return column.str.split(separator) if separator else column.reshape((-1, 1))


def _flat(column: pl.Series, where: str) -> tuple[np.ndarray, pl.Series, np.ndarray]:
    """The row of each tag, and the tags, without blank ones; and the rows in which one is missing."""
    lists = column.cast(pl.List(column.dtype.inner)) if isinstance(column.dtype, pl.Array) else column
    rows = np.repeat(np.arange(len(lists)), lists.list.len().fill_null(0).to_numpy())
    tags = pl.Series(column.name, lists.to_arrow().flatten())
    unclear = rows[tags.is_null().to_numpy()]
    if not tags.dtype.is_integer():
        if tags.dtype.is_nested() or tags.dtype.is_numeric():
            raise DataError(f'{where}: column "{column.name}" holds {tags.dtype}, not names or numbers of classes')
        tags = tags.cast(pl.String).str.strip_chars()
        tags = tags.set(tags == "", None)
    given = tags.is_not_null()
    return (rows, tags, unclear) if given.all() else (rows[given.to_numpy()], tags.filter(given), unclear)


def detect_separator(column: pl.Series) -> str | None:
    """The separator that most cells contain; None where every cell is a single tag."""
    cells = column.drop_nulls()
    found = Counter({mark: int(cells.str.contains(mark, literal=True).sum()) for mark in SEPARATORS})
    mark, cells_with = found.most_common(1)[0]
    return mark if cells_with else None


def find_tags(frame: pl.DataFrame, columns: Sequence[str], where: str) -> str | None:
    """The column of tags: one with a known name that holds no labels, one of lists, or the only one of words."""
    lists = [name for name in columns if isinstance(frame[name].dtype, pl.List | pl.Array)]
    named = find(columns, TAG_NAMES) or (lists[0] if lists else None)
    if named is not None and (_is_blank(frame[named]) or not looks_like_labels(frame[named])):
        classes = [name for name in columns if name != named and looks_like_labels(frame[name])]
        if classes:
            raise DataError(
                f'{where}: column "{named}" holds tags, but {listing(classes)} hold labels: name the one to take '
                "with --tags-column, or leave it out with --option ignore=…"
            )
        return named
    return columns[0] if len(columns) == 1 and _holds_words(frame[columns[0]]) else None


def _is_blank(column: pl.Series) -> bool:
    return column.dtype == pl.String and bool((column.fill_null("").str.strip_chars() == "").all())


def _holds_words(column: pl.Series) -> bool:
    if not _is_flat(column):
        return False
    words = column.cast(pl.String).str.strip_chars()
    numbers = words.cast(pl.Float64, strict=False)
    return bool((numbers.is_null() & words.is_not_null() & (words != "")).any()) and not looks_like_labels(column)


def looks_like_labels(column: pl.Series) -> bool:
    """Whether every value is a label or blank."""
    return not _label_codes(column, UNKNOWN).null_count()


def require_distinct(columns: Sequence[str], where: str) -> None:
    """Refuse a header that names a column twice."""
    counted = Counter(column.strip() for column in columns)
    if repeated := [name for name, times in counted.items() if times > 1]:
        raise DataError(f"{where}: duplicate column {listing(map(repr, repeated))}: rename one of each")


def _code(option: str, word: str) -> int:
    if word not in CODES:
        raise OptionError(unknown_name(option, word, CODES))
    return CODES[word]


def read_parquet(file: Path) -> pl.DataFrame:
    """The columns of a Parquet file.

    Raises:
        DataError: it is damaged.
    """
    with open_parquet(file) as parquet:
        return as_frame(parquet.read())


def as_frame(table: "pa.Table") -> pl.DataFrame:
    """What Arrow has read, once it holds together."""
    table.validate(full=True)
    return pl.DataFrame(table)


@contextmanager
def open_parquet(file: Path) -> "Iterator[pq.ParquetFile]":
    """A Parquet file, of which little more is in memory at a time than what is decoded.

    Arrow reads it: on damaged pages Polars ends with a panic, which is no exception.

    Raises:
        DataError: it is damaged, also where the block reads it.
    """
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        with pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as parquet:
            yield parquet
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError, TypeError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or ["damaged"])[0]
        raise DataError(f"{file}: not readable as Parquet: {reason}") from None
