"""PA-100K as published: `annotation.mat` beside a folder of images.

Liu et al., HydraPlus-Net, ICCV 2017. The folder is `data/`, or `release_data/release_data/` as in the archive.
"""

from pathlib import Path
from typing import Any

import numpy as np

from rarecall.data.table import PARTS, LabelTable
from rarecall.errors import DataError

NAME = "pa100k"
IMAGE_FOLDERS = ("data", "release_data/release_data", "release_data", ".")


def recognises(path: Path) -> bool:
    """A folder with an annotation.mat, or that file itself."""
    return (path / "annotation.mat").is_file() or path.name == "annotation.mat"


def read(path: Path) -> LabelTable:
    """Read the three parts with their 26 binary attributes."""
    file = path if path.is_file() else path / "annotation.mat"
    matlab = _load(file)
    names = _strings(matlab, "attributes", file)
    items, labels, split = [], [], []
    for part in PARTS:
        images = _strings(matlab, f"{part}_images_name", file)
        rows = np.asarray(matlab.get(f"{part}_label"))
        if rows.shape != (len(images), len(names)):
            raise DataError(f"{file}: {part}_label is {rows.shape} for {len(images)} names and {len(names)} attributes")
        items += images
        labels.append(_as_labels(rows, part, file))
        split += [part] * len(images)
    root = file.parent
    folder = next(root / name for name in IMAGE_FOLDERS if (root / name).is_dir())
    return LabelTable(items, names, np.concatenate(labels), np.array(split), f"{NAME}:{path}", folder)


def _load(file: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        return dict(loadmat(file))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file: PA-100K has annotation.mat beside its images") from None
    except NotImplementedError:
        raise DataError(f"{file}: a MATLAB 7.3 (HDF5) file; PA-100K's is version 5: save it with -v7") from None
    except Exception as error:  # noqa: BLE001 - SciPy raises many kinds on a damaged file
        raise DataError(f"{file}: not a readable MATLAB file ({type(error).__name__}): fetch it again") from None


def _strings(matlab: dict[str, Any], key: str, file: Path) -> list[str]:
    if key not in matlab:
        raise DataError(f"{file}: no key {key!r}: expected the 7 keys of PA-100K's annotation.mat")
    try:
        return [str(np.asarray(cell[0]).item()).strip() for cell in matlab[key]]
    except (ValueError, IndexError, TypeError):
        raise DataError(f"{file}: {key!r} is not a column of names") from None


def _as_labels(rows: np.ndarray, part: str, file: Path) -> np.ndarray:
    wrong = ~np.isin(rows, (0, 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(f"{file}: {part}_label row {row + 1}, column {column + 1}: {rows[row, column]} is not 0 or 1")
    return rows.astype(np.int8)
