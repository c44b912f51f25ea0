"""Data sets that transfer is measured on, in the layouts that torchvision's loaders expect.

FGVC-Aircraft, Caltech-101, Stanford Cars, DTD, Flowers-102, Food-101, Oxford-IIIT Pets and SUN397. Only their lists
are read, and nothing is fetched. (Caltech-UCSD Birds are the format `cub`.)
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rarecall.data.formats import _layout, _matlab
from rarecall.data.formats._files import LONGEST_NAME, count_notes, left_out_note
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError

NAME = "torchvision"
HOME = "https://docs.pytorch.org/vision/stable/datasets.html"
LICENCE = "each its own: see its owners' page"
MATLAB = {"StanfordCars": ("devkit/cars_train_annos.mat", "devkit/cars_meta.mat", "cars_test_annos_withlabels.mat"),
          "Flowers102": ("imagelabels.mat", "setid.mat")}  # fmt: skip
Pairs = list[tuple[Path, str]]


class Known(NamedTuple):
    """A data set.

    Attributes:
        folder: its name, which torchvision demands.
        marker: a file or folder in it that it is recognised by.
        loader: the class in torchvision.datasets.
        parts: our parts by the loader's; empty where its owners publish no split.
        published: counts of images.
    """

    folder: str
    marker: str
    loader: str
    parts: dict[str, str]
    published: dict[str, int]


THREE = {"train": "train", "val": "val", "test": "test"}
TWO = {"train": "train", "test": "test"}
DATASETS = {
    "aircraft": Known("fgvc-aircraft-2013b", "data/variants.txt", "FGVCAircraft", THREE,
                      {"train images": 3_334, "val images": 3_333, "test images": 3_333}),
    "caltech-101": Known("caltech101", "101_ObjectCategories", "Caltech101", {}, {"images": 8_677}),
    "cars": Known("stanford_cars", "devkit", "StanfordCars", TWO, {"train images": 8_144, "test images": 8_041}),
    "dtd": Known("dtd", "dtd/labels", "DTD", THREE,
                 {"train images": 1_880, "val images": 1_880, "test images": 1_880}),
    "flowers": Known("flowers-102", "imagelabels.mat", "Flowers102", THREE,
                     {"train images": 1_020, "val images": 1_020, "test images": 6_149}),
    "food": Known("food-101", "meta/train.json", "Food101", TWO, {"train images": 75_750, "test images": 25_250}),
    "pets": Known("oxford-iiit-pet", "annotations/trainval.txt", "OxfordIIITPet",
                  {"trainval": "train", "test": "test"}, {"train images": 3_680, "test images": 3_669}),
    "sun": Known("SUN397", "ClassName.txt", "SUN397", {}, {"images": 108_754}),
}  # fmt: skip


def recognises(path: Path) -> bool:
    """The official folder of one of them, or a folder that holds it."""
    return bool(_there(path))


def read(path: Path, *, dataset: str = "auto", level: str = "variant", partition: str | int = "1") -> LabelTable:
    """Read one; an image is present in its class and absent in all others.

    Args:
        path: the data set's folder by its official name, or the folder that holds it.
        dataset: `aircraft`, `caltech-101`, `cars`, `dtd`, `flowers`, `food`, `pets`, `sun`, or `auto`: the only one
            that is there.
        level: of aircraft: `variant` (100 classes), `family` (70) or `manufacturer` (30).
        partition: of DTD: `1` to `10`.
    """
    _layout.choose("dataset", dataset, ("auto", *DATASETS))
    _layout.choose("level", level, ("variant", "family", "manufacturer"))
    _layout.choose("partition", str(partition), [str(number) for number in range(1, 11)])
    known = DATASETS[_choose(path, dataset)]
    _require_own("level", level != "variant", known, "FGVCAircraft")
    _require_own("partition", str(partition) != "1", known, "DTD")
    own: dict[str, dict[str, Any]] = {"FGVCAircraft": {"annotation_level": level}, "DTD": {"partition": int(partition)}}
    options = own.get(known.loader, {})
    names: dict[str, None] = {}  # in the order of the owners
    rows: list[tuple[Path, str, str]] = []
    for part in known.parts or {"": "train"}:
        classes, pairs = _load(path, known, {**options, "split": part} if part else options)
        names |= dict.fromkeys(classes)
        rows += [(file, name, known.parts.get(part, "train")) for file, name in pairs]
    if not rows:
        raise DataError(f"{path}: {known.folder} lists no image: expected the layout that its owners publish")
    every = list(names)
    split = np.array([part for _, _, part in rows])
    found = {f"{part} images": int((split == part).sum()) for part in THREE} | {"images": len(rows)}
    return LabelTable(
        items=[_item(file, path) for file, _, _ in rows],
        names=every,
        labels=_layout.one_hot(_layout.class_numbers([name for _, name, _ in rows], every, str(path)), len(every)),
        split=split,
        source=f"{NAME}:{path}",
        root=path,
        notes=(*count_notes(found, known.published), *_notes(path, known)),
    )


def _item(file: Path, path: Path) -> str:
    """A file's name below the data set's folder; a list may name one that is elsewhere."""
    if not file.is_relative_to(path):
        raise DataError(f"{path}: {str(file)[:LONGEST_NAME]!r} leads out of it")
    return file.relative_to(path).as_posix()


def _there(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    return [name for name, known in DATASETS.items() if (_parent(path, known) / known.folder / known.marker).exists()]


def _parent(path: Path, known: Known) -> Path:
    """What torchvision calls the root: the folder that holds the data set's."""
    return path.parent if path.name == known.folder and not (path / known.folder / known.marker).exists() else path


def _choose(path: Path, dataset: str) -> str:
    there = _there(path)
    if dataset == "auto" and len(there) > 1:
        raise DataError(f"{path}: holds {', '.join(there)}: name one with dataset")
    if dataset == "auto" and there:
        return there[0]
    if dataset not in there:
        wanted = [dataset] if dataset != "auto" else list(DATASETS)
        places = ", ".join(f"{DATASETS[name].folder}/{DATASETS[name].marker}" for name in wanted)
        raise DataError(f"{path}: no {places} in it: torchvision expects the official names")
    return dataset


def _require_own(option: str, given: bool, known: Known, loader: str) -> None:
    if given and known.loader != loader:
        raise OptionError(f"{option} is an option of {loader}, not of {known.loader}: leave it out")


def _load(path: Path, known: Known, options: dict[str, Any]) -> tuple[list[str], Pairs]:
    """The classes, and each image with its class."""
    from torchvision import datasets

    loader: Callable[..., Any] = getattr(datasets, known.loader)
    _check_matlab(path, known)
    try:
        found = loader(_parent(path, known), **options)
        return _CLASSES.get(known.loader, _plain)(found)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - loaders raise errors of every kind on a damaged list
        reason = str(error).partition("\n")[0].replace(" You can use download=True to download it", "").rstrip(".")
        raise DataError(
            f"{path}: {known.loader} cannot be read ({type(error).__name__}: {reason}): fetch it again"
        ) from None


def _check_matlab(path: Path, known: Known) -> None:
    """Refuse damaged MATLAB files, which the loaders give to SciPy: there some damage ends the whole process."""
    for name in MATLAB.get(known.loader, ()):
        file = _parent(path, known) / known.folder / name
        if file.is_file():
            _matlab.load(file.read_bytes(), str(file))


def _plain(found: Any) -> tuple[list[str], Pairs]:
    files, classes = [Path(file) for file in found._image_files], list(found.classes)
    order = np.argsort([str(file) for file in files]) if type(found).__name__ == "SUN397" else range(len(files))
    return classes, [(files[row], _named(classes, found._labels[row])) for row in order]


def _cars(found: Any) -> tuple[list[str], Pairs]:
    classes = [str(name) for name in found.classes]
    return classes, [(Path(file), _named(classes, int(number))) for file, number in found._samples]


def _pets(found: Any) -> tuple[list[str], Pairs]:
    """By the breed that is in each file's name: a part of the data set may not hold all of the numbered classes."""
    names = [" ".join(word.title() for word in file.stem.split("_")[:-1]) for file in found._images]
    ordered = sorted(dict(zip(names, found._labels, strict=True)).items(), key=lambda pair: pair[1])
    return [name for name, _ in ordered], list(zip(found._images, names, strict=True))


def _caltech(found: Any) -> tuple[list[str], Pairs]:
    folder = Path(found.root) / "101_ObjectCategories"
    listed = [(folder / found.categories[number], place) for number, place in zip(found.y, found.index, strict=True)]
    files = [category / f"image_{place:04d}.jpg" for category, place in listed]
    return list(found.categories), [(file, file.parent.name) for file in files if os.path.lexists(file)]


def _named(classes: Sequence[str], number: int) -> str:
    if not 0 <= number < len(classes):
        raise ValueError(f"class {number} of {len(classes)}")
    return classes[number]


def _notes(path: Path, known: Known) -> tuple[str, ...]:
    notes = () if known.parts else (f"{known.folder} has no published split here: every image is taken as train",)
    folder = _parent(path, known) / known.folder / known.marker / "BACKGROUND_Google"
    found = [folder.name] if folder.is_dir() else []
    return (*notes, *left_out_note(found, "category is", "categories are", "no class and left out"))


_CLASSES: dict[str, Callable[[Any], tuple[list[str], Pairs]]] = {
    "StanfordCars": _cars,
    "OxfordIIITPet": _pets,
    "Caltech101": _caltech,
}
