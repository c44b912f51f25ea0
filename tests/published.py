"""Data sets in the layouts that their owners publish, as several tests write them, and what is said of bad ones."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rarecall import data
from rarecall.data import LabelTable
from rarecall.errors import DataError, OptionError
from rarecall.images.decoding import decode
from tests.files import write_image


def write(path: Path, content: str | bytes | object) -> Path:
    """Write a text, bytes, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def change(path: Path, old: str, new: str) -> None:
    """Replace what stands once in a file."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def photo(path: Path, level: int = 0) -> Path:
    """A small image of one grey level, lossless whatever its name says."""
    return write(path, png(level))


def png(level: int) -> bytes:
    """A small image of one grey level."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (level, level, level)).save(stream, "PNG")
    return stream.getvalue()


def zipped(folder: Path, top: str = "") -> Path:
    """An archive of a folder beside it."""
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{top}{file.relative_to(folder).as_posix()}")
    return target


def pack(folder: Path, archive: Path, top: str = "") -> Path:
    """An uncompressed tar or a zip of what a folder holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [f"{top}{path.relative_to(folder).as_posix()}" for path in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as out:
            for path, name in zip(files, names, strict=True):
                out.write(path, name)
    else:
        with tarfile.open(archive, "w") as out:
            for path, name in zip(files, names, strict=True):
                out.add(path, name)
    return archive


def shard(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """A tar of these members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def as_json(value: object) -> bytes:
    """JSON, in bytes."""
    return json.dumps(value).encode()


def refused(spec: str | Path, message: str, **options: str) -> None:
    """The one line that a data set is refused with."""
    with pytest.raises(DataError, match=message) as caught:
        data.load(str(spec), **options)
    assert "\n" not in str(caught.value)


def refusal(load: Callable[[], object]) -> str:
    """The one line of a refusal."""
    with pytest.raises((DataError, OptionError)) as caught:
        load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def is_grey(table: LabelTable, row: int, level: int) -> bool:
    """Whether the image of a row opens and has this level."""
    image = decode(table.image(row), (6, 8))
    return not isinstance(image, str) and image.getpixel((2, 2)) == (level, level, level)


def by_item(table: data.LabelTable) -> dict[str, dict[str, int]]:
    """The labels that are not absent, by item and class."""
    return {
        item: {name: int(value) for name, value in zip(table.names, row, strict=True) if value != 0}
        for item, row in zip(table.items, table.labels, strict=True)
    }


# --- VOC and COCO ---------------------------------------------------------------------------------------

OBJECTS = {  # name of the image: class and whether it is difficult, of each object
    "000005": [("chair", 0), ("chair", 1)],
    "000007": [("car", 0), ("person", 1)],
    "000009": [("horse", 0), ("person", 0), ("person", 1)],
    "000001": [("dog", 1)],
}


LISTS_2007 = {"train": ["000005"], "val": ["000007", "000009"], "test": ["000001"]}


def annotation(objects: list[tuple[str, int]], extra: str = "") -> str:
    """An annotation in the owners' words: the first object has a part, the last no mark of difficulty if it is easy."""
    parts = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    body = "".join(
        f"<object><name>{kind}</name><pose>Left</pose>{f'<difficult>{hard}</difficult>' if hard else ''}"
        f"<bndbox><xmin>45.7</xmin></bndbox>{parts}</object>"
        for kind, hard in objects
    )
    return f"<annotation>\n<folder>VOC</folder><segmented>0</segmented>{extra}{body}</annotation>\n"


def write_voc(folder: Path, objects: dict[str, Any], lists: dict[str, list[str]]) -> Path:
    """A VOC20xx."""
    for name, of in objects.items():
        write(folder / f"Annotations/{name}.xml", annotation(of, "<source><object><name>bird</name></object></source>"))
        write(folder / f"JPEGImages/{name}.jpg", b"")
        write_image(folder / f"JPEGImages/{name}.jpg", 1, 0)
    for part, names in lists.items():
        write(folder / f"ImageSets/Main/{part}.txt", "".join(f"{name}\n" for name in names))
    write(folder / "ImageSets/Main/chair_train.txt", "000005  1\n000007 -1\n")
    write(folder / "Annotations/2007_999999.xml", annotation([("sofa", 0)]))  # in no list of Main
    return folder


CATEGORIES = [(13, "stop sign"), (1, "person"), (90, "banana")]  # with gaps and out of order


def instances(files: dict[int, str], objects: list[tuple[Any, ...]]) -> dict[str, Any]:
    """An instances file; of each object its image, category, and perhaps whether it is a crowd, and its box."""
    annotations = []
    for number, (image, category, *rest) in enumerate(objects):
        crowd, box = (*rest, *(0, [1.5, 2, 30, 40])[len(rest) :])
        shape: Any = {"counts": [1, 2], "size": [3, 1]} if crowd else [[1.0, 2.0, 3.5, 4.25, 5, 6]]
        annotations.append(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "iscrowd": crowd,
                "bbox": box,
                "area": float(box[2] * box[3]),
                "segmentation": shape,
            }
        )
    return {
        "info": {"year": 2017},
        "licenses": [{"id": 1, "name": "x", "url": "y"}],
        "images": [
            {"id": number, "file_name": name, "width": 64, "height": 48, "license": 1} for number, name in files.items()
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": "thing"} for number, name in CATEGORIES],
    }


TRAIN = instances(
    {9: "000000000009.jpg", 25: "000000000025.jpg", 30: "000000000030.jpg"}, [(30, 90), (9, 1), (9, 1), (9, 13, 1)]
)


VAL = instances({139: "000000000139.jpg"}, [(139, 13)])


def write_coco(folder: Path) -> Path:
    """COCO 2017 with three training images and one for validation."""
    write(folder / "annotations/instances_train2017.json", TRAIN)
    write(folder / "annotations/instances_val2017.json", VAL)
    for part, file in (("train", TRAIN), ("val", VAL)):
        (folder / f"{part}2017").mkdir()
        for image in file["images"]:
            write_image(folder / f"{part}2017" / image["file_name"], 0, 1)
    return folder


# --- damage ---------------------------------------------------------------------------------------------

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) * 2 // 3],
    "noise": lambda content: np.random.default_rng(len(content)).bytes(len(content) + 7),
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "words": lambda content: content.replace(b"1", b"one"),
    "negative": lambda content: content.replace(b"1", b"-7"),
    "huge": lambda content: content.replace(b"1", b"99999999999999999999"),
    "backwards": lambda content: b"\n".join(reversed(content.split(b"\n"))),
    "one line": lambda content: content.replace(b"\n", b" "),
    "NUL": lambda content: content.replace(b"\n", b"\0\n", 1),
}


def damaged(spec: str, folder: Path) -> list[str]:
    """What is said to each kind of damage of each file that is no image, and to its absence."""
    data.load(spec)
    messages = []
    for file in [file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() not in (".jpg", ".jpeg")]:
        content = file.read_bytes()
        for damage in (*DAMAGE.values(), None):
            file.unlink()
            if damage is not None:
                file.write_bytes(damage(content))
            try:
                data.load(spec)
            except DataError as error:
                messages.append(str(error))
            file.write_bytes(content)
    assert not [message for message in messages if "\n" in message]
    return messages
