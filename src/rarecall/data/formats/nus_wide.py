"""NUS-WIDE as published: photos from Flickr with 81 concepts, one list of 0 and 1 for each concept.

Chua et al., NUS-WIDE: a real-world web image database from National University of Singapore, CIVR 2009.
"""

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from rarecall.data.formats import _layout
from rarecall.data.formats._files import Files, count_notes, left_out_note
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, counted
from rarecall.labels import PRESENT, UNKNOWN, LabelMatrix

NAME = "nus-wide"
HOME = "https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html"
LICENCE = "labels free; images by a signed agreement with the owners"
PUBLISHED = {"train images": 161_789, "test images": 107_859, "concepts": 81}
TOPS = ("", "NUS-WIDE", "NUS_WIDE", "nus-wide", "nus_wide", "nuswide")
IMAGE_FOLDERS = ("Flickr", "flickr", "Images", "images", "image")
LIST_FOLDERS = ("ImageList", "Imagelist", "imagelist", "")
MALFORMED = b"-1130179"  # stands once in the owners' Labels_lake_Train.txt, where 0 or 1 should


def recognises(path: Path) -> bool:
    """A folder or archive with Groundtruth/TrainTestLabels or Groundtruth/AllLabels."""
    return any(_layout.holds(path, [f"Groundtruth/{kind}"], TOPS) for kind in ("TrainTestLabels", "AllLabels"))


def read(path: Path, *, empty: str = "keep") -> LabelTable:
    """Read it: TrainTestLabels with the train and test lists, or else AllLabels with the list of all images.

    Args:
        path: the folder with Groundtruth, ImageList, ConceptsList and Flickr, or an archive of it.
        empty: whether images without any of the concepts are kept: `keep` or `drop`.
    """
    _layout.choose("empty", empty, ("keep", "drop"))
    source = _layout.find(path, ["Groundtruth"], TOPS)
    concepts = _concepts(source)
    notes: list[str] = []
    if source.has("Groundtruth/TrainTestLabels"):
        both = [_part(source, part, concepts, notes) for part in ("Train", "Test")]
        names = both[0][0] + both[1][0]
        labels = np.concatenate([labels for _, labels in both])
        split = np.repeat(["train", "test"], [len(both[0][0]), len(both[1][0])])
    else:
        names, labels, split = _everything(source, concepts, notes)
    parts = {"train images": int((split == "train").sum()), "test images": int((split == "test").sum())}
    counts = count_notes({**parts, "concepts": len(concepts)}, PUBLISHED)
    rows, labels = _without_copies(names, labels, split, notes)
    if empty == "drop":
        some = (labels[rows] == PRESENT).any(1)
        notes.append(f"{counted(int((~some).sum()), 'image', 'images')} without any concept left out, as asked")
        rows = rows[some]
    folder = source.first(IMAGE_FOLDERS) or IMAGE_FOLDERS[0]
    return LabelTable(
        items=[source.item(f"{folder}/{names[row]}") for row in rows],
        names=concepts,
        labels=labels[rows],
        split=split[rows],
        source=f"{NAME}:{path}",
        root=source.root,
        columns={"flickr": np.array([PurePosixPath(names[row]).stem.split("_")[-1] for row in rows])},
        notes=(*counts, *notes),
    )


def _concepts(source: Files) -> list[str]:
    listed = source.first(("ConceptsList/Concepts81.txt", "Concepts81.txt"))
    if listed:
        return [line for _, line in source.lines(listed)]
    folder = source.need("Groundtruth/AllLabels", "Groundtruth/TrainTestLabels")
    stems = {PurePosixPath(name).stem for name in source.files(folder, (".txt",))}
    ends = ("_Train", "_Test")
    found = {stem.removeprefix("Labels_").removesuffix(ends[0]).removesuffix(ends[1]) for stem in stems}
    return sorted(found, key=str.lower)


def _part(source: Files, part: str, concepts: list[str], notes: list[str]) -> tuple[list[str], LabelMatrix]:
    names = _images(source, part)
    if names is None:
        raise DataError(f"{source.path}: no ImageList/{part}Imagelist.txt in it: it says which image a label is of")
    files = [f"Groundtruth/TrainTestLabels/Labels_{concept}_{part}.txt" for concept in concepts]
    return names, _labels(source, files, len(names), notes)


def _everything(
    source: Files, concepts: list[str], notes: list[str]
) -> tuple[list[str], LabelMatrix, np.ndarray]:  # fmt: skip
    """Labels of all images, and the part that the train and test lists say."""
    names = _images(source, "")
    if names is None:
        raise DataError(f"{source.path}: no ImageList/Imagelist.txt in it: it says which image a label is of")
    labels = _labels(source, [f"Groundtruth/AllLabels/Labels_{one}.txt" for one in concepts], len(names), notes)
    train, test = _images(source, "Train"), _images(source, "Test")
    if train is None or test is None:
        notes.append("no lists of the train and test images: every image is taken as train")
        return names, labels, np.full(len(names), "train")
    part_of = {**dict.fromkeys(train, "train"), **dict.fromkeys(test, "test")}
    listed = np.array([name in part_of for name in names], bool)
    unlisted = [name for name in names if name not in part_of]
    notes += left_out_note(unlisted, "image is", "images are", "in neither part and left out")
    kept = [name for name in names if name in part_of]
    return kept, labels[listed], np.array([part_of[name] for name in kept])


def _images(source: Files, part: str) -> list[str] | None:
    """The images of a list; None where there is no such list. Its owners separate folders by backslashes."""
    spellings = [f"{part}{word}.txt" for word in ("Imagelist", "ImageList", "imagelist")]
    listed = source.first(f"{folder}/{name}".lstrip("/") for folder in LIST_FOLDERS for name in spellings)
    if listed is None:
        return None
    names = [line.replace("\\", "/") for _, line in source.lines(listed)]
    if not names:
        raise DataError(f"{source.where(listed)}: the file is empty: expected one image a line")
    return names


def _labels(source: Files, files: list[str], images: int, notes: list[str]) -> LabelMatrix:
    labels = np.empty((images, len(files)), np.int8)
    for column, file in enumerate(files):
        labels[:, column] = found = _column(source, file, images)
        if (unknown := int((found == UNKNOWN).sum())) > 0:
            notes.append(f"{PurePosixPath(file).name}: {unknown} value {MALFORMED.decode()} is read as unknown")
    return labels


def _column(source: Files, file: str, images: int) -> np.ndarray:
    """One value, 0 or 1, for each image."""
    words = source.read(file).removeprefix(_layout.BYTE_ORDER_MARK).split()
    if wrong := set(words) - {b"0", b"1", MALFORMED}:
        row = next(row for row, word in enumerate(words, start=1) if word in wrong)
        raise DataError(f"{source.where(file)} line {row}: {words[row - 1].decode(errors='replace')!r} is not 0 or 1")
    if len(words) != images:
        raise DataError(f"{source.where(file)}: {len(words):,} values for the {images:,} images of its list")
    known = b"".join(b"2" if word == MALFORMED else word for word in words)
    values = np.frombuffer(known, np.uint8).astype(np.int8) - np.int8(ord("0"))
    return np.where(values == 2, np.int8(UNKNOWN), values)


def _without_copies(
    names: list[str], labels: LabelMatrix, split: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, LabelMatrix]:
    """Rows that stand for an image each, and the labels; where its lines disagree the label is unknown."""
    times = Counter(names)
    first: dict[str, int] = {}
    if len(times) == len(names):
        return np.arange(len(names)), labels
    labels, conflicts = labels.copy(), set()
    for row, name in enumerate(names):
        if times[name] == 1:
            continue
        kept = first.setdefault(name, row)
        if split[kept] != split[row]:
            raise DataError(f"{name!r} stands in the train list and in the test list: fetch the lists again")
        differing = labels[kept] != labels[row]
        labels[kept, differing] = UNKNOWN
        conflicts |= {name} if differing.any() else set()
    copies = [name for name, number in times.items() if number > 1]
    notes += left_out_note(copies, "image is", "images are", "listed more than once and read once")
    if conflicts:
        notes.append(f"{len(conflicts):,} of them with labels that disagree, which are read as unknown")
    kept_rows = [row for row, name in enumerate(names) if first.get(name, row) == row]
    return np.array(kept_rows), labels
