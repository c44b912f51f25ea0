"""What the pedestrian data sets share: where they begin inside what was downloaded, MATLAB values, colour groups."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rarecall.errors import DataError
from rarecall.images.containers import ARCHIVES, UnreadableItem, members
from rarecall.labels import ABSENT, PRESENT, UNKNOWN, LabelMatrix


def packed(path: Path) -> list[str]:
    """Names of the files in an archive; none of what is no readable archive."""
    if not path.is_file() or path.suffix.lower() not in ARCHIVES:
        return []
    try:
        return [name for name in members(path) if not name.startswith("__MACOSX/")]
    except (UnreadableItem, OSError):
        return []


def top_of(path: Path, marker: str, tops: Iterable[str] = ("",)) -> str | None:
    """The folder inside, empty for the whole, in which a file or folder stands; None: in none.

    Args:
        path: a folder or an archive.
        marker: what stands there, perhaps with a folder before it.
        tops: where it may stand in a folder. An archive's names are known, so there it may stand anywhere.
    """
    if path.is_dir():
        return next((top for top in tops if (path / top / marker).exists()), None)
    places = [(name, f"/{name}/".find(f"/{marker}/")) for name in packed(path)]
    found = [name[:place].rstrip("/") for name, place in places if place >= 0]
    return min(found, key=lambda top: (top.count("/"), top), default=None)


def structure(value: Any, where: str) -> dict[str, Any]:
    """The fields of a MATLAB structure, in their order.

    Raises:
        DataError: it is none.
    """
    array = _unwrapped(value)
    if array.dtype.names is None or array.size != 1:
        raise DataError(f"{where} is not a MATLAB structure: fetch the file again")
    return {name: _unwrapped(array[name].flat[0]) for name in array.dtype.names}


def numbers(value: Any, where: str) -> np.ndarray:
    """Whole numbers in one row or column, of whatever type they were saved as.

    Raises:
        DataError: something else stands there.
    """
    array = _unwrapped(value)
    if array.dtype.kind not in "buif" or not np.isfinite(array).all() or (array.astype(float) % 1 != 0).any():
        raise DataError(f"{where} is not a list of whole numbers: fetch the file again")
    return array.ravel().astype(np.int64)


def strings(value: Any, where: str) -> list[str]:
    """The texts of MATLAB's cells.

    Raises:
        DataError: something else stands there.
    """
    cells = [_unwrapped(cell) for cell in np.asarray(value).ravel()]
    if any(cell.size != 1 for cell in cells):
        raise DataError(f"{where} is not a column of names")
    return [str(cell.item()).strip() for cell in cells]


def _unwrapped(value: Any) -> np.ndarray:
    array = np.asarray(value)
    while array.dtype == object and array.size == 1:
        array = np.asarray(array.flat[0])
    return array


def require_binary(values: np.ndarray, where: str) -> LabelMatrix:
    """Labels that are 0 and 1 alone.

    Raises:
        DataError: naming the first that is not.
    """
    wrong = ~np.isin(values, (ABSENT, PRESENT))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(f"{where} row {row + 1}, column {column + 1}: {values[row, column]} is not 0 or 1")
    return values.astype(np.int8)


def blank_colours(
    labels: LabelMatrix, names: Sequence[str], groups: Iterable[Sequence[str]], spared: np.ndarray | None = None
) -> LabelMatrix:
    """The labels with every colour of a group unknown where the group names none: nobody wears no colour.

    Args:
        labels: (N, C).
        names: the classes.
        groups: the classes of each group of colours; those that are no class of the table are passed over.
        spared: rows to leave as they are.
    """
    place = {name: position for position, name in enumerate(names)}
    labels = labels.copy()
    for group in groups:
        columns = [place[name] for name in group if name in place]
        unnamed = ~(labels[:, columns] == PRESENT).any(1)
        if spared is not None:
            unnamed &= ~spared
        labels[np.ix_(unnamed, columns)] = UNKNOWN
    return labels
