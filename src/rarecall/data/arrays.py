"""Features and labels that lie in memory as a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rarecall.data import mapped
from rarecall.data.table import LabelTable
from rarecall.errors import DataError
from rarecall.labels import ABSENT, PRESENT, UNKNOWN


def from_arrays(
    features: Any, labels: Any, *, names: Sequence[str] | None = None, split: Sequence[str] | None = None
) -> LabelTable:
    """A table of features, such as embeddings.

    Args:
        features: (N, D) vectors, or (N, channels, H, W) pixel canvases; arrays, tensors or frames of numbers.
        labels: (N, C) of 1 present, 0 absent and -1 unknown, or of booleans.
        names: of the C classes; default: `class 0`, `class 1`, ….
        split: `train`, `val` or `test` of each row; default: all train, from which missing parts are taken.

    Raises:
        DataError: they do not fit together, or hold something else.

    >>> from_arrays(np.eye(6, 2), np.array([[1], [0], [1], [0], [-1], [0]])).names
    ['class 0']
    """
    numbers, cells = _array("features", features), _array("labels", labels)
    if numbers.ndim not in (2, 4) or cells.ndim != 2 or len(numbers) != len(cells):
        raise DataError(
            f"features {numbers.shape} and labels {cells.shape}: pass (N, D) or (N, channels, H, W), and (N, C)"
        )
    if not np.isin(cells, (PRESENT, ABSENT, UNKNOWN)).all():
        wrong = cells[~np.isin(cells, (PRESENT, ABSENT, UNKNOWN))][0]
        raise DataError(f"labels: {wrong} is not 1, 0 or -1")
    numbers = numbers.astype(np.float32, copy=False)
    if not all(np.isfinite(block).all() for block in mapped.in_blocks(numbers)):
        raise DataError("features: a value is not a finite number: fill or drop such rows")
    if names is not None and len(names) != cells.shape[1]:
        raise DataError(f"{len(names)} names for {cells.shape[1]} classes of the labels")
    return LabelTable(
        items=[f"row {row}" for row in range(len(cells))],
        names=[f"class {place}" for place in range(cells.shape[1])] if names is None else list(names),
        labels=cells.astype(np.int8),
        split=np.full(len(cells), "train") if split is None else np.array(split),
        source="arrays",
        features=numbers,
    )


def _array(what: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what}: not an array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what}: holds {array.dtype}, not numbers")
    return array
