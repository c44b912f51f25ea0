"""A folder of images with one folder per class, perhaps below train/, val/ and test/."""

from pathlib import Path

import numpy as np

from rarecall.data.images import SUFFIXES
from rarecall.data.table import PART_NAMES, LabelTable
from rarecall.errors import DataError
from rarecall.labels import ABSENT, PRESENT

NAME = "folder"


def recognises(path: Path) -> bool:
    """A folder that holds folders with images in them."""
    return path.is_dir() and any(_images(child) for child in _folders(path))


def read(path: Path) -> LabelTable:
    """Read it; an image is present in the class of its folder and absent in all others.

    The same file name in two class folders of one part is two items: content is not compared.
    """
    folders = _folders(path)
    if folders and all(folder.name.lower() in PART_NAMES for folder in folders):
        classes = [(PART_NAMES[part.name.lower()], folder) for part in folders for folder in _folders(part)]
    else:
        classes = [("train", folder) for folder in folders]
    names = sorted({folder.name for _, folder in classes})
    found = [(part, folder.name, image) for part, folder in classes for image in _images(folder)]
    if not found:
        raise DataError(f"{path}: no image in any class folder: expected {path.name}/CLASS/*.jpg")
    place = {name: position for position, name in enumerate(names)}
    labels = np.full((len(found), len(names)), ABSENT, np.int8)
    labels[np.arange(len(found)), [place[name] for _, name, _ in found]] = PRESENT
    return LabelTable(
        items=[image.relative_to(path).as_posix() for _, _, image in found],
        names=names,
        labels=labels,
        split=np.array([part for part, _, _ in found]),
        source=f"{NAME}:{path}",
        root=path,
    )


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
