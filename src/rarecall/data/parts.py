"""Which part each item was in: kept beside a study or a training, and found again by the items' names."""

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from rarecall.data.table import PARTS, LabelTable, update_joined
from rarecall.errors import DataError, listing
from rarecall.files import write_bytes

FILE = "parts.parquet"


@dataclass(frozen=True)
class Parts:
    """The part of every item of a data set.

    Attributes:
        items: in the order of the table.
        parts: (N,) of `train`, `val` or `test`.
        fingerprint: of the table as it was loaded.
    """

    items: list[str]
    parts: np.ndarray
    fingerprint: str

    def write(self, folder: Path) -> None:
        """Write parts.parquet: `item` and `part` of each row."""
        frame = pl.DataFrame({"item": self.items, "part": self.parts.astype(str)}, schema_overrides={"item": pl.String})
        buffer = io.BytesIO()
        frame.write_parquet(buffer, metadata={"fingerprint": self.fingerprint})
        write_bytes(folder / FILE, buffer.getvalue())

    @classmethod
    def read(cls, folder: Path) -> "Parts | None":
        """What `write` wrote; None if there is no such file.

        Raises:
            DataError: the file is damaged.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            fingerprint = pl.read_parquet_metadata(file)["fingerprint"]
            frame = pl.read_parquet(file, columns=["item", "part"])
            parts = frame["part"].to_numpy().astype(str)
        except (OSError, KeyError, ValueError, pl.exceptions.PolarsError):
            raise DataError(f"{file}: is damaged: copy the whole folder again") from None
        if not np.isin(parts, PARTS).all():
            raise DataError(f"{file}: is damaged: a part is none of train, val and test: copy the whole folder again")
        return cls(frame["item"].to_list(), parts, fingerprint)

    def digest(self) -> str:
        """A hash of the parts alone, in their order."""
        digest = hashlib.sha256()
        update_joined(digest, self.parts)
        return digest.hexdigest()[:16]

    def knows(self, table: LabelTable, fingerprint: str) -> bool:
        """Whether any item of a table has a part here; rows of features do only in the same data set."""
        if fingerprint == self.fingerprint or table.root is None:
            return fingerprint == self.fingerprint
        return not set(self.items).isdisjoint(table.items)

    def divide(self, table: LabelTable, fingerprint: str) -> tuple[LabelTable, list[str]]:
        """The table with the parts that its items had, and sentences on items that differ.

        The same data set has the same parts, row by row. Of another one, images are known by their names: what was
        trained on stays training data wherever it stands, and items that are new keep the part that the table names.

        Args:
            table: as it was loaded.
            fingerprint: of the table as it was loaded.
        """
        if fingerprint == self.fingerprint:
            return replace(table, split=self.parts), []
        if table.root is None:  # rows of features have no lasting names
            return table, []
        known = dict(zip(self.items, self.parts.tolist(), strict=True))
        found = [known.get(item) for item in table.items]
        split = np.array([own or part for own, part in zip(found, table.split.tolist(), strict=True)])
        old = sum(own is not None for own in found)
        if not old:
            return table, []
        moved = [
            item for item, part, own in zip(table.items, table.split, found, strict=True) if own not in (None, part)
        ]
        notes = (
            []
            if old == len(table)
            else [f"{old:,} of {len(table):,} items were in the training's data and keep the parts that they had there"]
        )
        if moved and (table.split != "train").any():  # a table without parts contradicts nothing
            shown = listing(moved, 3)
            where = "items stand in another part here than in the training, whose parts count"
            notes.append(f"{len(moved):,} {where} ({shown})")
        return replace(table, split=split), notes

    def seen(self, items: list[str]) -> int:
        """How many of some items were in train or validation."""
        chosen_by = {item for item, part in zip(self.items, self.parts.tolist(), strict=True) if part != "test"}
        return sum(item in chosen_by for item in items)


def parts_of(table: LabelTable, fingerprint: str) -> Parts:
    """The parts of a table whose split is complete.

    Args:
        table: with every row.
        fingerprint: of the table as it was loaded.
    """
    return Parts(list(table.items), table.split, fingerprint)
