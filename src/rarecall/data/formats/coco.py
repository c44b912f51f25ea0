"""MS-COCO as published: `annotations/instances_{train,val}{2014,2017}.json` beside a folder of images for each.

Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014. An image's classes are those of its objects; the
owners looked for all 80 in each image, so a class without an object is absent. The order is that of the category
ids, which have gaps.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from rarecall.data.formats._files import Files, count_notes
from rarecall.data.formats._layout import choose
from rarecall.data.formats._objects import CODES, PARTS, given_folder, keep, presence, repeated
from rarecall.data.table import PART_NAMES, LabelTable
from rarecall.errors import DataError, OptionError, listing, unknown_name
from rarecall.images.containers import is_unsafe
from rarecall.labels import LabelMatrix

NAME = "coco"
HOME = "https://cocodataset.org"
LICENCE = "annotations CC BY 4.0; images under their own Flickr licences"
PUBLISHED = {
    "2014": {
        "train images": 82783, "val images": 40504, "train objects": 604907, "val objects": 291875, "classes": 80,
    },
    "2017": {
        "train images": 118287, "val images": 5000, "train objects": 860001, "val objects": 36781, "classes": 80,
    },
}  # fmt: skip
YEARS = tuple(sorted(PUBLISHED, reverse=True))
SMALLEST_SIDE = 1  # pixels, of an object that counts where unsound ones do not
_OFFICIAL = re.compile(r"instances_(train|val)(2014|2017)\.json")
_ARCHIVE = re.compile(r"annotations_trainval(2014|2017)\.zip")
Id = Annotated[int, Meta(ge=0, le=2**62)]


class _Category(Struct, gc=False):
    id: Id
    name: str


class _Image(Struct, gc=False):
    id: Id
    file_name: str


class _Object(Struct, gc=False):
    image_id: Id
    category_id: Id
    iscrowd: int | bool = 0


class _SizedObject(_Object, gc=False, kw_only=True):
    bbox: tuple[float, float, float, float]
    area: float
    ignore: int | bool = 0

    def is_sound(self) -> bool:
        return not self.ignore and self.area > 0 and min(self.bbox[2:]) >= SMALLEST_SIDE


class _Document(Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Object]


class _SizedDocument(_Document):
    annotations: list[_SizedObject]  # type: ignore[assignment]  # of a kind with more fields


@dataclass(frozen=True)
class Instances:
    """The images of a file and the classes of their objects.

    Attributes:
        where: how a message calls the file.
        ids: (N,) numbers of the images.
        files: their names.
        names: the classes, by their ids.
        rows: (M,) the row of each object's image.
        columns: (M,) the column of its class.
        crowd: (M,) whether it stands for a group that is not told apart.
    """

    where: str
    ids: np.ndarray
    files: list[str]
    names: list[str]
    rows: np.ndarray
    columns: np.ndarray
    crowd: np.ndarray

    def labels(self, crowd: str = "present") -> LabelMatrix:
        """The labels; `crowd` is what a class is of which an image has only a crowd."""
        return presence((len(self.ids), len(self.names)), self.rows, self.columns, self.crowd, crowd)


@dataclass(frozen=True)
class PartFile:
    """An instances file, its part, the table's root, and the folder of its images below that."""

    source: Files
    name: str
    part: str
    root: Path
    folder: str


def recognises(path: Path) -> bool:
    """A folder with an instances file of COCO's name in annotations/, such a file, or the annotations' archive."""
    if path.is_file():
        return bool(_OFFICIAL.fullmatch(path.name) or _ARCHIVE.fullmatch(path.name))
    folder = path / "annotations"
    named = folder.is_dir() and any(_OFFICIAL.fullmatch(file.name) for file in folder.iterdir())
    return named or (path.is_dir() and any((path / f"annotations_trainval{year}.zip").is_file() for year in YEARS))


def read(
    path: Path,
    *,
    year: str | None = None,
    crowd: str = "present",
    empty: str = "keep",
    val: str = "val",
    images: str | None = None,
) -> LabelTable:
    """Read the training and validation parts of a year, or one file.

    Args:
        path: the folder that holds annotations/; the zip of the annotations; or one instances file.
        year: 2014 or 2017; default: the newest there is.
        crowd: what a class is of which an image has only a crowd: `present`, `unknown` or `absent`.
        empty: images without any object: `keep`, or `leave-out` as some publications do.
        val: the part that the owners' val serves as: `val`, `test` or `train`.
        images: the folder that holds train2017/ and so on, or the images of a single file; default: where they are
            published to lie.
    """
    choose("crowd", crowd, CODES)
    choose("empty", empty, ("keep", "leave-out"))
    choose("val", val, PARTS)
    year, files = find(path, year, given_folder(images))
    found = {file.part: read_instances(file.source, file.name) for file in files}
    first, *others = found.values()
    for other in others:
        if other.names != first.names:
            raise DataError(f"{other.where}: its categories are not those of {first.where}")
    table = LabelTable(
        items=[f"{file.folder}{name}" for file in files for name in found[file.part].files],
        names=first.names,
        labels=np.concatenate([one.labels(crowd) for one in found.values()]),
        split=np.repeat([val if part == "val" else part for part in found], [len(one.ids) for one in found.values()]),
        source=f"{NAME}:{path}",
        root=files[0].root,
        notes=_counts(found, year, path.is_file() and len(files) == 1),
    )
    some = np.concatenate([np.isin(np.arange(len(one.ids)), one.rows) for one in found.values()])
    return table if empty == "keep" else keep(table, some, "image", "images", "without an object")


def _counts(found: dict[str, Instances], year: str, single: bool) -> tuple[str, ...]:
    counts = {f"{part} images": len(one.ids) for part, one in found.items()}
    counts |= {f"{part} objects": len(one.rows) for part, one in found.items()}
    counts["classes"] = len(next(iter(found.values())).names)
    published = PUBLISHED.get(year, {})
    return count_notes(counts, {what: number for what, number in published.items() if what in counts or not single})


def find(path: Path, year: str | None = None, images: Path | None = None) -> tuple[str, list[PartFile]]:
    """The year if it is known, and the files of its parts.

    Raises:
        DataError: there is none.
        OptionError: there is not the year that is asked for.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        return _single_file(path, year, images)
    found = dict(_years(path))
    if not found:
        raise DataError(f"{path}: no annotations/instances_{{train,val}}{{2014,2017}}.json in it: name a file")
    chosen = str(year) if year is not None else max(found)
    if chosen not in found:
        raise OptionError(f"{path}: {unknown_name('year', chosen, sorted(found))}")
    place = Files(images or path)
    files = [_part_file(*file, chosen, place) for file in found[chosen]]
    return chosen, files


def _part_file(source: Files, name: str, part: str, year: str, place: Files) -> PartFile:
    return PartFile(source, name, part, place.root, image_folder(place, f"{part}{year}"))


def _years(path: Path) -> Iterator[tuple[str, list[tuple[Files, str, str]]]]:
    """For each year that there is, where the annotations of its parts are, their names and the parts."""
    for year in YEARS:
        archive = path / f"annotations_trainval{year}.zip"
        for source in [Files(path), *([Files(archive)] if archive.is_file() else [])]:
            names = {part: f"annotations/instances_{part}{year}.json" for part in ("train", "val")}
            if found := [(source, name, part) for part, name in names.items() if source.has(name)]:
                yield year, found
                break


def _single_file(path: Path, year: str | None, images: Path | None) -> tuple[str, list[PartFile]]:
    official = _OFFICIAL.fullmatch(path.name)
    source = Files(path.parent)
    if official is None:
        if year is not None:
            raise OptionError(f"{path}: the option year is for COCO's own files")
        words = re.findall("[a-z]+", path.stem.lower())
        part = next((PART_NAMES[word] for word in words if word in PART_NAMES), "train")
        return "", [PartFile(source, path.name, part, images or path.parent, "")]
    part, found = official.groups()
    if year is not None and str(year) != found:
        raise OptionError(f"{path}: {unknown_name('year', str(year), [found])}")
    place = Files(images or (path.parent.parent if path.parent.name == "annotations" else path.parent))
    return found, [_part_file(source, path.name, part, found, place)]


def image_folder(source: Files, folder: str) -> str:
    """Where the images of a part lie: unpacked, or in the zip as downloaded; ends in `/`."""
    for name in (folder, f"images/{folder}"):
        if source.has(name):
            return source.item(f"{name}/")
        if (source.root / name).is_dir():  # beside the archive of the annotations
            return f"{name}/"
        if (source.root / f"{name}.zip").is_file():
            return f"{name}.zip/{folder}/"
    return f"{folder}/"


def read_instances(source: Files, name: str, sound_only: bool = False) -> Instances:
    """The images of an instances file and their objects.

    Args:
        source: where the file is.
        name: its name there.
        sound_only: leave out objects that are marked to be ignored, have no area or are narrower than a pixel.

    Raises:
        DataError: the file is damaged, or names an image or a class that it does not have.
    """
    where = source.where(name)
    document = source.json(name, _SizedDocument if sound_only else _Document)
    if sound_only:
        document.annotations = [one for one in document.annotations if one.is_sound()]
    categories = sorted(document.categories, key=lambda category: category.id)
    ids = np.array([image.id for image in document.images], np.int64)
    files = [image.file_name for image in document.images]
    _require_distinct(ids.tolist(), "image ids", where)
    _require_distinct(files, "file names", where)
    if (unsafe := next(filter(is_unsafe, files), None)) is not None:
        raise DataError(f"{where}: image {unsafe[:80]!r} leads out of the folder of images")
    _require_distinct([category.id for category in categories], "category ids", where)
    objects = document.annotations
    numbers = np.fromiter((one.image_id for one in objects), np.int64, len(objects))
    kinds = np.fromiter((one.category_id for one in objects), np.int64, len(objects))
    return Instances(
        where=where,
        ids=ids,
        files=files,
        names=[category.name for category in categories],
        rows=_places(ids, numbers, "image", where),
        columns=_places(np.array([category.id for category in categories], np.int64), kinds, "category", where),
        crowd=np.fromiter((bool(one.iscrowd) for one in objects), bool, len(objects)),
    )


def _require_distinct(values: Iterable[object], what: str, where: str) -> None:
    if twice := repeated(values):
        raise DataError(f"{where}: {what} stand twice: {listing(twice)}")


def _places(known: np.ndarray, wanted: np.ndarray, what: str, where: str) -> np.ndarray:
    """The positions of numbers among the known ones, which are in any order.

    Raises:
        DataError: one of them is not known.
    """
    if strange := np.flatnonzero(~np.isin(wanted, known)).tolist():
        number = wanted[strange[0]]
        raise DataError(f"{where}: object {strange[0] + 1} is of {what} {number}, which is not in the file")
    order = np.argsort(known)
    return np.asarray(order[np.searchsorted(known, wanted, sorter=order)])
