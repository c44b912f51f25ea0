"""How columns of files of any origin are called: one list for labels, scores and what is to be predicted."""

from collections.abc import Sequence

ITEM_NAMES = ("image", "file", "filename", "file_name", "filepath", "path", "item", "items", "id", "image_id", "name")
TAG_NAMES = ("tags", "labels", "attributes", "classes", "label", "tag")
SPLIT_NAMES = ("split", "subset", "partition")


def find(columns: Sequence[str], known: Sequence[str]) -> str | None:
    """The column with the first of the known names that there is, whatever its case.

    >>> find(["item", "Path", "hat"], ITEM_NAMES)
    'Path'
    """
    folded = {column.strip().lower(): column for column in columns}
    return next((folded[name] for name in known if name in folded), None)
