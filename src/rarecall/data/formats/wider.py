"""WIDER Attribute as published: boxes of people with 14 attributes each, in two JSON files beside `Image/`.

Li et al., Human Attribute Recognition by Deep Hierarchical Contexts, ECCV 2016. A row is a person: a region of an
image. In the files 1 is present, -1 absent and 0 unspecified, so 0 is read as unknown.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from rarecall.data.formats._files import Files, count_notes
from rarecall.data.formats._layout import choose
from rarecall.data.formats._objects import NO_PIXEL, PARTS, Box, has_area, keep, regions
from rarecall.data.table import LabelTable
from rarecall.errors import DataError
from rarecall.labels import ABSENT, PRESENT, UNKNOWN

NAME = "wider"
HOME = "http://mmlab.ie.cuhk.edu.hk/projects/WIDERAttribute.html"
LICENCE = "none stated; given for research"
PUBLISHED = {
    "train images": 5509, "val images": 1362, "test images": 6918, "people": 57524, "scenes": 30, "attributes": 14,
}  # fmt: skip
FILES = ("wider_attribute_trainval.json", "wider_attribute_test.json")
FOLDERS = ("", "wider_attribute_annotation/", "Annotations/", "annotations/", "Anno/")
IMAGES = ("Image", "image", "images")
_CODES = np.array([ABSENT, UNKNOWN, PRESENT], np.int8)  # of -1, 0 and 1


class _Person(Struct, gc=False):
    attribute: list[Annotated[int, Meta(ge=-1, le=1)]]
    bbox: Box


class _Image(Struct):
    file_name: str
    targets: list[_Person]


class _Document(Struct):
    images: list[_Image]
    attribute_id_map: dict[int, str]


def recognises(path: Path) -> bool:
    """A folder with one of the two JSON files, or with one in a folder of annotations."""
    return path.is_dir() and any((path / folder / file).is_file() for folder in FOLDERS for file in FILES)


def read(path: Path, *, no_area: str = "leave-out", val: str = "val") -> LabelTable:
    """Read the three parts, one row for each person.

    Args:
        path: the folder that holds Image/ and the JSON files, which may be in a folder of annotations.
        no_area: boxes without a pixel in the image: `leave-out`, or `whole` to take the whole image.
        val: the part that the owners' val serves as: `val`, `test` or `train`.
    """
    choose("no_area", no_area, ("leave-out", "whole"))
    choose("val", val, PARTS)
    source = Files(path)
    documents = _documents(source)
    names = _names(documents)
    folder = source.item(source.first(IMAGES) or IMAGES[0])
    images = [(image, where) for where, document in documents.items() for image in document.images]
    parts = [_part(image.file_name, where) for image, where in images]
    people = [(image, part, person) for (image, _), part in zip(images, parts, strict=True) for person in image.targets]
    if not people:
        raise DataError(f"{path}: no person in its JSON files")
    labels = _labels([image.file_name for image, _, _ in people], [one.attribute for _, _, one in people], names, path)
    boxes = np.array([person.bbox for _, _, person in people])
    files = [f"{folder}/{image.file_name}" for image, _, _ in people]
    sound = has_area(boxes)
    table = LabelTable(
        items=[box if good else name for box, good, name in zip(regions(files, boxes), sound, files, strict=True)],
        names=names,
        labels=labels,
        split=np.array([val if part == "val" else part for _, part, _ in people]),
        source=f"{NAME}:{path}",
        root=source.root,
        columns={"scene": np.array([_scene(image.file_name) for image, _, _ in people])},
        notes=_counts(images, parts, len(people), len(names)),
    )
    return table if no_area == "whole" else keep(table, sound, "person", "people", NO_PIXEL)


def _documents(source: Files) -> dict[str, _Document]:
    """The JSON files by how a message calls them."""
    found = [name for file in FILES if (name := source.first(f"{folder}{file}" for folder in FOLDERS))]
    return {source.where(name): source.json(name, _Document) for name in found or [source.need(*FILES)]}


def _names(documents: dict[str, _Document]) -> list[str]:
    """The attributes in the order of their ids, which count from 0 or from 1."""
    maps = {where: document.attribute_id_map for where, document in documents.items()}
    first, wanted = next(iter(maps.items()))
    for where, found in maps.items():
        if found != wanted:
            raise DataError(f"{where}: its attribute_id_map is not that of {first}")
    ids = sorted(wanted)
    if ids not in (list(range(len(ids))), list(range(1, len(ids) + 1))):
        raise DataError(f"{first}: the ids in attribute_id_map do not count from 0 or 1 without a gap")
    return [wanted[number] for number in ids]


def _labels(files: list[str], rows: list[list[int]], names: list[str], path: Path) -> np.ndarray:
    wrong = next((number for number, row in enumerate(rows) if len(row) != len(names)), None)
    if wrong is not None:
        raise DataError(f"{path}: a person in {files[wrong]} has {len(rows[wrong])} attributes, not {len(names)}")
    return np.asarray(_CODES[np.array(rows, np.int64) + 1])


def _part(name: str, where: str) -> str:
    """The part of an image, which only the folder in its name says."""
    part, slash, _ = name.partition("/")
    if part not in PARTS or not slash:
        raise DataError(f"{where}: {name[:80]!r} is not in train/, val/ or test/")
    return part


def _scene(name: str) -> str:
    """The scene of an image, as its folder is called after the number.

    >>> _scene("train/12--Group/x.jpg")
    'Group'
    """
    return name.split("/")[1].rpartition("--")[2]


def _counts(images: list[tuple[_Image, str]], parts: list[str], people: int, attributes: int) -> tuple[str, ...]:
    found = {f"{part} images": parts.count(part) for part in PARTS}
    scenes = len({_scene(image.file_name) for image, _ in images})
    return count_notes(found | {"people": people, "scenes": scenes, "attributes": attributes}, PUBLISHED)
