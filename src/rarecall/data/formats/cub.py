"""Caltech-UCSD Birds 200-2011 as published: 312 attributes with the annotators' certainty, or 200 species.

Wah et al., The Caltech-UCSD Birds-200-2011 dataset, CNS-TR-2011-001.
"""

from pathlib import Path

import numpy as np

from rarecall.data.formats import _layout
from rarecall.data.formats._files import Files, count_notes
from rarecall.data.table import LabelTable
from rarecall.errors import DataError
from rarecall.images.containers import with_region
from rarecall.labels import UNKNOWN, LabelMatrix

NAME = "cub"
HOME = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
LICENCE = "non-commercial research and education; the images belong to others"
PUBLISHED = {"train images": 5_994, "test images": 5_794, "species": 200}
ATTRIBUTES = {"attributes": 312}
TOPS = ("", "CUB_200_2011", "CUB_200_2011/CUB_200_2011")
ATTRIBUTE_LABELS = "attributes/image_attribute_labels.txt"
# The least certainty at which an annotation is believed, and its number in certainties.txt.
CERTAINTIES = {"not-visible": 1, "guessing": 2, "probably": 3, "definitely": 4}


def recognises(path: Path) -> bool:
    """A folder or archive with images.txt, image_class_labels.txt and train_test_split.txt."""
    return _layout.holds(path, ["images.txt", "image_class_labels.txt", "train_test_split.txt"], TOPS)


def read(path: Path, *, labels: str = "attributes", certainty: str = "guessing", crop: str = "none") -> LabelTable:
    """Read it, in the order of images.txt.

    Args:
        path: CUB_200_2011, or the folder or archive that holds it and attributes.txt.
        labels: `attributes` (312) or `species` (200).
        certainty: the least certainty at which an attribute's annotation is believed: `not-visible` (all are, as in
            the single-positive benchmarks), `guessing`, `probably` or `definitely`. Below it the attribute is unknown.
        crop: `none` for whole images or `box` for the birds' bounding boxes.
    """
    _layout.choose("labels", labels, ("attributes", "species"))
    _layout.choose("certainty", certainty, CERTAINTIES)
    _layout.choose("crop", crop, ("none", "box"))
    source = _layout.find(path, ["images.txt"], TOPS)
    images = _layout.numbered(source, "images.txt")
    species = _layout.numbered(source, "classes.txt")
    of_image = _facts(source, "image_class_labels.txt", images, set(species))
    is_train = _facts(source, "train_test_split.txt", images, {0, 1})
    order = list(species)
    split = np.where(is_train == 1, "train", "test")
    found = {"train images": int(is_train.sum()), "test images": int((is_train == 0).sum()), "species": len(species)}
    published = PUBLISHED
    if labels == "attributes":
        names, values = _attributes(source, path, images, CERTAINTIES[certainty])
        found, published = {**found, "attributes": len(names)}, PUBLISHED | ATTRIBUTES
    else:
        names = list(species.values())
        values = _layout.one_hot([order.index(one) for one in of_image.tolist()], len(names))
    items = [source.item(f"images/{name}") for name in images.values()]
    return LabelTable(
        items=_cropped(source, items, images) if crop == "box" else items,
        names=names,
        labels=values,
        split=split,
        source=f"{NAME}:{path}",
        root=source.root,
        columns={"species": np.array([species[one] for one in of_image.tolist()])},
        notes=count_notes(found, published),
    )


def _facts(source: Files, name: str, images: dict[int, str], known: set[int]) -> np.ndarray:
    """A number for each image, from lines of the image's number and this one."""
    table = _layout.integers(source, name, 2)
    found = dict(table.tolist())
    if len(found) != len(table):
        raise DataError(f"{source.where(name)}: an image stands twice")
    if wrong := set(found.values()) - known:
        raise DataError(f"{source.where(name)}: {min(wrong)} is none of the {len(known)} values that are known")
    if (missing := next((image for image in images if image not in found), None)) is not None:
        raise DataError(f"{source.where(name)}: image {missing} ({images[missing]}) is not in it: truncated?")
    return np.array([found[image] for image in images], np.int64)


def _attributes(source: Files, path: Path, images: dict[int, str], least: int) -> tuple[list[str], LabelMatrix]:
    """Names and labels of the attributes; each line: image, attribute, present, certainty, seconds.

    Some of the owners' lines have seven fields in place of five; the first four are good in all of them.
    """
    attributes = _attribute_names(source, path)
    where = source.where(ATTRIBUTE_LABELS)
    image, attribute, present, certain = _layout.integers(source, ATTRIBUTE_LABELS, 4).T
    column = _places(attribute, list(attributes))
    wrong = (column < 0) | ~np.isin(present, (0, 1)) | ~np.isin(certain, list(CERTAINTIES.values()))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        values = f"{attribute[first]} {present[first]} {certain[first]}"
        raise DataError(f"{where} row {first + 1}: {values} is not an attribute, 0 or 1, and a certainty of 1 to 4")
    row = _places(image, list(images))
    here = row >= 0  # lines of images that a user left out of images.txt are not needed
    cells = row[here] * len(attributes) + column[here]
    times = np.bincount(cells, minlength=len(images) * len(attributes))
    if (times != 1).any():
        cell = int(np.flatnonzero(times != 1)[0])
        number, name = list(images)[cell // len(attributes)], list(attributes)[cell % len(attributes)]
        raise DataError(f"{where}: image {number}, attribute {name} has {times[cell]} lines in place of 1: truncated?")
    labels = np.full(len(times), UNKNOWN, np.int8)
    labels[cells] = np.where(certain >= least, present, UNKNOWN)[here]
    return list(attributes.values()), labels.reshape(len(images), len(attributes))


def _places(numbers: np.ndarray, known: list[int]) -> np.ndarray:
    """The place of each number among those known; -1 where it is none of them."""
    order = np.argsort(known)
    ordered = np.asarray(known)[order]
    place = np.searchsorted(ordered, numbers).clip(max=len(known) - 1)
    return np.where(ordered[place] == numbers, order[place], -1)


def _attribute_names(source: Files, path: Path) -> dict[int, str]:
    for holder in (source, Files(path)):  # the archive has the file beside CUB_200_2011; many move it into it
        for name in ("attributes/attributes.txt", "attributes.txt"):
            if holder.has(name):
                return _layout.numbered(holder, name)
    raise DataError(
        f"{path}: no attributes.txt in it: the archive has it beside CUB_200_2011, so give the folder that holds both"
    )


def _cropped(source: Files, items: list[str], images: dict[int, str]) -> list[str]:
    boxes: dict[str, list[float]] = {}
    for line, (number, *box) in _layout.fields(source, "bounding_boxes.txt", 5):
        boxes[number] = _layout.floats(box[:4], f"{source.where('bounding_boxes.txt')} line {line}")
    missing = next((image for image in images if str(image) not in boxes), None)
    if missing is not None:
        raise DataError(f"{source.where('bounding_boxes.txt')}: image {missing} has no box: truncated?")
    return [with_region(item, boxes[str(image)]) for item, image in zip(items, images, strict=True)]
