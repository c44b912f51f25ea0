"""The table that every format is read into: items, class names, three-valued labels and the split."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rarecall.data import mapped
from rarecall.errors import DataError, listing
from rarecall.images.containers import Located, is_unsafe, without_region
from rarecall.labels import LabelMatrix

PARTS = ("train", "val", "test")
ROWS_AT_ONCE = 1024
IDENTITY = "identity"  # the column of persons, products, …, by which rows stay together unless another is named
PART_NAMES = {
    "train": "train", "training": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip


@dataclass(frozen=True)
class LabelTable:
    """Items and their labels, with the part of the split that each belongs to.

    Attributes:
        items: a name for each row: an image path relative to `root`, which may lead through an archive and end in a
            region (`containers`), or a row's own name.
        names: the classes.
        labels: (N, C) int8, 1 present, 0 absent, -1 unknown.
        split: (N,) of `train`, `val` or `test`.
        source: where it came from, as `format:path`.
        root: the folder that image items are relative to; None for a feature table.
        features: (N, ...) float32 for a feature table; None for images.
        columns: what else is known of each row, (N,) each: `identity`, `camera`, `source`, ….
        notes: what a user should know of how it was read: counts that are not the published ones, rows left out.
        provenance: how it was derived from what was read, one step each.
        tops: folders below the root, of merged tables; no link of an item in one of them may lead out of that.
        group: the column whose values stay together in one part, such as that of the patients.
    """

    items: Sequence[str]
    names: Sequence[str]
    labels: LabelMatrix
    split: np.ndarray
    source: str = ""
    root: Path | None = None
    features: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    provenance: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    group: str | None = None

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
        if repeated := sorted(name for name, times in Counter(self.names).items() if times > 1):
            raise DataError(f"{where}: class names stand twice: {listing(repeated)}: rename one of each")
        if unknown := sorted({str(part) for part in np.unique(self.split)} - set(PARTS)):
            raise DataError(f"{where}: unknown part {unknown[0]!r} in the split: use train, val or test")
        if self.features is not None and len(self.features) != rows:
            raise DataError(f"{where}: {len(self.features)} feature rows for {rows} items")
        for name, column in self.columns.items():
            if len(column) != rows:
                raise DataError(f"{where}: column {name!r} has {len(column)} entries for {rows} items")
        if self.group is not None:
            self._require_column(self.group)
        if self.root is not None and (unsafe := next(filter(is_unsafe, self.items), None)) is not None:
            raise DataError(
                f"{where}: {unsafe!r} leads out of the folder {self.root}: name images relative to it, "
                "or pass another folder with --images"
            )

    def __len__(self) -> int:
        return len(self.items)

    def part(self, name: str) -> np.ndarray:
        """The row numbers of `train`, `val` or `test`."""
        return np.flatnonzero(self.split == name)

    def select(self, rows: np.ndarray) -> "LabelTable":
        """The table of some rows: a mask or row numbers."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        if np.array_equal(rows, np.arange(len(self))):
            return self  # features may be large
        return replace(
            self,
            items=[self.items[row] for row in rows.tolist()],
            labels=self.labels[rows],
            split=self.split[rows],
            features=None if self.features is None else self.features[rows],
            columns={name: column[rows] for name, column in self.columns.items()},
        )

    def image(self, row: int) -> Located:
        """Where the image of a row is."""
        assert self.root is not None
        item = self.items[row]
        return Located(self.root, item, next((top for top in self.tops if item.startswith(f"{top}/")), ""))

    def images(self) -> list[Located]:
        """Where the images of all rows are."""
        return [self.image(row) for row in range(len(self))]

    def derived(self, step: str, **changes: Any) -> "LabelTable":
        """The table with changes, and the step that made them at the end of its provenance."""
        return replace(self, provenance=(*self.provenance, step), **changes)

    @property
    def grouped_by(self) -> str | None:
        """The column whose values stay together: `group`, else `identity` if there is one; None: the image."""
        return self.group or (IDENTITY if IDENTITY in self.columns else None)

    def groups(self, column: str | None = None) -> np.ndarray:
        """(N,) numbers such that rows of one group have the same: of a column's value, or of an image.

        A row whose value is not known (blank, -1 or not a number) belongs to the group of its image alone.

        Args:
            column: default: `grouped_by`.

        Raises:
            DataError: there is no such column.
        """
        column = column or self.grouped_by
        if column is None:
            if are_distinct(map(without_region, self.items), len(self)):
                return np.arange(len(self))
            return numbers_of(map(without_region, self.items))
        self._require_column(column)
        values = zip(self.columns[column].tolist(), map(without_region, self.items), strict=True)
        return numbers_of((None, image) if is_unknown(value) else (value, "") for value, image in values)

    def _require_column(self, name: str) -> None:
        if name not in self.columns:
            known = listing(self.columns, 8) or "none"
            raise DataError(f"{self.source or 'table'}: no column {name!r} to group by: it has {known}")

    def fingerprint(self) -> str:
        """A hash of everything that a result depends on: names, labels, split and features or items.

        The column `group` is none of it: what it decides are parts, which are kept beside what was trained.
        """
        digest = hashlib.sha256("\n".join(self.names).encode())
        _update(digest, self.labels)
        update_joined(digest, self.split)
        if self.features is None:
            digest.update("\n".join(self.items).encode())
        else:
            _update(digest, self.features)
        return digest.hexdigest()[:16]


def _update(digest: "hashlib._Hash", array: np.ndarray) -> None:
    """Take in an array's bytes without a second copy of all of them."""
    for block in mapped.in_blocks(array):
        digest.update(np.ascontiguousarray(block).data)


def update_joined(digest: "hashlib._Hash", texts: np.ndarray) -> None:
    """Take in texts, separated by commas, a few at a time: each is an object."""
    for start in range(0, len(texts), ROWS_AT_ONCE):
        digest.update(("," * (start > 0) + ",".join(texts[start : start + ROWS_AT_ONCE].tolist())).encode())


def are_distinct(values: Iterable[Hashable], number: int) -> bool:
    """Whether each value stands once. A set would take a hundred times the memory; equal hashes count as equal.

    >>> are_distinct(["b", "a"], 2), are_distinct(["b", "a", "b"], 3)
    (True, False)
    """
    hashes = np.sort(np.fromiter(map(hash, values), np.int64, number))
    return bool((hashes[1:] != hashes[:-1]).all())


def numbers_of(values: Iterable[Hashable]) -> np.ndarray:
    """A number for each value from 0 on, the same for the same.

    Arrays of texts would take the width of the longest for each.

    >>> numbers_of(["b", "a", "b"])
    array([0, 1, 0])
    """
    place: dict[Hashable, int] = {}
    return np.array([place.setdefault(value, len(place)) for value in values], np.int64)


def is_unknown(value: Any) -> bool:
    """Whether an entry of a column says nothing: blank, none, -1 or not a number, also behind its source's name.

    >>> is_unknown(""), is_unknown(-1), is_unknown("market1501/-1"), is_unknown(7)
    (True, True, True, False)
    """
    source, slash, own = str(value).rpartition("/")
    return own.strip() in ("-1", "None", "nan", "NaT") or (not own.strip() and not (slash and "/" in source))
