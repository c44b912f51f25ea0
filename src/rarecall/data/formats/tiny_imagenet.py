"""Tiny ImageNet as published: 200 classes of ImageNet, 500 training images of 64 x 64 pixels each.

Le and Yang, Tiny ImageNet visual recognition challenge, CS231n course report, Stanford 2015.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from rarecall.data.formats import _layout
from rarecall.data.formats._files import Files, count_notes
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, counted

NAME = "tiny-imagenet"
HOME = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
LICENCE = "ImageNet's terms: non-commercial research and education"
PUBLISHED = {"train images": 100_000, "val images": 10_000, "classes": 200}
TOPS = ("", "tiny-imagenet-200")
ANNOTATIONS = "val/val_annotations.txt"


def recognises(path: Path) -> bool:
    """A folder or archive with wnids.txt and a train folder."""
    return _layout.holds(path, ["wnids.txt", "train"], TOPS)


def read(path: Path, *, names: str = "words", val: str = "val") -> LabelTable:
    """Read it; classes stand in the order of their WordNet numbers, as in a folder of images.

    Args:
        path: tiny-imagenet-200, or a folder or archive that holds it.
        names: classes by their first `words` (with the number where two share it) or by `wnid`.
        val: the part that the validation images are taken as: `val`, or `test`, since those of test have no labels.
    """
    _layout.choose("names", names, ("words", "wnid"))
    _layout.choose("val", val, ("val", "test"))
    source = _layout.find(path, ["wnids.txt", "train"], TOPS)
    numbers = sorted({line for _, line in source.lines("wnids.txt")})
    if not numbers:
        raise DataError(f"{source.where('wnids.txt')}: the file is empty: expected a class a line")
    train, held_out = _by_folder(source, "train"), _validation(source)
    images = train + held_out
    if not images:
        raise DataError(f"{path}: no image in train or val: expected train/CLASS/images/*.JPEG")
    of_image = _layout.class_numbers([number for _, number in images], numbers, source.where("wnids.txt"))
    found = {"train images": len(train), "val images": len(held_out), "classes": len(numbers)}
    unlabelled = len(source.files("test"))
    left_out = f"{counted(unlabelled, 'test image has', 'test images have')} no labels: left out"
    return LabelTable(
        items=[source.item(name) for name, _ in images],
        names=_class_names(source, numbers) if names == "words" else numbers,
        labels=_layout.one_hot(of_image, len(numbers)),
        split=np.repeat(["train", val], [len(train), len(held_out)]),
        source=f"{NAME}:{path}",
        root=source.root,
        columns={"wnid": np.array(numbers)[of_image]},
        notes=(*count_notes(found, PUBLISHED), *([left_out] if unlabelled else [])),
    )


def _by_folder(source: Files, part: str) -> list[tuple[str, str]]:
    """Images below part/CLASS/ and their classes."""
    return [(name, name.split("/")[1]) for name in source.files(part) if name.count("/") > 1]


def _validation(source: Files) -> list[tuple[str, str]]:
    """Images and classes of val; many sort them into a folder for each class."""
    if not source.has(ANNOTATIONS):
        return _by_folder(source, "val")
    found: dict[str, str] = {}
    for line, row in source.rows(ANNOTATIONS, delimiter="\t"):
        if len(row) < 2:
            raise DataError(f"{source.where(ANNOTATIONS)} line {line}: no class after the image")
        if row[0] in found:
            raise DataError(f"{source.where(ANNOTATIONS)} line {line}: {row[0]!r} stands twice")
        found[row[0]] = row[1].strip()
    if source.has("val/images"):
        return [(f"val/images/{name}", number) for name, number in found.items()]
    return _by_folder(source, "val")


def _class_names(source: Files, numbers: list[str]) -> list[str]:
    """The first of the words for each class; the number itself where there is none."""
    if not source.has("words.txt"):
        return numbers
    lines = (line.partition("\t") for _, line in source.lines("words.txt"))
    words = {number: text.split(",")[0].strip() for number, _, text in lines}
    found = [words.get(number) or number for number in numbers]
    times = Counter(found)
    return [name if times[name] == 1 else f"{name} ({number})" for name, number in zip(found, numbers, strict=True)]
