"""What the formats of annotated objects share: presence in an image, boxes, and options of a few values."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from rarecall.data.formats._files import left_out_note
from rarecall.data.table import LabelTable
from rarecall.errors import DataError
from rarecall.images.containers import with_region
from rarecall.labels import ABSENT, PRESENT, UNKNOWN, LabelMatrix

CODES = {"unknown": UNKNOWN, "absent": ABSENT, "present": PRESENT}
NO_PIXEL = "whose box has no pixel in the image"
PARTS = ("train", "val", "test")
Pixels = Annotated[float, Meta(ge=-1e6, le=1e6)]
Box = tuple[Pixels, Pixels, Pixels, Pixels]


def given_folder(images: str | None) -> Path | None:
    """The folder of the images that an option names, if it names one.

    Raises:
        DataError: it is no folder.
    """
    if images is None:
        return None
    folder = Path(images).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder: check the option images")
    return folder


def repeated(values: Iterable[object]) -> list[str]:
    """What stands twice or more often.

    >>> repeated(["b", "a", "b"])
    ['b']
    """
    return sorted(str(value) for value, times in Counter(values).items() if times > 1)


def presence(
    shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray, doubtful: np.ndarray, meaning: str
) -> LabelMatrix:
    """Labels of images from their objects: absent where there is none, and `meaning` where all are doubtful.

    >>> rows, columns = np.array([0, 0, 1]), np.array([0, 0, 1])
    >>> presence((2, 2), rows, columns, np.array([True, False, True]), "unknown").tolist()
    [[1, 0], [0, -1]]
    """
    labels = np.full(shape, ABSENT, np.int8)
    labels[rows[doubtful], columns[doubtful]] = CODES[meaning]
    labels[rows[~doubtful], columns[~doubtful]] = PRESENT
    return labels


def has_area(boxes: np.ndarray) -> np.ndarray:
    """Which boxes (N, 4) of left, top, width and height have a pixel that can lie in an image.

    >>> has_area(np.array([[-5, 0, 4, 9], [3, 0, 0.4, 9], [-5, 0, 6, 9]]))
    array([False, False,  True])
    """
    whole = np.rint(boxes)
    return np.asarray(((whole[:, 2:] > 0) & (whole[:, :2] + whole[:, 2:] > 0)).all(1))


def regions(names: Sequence[str], boxes: np.ndarray) -> list[str]:
    """An item for each box (N, 4) of an image.

    >>> regions(["a.jpg"], np.array([[1.2, 2, 3.6, 4]]))
    ['a.jpg#xywh=1,2,4,4']
    """
    whole = np.rint(boxes).astype(np.int64).tolist()
    return [with_region(name, box) for name, box in zip(names, whole, strict=True)]


def keep(table: LabelTable, rows: np.ndarray, one: str, many: str, why: str) -> LabelTable:
    """The table without the rows that a mask leaves out, and a note on why; itself if there is none.

    Raises:
        DataError: no row is left.
    """
    if rows.all():
        return table
    if not rows.any():
        raise DataError(f"{table.source}: no row is left: all are {many} {why}")
    out = [table.items[row] for row in np.flatnonzero(~rows).tolist()]
    notes = left_out_note(out, one, many, f"{why} left out")
    return table.select(rows).derived(f"{many} {why} left out", notes=(*table.notes, *notes))
