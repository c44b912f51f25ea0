"""Precomputed features with labels: an .npz of arrays, or a Parquet file with an embedding column."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn
from zipfile import ZipFile

import numpy as np
import polars as pl

from rarecall.data import mapped
from rarecall.data.columns import ITEM_NAMES, SPLIT_NAMES, find
from rarecall.data.formats import _columns
from rarecall.data.table import PART_NAMES, LabelTable
from rarecall.errors import DataError, OptionError, listing

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet as pq

NAME = "features"
FEATURE_NAMES = ("features", "embeddings", "embedding", "x")
LABEL_NAMES = ("labels", "targets", "y")
KINDS = "biufUmM"  # of the arrays that become columns
AT_ONCE = 8192  # rows
VECTORS = 512  # rows of Parquet that are decoded at a time; what Arrow takes for them it does not give back


def recognises(path: Path) -> bool:
    """An .npz file, or a .parquet file with features in it."""
    if path.suffix.lower() != ".parquet":
        return path.suffix.lower() == ".npz"
    try:
        with path.open("rb") as stream:  # a path would be taken as a pattern
            return any(_is_vector(name, kind) for name, kind in pl.read_parquet_schema(stream).items())
    except (pl.exceptions.PolarsError, OSError):
        return True  # reading it says what is wrong


def read(
    path: Path,
    *,
    blank: str | None = None,
    unlisted: str | None = None,
    ignore: str | Sequence[str] | None = None,
    group: str | None = None,
) -> LabelTable:
    """Read it.

    An .npz holds `features` (N, D) and `labels` (N, C) of 1, 0 and -1, and may hold `names` (C), `items` (N)
    and `split` (N); other arrays of an entry for each row become the table's `columns`. A Parquet file holds one list
    column of numbers, class columns or a column of tags, and may hold an item column and a split column.

    Args:
        path: the file.
        blank: what a missing value of Parquet means in a class column, or in place of a row's tags: `unknown`
            (default) or `absent`.
        unlisted: what a tag that a row does not list means in Parquet: `absent` (default) or `unknown`.
        ignore: columns of Parquet that are no classes, separated by commas; they become the table's `columns`, as
            do those beside a column of tags.
        group: the column, or array, whose values stay together in one part; it is no class.
    """
    if path.suffix.lower() != ".npz":
        options = _columns.Options(
            blank=blank or "unknown", unlisted=unlisted or "absent", ignore=ignore, group=group
        )  # fmt: skip
        return _read_parquet(path, options)
    if blank or unlisted or ignore:
        raise OptionError(f"{path}: blank, unlisted and ignore mean nothing in an .npz, whose labels are 1, 0 and -1")
    return replace(_read_npz(path), group=group)


def read_features(path: Path) -> tuple[list[str], np.ndarray]:
    """Item names and features (N, ...) alone, of a file with or without labels.

    Raises:
        DataError: the file cannot be read, or holds no features.
    """
    if path.suffix.lower() == ".npz":
        arrays = _arrays(path)
        features = _named(arrays, FEATURE_NAMES, path)
        features = features if mapped.is_mapped(features) else _numbers(features, path)
        return _listed(arrays, "items", [f"row {row}" for row in range(len(features))], path), features
    frame, vector = _frame(path)
    features = _vectors_of(path, vector)
    return _items(frame, len(features), path), features


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        # By a stream: a path that turns out to be damaged would stay open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            large = find(archive.files, FEATURE_NAMES)
            features = None if large is None else _large(archive.zip, f"{large}.npy", path)
            arrays = {key: archive[key] for key in archive.files if features is None or key != large}
            if large is not None and features is not None:
                arrays[large] = features
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{path}: not readable as .npz: its arrays claim more than there is memory") from None
    except Exception as error:  # noqa: BLE001 - a damaged zip, what is packed in it and NumPy's header raise many kinds
        detail = "it holds Python objects, which are never loaded" if "pickle" in str(error) else "the file is damaged"
        raise DataError(f"{path}: not readable as .npz: {detail}: save plain arrays with numpy.savez") from None
    if others := [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise DataError(f"{path}: {listing(others)} in it is no array: save plain arrays with numpy.savez")
    return arrays


def _large(archive: ZipFile, name: str, path: Path) -> np.ndarray | None:
    """Features that are to be mapped, read some rows at a time; None where they are few, or something else."""
    if name not in archive.namelist():
        return None
    with archive.open(name) as member:
        shape, in_columns, kind = _header(member)
        if kind.kind not in "iuf" or not shape or min(shape) < 0 or not mapped.is_large(shape):
            return None
        if archive.getinfo(name).file_size < kind.itemsize * math.prod(shape):
            raise ValueError(f"{name} is cut short")
        stored = shape[::-1] if in_columns else shape
        whole = mapped.filled(stored, _member_blocks(member, stored, kind, path, in_columns))
    return mapped.filled(shape, mapped.in_blocks(whole.T)) if in_columns else whole


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(member)
    except ValueError:
        return (), False, np.dtype(np.void)  # no array, which is told where all are read
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    return (), False, np.dtype(np.void)  # names of fields, which no numbers have


def _member_blocks(
    member: IO[bytes], shape: Sequence[int], kind: np.dtype[Any], path: Path, in_columns: bool
) -> Iterator[np.ndarray]:
    """The numbers of an array in an archive, which checks its sum where it ends."""
    step = mapped.rows_at_once(shape, kind.itemsize)
    for start in range(0, shape[0], step):
        rows = min(step, shape[0] - start)
        content = member.read(rows * kind.itemsize * math.prod(shape[1:]))
        yield _numbers(np.frombuffer(content, kind).reshape(rows, *shape[1:]), path, start, in_columns)


def _listed(arrays: dict[str, np.ndarray], key: str, default: list[str], path: Path) -> list[str]:
    """An array of names as texts, or what stands for it."""
    found = find(list(arrays), (key,))
    if found is None:
        return default
    if arrays[found].ndim != 1:
        raise DataError(f"{path}: {key} {arrays[found].shape} must be a list of one name each")
    return [str(one) for one in arrays[found].tolist()]


def _read_npz(path: Path) -> LabelTable:
    arrays = _arrays(path)
    features, labels = (_named(arrays, names, path) for names in (FEATURE_NAMES, LABEL_NAMES))
    if features.ndim != 2 or labels.ndim != 2 or len(features) != len(labels):
        raise DataError(f"{path}: features {features.shape} and labels {labels.shape} must be (N, D) and (N, C)")
    _require_labels(labels, path)
    rows, classes = labels.shape
    names = _listed(arrays, "names", [f"class {place}" for place in range(classes)], path)
    items = _listed(arrays, "items", [f"row {row}" for row in range(rows)], path)
    split = np.array([_part(word, path) for word in _listed(arrays, "split", ["train"] * rows, path)])
    if (len(names), len(items), len(split)) != (classes, rows, rows):
        raise DataError(f"{path}: {len(names)} names, {len(items)} items, {len(split)} split for labels {labels.shape}")
    return LabelTable(
        items=items,
        names=names,
        labels=labels.astype(np.int8, copy=False),
        split=split,
        source=f"{NAME}:{path}",
        features=features if mapped.is_mapped(features) else _numbers(features, path),
        columns=_further(arrays, rows),
    )


def _require_labels(labels: np.ndarray, path: Path) -> None:
    for start in range(0, len(labels), AT_ONCE):
        wrong = np.argwhere(~np.isin(labels[start : start + AT_ONCE], (-1, 0, 1)))
        if len(wrong):
            row, column = start + wrong[0, 0], wrong[0, 1]
            raise DataError(f"{path}: labels[{row}, {column}] is {labels[row, column]}, not 1, 0 or -1")


def _further(arrays: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """What else there is an entry of for each row."""
    used = {find(list(arrays), names) for names in (FEATURE_NAMES, LABEL_NAMES, ("names",), ("items",), ("split",))}
    return {
        key: array
        for key, array in arrays.items()
        if key not in used and array.shape == (rows,) and array.dtype.kind in KINDS
    }


def _frame(path: Path) -> tuple[pl.DataFrame, str]:
    """The table without its features, and the name of their column."""
    with _columns.open_parquet(path) as file:
        schema = _columns.as_frame(file.schema_arrow.empty_table()).schema
        if not file.metadata.num_rows:
            raise DataError(f"{path}: no rows: expected one row per item")
        vector = _vector(schema, path)
        others = [name for name in schema if name != vector]
        return _columns.as_frame(file.read(columns=others, use_threads=False)), vector


def _vectors_of(path: Path, name: str) -> np.ndarray:
    """The features, which are read last, so that nothing that is not needed any more lies beside them."""
    with _columns.open_parquet(path) as file:
        return _stack(file, name, path)


def _vector(schema: Mapping[str, pl.DataType], path: Path) -> str:
    """The name of the column of features."""
    vectors = [name for name, kind in schema.items() if _is_vector(name, kind)]
    vector = find(vectors, FEATURE_NAMES) or (vectors[0] if len(vectors) == 1 else None)
    if vector is None:
        found = f"the list columns {listing(vectors)}" if vectors else "no list column of numbers"
        hint = "name one of them 'embedding'" if vectors else "store each row's features as a list of floats"
        raise DataError(f"{path}: {found}: {hint}")
    return vector


def _read_parquet(path: Path, options: _columns.Options) -> LabelTable:
    frame, vector = _frame(path)
    beside = _columns.left_out(options, frame.columns, str(path))
    columns = [name for name in frame.columns if name not in beside]
    items, split = find(columns, ITEM_NAMES), find(columns, SPLIT_NAMES)
    rest = [name for name in columns if name not in (items, split)]
    if not rest:
        raise DataError(f"{path}: no class column beside {vector!r}: add one column per class, or one of tags")
    tags = _columns.find_tags(frame, rest, str(path))
    if tags is not None:
        names, labels = _columns.tags_column(frame[tags], options.blank, options.unlisted, None, str(path))
        beside += [name for name in rest if name != tags]
    else:
        names, labels = rest, _columns.class_columns(frame, rest, options.blank, str(path), 1)
    table = LabelTable(
        items=_items(frame.select(columns), len(labels), path),
        names=names,
        labels=labels,
        split=_columns.parts(frame, split, str(path), 1),
        source=f"{NAME}:{path}",
        columns=_columns.further(frame, beside),
        group=_columns.group_of(options),
    )
    del frame
    return replace(table, features=_vectors_of(path, vector))


def _items(frame: pl.DataFrame, rows: int, path: Path) -> list[str]:
    """What each row is called: what the column of items says, or its number."""
    named = find(frame.columns, ITEM_NAMES)
    if named is None:
        return [f"row {row + 1}" for row in range(rows)]
    names = _columns.texts(frame[named], str(path), "names of items: store texts").to_list()
    return [f"row {row + 1}" if name is None else name for row, name in enumerate(names)]


def _stack(file: "pq.ParquetFile", name: str, path: Path) -> np.ndarray:
    """A column of vectors as one matrix (N, D), into which some rows after the other are decoded."""
    first = next(_vectors(file, name), None)
    width = 0 if first is None else int(_widths(first)[0])
    features = mapped.filled((file.metadata.num_rows, width), _vector_blocks(file, name, width, path))
    if not width:
        raise DataError(f'{path}: column "{name}" holds no numbers')
    return features


def _vector_blocks(file: "pq.ParquetFile", name: str, width: int, path: Path) -> Iterator[np.ndarray]:
    rows, filled = file.metadata.num_rows, 0
    for vectors in _vectors(file, name):
        if (_widths(vectors) != width).any():
            _refuse_widths(file, name, path)
        numbers = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(vectors), width)
        yield _numbers(numbers, path, filled)
        filled += len(vectors)
    if filled < rows:
        raise DataError(f"{path}: {filled} rows where it says {rows}: damaged: save it again")


def _vectors(file: "pq.ParquetFile", name: str) -> "Iterator[pa.Array]":
    for batch in file.iter_batches(VECTORS, columns=[name], use_threads=False):
        batch.validate(full=True)
        yield batch.column(0)


def _widths(vectors: "pa.Array") -> np.ndarray:
    """How many numbers each row has; a missing one has none."""
    return np.asarray(vectors.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))


def _refuse_widths(file: "pq.ParquetFile", name: str, path: Path) -> NoReturn:
    """Name the first row that has not as many numbers as most have."""
    widths = np.concatenate([_widths(vectors) for vectors in _vectors(file, name)])
    wanted = int(np.bincount(widths).argmax())
    row = int((widths != wanted).argmax())
    raise DataError(f'{path} row {row + 1}, column "{name}": {widths[row]} numbers where the other rows have {wanted}')


def _is_vector(name: str, kind: pl.DataType) -> bool:
    """Whether a column holds features; a list of whole numbers may also be one of classes, so its name decides."""
    if not isinstance(kind, pl.List | pl.Array):
        return False
    inner = getattr(kind, "inner", pl.Null())
    return inner.is_float() or (inner.is_integer() and name.strip().lower() in FEATURE_NAMES)


def _numbers(features: np.ndarray, path: Path, first: int = 0, in_columns: bool = False) -> np.ndarray:
    """Features, or some rows of them from a first one on, as finite numbers of 32 bits; or columns as rows."""
    if features.dtype.kind not in "iuf" or not features.ndim:
        raise DataError(f"{path}: features are {features.dtype} {features.shape}, not a row of numbers for each item")
    with np.errstate(over="ignore"):  # what is too large for 32 bits is found below
        numbers = features.astype(np.float32, copy=False)
    for start in range(0, len(numbers), AT_ONCE):
        bad = ~np.isfinite(numbers[start : start + AT_ONCE])
        if bad.any():
            row, *place = np.argwhere(bad)[0].tolist()
            value = features[(start + row, *place)]
            at = [first + start + row, *place]
            raise DataError(f"{path}: feature {at[::-1] if in_columns else at} is {value}: fill it before use")
    return numbers


def _named(arrays: dict[str, np.ndarray], names: tuple[str, ...], path: Path) -> np.ndarray:
    """The array with the first of some names."""
    found = find(list(arrays), names)
    if found is None:
        raise DataError(f"{path}: no array {names[0]!r}: it holds {listing(sorted(arrays)) or 'nothing'}")
    return arrays[found]


def _part(word: str, path: Path) -> str:
    if word.lower() not in PART_NAMES:
        raise DataError(f"{path}: {word!r} in split is not train, val or test")
    return PART_NAMES[word.lower()]
