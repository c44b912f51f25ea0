"""Tables that `save` writes and `load` reads back identical: Parquet, or a CSV with a JSON beside it.

Both hold one row per item: its name, its part, the further columns, a column of 1, 0 and -1 for each class, and in
Parquet the features. What no column can hold (source, root, notes, provenance, types) stands in Parquet's schema
metadata, or in the JSON, which also knows the CSV's digest. Other programs read either as a plain table.
"""

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from rarecall.data.csv_rows import rows_of
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, unknown_name
from rarecall.files import replacing, write_bytes, write_text

if TYPE_CHECKING:  # imported where Parquet is written or read
    import pyarrow as pa

NAME = "saved"
KEY, DIGEST = b"rarecall", b"rarecall-sha256"
SUFFIXES = (".parquet", ".csv")
BLOCK = 1 << 16  # rows of a row group
BUFFER, AT_ONCE = 1 << 20, 4096  # bytes and rows that are read at a time
# NumPy's types that a column may have, and features; a text that was not saved by us may claim any other.
COLUMN = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|U\d{1,8}|[Mm]8(\[\w+\])?)")
TEXTS = "|O"  # Python's
FEATURES = re.compile(r"[<>|=]?([iu][1248]|f[248])")
ARROW_UNITS = {"M": ("D", "s", "ms", "us", "ns"), "m": ("s", "ms", "us", "ns")}  # of dates and times
WIDE = 1024  # characters that all texts of a column may take the same room for
LARGEST = 1 << 30  # bytes of a column whose texts take more


class _About(msgspec.Struct):
    """What stands beside the columns; they are, in this order: item, split, `columns`, `names`, features."""

    rarecall: int  # the version of this layout; it comes first, for a JSON is recognised by it
    names: list[str]
    columns: dict[str, str]
    split: str
    source: str
    root: str | None
    notes: list[str]
    provenance: list[str]
    features: tuple[str, list[int]] | None = None
    digest: str = ""
    tops: list[str] = []
    group: str | None = None


def save(table: LabelTable, path: str | Path) -> None:
    """Write a table so that `load` gives it back identical. The file is replaced in one step.

    A root inside the file's folder is stored relative to it, so that both can be moved together. Only what `save`
    wrote is overwritten: another file of the name may be somebody's labels.

    Args:
        table: what to write; features go to Parquet only.
        path: a .parquet or .csv file. A CSV gets a JSON beside it, named as it is with `.json` at the end.

    Raises:
        DataError: there is another file of this name, or the table holds what the file cannot: features in a CSV,
            objects that are no texts, or names that are no Unicode.
        OptionError: another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{path}: {unknown_name('suffix', path.suffix, SUFFIXES)}")
    if path.exists() and not recognises(path):
        raise DataError(f"{path}: is there, and was not saved by this library: choose another name, or remove it")
    if path.suffix.lower() == ".csv" and table.features is not None:
        raise DataError(f"{path}: a CSV holds no features: save the table as .parquet")
    for name, column in table.columns.items():
        if not _is_text(column) and not _can_hold(column.dtype.str, len(table)):
            raise DataError(f"{path}: column {name!r} holds {column.dtype}, which a file cannot: leave it out")
    if table.features is not None and not FEATURES.fullmatch(table.features.dtype.str):
        raise DataError(f"{path}: features are {table.features.dtype}, which a file cannot hold: make them float32")
    try:
        (_save_parquet if path.suffix.lower() == ".parquet" else _save_csv)(table, path)
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: {error.object!r:.80} is no Unicode text, so it cannot be saved: rename it") from None


def recognises(path: Path) -> bool:
    """A file that `save` wrote: Parquet with its metadata, or a CSV with its JSON."""
    if path.suffix.lower() == ".csv":
        beside = _beside(path)
        if not (path.is_file() and beside.is_file()):
            return False
        with beside.open("rb") as stream:
            return bool(re.match(rb'\{"rarecall":\d', stream.read(16)))
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        return KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def read(path: Path, *, images: str | None = None) -> LabelTable:
    """Read it.

    Args:
        path: the file.
        images: the folder that image paths are relative to; default: the one that was saved.

    Raises:
        DataError: it is damaged, or the CSV is not the one that the JSON was written with.
    """
    if not recognises(path):
        raise DataError(f"{path}: not a table that was saved: expected a .parquet, or a .csv with its .csv.json")
    import pyarrow as pa

    try:
        about, rows = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except (pa.ArrowException, OSError, ValueError, TypeError, IndexError, OverflowError, csv.Error) as error:
        raise DataError(f"{path}: a damaged file ({type(error).__name__}): save it again") from None
    root = Path(images).expanduser() if images else _root(about.root, path)
    return LabelTable(
        names=about.names,
        source=about.source,
        root=root,
        notes=tuple(about.notes),
        provenance=tuple(about.provenance),
        tops=tuple(about.tops),
        group=about.group,
        **rows,
    )


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _about(table: LabelTable, path: Path) -> _About:
    features = table.features
    return _About(
        rarecall=1,
        names=list(table.names),
        columns={name: column.dtype.str for name, column in table.columns.items()},
        split=table.split.dtype.str,
        source=table.source,
        root=None if table.root is None else _stored_root(table.root, path),
        notes=list(table.notes),
        provenance=list(table.provenance),
        features=None if features is None else (features.dtype.str, list(features.shape[1:])),
        tops=list(table.tops),
        group=table.group,
    )


def _stored_root(root: Path, path: Path) -> str:
    """The root relative to the file's folder where it is inside, else absolute."""
    whole, folder = Path(os.path.abspath(root)), Path(os.path.abspath(path)).parent  # noqa: PTH100 - keeps links
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)


def _root(stored: str | None, path: Path) -> Path | None:
    return None if stored is None else path.parent / stored


def _is_text(column: np.ndarray) -> bool:
    return column.dtype == object and all(type(value) is str for value in column)


def _can_hold(kind: str, rows: int) -> bool:
    """Whether a column may have a type: one that both files have, and no texts that take gigabytes."""
    if not COLUMN.fullmatch(kind):
        return False
    dtype = np.dtype(kind)
    return dtype.kind != "U" or dtype.itemsize <= 4 * WIDE or rows * dtype.itemsize <= LARGEST


def _check_types(about: _About, rows: int, path: Path) -> None:
    """Refuse types that nothing was saved with, before any memory is taken for them."""
    wrong = [kind for kind in about.columns.values() if kind != TEXTS and not _can_hold(kind, rows)]
    if not re.fullmatch(r"[<>|=]?U\d{1,8}", about.split) or np.dtype(about.split).itemsize > 4 * WIDE:
        wrong.append(about.split)
    if about.features is not None and not FEATURES.fullmatch(about.features[0]):
        wrong.append(about.features[0])
    if wrong:
        raise DataError(f"{path}: says that a column is of type {wrong[0][:60]!r}, damaged: save it again")


def _header(table: LabelTable) -> list[str]:
    """A name for each column of the file, each different from the others."""
    wanted = ["item" if table.root is None else "image", "split", *table.columns, *table.names]
    taken: set[str] = set()
    header = []
    for name in wanted:
        free, number = name, 2
        while free.strip() in taken:
            free, number = f"{name} ({number})", number + 1
        taken.add(free.strip())
        header.append(free)
    return header


# --- Parquet -----------------------------------------------------------------------------------------------


def _save_parquet(table: LabelTable, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    header = [*_header(table), *([] if table.features is None else ["features"])]
    about = msgspec.json.encode(_about(table, path))
    metadata = {KEY: about, DIGEST: hashlib.sha256(about).hexdigest().encode()}  # pages have sums, the footer has none
    with replacing(path) as part:
        writer = None
        for start in range(0, len(table), BLOCK):
            arrays = list(_arrays(table, slice(start, start + BLOCK)))
            fields = [pa.field(name, array.type) for name, array in zip(header, arrays, strict=True)]
            block = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata))
            writer = writer or pq.ParquetWriter(part, block.schema, compression="zstd", write_page_checksum=True)
            writer.write_table(block)
        assert writer is not None  # no table is empty
        writer.close()


def _arrays(table: LabelTable, rows: slice) -> "Iterator[pa.Array]":
    import pyarrow as pa

    yield pa.array(table.items[rows], pa.string())
    for column in (table.split, *table.columns.values()):
        values = column[rows]
        if values.dtype.kind in "UO":
            yield pa.array(values.tolist(), pa.string())
        else:
            yield pa.array(values.astype(values.dtype.newbyteorder("=") if _is_arrows(values.dtype) else np.int64))
    for labels in np.ascontiguousarray(table.labels[rows].T):
        yield pa.array(labels)
    if table.features is not None:
        flat = table.features[rows].reshape(len(table.labels[rows]), -1)
        yield pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])


def _is_arrows(dtype: np.dtype[Any]) -> bool:
    """Whether Arrow has the type; it lacks some units of time, such as years, whose numbers are stored."""
    if dtype.kind not in ARROW_UNITS:
        return True
    unit, step = np.datetime_data(dtype)
    return step == 1 and unit in ARROW_UNITS[dtype.kind]


def _read_parquet(path: Path) -> tuple[_About, dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True, buffer_size=BUFFER, pre_buffer=False) as file:
        metadata = file.schema_arrow.metadata
        if hashlib.sha256(metadata[KEY]).hexdigest().encode() != metadata.get(DIGEST):
            raise DataError(f"{path}: what was saved beside its columns is damaged: save it again")
        about = _decoded(metadata[KEY], path)
        before, classes, rows = 2 + len(about.columns), len(about.names), file.metadata.num_rows
        _check_width(len(file.schema_arrow), about, path)
        _check_types(about, rows, path)
        labels = np.empty((rows, classes), np.int8)
        features = None if about.features is None else _empty_features(about.features, rows)
        others, start = [], 0
        for block in file.iter_batches(AT_ONCE, use_threads=False):
            of_class = [block.column(before + place).to_numpy() for place in range(classes)]
            np.stack(of_class, axis=1, out=labels[start : start + len(block)], casting="no")
            if features is not None:
                own = features[start : start + len(block)]
                own[...] = block.column(block.num_columns - 1).flatten().to_numpy().reshape(own.shape)
            others.append(pa.table(block.columns[:before], names=block.schema.names[:before]))
            start += len(block)
    if start < rows:
        raise DataError(f"{path}: {start} rows where {rows} were saved: save it again")
    whole = pa.concat_tables(others).combine_chunks()
    _check_texts(whole, about, path)
    split, *columns = (whole.column(place).to_numpy() for place in range(1, before))
    return about, {
        "items": whole.column(0).to_pylist(),
        "labels": labels,
        "split": split.astype(about.split),
        "columns": {
            name: column.astype(kind) for (name, kind), column in zip(about.columns.items(), columns, strict=True)
        },
        "features": features,
    }


def _empty_features(kind: tuple[str, list[int]], rows: int) -> np.ndarray:
    return np.empty((rows, *kind[1]), kind[0])


def _check_texts(whole: "pa.Table", about: _About, path: Path) -> None:
    """Refuse what has become no text, or is missing, among items, parts and columns of texts."""
    import pyarrow as pa

    kinds = ["U", "U", *(kind.lstrip("<>|=") for kind in about.columns.values())]
    for place in [place for place, kind in enumerate(kinds) if kind[0] in "UO"]:
        column = whole.column(place)
        if not pa.types.is_string(column.type) or column.null_count:
            raise DataError(f"{path}: column {whole.column_names[place]!r} has values that are no text, damaged: save "
                            "it again")  # fmt: skip


def _decoded(data: bytes, path: Path) -> _About:
    try:
        about = msgspec.json.decode(data, type=_About)
    except msgspec.DecodeError as error:
        raise DataError(f"{path}: what was saved beside its columns is damaged ({error}): save it again") from None
    if about.rarecall != 1:
        raise DataError(f"{path}: saved by a newer version of rarecall: update this one")
    return about


def _check_width(found: int, about: _About, path: Path) -> None:
    wanted = 2 + len(about.columns) + len(about.names) + (about.features is not None)
    if found != wanted:
        raise DataError(f"{path}: {found} columns where {wanted} were saved: save it again")


# --- CSV ---------------------------------------------------------------------------------------------------


def _save_csv(table: LabelTable, path: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(_header(table))
    columns = [_cells(column) for column in (table.split, *table.columns.values())]
    writer.writerows(_csv_rows(table.items, columns, table.labels))
    data = text.getvalue().encode()
    about = _about(table, path)
    about.digest = hashlib.sha256(data).hexdigest()
    described = msgspec.json.format(msgspec.json.encode(about)).decode()
    described.encode()
    write_bytes(path, data)
    write_text(_beside(path), re.sub(r'^\{\s*"rarecall":\s*', '{"rarecall":', described) + "\n")


def _csv_rows(items: Iterable[str], columns: list[list[Any]], labels: np.ndarray) -> Iterator[list[Any]]:
    for item, *values, row in zip(items, *columns, labels, strict=True):
        yield [item, *values, *row.tolist()]


def _cells(column: np.ndarray) -> list[Any]:
    """Values that `_column` reads back."""
    if column.dtype.kind in "Mm":
        return [str(value) for value in column.astype(np.int64).tolist()]
    return list((column.astype(np.int8) if column.dtype.kind == "b" else column).tolist())


def _column(cells: Iterable[str], kind: str) -> np.ndarray:
    dtype = np.dtype(kind)
    if dtype.kind in "bMm":
        return np.array([int(cell) for cell in cells], np.int64).astype(dtype)
    if dtype.kind in "iu":
        return np.array([int(cell) for cell in cells], dtype)
    if dtype.kind == "f":
        return np.array([float(cell) for cell in cells]).astype(dtype)
    return np.array(list(cells), dtype)


def _read_csv(path: Path) -> tuple[_About, dict[str, Any]]:
    about = _decoded(_beside(path).read_bytes(), _beside(path))
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != about.digest:
        raise DataError(
            f"{path}: changed since it was saved with {_beside(path).name}: save it again, or remove that file to read "
            "the CSV as a table of your own"
        )
    header, *rows = rows_of(csv.reader(io.StringIO(data.decode(), newline="")))
    _check_width(len(header), about, path)
    _check_types(about, len(rows), path)
    before = 2 + len(about.columns)
    columns = list(zip(*(row[:before] for row in rows), strict=True))
    return about, {
        "items": list(columns[0]),
        "labels": np.array([row[before:] for row in rows]).astype(np.int8),
        "split": np.array(columns[1], about.split),
        "columns": {
            name: _column(cells, kind) for (name, kind), cells in zip(about.columns.items(), columns[2:], strict=True)
        },
    }
