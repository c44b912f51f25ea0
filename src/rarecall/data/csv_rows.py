"""Rows of CSVs whose cells may be of any length.

Python's reader refuses cells above a limit that all of the process shares, and a long note is no damage. So the limit
is raised while some rows are read and is then as it was before; what else runs in the process keeps its own.
"""

import csv
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

LONGEST = 2**31 - 1  # characters; a C long on every system
AT_ONCE = 256
_limit = threading.Lock()

Row = TypeVar("Row")


def rows_of(reader: Iterator[Row]) -> Iterator[Row]:
    """The rows of a reader of the module `csv`, of any of its kinds.

    Raises:
        csv.Error: as the reader does, but for long cells.

    >>> [len(cell) for row in rows_of(csv.reader(["a," + 200_000 * "b"])) for cell in row]
    [1, 200000]
    """
    while rows := _next_rows(reader):
        yield from rows


def _next_rows(reader: Iterator[Row]) -> list[Row]:
    with _cells_of_any_length():
        return list(islice(reader, AT_ONCE))


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """One thread at a time, so that each puts back what was there before."""
    with _limit:
        before = csv.field_size_limit(LONGEST)
        try:
            yield
        finally:
            csv.field_size_limit(before)
