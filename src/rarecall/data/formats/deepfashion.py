"""DeepFashion's Category and Attribute Prediction Benchmark as published: photos of clothes with their attributes.

Liu et al., DeepFashion: powering robust clothes recognition and retrieval with rich annotations, CVPR 2016.
"""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rarecall.data.formats import _layout
from rarecall.data.formats._files import Files, count_notes, left_out_note
from rarecall.data.table import PARTS, LabelTable
from rarecall.errors import DataError
from rarecall.images.containers import with_region
from rarecall.labels import ABSENT, PRESENT, UNKNOWN, LabelMatrix

NAME = "deepfashion"
HOME = "http://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/AttributePrediction.html"
LICENCE = "non-commercial research and education"
PUBLISHED = {"attributes": 1_000, "train images": 209_222, "val images": 40_000, "test images": 40_000}
PUBLISHED_FINE = {"attributes": 26, "train images": 14_000, "val images": 2_000, "test images": 4_000}
FOLDERS = {"coarse": ("Anno_coarse", "Anno"), "fine": ("Anno_fine",)}
TOPS = ("", "DeepFashion", "Category and Attribute Prediction Benchmark")
PARTITION = "Eval/list_eval_partition.txt"
_INVALID = 9
# The owners' -1, 0 and 1 are absent, unknown and present; -1 is written as 2 here, one digit a value.
_MEANING = np.full(256, _INVALID, np.int8)
_MEANING[[ord("0"), ord("1"), ord("2")]] = UNKNOWN, PRESENT, ABSENT


def recognises(path: Path) -> bool:
    """A folder or archive with list_attr_cloth.txt in Anno_coarse, Anno_fine or Anno and an Eval folder or parts."""
    markers = [[f"{folder}/list_attr_cloth.txt", PARTITION] for folder in ("Anno", "Anno_coarse", "Anno_fine")]
    markers.append(["Anno_fine/list_attr_cloth.txt", "Anno_fine/train.txt"])
    return any(_layout.holds(path, both, TOPS) for both in markers)


def read(path: Path, *, labels: str = "auto", crop: str = "none") -> LabelTable:
    """Read it; the clothes' category is a column.

    Args:
        path: the folder with Anno or Anno_coarse or Anno_fine, Eval and Img, or an archive of it.
        labels: `coarse` (1,000 attributes), `fine` (26) or `auto`: the coarse ones if they are there.
        crop: `none` for whole images or `box` for the clothes' bounding boxes.
    """
    _layout.choose("labels", labels, ("auto", "coarse", "fine"))
    _layout.choose("crop", crop, ("none", "box"))
    source, kind, folder = _annotations(path, labels)
    names = _attribute_names(source, f"{folder}/list_attr_cloth.txt")
    if source.has(f"{folder}/list_attr_img.txt"):
        images, values = _attribute_labels(source, f"{folder}/list_attr_img.txt", len(names))
        split = _split(source, folder)
    else:
        images, values, split = _split_files(source, folder, len(names))
    kept = np.array([image in split for image in images], bool)
    if not kept.any():
        raise DataError(f"{path}: no image of {folder} stands in any part: fetch {PARTITION} again")
    left_out = [image for image in images if image not in split]
    images, values = [image for image in images if image in split], values[kept]
    parts = np.array([split[image] for image in images])
    found = {f"{part} images": int((parts == part).sum()) for part in PARTS} | {"attributes": len(names)}
    return LabelTable(
        items=_items(source, folder, images, crop),
        names=names,
        labels=values,
        split=parts,
        source=f"{NAME}:{path}",
        root=source.root,
        columns=_categories(source, folder, images),
        notes=(
            *count_notes(found, PUBLISHED if kind == "coarse" else PUBLISHED_FINE),
            *left_out_note(left_out, "image is", "images are", "in no part and left out"),
        ),
    )


def _annotations(path: Path, labels: str) -> tuple[Files, str, str]:
    kinds = ("coarse", "fine") if labels == "auto" else (labels,)
    places = [(kind, folder) for kind in kinds for folder in FOLDERS[kind]]
    for kind, folder in places:
        source = _layout.seek(path, [f"{folder}/list_attr_cloth.txt"], TOPS)
        if source is not None:
            return source, kind, folder
    wanted = " or ".join(f"{folder}/list_attr_cloth.txt" for _, folder in places)
    Files(path)  # which says what is wrong with a path that is no data set at all
    raise DataError(f"{path}: no {wanted} in it: expected the layout that its owners publish")


def _rows(source: Files, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines after the two that say how many there are and what they hold.

    They are bytes, because one of these files has nearly a gigabyte.

    Raises:
        DataError: there are not as many as the first line says.
    """
    lines = io.BytesIO(source.read(name).removeprefix(_layout.BYTE_ORDER_MARK))
    said = lines.readline().strip()
    if not said.isdigit():
        raise DataError(f"{source.where(name)} line 1: {said[:30].decode(errors='replace')!r} is not a number of rows")
    lines.readline()
    number = 0
    for line, row in enumerate(lines, start=3):
        if row.strip():
            number += 1
            yield line, row.strip()
    if number != int(said):
        raise DataError(f"{source.where(name)}: {number:,} rows where its first line says {int(said):,}: truncated?")


def _text(row: bytes, where: str) -> str:
    try:
        return row.decode()
    except UnicodeDecodeError:
        raise DataError(f"{where}: not UTF-8: save the file as UTF-8") from None


def _words(source: Files, name: str, count: int) -> Iterator[tuple[str, list[str]]]:
    """The image of each row and what follows, `count` fields."""
    for line, row in _rows(source, name):
        where = f"{source.where(name)} line {line}"
        image, *rest = _text(row, where).rsplit(None, count)
        if len(rest) != count:
            raise DataError(f"{where}: {len(rest)} fields after the name in place of {count}")
        yield image, rest


def _attribute_names(source: Files, name: str) -> list[str]:
    """Names, which contain blanks, before the attribute's type."""
    found = list(_words(source, name, 1))
    if wrong := next((f"{one} {kind[0]}" for one, kind in found if not kind[0].isdigit()), None):
        raise DataError(
            f"{source.where(name)}: {wrong!r} has no type after its name: this is another of DeepFashion's benchmarks"
        )
    return [one for one, _ in found]


def _attribute_labels(source: Files, name: str, count: int) -> tuple[list[str], LabelMatrix]:
    images: list[str] = []
    labels: list[np.ndarray] = []
    for line, row in _rows(source, name):
        where = f"{source.where(name)} line {line}"
        image, _, values = row.replace(b"\t", b" ").partition(b" ")
        images.append(_text(image, where))
        labels.append(_ternary(values, count, where))
    _require_distinct(images, source.where(name))
    return images, np.stack(labels) if labels else np.empty((0, count), np.int8)


def _ternary(values: bytes, count: int, where: str) -> np.ndarray:
    """Labels of one image from `-1 1 0 …`."""
    digits = values.replace(b"-1", b"2").translate(None, b" ")
    found = _MEANING[np.frombuffer(digits, np.uint8)]
    words = len(values.split())
    if words != count:
        raise DataError(f"{where}: {words} values for {count} attributes")
    if len(found) != count or (found == _INVALID).any() or b"2" in values:
        raise DataError(f"{where}: a value is not 1, 0 or -1")
    return found


def _require_distinct(images: list[str], where: str) -> None:
    if len(set(images)) < len(images):
        copy, _ = Counter(images).most_common(1)[0]
        raise DataError(f"{where}: {copy!r} stands twice: fetch it again")


def _split(source: Files, folder: str) -> dict[str, str]:
    """The part of each image, of the fine attributes' own lists where they have them."""
    listed = [part for part in PARTS if source.has(f"{folder}/{part}.txt")]
    if listed:
        return {image: part for part in listed for _, image in source.lines(f"{folder}/{part}.txt")}
    found = {}
    for image, (part,) in _words(source, PARTITION, 1):
        if part not in PARTS:
            raise DataError(f"{source.where(PARTITION)}: {image} is in {part!r}, not in train, val or test")
        found[image] = part
    return found


def _split_files(source: Files, folder: str, count: int) -> tuple[list[str], LabelMatrix, dict[str, str]]:
    """Names and labels of 0 and 1 from train.txt and train_attr.txt, and so on."""
    split = _split(source, folder)
    images, blocks = [], []
    for part in dict.fromkeys(split.values()):
        own = [image for _, image in source.lines(f"{folder}/{part}.txt")]
        file = f"{folder}/{part}_attr.txt"
        rows = [
            _ternary(line.replace("\t", " ").encode(), count, f"{source.where(file)} line {number}")
            for number, line in source.lines(file)
        ]
        if len(rows) != len(own):
            raise DataError(f"{source.where(file)}: {len(rows):,} rows for the {len(own):,} images of {part}.txt")
        images += own
        blocks += rows
    _require_distinct(images, f"{source.path}/{folder}")
    labels = np.stack(blocks)
    return images, np.where(labels == UNKNOWN, np.int8(ABSENT), labels), split  # 0 is absent in these files


def _items(source: Files, folder: str, images: list[str], crop: str) -> list[str]:
    below = source.first(("Img/img", "img", "Img")) or "Img/img"
    items = [source.item(f"{below}/{image.removeprefix('img/')}") for image in images]
    if crop == "none":
        return items
    boxes = _boxes(source, folder)
    missing = next((image for image in images if image not in boxes), None)
    if missing is not None:
        raise DataError(f"{source.path}/{folder}: {missing!r} has no box in list_bbox.txt")
    return [with_region(item, boxes[image]) for item, image in zip(items, images, strict=True)]


def _boxes(source: Files, folder: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, width and height; the file has left, top, right and bottom."""
    found = {}
    name = f"{folder}/list_bbox.txt"
    for image, words in _words(source, name, 4):
        left, top, right, bottom = _layout.floats(words, f"{source.where(name)}: {image}")
        if right < left or bottom < top:
            raise DataError(f"{source.where(name)}: the box of {image} ends before it begins")
        found[image] = left, top, right - left, bottom - top
    return found


def _categories(source: Files, folder: str, images: list[str]) -> dict[str, np.ndarray]:
    """The column of categories, numbered from 1 in the file, where both of its files are there."""
    cloth, listed = f"{folder}/list_category_cloth.txt", f"{folder}/list_category_img.txt"
    if not (source.has(cloth) and source.has(listed)):
        return {}
    names = [name for name, _ in _words(source, cloth, 1)]
    of_image = {}
    for image, (number,) in _words(source, listed, 1):
        if not number.isdecimal() or not 1 <= int(number) <= len(names):
            raise DataError(f"{source.where(listed)}: {image} has category {number}, of {len(names)}")
        of_image[image] = names[int(number) - 1]
    return {"category": np.array([of_image.get(image, "") for image in images])}
