"""WebDataset: tar shards in which files of one key are a sample, such as `0001.jpg` and `0001.json`.

The shards stay packed and images are read from inside. Pickled members are never read.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
import numpy as np

from rarecall.data.formats import _layout
from rarecall.data.formats._columns import MOST_CLASSES
from rarecall.data.formats._files import Files, left_out_note
from rarecall.data.table import PART_NAMES, LabelTable
from rarecall.errors import DataError, listing
from rarecall.images.containers import UnreadableItem, members, read_member
from rarecall.images.decoding import SUFFIXES
from rarecall.labels import ABSENT, PRESENT, UNKNOWN

NAME = "webdataset"
HOME = "https://github.com/webdataset/webdataset"
LICENCE = "a layout, not a data set"
PATTERNS = True  # what stands after `webdataset:` may be a pattern of paths
KINDS = ("json", "cls", "txt")
JSON_FIELDS = ("labels", "tags", "label", "tag", "classes", "class")
PICKLED = ("pkl", "pickle", "pyd", "pth", "pt")
CLASS_FILES = ("classes.txt", "classnames.txt", "labels.txt")
CODES = {"absent": ABSENT, "unknown": UNKNOWN}
MOST_SHARDS = 100_000
LONGEST_LABELS = 1 << 24  # bytes
_KEY = re.compile(r"((?:.*/|)[^./]+)\.([^/]+)")  # up to the first dot of the file's own name
_OWN = re.compile(r"__[^/]*__(/|$)")  # names that the library keeps for itself
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_TAG_SEPARATORS = re.compile(r"[\n,;|]")

Labels = dict[str | int, int]


class Sample(NamedTuple):
    """Files of one key: their names by what stands behind the first dot."""

    shard: Path
    key: str
    files: dict[str, str]

    def image(self) -> str | None:
        """The name of the image: `key.jpg`, or else one such as `key.left.jpg`."""
        fields = sorted((field for field in self.files if f".{field}".endswith(tuple(SUFFIXES))), key=_dots)
        return self.files[fields[0]] if fields else None


def recognises(path: Path) -> bool:
    """A tar, or a folder of tars, in which an image and a .json or .cls have one key; a .txt may be a caption."""
    shards = _in_folder(path) if path.is_dir() else [path] if _is_shard(path) else []
    try:
        samples = _samples(shards[0]) if shards else []
    except DataError:
        return False
    return any(sample.image() and any(kind in sample.files for kind in KINDS[:2]) for sample in samples)


def read(
    path: Path, *, labels: str = "auto", field: str = "auto", coding: str = "auto", unlisted: str = "absent"
) -> LabelTable:
    """Read shards.

    Args:
        path: a .tar, a folder of them, or a pattern such as `shards-{000..009}.tar` or `{train,val}-0.tar`.
        labels: the files that labels are in: `json`, `cls` (the number of a class), `txt` (tags) or `auto`, the
            first of these that there is.
        field: the field of the JSON; `auto`: labels, tags, label, tag, classes or class.
        coding: what a list of numbers means: `indices` of the classes that are present, or a `vector` with 1, 0 or
            -1 for each class; `auto`: a list of true and false is a vector, any other are indices, and lists that
            may be either are refused.
        unlisted: what a class means that a list of tags or numbers does not name: `absent` or `unknown`.
    """
    _layout.choose("labels", labels, ("auto", *KINDS))
    _layout.choose("coding", coding, ("auto", "indices", "vector"))
    _layout.choose("unlisted", unlisted, CODES)
    root, shards = _shards(path)
    samples = [sample for shard in shards for sample in _samples(shard)]
    kind = _kind(samples, field, path) if labels == "auto" else labels
    complete = [sample for sample in samples if sample.image() and kind in sample.files]
    if not complete:
        raise DataError(f"{path}: no image with a .{kind} of the same key in it: {_what_there_is(samples)}")
    found = [_labels(sample, kind, field, coding) for sample in complete]
    if coding == "auto" and kind == "json":
        _require_indices(found, path)
    alone = [one.key for one in samples if not one.image()]
    unlabelled = [one.key for one in samples if one.image() and kind not in one.files]
    names, matrix = _matrix(found, CODES[unlisted], _class_names(root), str(path))
    return LabelTable(
        items=[f"{sample.shard.relative_to(root).as_posix()}/{sample.image()}" for sample in complete],
        names=names,
        labels=matrix,
        split=np.array([_part(sample.shard.relative_to(root)) for sample in complete]),
        source=f"{NAME}:{path}",
        root=root,
        columns={"key": np.array([sample.key for sample in complete])},
        notes=(
            *left_out_note(alone, "sample has", "samples have", "no image: left out"),
            *left_out_note(unlabelled, "image has", "images have", f"no .{kind}: left out"),
        ),
    )


def expand(pattern: str) -> list[str]:
    """The paths that a pattern with braces stands for.

    >>> expand("{train,val}-{08..10}.tar")[:4]
    ['train-08.tar', 'train-09.tar', 'train-10.tar', 'val-08.tar']
    """
    paths = [""]
    position = 0
    for braces in _BRACES.finditer(pattern):
        words = _alternatives(braces[1], pattern)
        if len(paths) * len(words) > MOST_SHARDS:
            raise DataError(f"{pattern}: stands for more than {MOST_SHARDS:,} shards")
        fixed = pattern[position : braces.start()]
        paths = [path + fixed + word for path in paths for word in words]
        position = braces.end()
    return [path + pattern[position:] for path in paths]


def _alternatives(inside: str, pattern: str) -> Sequence[str]:
    numbers = _RANGE.fullmatch(inside)
    if not numbers:
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if not 0 <= last - first < MOST_SHARDS:
        raise DataError(f"{pattern}: {{{inside}}} is no range of shards: write it as in {{000..009}}")
    return [str(number).zfill(len(numbers[1])) for number in range(first, last + 1)]


def _shards(path: Path) -> tuple[Path, list[Path]]:
    """The folder that items are relative to, and the shards."""
    if path.is_dir():
        shards = _in_folder(path)
        if not shards:
            raise DataError(f"{path}: no .tar in it: shards are uncompressed tar files")
        return path, shards
    if path.exists() or "{" not in str(path):
        if not _is_shard(path):
            Files(path)  # which says what is wrong with it
            raise DataError(f"{path}: no such shard: expected a .tar, a folder of them, or a pattern with braces")
        return path.parent, [path]
    shards = [Path(one) for one in expand(str(path))]
    if missing := [shard.name for shard in shards if not _is_shard(shard)]:
        raise DataError(f"{path}: {len(missing)} of {len(shards)} shards are not there: {listing(missing)}")
    return Path(str(path).partition("{")[0] + "x").parent, shards


def _is_shard(path: Path) -> bool:
    return path.suffix.lower() == ".tar" and path.is_file()


def _in_folder(folder: Path) -> list[Path]:
    return _layout.files_near(folder, [".tar"])


def _samples(shard: Path) -> list[Sample]:
    """The samples of a shard in its order. Keys are never shared between shards."""
    try:
        names = members(shard)
    except UnreadableItem as error:
        raise DataError(f"{shard}: {error}: fetch it again") from None
    found: dict[str, Sample] = {}
    for name in names:
        matched = _KEY.fullmatch(name)
        if matched and not _OWN.search(name):
            sample = found.setdefault(matched[1], Sample(shard, matched[1], {}))
            sample.files[matched[2].lower()] = name
    return list(found.values())


def _kind(samples: Iterable[Sample], field: str, path: Path) -> str:
    """The first kind of file that holds labels."""
    samples = [sample for sample in samples if sample.image()]
    for kind in KINDS:
        first = next((sample for sample in samples if kind in sample.files), None)
        if first is not None and (kind != "json" or _json_field(_document(first), field) is not None):
            return kind
    raise DataError(f"{path}: no .json with one of {', '.join(JSON_FIELDS)}, .cls or .txt: {_what_there_is(samples)}")


def _what_there_is(samples: Iterable[Sample]) -> str:
    fields = sorted({field for sample in samples for field in sample.files})
    if any(field in PICKLED for field in fields):
        return "pickled members are never read, because they can run any program: write the labels as .json or .cls"
    return f"its samples have {listing(['.' + field for field in fields]) or 'nothing'}"


def _content(sample: Sample, kind: str) -> bytes:
    try:
        data = read_member(sample.shard, sample.files[kind], LONGEST_LABELS)
    except UnreadableItem as error:
        raise DataError(f"{sample.shard}/{sample.files[kind]}: {error}") from None
    assert isinstance(data, bytes)
    return data


def _where(sample: Sample, kind: str) -> str:
    return f"{sample.shard}/{sample.files[kind]}"


def _document(sample: Sample) -> Any:
    try:
        return msgspec.json.decode(_content(sample, "json").removeprefix(_layout.BYTE_ORDER_MARK))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DataError(f"{_where(sample, 'json')}: not readable as JSON: {error}") from None


def _json_field(document: Any, field: str) -> str | None:
    if not isinstance(document, dict):
        return None
    known = JSON_FIELDS if field == "auto" else (field,)
    return next((name for name in known if name in document), None)


def _labels(sample: Sample, kind: str, field: str, coding: str) -> tuple[Labels, bool]:
    """What is said of classes, by their names or numbers, and whether what is not named has a meaning."""
    if kind == "json":
        document = _document(sample)
        name = _json_field(document, field)
        if name is None:
            wanted = ", ".join(JSON_FIELDS) if field == "auto" else field
            raise DataError(f"{_where(sample, kind)}: no field {wanted}: name the one that holds labels with field")
        return _coded(document[name], coding, f"{_where(sample, kind)}, {name}")
    text = _text(sample, kind)
    if kind == "txt":
        return {tag.strip(): PRESENT for tag in _TAG_SEPARATORS.split(text) if tag.strip()}, True
    try:
        return _coded(int(text), "indices", _where(sample, kind))
    except ValueError:
        raise DataError(f"{_where(sample, kind)}: {text.strip()[:30]!r} is not the number of a class") from None


def _text(sample: Sample, kind: str) -> str:
    try:
        return _content(sample, kind).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{_where(sample, kind)}: not UTF-8: write the shard again in UTF-8") from None


def _coded(value: Any, coding: str, where: str) -> tuple[Labels, bool]:
    """Labels from what JSON can hold: one name or number, a list of them, a vector, or values by name."""
    if isinstance(value, dict):
        return {str(name): _three_valued(one, where) for name, one in value.items()}, False
    if value is None or (_is_number(value) and value == UNKNOWN):
        return {}, False
    if not isinstance(value, list):
        value = [value]
    if value and (coding == "vector" or (coding == "auto" and all(isinstance(one, bool) for one in value))):
        if len(value) > MOST_CLASSES:
            raise DataError(
                f"{where}: a vector of {len(value):,} numbers: no more than {MOST_CLASSES:,} classes are read"
            )
        return {number: _three_valued(one, where) for number, one in enumerate(value)}, False
    if all(isinstance(one, str) for one in value):
        return {one.strip(): PRESENT for one in value if one.strip()}, True
    if not all(_is_number(one) and 0 <= one < MOST_CLASSES for one in value) or len(set(value)) < len(value):
        raise DataError(
            f"{where}: {str(value)[:60]} are not numbers of classes: for 1, 0 and -1 ask for coding 'vector'"
        )
    return dict.fromkeys(value, PRESENT), True


def _require_indices(found: Sequence[tuple[Labels, bool]], path: Path) -> None:
    """Refuse lists that may as well be vectors: [0, 1] and [1, 0] only, as longer ones would name a class twice."""
    lists = [set(labels) for labels, is_list in found if is_list]
    if lists and all(one == {0, 1} for one in lists):
        raise DataError(
            f"{path}: every list is [0, 1] or [1, 0]: say with coding=indices that both classes are present, or with "
            "coding=vector that these are labels"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _three_valued(value: Any, where: str) -> int:
    if value is None:
        return UNKNOWN
    if value not in (ABSENT, PRESENT, UNKNOWN):
        raise DataError(f"{where}: {str(value)[:30]!r} is not 1, 0, -1, true, false or null")
    return int(value)


def _matrix(
    found: Sequence[tuple[Labels, bool]], unlisted: int, known: Sequence[str], where: str
) -> tuple[list[str], np.ndarray]:  # fmt: skip
    """Names and labels. A class that a vector or mapping does not hold is unknown."""
    seen = {name for labels, _ in found for name in labels}
    numbers, words = {one for one in seen if isinstance(one, int)}, {one for one in seen if isinstance(one, str)}
    if numbers and words:
        raise DataError(f"{where}: classes by name ({min(words)}) and by number ({min(numbers)}): use one of them")
    if not seen:
        raise DataError(f"{where}: no label names any class")
    classes = range(max(len(known), max(numbers) + 1)) if numbers else sorted(words)
    place = {name: column for column, name in enumerate(classes)}
    labels = np.full((len(found), len(place)), UNKNOWN, np.int8)
    for row, (values, is_list) in enumerate(found):
        if is_list:
            labels[row] = unlisted
        labels[row, [place[name] for name in values]] = list(values.values())
    return _names(classes, known, where), labels


def _names(classes: Sequence[str] | range, known: Sequence[str], where: str) -> list[str]:
    if isinstance(classes, range) and known and len(classes) > len(known):
        raise DataError(f"{where}: class {classes[-1]}, from 0, but its list of classes has {len(known)}")
    return list(known) if isinstance(classes, range) and known else [str(name) for name in classes]


def _class_names(root: Path) -> list[str]:
    """Names of numbered classes, one a line, from a file beside the shards; none: their numbers serve."""
    source = Files(root)
    listed = source.first(CLASS_FILES)
    return [line for _, line in source.lines(listed)] if listed else []


def _part(shard: Path) -> str:
    """The part that a whole word of the shard's folder or name says; else train."""
    words = re.split(r"[^a-z]+", PurePosixPath(shard).with_suffix("").as_posix().lower())
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), "train")


def _dots(field: str) -> tuple[int, str]:
    return field.count("."), field
