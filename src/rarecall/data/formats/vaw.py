"""VAW (Visual Attributes in the Wild) as published: boxes of Visual Genome with some of 620 attributes labelled.

Pham et al., Learning to Predict Visual Attributes in the Wild, CVPR 2021. A row is an object: a region of an
image. The attributes listed as positive are present, those listed as negative are absent, all others unknown.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from rarecall.data.formats._files import Files, count_notes
from rarecall.data.formats._layout import choose
from rarecall.data.formats._objects import NO_PIXEL, Box, given_folder, has_area, keep, regions, repeated
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, counted, listing
from rarecall.labels import ABSENT, PRESENT, UNKNOWN, LabelMatrix

NAME = "vaw"
HOME = "https://github.com/adobe-research/vaw_dataset"
LICENCE = "Adobe Research License, non-commercial research only; images: Visual Genome, CC BY 4.0"
PUBLISHED = {
    "train objects": 216790, "val objects": 12286, "test objects": 31819, "images": 72274, "attributes": 620,
}  # fmt: skip
INDEX = "attribute_index.json"
PARTS = {"train": ("train_part1.json", "train_part2.json"), "val": ("val.json",), "test": ("test.json",)}
FOLDERS = ("", "data/", "vaw_dataset/data/", "vaw_dataset-main/data/")
IMAGES = ("VG_100K", "VG_100K_2")
ARCHIVES = {"images.zip": "VG_100K", "images2.zip": "VG_100K_2"}
Number = Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern=r"^[0-9]+$")]


class _Object(Struct, gc=False):
    image_id: Number
    instance_id: Number
    instance_bbox: Box
    object_name: str
    positive_attributes: list[str]
    negative_attributes: list[str]


def recognises(path: Path) -> bool:
    """A folder with attribute_index.json and a part's JSON, or with them in data/."""
    parts = ("train_part1.json", "train.json", "val.json", "test.json")
    return path.is_dir() and any(
        (path / folder / INDEX).is_file() and any((path / folder / part).is_file() for part in parts)
        for folder in FOLDERS
    )


def read(path: Path, *, images: str | None = None, no_area: str = "leave-out") -> LabelTable:
    """Read the three parts, one row for each object.

    Args:
        path: the owners' repository, or its data/.
        images: the folder of Visual Genome that holds VG_100K/ and VG_100K_2/, or the zips of them; default: the path.
        no_area: boxes without a pixel in the image: `leave-out`, or `whole` to take the whole image.
    """
    choose("no_area", no_area, ("leave-out", "whole"))
    whole = Files(path)
    source = whole.below(whole.need(*(f"{folder}{INDEX}" for folder in FOLDERS)).removesuffix(INDEX))
    place = _index(source)
    parts = {part: _part(source, files) for part, files in PARTS.items() if _files(source, files)}
    objects = [one for found in parts.values() for one in found]
    _require_distinct(objects, path)
    labels, disputed = _labels(objects, place, path)
    pictures = Files(elsewhere) if (elsewhere := given_folder(images)) else whole
    files = _images(pictures, [str(one.image_id) for one in objects])
    boxes = np.array([one.instance_bbox for one in objects]).reshape(-1, 4)
    sound = has_area(boxes)
    found = {f"{part} objects": len(rows) for part, rows in parts.items()}
    counted = found | {"images": len(set(files)), "attributes": len(place)}
    unlabelled = int((labels == UNKNOWN).all(1).sum())
    table = LabelTable(
        items=[box if good else name for box, good, name in zip(regions(files, boxes), sound, files, strict=True)],
        names=list(place),
        labels=labels,
        split=np.repeat(list(parts), [len(rows) for rows in parts.values()]),
        source=f"{NAME}:{path}",
        root=pictures.root,
        columns={"object": np.array([one.object_name for one in objects])},
        notes=(*count_notes(counted, PUBLISHED), *_said(disputed, unlabelled)),
    )
    return table if no_area == "whole" else keep(table, sound, "object", "objects", NO_PIXEL)


def _said(disputed: int, unlabelled: int) -> tuple[str, ...]:
    notes = []
    if disputed:
        notes.append(f"{counted(disputed, 'label is', 'labels are')} positive and negative at once: read as unknown")
    if unlabelled:
        notes.append(f"{counted(unlabelled, 'object has', 'objects have')} no known label")
    return tuple(notes)


def _index(source: Files) -> dict[str, int]:
    """The attributes and their columns, in the order of the columns."""
    place = source.json(INDEX, dict[str, int])
    if sorted(place.values()) != list(range(len(place))):
        raise DataError(f"{source.where(INDEX)}: its numbers do not count from 0 without a gap")
    return dict(sorted(place.items(), key=lambda entry: entry[1]))


def _files(source: Files, files: tuple[str, ...]) -> tuple[str, ...]:
    """The files of a part, if there are any: train may be one file in place of two."""
    if source.first(files):
        return files
    merged = files[0].replace("_part1", "")
    return (merged,) if source.has(merged) else ()


def _part(source: Files, files: tuple[str, ...]) -> list[_Object]:
    return [one for file in _files(source, files) for one in source.json(source.need(file), list[_Object])]


def _require_distinct(objects: list[_Object], path: Path) -> None:
    if not objects:
        raise DataError(f"{path}: no objects: expected train_part1.json, train_part2.json, val.json and test.json")
    if twice := repeated(str(one.instance_id) for one in objects):
        raise DataError(f"{path}: instances stand twice: {listing(twice)}: fetch its files again")


def _labels(objects: list[_Object], place: dict[str, int], path: Path) -> tuple[LabelMatrix, int]:
    """The labels, and how many are both positive and negative, which makes them unknown."""
    labels = np.full((len(objects), len(place)), UNKNOWN, np.int8)
    positive = _cells([one.positive_attributes for one in objects], place, objects, path)
    negative = _cells([one.negative_attributes for one in objects], place, objects, path)
    labels[tuple(positive.T)] = PRESENT
    disputed = np.unique(negative[labels[tuple(negative.T)] == PRESENT], axis=0)
    labels[tuple(negative.T)] = ABSENT
    labels[tuple(disputed.T)] = UNKNOWN
    return labels, len(disputed)


def _cells(lists: list[list[str]], place: dict[str, int], objects: list[_Object], path: Path) -> np.ndarray:
    """Row and column of every listed attribute, (M, 2)."""
    try:
        cells = [(row, place[name]) for row, names in enumerate(lists) for name in names]
    except KeyError as error:
        name = error.args[0]
        row = next(row for row, names in enumerate(lists) if name in names)
        raise DataError(
            f"{path}: instance {objects[row].instance_id}: {name[:80]!r} is not in {INDEX}: fetch the files again"
        ) from None
    return np.array(cells, np.int64).reshape(-1, 2)


def _images(source: Files, ids: list[str]) -> list[str]:
    """Where each image is: an image of Visual Genome lies in one of two folders or archives."""
    found: dict[str, str] = {}
    for folder in IMAGES:
        found |= {_stem(name): source.item(name) for name in source.files(folder)}
    for archive, folder in ARCHIVES.items():
        if not source.is_archive and (source.path / archive).is_file():
            packed = Files(source.path / archive)
            found |= {_stem(name): packed.item(name) for name in packed.files(folder)}
    return [found.get(name) or source.item(f"{IMAGES[0]}/{name}.jpg") for name in ids]


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]
