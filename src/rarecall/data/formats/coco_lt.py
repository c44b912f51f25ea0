"""COCO-LT (also COCO-MLT): 1,909 images of train2017 with 6 to 1,128 positives a class; val2017 is the test part.

Wu et al., ECCV 2020 (`long_tail`). The list is `longtail2017/img_id.pkl`, a text in spite of its name. As in the
authors' code, crowds count, and objects without an area or narrower than a pixel do not.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from rarecall.data.formats import coco, long_tail
from rarecall.data.formats._files import Files, count_notes
from rarecall.data.formats._objects import given_folder
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, listing

NAME = "coco-lt"
HOME, LICENCE = long_tail.HOME, long_tail.LICENCE
PUBLISHED = {
    "train images": 1909, "test images": 5000, "head classes": 22, "medium classes": 33, "tail classes": 25,
    "positives of the rarest class": 6, "positives of the commonest class": 1128,
}  # fmt: skip
LISTS = ("longtail2017/img_id.pkl", "img_id.pkl", "image_ids.txt")
OTHER_DRAW = ("222564", "491440")  # first and last id of a list that the authors' repository has beside the right one


def recognises(path: Path) -> bool:  # noqa: ARG001
    """Never: the same folder is COCO, so it has to be named."""
    return False


def read(path: Path, *, ids: str | None = None, test: str | None = None, images: str | None = None) -> LabelTable:
    """Read the list's images of train2017 as train, and val2017 as test.

    Args:
        path: COCO 2017, as `coco` reads it.
        ids: the authors' `longtail2017/img_id.pkl`, or the same ids as text; default: below the path.
        test: where val2017 is, as `coco` reads it; default: the path.
        images: the folder that holds train2017/ and val2017/; default: the path.
    """
    place = given_folder(images)
    file = long_tail.list_file(Files(path), ids, LISTS)
    wanted = _numbers(long_tail.read_ids(file), file)
    train = _part(path, "train", place)
    tested = _part(Path(test).expanduser() if test else path, "val", place)
    if train.names != tested.names:
        raise DataError(f"{tested.source}: its categories are not those of {train.source}")
    chosen = train.select(_rows(train, wanted, file))
    found = long_tail.counts(chosen.labels, len(tested))
    return long_tail.join(chosen, tested, f"{NAME}:{path}", count_notes(found, PUBLISHED))


def _numbers(ids: list[str], file: Path) -> np.ndarray:
    if (ids[0], ids[-1]) == OTHER_DRAW:
        raise DataError(f"{file}: another draw than the published one: take longtail2017/img_id.pkl")
    if strange := [one for one in ids if not one.isdecimal() or len(one) > 18]:
        raise DataError(f"{file}: {strange[0][:80]!r} is not a number of a COCO image")
    return np.array(ids, np.int64)


def _rows(train: LabelTable, wanted: np.ndarray, file: Path) -> np.ndarray:
    """The rows of the list's images, in its order."""
    place = {number: row for row, number in enumerate(train.columns["image id"].tolist())}
    if missing := [str(number) for number in wanted.tolist() if number not in place]:
        raise DataError(f"{file}: {len(missing):,} images are not in {train.source}: {listing(missing)}")
    return np.array([place[number] for number in wanted.tolist()])


def _part(path: Path, part: str, images: Path | None) -> LabelTable:
    _, files = coco.find(path, "2017", images)
    found = next((file for file in files if file.part == part), None)
    if found is None:
        raise DataError(f"{path}: no annotations/instances_{part}2017.json in it: COCO-LT needs train2017 and val2017")
    instances = coco.read_instances(found.source, found.name, sound_only=True)
    items = [f"{found.folder}{name}" for name in instances.files]
    serving = {"train": "train", "val": "test"}[part]
    table = long_tail.part_table(items, instances.names, instances.labels(), serving, found.root)
    return replace(table, source=instances.where, columns={"image id": instances.ids})
