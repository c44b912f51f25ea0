"""Data sets of the Hugging Face library on disk: a folder that `save_to_disk` wrote, or Parquet or Arrow files.

Nothing is fetched and no code of a data set is run: only local files are read, with their features (which column is
an image, which numbers are classes) as the `datasets` library understands them.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from rarecall.data.formats import _layout
from rarecall.data.formats._columns import MOST_CLASSES
from rarecall.data.formats._files import Files, left_out_note
from rarecall.data.table import PART_NAMES, LabelTable
from rarecall.errors import DataError, OptionError, listing
from rarecall.images.containers import UnreadableItem, is_unsafe, open_arrow
from rarecall.labels import ABSENT, PRESENT, UNKNOWN, LabelMatrix

NAME = "hugging-face"
HOME = "https://huggingface.co/docs/datasets"
LICENCE = "a layout, not a data set"
STATE, INFO, PARTS_FILE = "state.json", "dataset_info.json", "dataset_dict.json"
SUFFIXES = (".parquet", ".arrow")
CODES = {"absent": ABSENT, "unknown": UNKNOWN}


class _File(msgspec.Struct):
    filename: str


class _State(msgspec.Struct):
    files: list[_File] = msgspec.field(name="_data_files")
    split: str | None = msgspec.field(name="_split", default=None)


class _Parts(msgspec.Struct):
    splits: list[str]


class Shard(NamedTuple):
    """A file, its name below the data set and the part it belongs to; None for a part that is none of ours."""

    name: str
    part: str | None
    table: Any


def recognises(path: Path) -> bool:
    """A folder that `save_to_disk` wrote, or Parquet or Arrow files with a column of embedded images."""
    if (path / PARTS_FILE).is_file() or ((path / STATE).is_file() and (path / INFO).is_file()):
        return True
    files = _loose_files(path)
    return bool(files) and _embeds_images(files[0])


def read(
    path: Path, *, image: str = "auto", labels: str = "auto", coding: str = "auto", unlisted: str = "absent"
) -> LabelTable:
    """Read it.

    Args:
        path: the folder, or a .parquet or .arrow file.
        image: the column of images; `auto`: the only one.
        labels: the column or, separated by commas, the columns of labels: a class (ClassLabel), a list of classes or
            of names, or one column of true and false (or 1, 0 and -1) for each class. `auto`: the only column of
            lists of classes, or else of a class, or else all of true and false, or else of lists of names.
        coding: what a list of numbers means: `indices` of the classes that are present (`auto`), or a `vector` with
            1, 0 or -1 for each class.
        unlisted: what a class means that a list does not name: `absent` or `unknown`.
    """
    _layout.choose("coding", coding, ("auto", "indices", "vector"))
    _layout.choose("unlisted", unlisted, CODES)
    shards = _shards(path)
    features = _features(path, shards[0])
    column = _image_column(features, image, path)
    kept = [shard for shard in shards if shard.part is not None]
    partless = [shard.name for shard in shards if shard.part is None]
    if not kept:
        raise DataError(f"{path}: parts {listing(one.name for one in shards)} are none of train, val and test")
    chosen = _label_columns(features, labels, column, path)
    names, values = _labels(features, kept, chosen, coding == "vector", CODES[unlisted], path)
    items = np.array([f"{shard.name}/{row}/{column}" for shard in kept for row in range(shard.table.num_rows)], object)
    embedded = np.concatenate([_has_bytes(shard, column) for shard in kept])
    if not embedded.any():
        raise DataError(f"{path}: column {column!r} holds no image, only paths: save it with its images embedded")
    return LabelTable(
        items=items[embedded].tolist(),
        names=names,
        labels=values[embedded],
        split=np.repeat([str(one.part) for one in kept], [shard.table.num_rows for shard in kept])[embedded],
        source=f"{NAME}:{path}",
        root=path if path.is_dir() else path.parent,
        notes=(
            *left_out_note(partless, "file is", "files are", "of no train, val or test part"),
            *left_out_note(items[~embedded].tolist(), "row holds", "rows hold", "no image: left out"),
        ),
    )


def _shards(path: Path) -> list[Shard]:
    """Every file of the data set, opened."""
    if path.is_dir() and (path / PARTS_FILE).is_file():
        parts = Files(path).json(PARTS_FILE, _Parts).splits
        return [shard for part in parts for shard in _saved(path, part, part)]
    if path.is_dir() and (path / STATE).is_file():
        return _saved(path, "", None)
    files = _loose_files(path)
    if not files:
        raise DataError(f"{path}: no {STATE}, {PARTS_FILE}, .parquet or .arrow: expected what save_to_disk writes")
    root = path if path.is_dir() else path.parent
    names = [file.relative_to(root).as_posix() for file in files]
    return [_shard(root, name, _part_of_name(name)) for name in names]


def _saved(path: Path, folder: str, part: str | None) -> list[Shard]:
    """The files that a state.json names."""
    source = Files(path)
    below = f"{folder}/" if folder else ""
    if is_unsafe(folder):
        raise DataError(f"{source.where(PARTS_FILE)}: {folder!r} leads out of it")
    state = source.json(f"{below}{STATE}", _State)
    word = part if part is not None else state.split
    known = "train" if word is None else PART_NAMES.get(word.partition("[")[0].lower())
    if not state.files:
        raise DataError(f"{source.where(below + STATE)}: names no file: save the data set again")
    return [_shard(path, f"{below}{file.filename}", known) for file in state.files]


def _shard(root: Path, name: str, part: str | None) -> Shard:
    file = root / name
    if is_unsafe(name) or not file.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{root}: {name!r} leads out of it")
    if not file.is_file() or file.suffix.lower() not in SUFFIXES:
        raise DataError(f"{file}: no such Arrow or Parquet file: save the data set again")
    try:
        return Shard(name, part, open_arrow(file) if file.suffix.lower() == ".arrow" else _parquet(file))
    except UnreadableItem as error:
        raise DataError(f"{file}: {error}: save it again") from None


class _Parquet:
    """A Parquet file as the table it holds, of which only columns that are asked for are read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.num_rows: int = file.metadata.num_rows
        self.schema = file.schema_arrow

    def column(self, name: str) -> Any:
        return self._file.read(columns=[name]).column(name)

    def has_bytes(self, name: str) -> np.ndarray:
        """Whether each row holds an image: images are read only where the file does not say it itself."""
        groups = self._file.metadata.num_row_groups
        found = [self._group_has_bytes(group, name) for group in range(groups)]
        return np.concatenate(found) if found else np.zeros(0, bool)

    def _group_has_bytes(self, group: int, name: str) -> np.ndarray:
        said = self._file.metadata.row_group(group)
        columns = [said.column(place) for place in range(said.num_columns)]
        one = next(column for column in columns if column.path_in_schema == f"{name}.bytes")
        if one.statistics is not None and one.statistics.has_null_count and one.statistics.null_count == 0:
            return np.ones(said.num_rows, bool)
        return _valid_bytes(self._file.read_row_group(group, columns=[name]).column(name))


def _parquet(file: Path) -> _Parquet:
    import pyarrow
    from pyarrow import parquet

    try:
        return _Parquet(parquet.ParquetFile(file))
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableItem(f"{file.name} is not a readable Parquet file ({type(error).__name__})") from None


def _loose_files(path: Path) -> list[Path]:
    """Parquet or Arrow files that no state.json names."""
    if path.is_dir():
        return _layout.files_near(path, SUFFIXES)
    return [path] if path.is_file() and path.suffix.lower() in SUFFIXES else []


def _embeds_images(file: Path) -> bool:
    import pyarrow

    try:
        schema = open_arrow(file).schema if file.suffix.lower() == ".arrow" else _parquet(file).schema
    except UnreadableItem:
        return False
    kinds = [field.type for field in schema]
    return any(pyarrow.types.is_struct(one) and {field.name for field in one} == {"bytes", "path"} for one in kinds)


def _part_of_name(name: str) -> str | None:
    """The part that a whole word of a file's name or folder says; without one, train."""
    words = re.split(r"[^a-z]+", name.rpartition(".")[0].lower())
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), "train")


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError:
        raise DataError("reading this needs the datasets library: pip install 'rarecall[huggingface]'") from None


def _features(path: Path, first: Shard) -> Mapping[str, Any]:
    """What each column holds: from the dataset_info.json beside the first file, or from the file itself."""
    library = _library()
    folder = first.name.rpartition("/")[0]
    info = f"{folder}/{INFO}" if folder else INFO
    said = None
    if path.is_dir() and (path / info).is_file():
        said = Files(path).json(info, dict[str, Any]).get("features")
        _require_few(_most_numbered(said), f"{path}/{info}")
    try:
        found = library.Features.from_dict(said) if said else library.Features.from_arrow_schema(first.table.schema)
    except Exception as error:  # noqa: BLE001 - the library raises errors of every kind on a damaged description
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise DataError(f"{path}: its features cannot be understood ({reason}): save it again") from None
    held = set(first.table.schema.names)
    if missing := sorted(set(found) - held):
        raise DataError(f"{path}/{first.name}: no column {missing[0]!r}, which its features name: save it again")
    return dict(found)


def _most_numbered(said: Any) -> int:
    """The largest number of classes that a description speaks of; the library makes a name for each."""
    parts = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    own = said.get("num_classes") if isinstance(said, dict) else None
    return max((own if isinstance(own, int) else 0, *map(_most_numbered, parts)))


def _image_column(features: Mapping[str, Any], asked: str, path: Path) -> str:
    images = [name for name, kind in features.items() if type(kind).__name__ == "Image" or _holds_bytes(kind)]
    if asked != "auto":
        if asked not in images:
            raise DataError(f"{path}: no column of images {asked!r}: it has {listing(images) or 'none'}")
        return asked
    if len(images) != 1:
        raise DataError(f"{path}: {len(images)} columns of images ({listing(images)}): name one with image")
    return images[0]


def _holds_bytes(kind: Any) -> bool:
    return isinstance(kind, dict) and set(kind) == {"bytes", "path"}


def _kind(feature: Any) -> str:
    """`class`, `classes`, `names`, `numbers`, `bool` or `number`; blank for what holds no labels."""
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    if inner is not None:
        return {"class": "classes", "name": "names", "bool": "numbers", "number": "numbers"}.get(_kind(inner), "")
    if type(feature).__name__ == "ClassLabel":
        return "class"
    dtype = str(getattr(feature, "dtype", ""))
    if dtype in ("string", "large_string"):
        return "name"
    return "bool" if dtype == "bool" else "number" if dtype.startswith(("int", "uint")) else ""


def _label_columns(features: Mapping[str, Any], asked: str, image: str, path: Path) -> list[str]:
    if asked != "auto":
        columns = [name.strip() for name in asked.split(",") if name.strip()]
        if not columns:
            raise OptionError(f"labels {asked!r}: name a column, or several separated by commas")
        if unknown := [name for name in columns if name not in features or not _kind(features[name])]:
            raise DataError(f"{path}: no column of labels {unknown[0]!r}: it has {listing(features, 8)}")
        return columns
    kinds = {name: _kind(feature) for name, feature in features.items() if name != image}
    for kind in ("classes", "class", "bool", "names"):
        found = [name for name, one in kinds.items() if one == kind]
        if len(found) == 1 or (found and kind == "bool"):
            return found
        if found:
            raise DataError(f"{path}: {listing(found)} may hold labels: name the column to take with labels")
    raise DataError(
        f"{path}: no column of classes or of true and false among {listing(features, 8)}: name it with labels"
    )


def _labels(
    features: Mapping[str, Any], shards: Sequence[Shard], columns: list[str], vector: bool, unlisted: int, path: Path
) -> tuple[list[str], LabelMatrix]:
    if len(columns) > 1 or _kind(features[columns[0]]) in ("bool", "number"):
        return columns, np.stack([_three_valued(_values(shards, one), f"{path}, {one}") for one in columns], axis=1)
    column, where = columns[0], f"{path}, {columns[0]}"
    feature, cells = features[column], _values(shards, column)
    kind = _kind(feature)
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
    known = getattr(inner, "names", None)
    if vector and kind in ("classes", "numbers"):
        return _vectors(cells, where)
    lists = cells if kind in ("classes", "names", "numbers") else [None if one is None else [one] for one in cells]
    if kind in ("name", "names"):
        return _listed(lists, sorted({one for row in lists if row for one in row if one}), unlisted, where)
    if known is None:
        largest = max((one for row in lists if row for one in row if one is not None), default=UNKNOWN)
        known = [str(number) for number in range(_require_few(largest + 1, where))]
    numbered = [None if row is None or any(one in (None, UNKNOWN) for one in row) else row for row in lists]
    rests = [[one for one in row if one not in (None, UNKNOWN)] if row else [] for row in lists]
    if wrong := next((one for row in rests for one in row if not 0 <= one < len(known)), None):
        raise DataError(f"{where}: class {wrong}, from 0, but there are {len(known)} classes")
    names, labels = _listed([[known[one] for one in row] for row in rests], known, unlisted, where)
    partly = np.array([row is None for row in numbered], bool)
    labels[partly] = np.where(labels[partly] == PRESENT, PRESENT, UNKNOWN)
    return names, labels


def _require_few(classes: int, where: str) -> int:
    """Refuse a number that would make a name for each one below it."""
    if classes > MOST_CLASSES:
        raise DataError(
            f"{where}: {classes:,} classes, from 0: no more than {MOST_CLASSES:,} are read by their numbers"
        )
    return classes


def _values(shards: Sequence[Shard], column: str) -> list[Any]:
    return [value for shard in shards for value in _column(shard, column).to_pylist()]


def _listed(
    lists: Sequence[Sequence[str] | None], names: Sequence[str], unlisted: int, where: str
) -> tuple[list[str], LabelMatrix]:
    """Labels from the names that each row lists; a row without a list is unknown, as is the rest beside a None."""
    if not names:
        raise DataError(f"{where}: no row names any class")
    place = {name: number for number, name in enumerate(names)}
    labels = np.full((len(lists), len(names)), unlisted, np.int8)
    for row, listed in enumerate(lists):
        if listed is None or None in listed:
            labels[row] = UNKNOWN
        labels[row, [place[name] for name in listed or () if name]] = PRESENT
    return list(names), labels


def _vectors(cells: list[Any], where: str) -> tuple[list[str], LabelMatrix]:
    """Labels from a vector for each row; a row without one is unknown."""
    widths = {len(cell) for cell in cells if cell is not None}
    if len(widths) != 1 or not max(widths):
        raise DataError(f"{where}: vectors of {listing(map(str, sorted(widths)))} numbers: expected one for each class")
    width = _require_few(widths.pop(), where)
    rows = [cell if cell is not None else [None] * width for cell in cells]
    flat = _three_valued([one for row in rows for one in row], where)
    return [str(number) for number in range(width)], flat.reshape(len(rows), width)


def _three_valued(values: list[Any], where: str) -> np.ndarray:
    known = {None: UNKNOWN, True: PRESENT, False: ABSENT, UNKNOWN: UNKNOWN}  # 1 is True and 0 is False
    if wrong := next((one for one in values if isinstance(one, list) or one not in known), None):
        raise DataError(f"{where}: {str(wrong)[:30]} is not 1, 0, -1, true or false")
    return np.array([known[one] for one in values], np.int8)


def _has_bytes(shard: Shard, column: str) -> np.ndarray:
    """Whether each row holds an image."""
    import pyarrow

    if not isinstance(shard.table, _Parquet):
        return _valid_bytes(_column(shard, column))
    try:
        return shard.table.has_bytes(column)
    except (pyarrow.ArrowException, OSError, StopIteration) as error:
        raise DataError(f"{shard.name}: column {column!r} is damaged ({type(error).__name__}): save it again") from None


def _column(shard: Shard, name: str) -> Any:
    """A column whose numbers lead nowhere outside the file."""
    import pyarrow

    try:
        column = shard.table.column(name)
        column.validate(full=True)
    except (pyarrow.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{shard.name}: column {name!r} is damaged ({type(error).__name__}): save it again") from None
    return column


def _valid_bytes(column: Any) -> np.ndarray:
    valid = [
        chunk.is_valid().to_numpy(zero_copy_only=False) & chunk.field("bytes").is_valid().to_numpy(zero_copy_only=False)
        for chunk in column.chunks
    ]
    return np.concatenate(valid) if valid else np.zeros(0, bool)
