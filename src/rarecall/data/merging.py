"""Several tables as one: what a source does not say is unknown, and every row knows its source."""

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rarecall.data.table import IDENTITY, PARTS, LabelTable, numbers_of
from rarecall.errors import DataError, OptionError, listing, unknown_name
from rarecall.images.containers import without_region
from rarecall.labels import ABSENT, PRESENT, UNKNOWN, LabelMatrix

SOURCE = "source"
OF_ITS_SOURCE = (IDENTITY, "camera")  # whose values mean something else in each source, as do those of its group
UNNAMED = "table"


def merge(
    tables: Iterable[LabelTable], names: Sequence[str] | None = None, *, sources: Sequence[str] | None = None
) -> LabelTable:
    """One table of the rows of all, in their order.

    A class that a source does not have is unknown for its rows. A column `source` names each row's source. Images
    are relative to the folder that the sources have in common; names of feature rows, identities, cameras, values of
    a table's `group` and the sources of what is merged already get the source in front, as in `market1501/2`, because
    the same number is somebody else elsewhere. A column that a source does not have is empty for its rows. The merged
    table has the `group` of its sources if that is one. Rows are never joined or left out; images that stand in two
    sources, with contradicting labels or in different parts are counted in `notes`.

    Args:
        tables: all of images or all of features, of the same width.
        names: the classes, in order; default: those of all tables, in the order in which they first stand.
        sources: what to call the tables; default: their formats.

    Raises:
        DataError: no table, images beside features, or features of several widths.
        OptionError: a name that no table has as a class, or sources that are not one name for each table.

    >>> from rarecall.data import load
    >>> both = merge([load("digits"), load("digits")])
    >>> len(both), np.unique(both.columns["source"]).tolist()
    (3200, ['digits', 'digits-2'])
    """
    tables = list(tables)
    if not tables:
        raise DataError("nothing to merge: give one table or more")
    called = _called(tables, sources)
    origin = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    classes, left_out = _classes(tables, names)
    merged = LabelTable(
        **_contents(tables, called),
        names=classes,
        labels=np.concatenate([_labels(table, classes) for table in tables]),
        split=np.concatenate([table.split for table in tables]),
        source=" + ".join(table.source or UNNAMED for table in tables),
        columns=_columns(tables, called),
        group=_group(tables),
        notes=tuple(f"{name}: {note}" for name, table in zip(called, tables, strict=True) for note in table.notes),
        provenance=(
            *(f"{name}: {step}" for name, table in zip(called, tables, strict=True) for step in table.provenance),
            f"merge of {', '.join(called)}",
        ),
    )
    found = [*left_out, *_torn_groups(tables, merged), *_missing_parts(tables, called), *_clashes(merged, origin)]
    return replace(merged, notes=(*merged.notes, *found))


def _called(tables: list[LabelTable], given: Sequence[str] | None) -> list[str]:
    """A name for each table, no two the same."""
    if given is not None:
        if len(given) != len(tables) or len(set(given)) != len(tables):
            raise OptionError(f"sources {listing(given)}: give {len(tables)} different names, one for each table")
        return list(given)
    called: list[str] = []
    for table in tables:
        name = table.source.partition(":")[0] or UNNAMED
        number = next(number for number in range(1, len(tables) + 1) if _numbered(name, number) not in called)
        called.append(_numbered(name, number))
    return called


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _classes(tables: list[LabelTable], names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The classes of the merged table, and a sentence on those that were not wanted."""
    found = list(dict.fromkeys(str(name) for table in tables for name in table.names))
    if names is None:
        return found, []
    for name in names:
        if name not in found:
            raise OptionError(unknown_name("class", name, found))
    unwanted = [name for name in found if name not in names]
    return list(names), [f"classes that are left out: {listing(unwanted)}"] if unwanted else []


def _labels(table: LabelTable, classes: list[str]) -> LabelMatrix:
    place = {str(name): column for column, name in enumerate(table.names)}
    labels = np.full((len(table), len(classes)), UNKNOWN, np.int8)
    wanted = [column for column, name in enumerate(classes) if name in place]
    labels[:, wanted] = table.labels[:, [place[classes[column]] for column in wanted]]
    return labels


def _contents(tables: list[LabelTable], called: list[str]) -> dict[str, Any]:
    """Root, items and tops of images; items and features of features."""
    features = [table.features for table in tables if table.features is not None]
    if not features:
        root, items, tops = reroot(tables)
        return {"root": root, "items": items, "tops": tops}
    first = next(table for table in tables if table.features is not None)
    assert first.features is not None
    for table in tables:
        if table.features is None:
            raise DataError(f"{first.source} has features, {table.source} has images: merge images with images alone")
        if table.features.shape[1:] != first.features.shape[1:]:
            raise DataError(
                f"{first.source} has features of {first.features.shape[1:]} and {table.source} of "
                f"{table.features.shape[1:]}: extract both with the same backbone"
            )
    items = [f"{name}/{item}" for name, table in zip(called, tables, strict=True) for item in table.items]
    return {"items": items, "features": np.concatenate(features)}


def reroot(tables: Sequence[LabelTable]) -> tuple[Path, list[str], tuple[str, ...]]:
    """The folder that the roots have in common, the items from there, and the folders no link may lead out of.

    Raises:
        DataError: there is no such folder.
    """
    roots = [(table.root or Path()).resolve() for table in tables]
    try:
        common = Path(os.path.commonpath(roots))
    except ValueError:
        raise DataError(f"{listing(map(str, roots))}: have no folder in common: put them on one drive") from None
    prefixes = ["" if root == common else f"{root.relative_to(common).as_posix()}/" for root in roots]
    items = [f"{prefix}{item}" for prefix, table in zip(prefixes, tables, strict=True) for item in table.items]
    own = {f"{prefix}{top}" for prefix, table in zip(prefixes, tables, strict=True) for top in table.tops}
    # The deepest first: a link may not lead out of a folder that lies in another one either.
    return common, items, tuple(sorted(own | {prefix[:-1] for prefix in prefixes if prefix}, reverse=True))


def _group(tables: list[LabelTable]) -> str | None:
    """What all tables are grouped by, if that is one column."""
    groups = {table.group for table in tables}
    return groups.pop() if len(groups) == 1 else None


def _torn_groups(tables: list[LabelTable], merged: LabelTable) -> list[str]:
    """A sentence on groups of sources that the merged table does not keep together."""
    torn = sorted({table.group for table in tables if table.group is not None} - {merged.grouped_by})
    if not torn:
        return []
    return [f"rows of one value of {listing(torn)} are not kept together, as not every source does so: group all by it"]


def _columns(tables: list[LabelTable], called: list[str]) -> dict[str, np.ndarray]:
    """Every column of any table, and `source`."""
    found = dict.fromkeys(name for table in tables for name in table.columns if name != SOURCE)
    columns = {name: _column(tables, called, name) for name in found}
    columns[SOURCE] = np.concatenate(
        [
            _below(name, table.columns[SOURCE]) if SOURCE in table.columns else np.full(len(table), name)
            for name, table in zip(called, tables, strict=True)
        ]
    )
    return columns


def _column(tables: list[LabelTable], called: list[str], name: str) -> np.ndarray:
    parts = [table.columns.get(name, np.full(len(table), "")) for table in tables]
    if name in OF_ITS_SOURCE or any(name == table.group for table in tables):
        parts = [_below(source, part) for source, part in zip(called, parts, strict=True)]
    if len({part.dtype.kind for part in parts}) > 1:
        parts = [part.astype(str) for part in parts]
    return np.concatenate(parts)


def _below(source: str, column: np.ndarray) -> np.ndarray:
    """The values as text with the source in front; empty ones stay so."""
    text = column.astype(str)
    return np.where(text == "", "", np.strings.add(f"{source}/", text))


def _missing_parts(tables: list[LabelTable], called: list[str]) -> list[str]:
    """Sentences on parts that some sources have and others do not."""
    has = {name: set(np.unique(table.split).tolist()) for name, table in zip(called, tables, strict=True)}
    lacking = {part: [name for name in called if part not in has[name]] for part in PARTS}
    return [
        f"the {part} part has nothing of {listing(names)}: what no other source knows cannot be judged there"
        for part, names in lacking.items()
        if 0 < len(names) < len(called)
    ]


def _clashes(merged: LabelTable, origin: np.ndarray) -> list[str]:
    """Sentences on images that stand in several sources."""
    if merged.root is None:
        return []
    images = numbers_of(posixpath.normpath(without_region(item)) for item in merged.items)
    rows = np.flatnonzero(_differs(images, origin))
    if not len(rows):
        return []
    part = np.unique(merged.split, return_inverse=True)[1]
    torn = rows[_differs(images, part)[rows]]
    notes = [f"images in more than one source, whose rows stand side by side: {_some(merged, rows)}"]
    if contradicted := _contradicted(merged, rows):
        notes.append(f"labels of the same item contradict each other between sources: {contradicted}")
    if len(torn):
        notes.append(f"images whose sources have them in different parts: {_some(merged, torn)}: keep each in one part")
    return notes


def _differs(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """For each row whether its group has several values."""
    low, high = np.full(group.max() + 1, value.max()), np.zeros(group.max() + 1, value.dtype)
    np.minimum.at(low, group, value)
    np.maximum.at(high, group, value)
    differs: np.ndarray = (low != high)[group]
    return differs


def _contradicted(merged: LabelTable, rows: np.ndarray) -> str:
    """The classes that are present in one row of an item and absent in another, and how often."""
    group = numbers_of(posixpath.normpath(merged.items[row]) for row in rows.tolist())
    present, absent = (np.zeros((group.max() + 1, len(merged.names)), bool) for _ in range(2))
    np.logical_or.at(present, group, merged.labels[rows] == PRESENT)
    np.logical_or.at(absent, group, merged.labels[rows] == ABSENT)
    times = Counter({str(name): int(n) for name, n in zip(merged.names, (present & absent).sum(0), strict=True) if n})
    return listing([f"{name} ({n:,})" for name, n in times.most_common()])


def _some(merged: LabelTable, rows: np.ndarray) -> str:
    found = list(dict.fromkeys(posixpath.normpath(without_region(merged.items[row])) for row in rows.tolist()))
    return f"{len(found):,} ({listing(found, 3)})"
