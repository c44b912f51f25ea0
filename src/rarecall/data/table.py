"""The table that every format is read into: items, class names, three-valued labels and the split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rarecall.errors import DataError, listing
from rarecall.labels import LabelMatrix

PARTS = ("train", "val", "test")
PART_NAMES = {
    "train": "train", "training": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip


@dataclass(frozen=True)
class LabelTable:
    """Items and their labels, with the part of the split that each belongs to.

    Attributes:
        items: a name for each row: an image path relative to `root`, or a row's own name.
        names: the classes.
        labels: (N, C) int8, 1 present, 0 absent, -1 unknown.
        split: (N,) of `train`, `val` or `test`.
        source: where it came from, as `format:path`.
        root: the folder that image items are relative to; None for a feature table.
        features: (N, ...) float32 for a feature table; None for images.
    """

    items: Sequence[str]
    names: Sequence[str]
    labels: LabelMatrix
    split: np.ndarray
    source: str = ""
    root: Path | None = None
    features: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows, classes = len(self.items), len(self.names)
        where = self.source or "table"
        if self.labels.shape != (rows, classes):
            raise DataError(f"{where}: labels {self.labels.shape} for {rows} items and {classes} classes")
        if len(self.split) != rows:
            raise DataError(f"{where}: {len(self.split)} split entries for {rows} items")
        if rows == 0 or classes == 0:
            raise DataError(f"{where}: {'no items' if rows == 0 else 'no classes'}, so there is nothing to learn")
        if self.labels.dtype != np.int8 or self.labels.min() < -1 or self.labels.max() > 1:
            raise DataError(f"{where}: labels must be int8 of 1, 0 and -1")
        if repeated := sorted({name for name in self.names if list(self.names).count(name) > 1}):
            raise DataError(f"{where}: class names stand twice: {listing(repeated)}: rename one of each")
        if unknown := sorted({str(part) for part in np.unique(self.split)} - set(PARTS)):
            raise DataError(f"{where}: unknown part {unknown[0]!r} in the split: use train, val or test")
        if self.features is not None and len(self.features) != rows:
            raise DataError(f"{where}: {len(self.features)} feature rows for {rows} items")

    def __len__(self) -> int:
        return len(self.items)

    def part(self, name: str) -> np.ndarray:
        """The row numbers of `train`, `val` or `test`."""
        return np.flatnonzero(self.split == name)

    def select(self, rows: np.ndarray) -> "LabelTable":
        """The table of some rows: a mask or row numbers."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            items=[self.items[row] for row in rows.tolist()],
            labels=self.labels[rows],
            split=self.split[rows],
            features=None if self.features is None else self.features[rows],
        )

    def fingerprint(self) -> str:
        """A hash of everything that a result depends on: names, labels, split and features or items."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        digest.update(",".join(self.split).encode())
        if self.features is None:
            digest.update("\n".join(self.items).encode())
        else:
            digest.update(np.ascontiguousarray(self.features).tobytes())
        return digest.hexdigest()[:16]
