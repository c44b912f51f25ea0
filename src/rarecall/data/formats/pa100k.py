"""PA-100K as published: `annotation.mat` beside a folder of images.

Liu et al., HydraPlus-Net: Attentive Deep Features for Pedestrian Analysis, ICCV 2017. The images are in `data/`, or
in `release_data/release_data/` as the archive unpacks.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rarecall.data.formats import _pedestrian
from rarecall.data.formats._files import Files, count_notes, left_out_note
from rarecall.data.table import PARTS, LabelTable
from rarecall.errors import DataError
from rarecall.labels import LabelMatrix

NAME = "pa100k"
HOME = "https://github.com/xh-liu/HydraPlus-Net"
LICENCE = "none stated"
PUBLISHED = {"train images": 80_000, "val images": 10_000, "test images": 10_000, "attributes": 26}
IMAGE_FOLDERS = (
    "data", "release_data/release_data", "release_data", "images", "data/release_data/release_data", ".",
)  # fmt: skip
FILES = ("annotation.mat", "annotation/annotation.mat")
SAMPLE = 10  # names looked for in each folder that may hold the images


def recognises(path: Path) -> bool:
    """A folder or an archive with an annotation.mat, or that file itself."""
    return path.name == FILES[0] or _top(path) is not None


def read(path: Path) -> LabelTable:
    """Read the three parts with their 26 binary attributes."""
    source = _open(path)
    file = source.need(*FILES)
    matlab, where = source.matlab(file), source.where(file)
    attributes = _names(matlab, "attributes", where)
    images = {part: _names(matlab, f"{part}_images_name", where) for part in PARTS}
    labels = [_labels(matlab, part, len(images[part]), len(attributes), where) for part in PARTS]
    names = [name for part in PARTS for name in images[part]]
    found = {f"{part} images": len(images[part]) for part in PARTS} | {"attributes": len(attributes)}
    repeated = [name for name, times in Counter(names).items() if times > 1]
    items, root = _items(source, names)
    return LabelTable(
        items=items,
        names=attributes,
        labels=np.concatenate(labels),
        split=np.repeat(PARTS, [len(images[part]) for part in PARTS]),
        source=f"{NAME}:{path}",
        root=root,
        notes=(
            *count_notes(found, PUBLISHED),
            *left_out_note(repeated, "image stands", "images stand", "in more than one row"),
        ),
    )


def _top(path: Path) -> str | None:
    """The folder inside that holds the data set; its `annotation/` is none."""
    tops = [_pedestrian.top_of(path, file) for file in FILES]
    return min((top for top in tops if top is not None), key=len, default=None)


def _open(path: Path) -> Files:
    if path.name == FILES[0]:
        return Files(path.parent.parent if path.parent.name == "annotation" else path.parent)
    return Files(path, _top(path) or "")


def _names(matlab: dict[str, Any], key: str, where: str) -> list[str]:
    if key not in matlab:
        raise DataError(f"{where}: no key {key!r}: expected the 7 keys of PA-100K's annotation.mat")
    return _pedestrian.strings(matlab[key], f"{where}: {key!r}")


def _labels(matlab: dict[str, Any], part: str, images: int, attributes: int, where: str) -> LabelMatrix:
    rows = np.asarray(matlab.get(f"{part}_label"))
    if rows.shape != (images, attributes):
        raise DataError(f"{where}: {part}_label is {rows.shape} for {images} names and {attributes} attributes")
    return _pedestrian.require_binary(rows, f"{where}: {part}_label")


def _items(source: Files, names: Sequence[str]) -> tuple[list[str], Path]:
    """The items and their root: in a folder that of the images, so that items are the names as published."""
    sample = names[:: max(1, len(names) // SAMPLE)]
    folders = [folder for folder in IMAGE_FOLDERS if source.has(folder)] or ["."]
    holding = (folder for folder in folders if any(source.has(_below(folder, name)) for name in sample))
    folder = next(holding, folders[0])
    if source.is_archive:
        return [source.item(_below(folder, name)) for name in names], source.root
    return list(names), source.root / source.top / folder


def _below(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
