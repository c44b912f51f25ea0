"""VOC-LT (also VOC-MLT): 1,142 images of VOC 2012 with 4 to 775 positives a class; the test part of VOC 2007.

Wu et al., ECCV 2020 (`long_tail`). The list is `img_id.txt`. All objects count, difficult ones too, as in the
authors' code; the option `difficult` says otherwise.
"""

from pathlib import Path

from rarecall.data.formats import long_tail, voc
from rarecall.data.formats._files import Files, count_notes
from rarecall.data.formats._layout import choose
from rarecall.data.formats._objects import CODES
from rarecall.data.table import LabelTable
from rarecall.errors import DataError

NAME = "voc-lt"
HOME, LICENCE = long_tail.HOME, long_tail.LICENCE
PUBLISHED = {
    "train images": 1142, "test images": 4952, "head classes": 6, "medium classes": 6, "tail classes": 8,
    "positives of the rarest class": 4, "positives of the commonest class": 775,
}  # fmt: skip
LISTS = ("longtail2012/img_id.txt", "VOCdevkit/longtail2012/img_id.txt", "img_id.txt")


def recognises(path: Path) -> bool:  # noqa: ARG001
    """Never: the same folder is VOC, so it has to be named."""
    return False


def read(path: Path, *, ids: str | None = None, test: str | None = None, difficult: str = "present") -> LabelTable:
    """Read the list's images of VOC 2012 as train, and VOC 2007's test part as test.

    Args:
        path: VOC 2012, as `voc` reads it.
        ids: the authors' `img_id.txt`; default: where their instructions put it below the path.
        test: VOC 2007, as `voc` reads it; default: beside VOC 2012.
        difficult: what a class is of which an image has only difficult objects: `present`, `unknown` or `absent`.
    """
    choose("difficult", difficult, CODES)
    source, _ = voc.find(path, "2012")
    beside = path.parent if path.name == "VOC2012" else path
    test_source, _ = voc.find(Path(test).expanduser() if test else beside, "2007")
    train_ids = long_tail.read_ids(long_tail.list_file(Files(path), ids, LISTS))
    test_ids = voc.parts(test_source).get("test")
    if not test_ids:
        raise DataError(f"{test_source.where(voc.LISTS)}: no test.txt: the test part is that of VOC 2007: give it")
    train = _part(source, train_ids, "train", difficult)
    tested = _part(test_source, test_ids, "test", difficult)
    found = long_tail.counts(train.labels, len(tested))
    return long_tail.join(train, tested, f"{NAME}:{path}", count_notes(found, PUBLISHED))


def _part(source: Files, ids: list[str], part: str, difficult: str) -> LabelTable:
    labels = voc.labels_of(source, ids, difficult)
    return long_tail.part_table([voc.item(source, name) for name in ids], voc.CLASSES, labels, part, source.root)
