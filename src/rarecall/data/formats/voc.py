"""PASCAL VOC as published: one XML of objects for each image, and lists of the images of each part.

Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2010 and 2015. An image's classes are those of
its objects. A class of which an image has only `difficult` objects is unknown there, as the owners' evaluation
leaves such objects out; the option `difficult` says otherwise.
"""

import re
from pathlib import Path

import numpy as np

from rarecall.data.formats._files import Files, count_notes, left_out_note
from rarecall.data.formats._layout import choose
from rarecall.data.formats._objects import CODES, PARTS, presence, repeated
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, listing, unknown_name
from rarecall.labels import LabelMatrix

NAME = "voc"
HOME = "http://host.robots.ox.ac.uk/pascal/VOC/"
LICENCE = "images under Flickr's terms of use; no licence of the annotations stated"
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
PUBLISHED = {
    "2007": {"train images": 2501, "val images": 2510, "test images": 4952},
    "2012": {"train images": 5717, "val images": 5823},
}
YEARS = tuple(str(year) for year in range(2007, 2013))
ABOVE = ("", "VOCdevkit/", "TrainVal/VOCdevkit/")  # the last in the archive of 2011
LISTS = "ImageSets/Main"
_ID = re.compile(r"[\w-]+")
_ARCHIVE = re.compile(r"VOC.*\.(tar|zip)", re.IGNORECASE)


def recognises(path: Path) -> bool:
    """A VOC20xx, the VOCdevkit around it or the folder above, or an archive whose name begins with VOC."""
    if path.is_file():
        return _ARCHIVE.fullmatch(path.name) is not None
    folders = ("", *(f"{above}VOC{year}" for above in ABOVE for year in YEARS))
    return any((path / folder / LISTS).is_dir() for folder in folders)


def read(path: Path, *, year: str | None = None, difficult: str = "unknown", val: str = "val") -> LabelTable:
    """Read one year's parts with its 20 classes.

    Args:
        path: the folder VOC20xx, VOCdevkit or the one above; or the tar as downloaded.
        year: 2007 to 2012, where there are several.
        difficult: what a class is of which an image has only difficult objects: `unknown`, `absent` or `present`.
        val: the part that the owners' val serves as: `val`, `test`, or `train` for what they call trainval.
    """
    choose("difficult", difficult, CODES)
    choose("val", val, PARTS)
    source, year = find(path, year)
    lists, notes = _annotated(source, parts(source))
    names = [name for ids in lists.values() for name in ids]
    labels = labels_of(source, names, difficult)
    found = {f"{part} images": len(ids) for part, ids in lists.items()}
    serving = {"train": "train", "val": val, "test": "test"}
    return LabelTable(
        items=[item(source, name) for name in names],
        names=CLASSES,
        labels=labels,
        split=np.repeat([serving[part] for part in lists], [len(ids) for ids in lists.values()]),
        source=f"{NAME}:{path}",
        root=source.root,
        notes=(*count_notes(found, PUBLISHED.get(year, {})), *notes),
    )


def find(path: Path, year: str | None = None) -> tuple[Files, str]:
    """The files of one year and which year it is, empty if the folder's name does not say.

    Raises:
        DataError: there is none, or there are several to choose from.
        OptionError: there is not the one that is asked for.
    """
    source = Files(path)
    if source.has(LISTS):
        named = re.search("20(0[789]|1[012])", path.name)
        found = {named[0] if named else str(year or ""): ""}
    else:
        folders = {f"{above}VOC{one}": one for above in reversed(ABOVE) for one in YEARS}
        found = {one: folder for folder, one in folders.items() if source.has(f"{folder}/{LISTS}")}
    if not found:
        raise DataError(f"{path}: no {LISTS} in it or in a VOC20xx below: expected VOC's layout")
    if year is None and len(found) > 1:
        raise DataError(f"{path}: holds VOC of {listing(sorted(found))}: choose one, as in year={min(found)}")
    if year is not None and str(year) not in found:
        raise OptionError(f"{path}: {unknown_name('year', str(year), sorted(found))}")
    chosen = str(year) if year is not None else next(iter(found))
    return source.below(found[chosen]), chosen


def parts(source: Files) -> dict[str, list[str]]:
    """The names of each part's images, as the lists say.

    Raises:
        DataError: there is no list, or an image stands twice.
    """
    present = [part for part in PARTS if source.has(f"{LISTS}/{part}.txt")]
    if "train" not in present and "val" not in present and source.has(f"{LISTS}/trainval.txt"):
        lists = {"train": _ids(source, f"{LISTS}/trainval.txt")}
    else:
        lists = {}
    if not present and not lists:
        source.need(*(f"{LISTS}/{part}.txt" for part in PARTS))
    lists |= {part: _ids(source, f"{LISTS}/{part}.txt") for part in present}
    if twice := repeated(name for ids in lists.values() for name in ids):
        raise DataError(f"{source.where(LISTS)}: images stand twice in its lists: {listing(twice)}")
    return lists


def _ids(source: Files, name: str) -> list[str]:
    ids = []
    for number, line in source.lines(name):
        if not _ID.fullmatch(line):
            raise DataError(f"{source.where(name)} line {number}: {line[:80]!r} is not the name of an image")
        ids.append(line)
    return ids


def _annotated(source: Files, lists: dict[str, list[str]]) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """The parts that have annotations: those of the test part of 2012 are not published."""
    files = set(source.files("Annotations", (".xml",)))
    if "test" in lists and not any(_xml(name) in files for name in lists["test"]):
        notes = left_out_note(lists["test"], "test image", "test images", "without published annotations left out")
        return {part: ids for part, ids in lists.items() if part != "test"}, notes
    return lists, ()


def labels_of(source: Files, names: list[str], difficult: str) -> LabelMatrix:
    """The labels of images from their XML.

    Raises:
        DataError: there is none of an image, or it is damaged.
    """
    place = {name: number for number, name in enumerate(CLASSES)}
    files = set(source.files("Annotations", (".xml",)))
    if missing := [name for name in names if _xml(name) not in files]:
        raise DataError(f"{source.where('Annotations')}: no XML of {listing(missing)}: fetch the annotations again")
    found = [(row, place[kind], hard) for row, name in enumerate(names) for kind, hard in _objects(source, name)]
    rows, columns, hard = np.array(found, np.int64).reshape(-1, 3).T
    return presence((len(names), len(CLASSES)), rows, columns, hard == 1, difficult)


def _objects(source: Files, name: str) -> list[tuple[str, bool]]:
    """The class of each object of an image, and whether it is difficult.

    Only direct children count: a person's parts are objects with a name too.
    """
    root, where = source.xml(_xml(name)), source.where(_xml(name))
    if root.tag != "annotation":
        raise DataError(f"{where}: <{root.tag}> in place of <annotation>: not an annotation of VOC")
    found = []
    for number, one in enumerate(root.findall("object"), start=1):
        kind, hard = one.findtext("name", "").strip(), one.findtext("difficult", "0").strip()
        if kind not in CLASSES:
            raise DataError(f"{where} object {number}: {kind[:80]!r} is not one of VOC's 20 classes")
        if hard not in ("0", "1"):
            raise DataError(f"{where} object {number}: difficult is {hard[:80]!r}, not 0 or 1")
        found.append((kind, hard == "1"))
    return found


def item(source: Files, name: str) -> str:
    """How a table calls an image."""
    return source.item(f"JPEGImages/{name}.jpg")


def _xml(name: str) -> str:
    return f"Annotations/{name}.xml"
