"""A folder of images with one folder per class, perhaps below train/, val/ and test/; or a zip or tar of one."""

from pathlib import Path

import numpy as np

from rarecall.data.formats._files import Files, left_out_note
from rarecall.data.formats._layout import class_numbers, one_hot
from rarecall.data.table import PART_NAMES, LabelTable
from rarecall.errors import DataError
from rarecall.images.containers import ARCHIVES
from rarecall.images.decoding import SUFFIXES

NAME = "folder"


def recognises(path: Path) -> bool:
    """A folder that holds folders with images in them, or an archive of such a folder."""
    if path.is_dir():
        return any(_holds_image(child) for child in _folders(path))
    if not path.is_file() or path.suffix.lower() not in ARCHIVES:
        return False
    try:
        return any("/" in name for name in Files(path).files())
    except DataError:
        return True  # so that reading it says what is wrong with the archive


def read(path: Path) -> LabelTable:
    """Read it; an image is present in the class of its folder and absent in all others.

    The same file name in two class folders of one part is two items: content is not compared. Folders that wrap
    everything in an archive are passed over.
    """
    source = _unwrapped(Files(path))
    files = sorted(source.files(), key=lambda name: name.split("/"))
    folders = [one.name for one in _folders(path)] if not source.is_archive else _first_parts(files)
    depth = 1 if folders and all(name.lower() in PART_NAMES for name in folders) else 0
    found = [(parts, name) for name in files if len(parts := name.split("/")) > depth + 1]
    if not found:
        raise DataError(f"{path}: no image in any class folder: expected {path.name}/CLASS/*.jpg")
    classes = [parts[depth] for parts, _ in found]
    names = sorted({*classes, *_empty_classes(path, depth)})
    return LabelTable(
        items=[source.item(name) for _, name in found],
        names=names,
        labels=one_hot(class_numbers(classes, names, str(path)), len(names)),
        split=np.array([PART_NAMES[parts[0].lower()] if depth else "train" for parts, _ in found]),
        source=f"{NAME}:{path}",
        root=source.root,
        notes=_nested_note(found, depth),
    )


def _unwrapped(source: Files) -> Files:
    """An archive seen from inside the folders that wrap all its classes or parts, if any do."""
    files = source.files() if source.is_archive else []
    first = _first_parts(files)
    if len(first) != 1 or first[0].lower() in PART_NAMES or not all(name.count("/") > 1 for name in files):
        return source
    return _unwrapped(source.below(first[0]))


def _nested_note(found: list[tuple[list[str], str]], depth: int) -> tuple[str, ...]:
    """A sentence on classes whose images lie in folders of their own, which may have been meant as the classes."""
    nested = sorted({parts[depth] for parts, _ in found if len(parts) > depth + 2})
    return left_out_note(
        nested, "class holds", "classes hold", "images in further folders, which are no classes of their own"
    )


def _first_parts(files: list[str]) -> list[str]:
    return sorted({name.partition("/")[0] for name in files if "/" in name})


def _empty_classes(path: Path, depth: int) -> set[str]:
    """Class folders of a folder, also those without images, whose class is known all the same."""
    if not path.is_dir():
        return set()
    parents = _folders(path) if depth else [path]
    return {child.name for parent in parents for child in _folders(parent)}


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _holds_image(folder: Path) -> bool:
    return any(file.suffix.lower() in SUFFIXES and file.is_file() for file in folder.rglob("*"))
