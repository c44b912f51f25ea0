"""Counting the facts of a data set that decide what can be learnt from it; `findings` says what follows from them."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from rarecall.audit.copies import Copies, find_copies
from rarecall.audit.facts import (
    ClassFacts,
    CopyFacts,
    CopyPair,
    Exclusion,
    Facts,
    Implication,
    Leak,
    Pair,
    PartShift,
    RelatedRows,
    Strongest,
    UnknownBySource,
)
from rarecall.audit.label_statistics import (
    Shift,
    Together,
    average_precision_deviation,
    p_values,
    pair_shift,
    positives_needed,
    prevalence_shift,
    together,
)
from rarecall.data.identities import identity_columns
from rarecall.data.splits import HELD_OUT
from rarecall.data.table import IDENTITY, PARTS, LabelTable, are_distinct, is_unknown, numbers_of
from rarecall.images.containers import without_region
from rarecall.labels import MEDIUM_POSITIVES, PRESENT, TIERS, UNKNOWN, Counts, count, tiers
from rarecall.listener import Listener
from rarecall.statistics import holm

FEWEST_TOGETHER = 5
STRONGEST_PAIRS = 8
MOST_PAIRED = 2000  # classes, the most frequent: pairs of more would not fit into memory
MOST_LISTED = 50  # implications, exclusions and shifts that are kept, the strongest
ALWAYS, USUAL = 0.99, 0.9
SIGNIFICANCE = 0.05
MOST_SOURCES = 50
CAMERA = "camera"


def count_facts(table: LabelTable, *, copies: bool = False, listener: Listener | None = None) -> Facts:
    """Count what decides what can be learnt.

    Args:
        table: the data set.
        copies: open every image, too, and look for copies and near copies.
        listener: told how many images are opened.

    >>> from rarecall.data import load
    >>> count_facts(load("digits")).tiers
    {'head': 5, 'medium': 2, 'tail': 3}
    """
    train = table.labels[table.part("train")]
    counts = count(train)
    classes = _classes(table)
    present = counts.present[counts.present > 0]
    paired = _paired(counts.present)
    names = [str(table.names[place]) for place in paired.tolist()]
    pairs = together(train[:, paired])
    found = find_copies(table, listener) if copies else None
    return Facts(
        source=table.source,
        items=len(table),
        parts={part: len(table.part(part)) for part in PARTS},
        features=None if table.features is None else list(table.features.shape[1:]),
        classes=classes,
        density=float((train == PRESENT).sum(1).mean()) if len(train) else 0.0,
        unknown_share=float((train == UNKNOWN).mean()) if len(train) else 0.0,
        imbalance=float(present.max() / present.min()) if len(present) else None,
        tiers={tier: sum(row.tier == tier for row in classes) for tier in TIERS},
        pairs=strongest_pairs(pairs, names),
        implications=implications(pairs, names),
        exclusions=exclusions(pairs, names),
        prevalence_shifts=_prevalence_shifts(table),
        pair_shifts=_pair_shifts(table, pairs, paired, names),
        missing_files=missing_files(table),
        in_two_parts=_in_two_parts(table),
        contradicted=_contradicted(table),
        always_present=[row.name for row in classes if row.positives and not row.absent],
        leaks=[*_shared_values(table), *(_shared_copies(table, found) if found else [])],
        copies=_copy_facts(table, found) if found else None,
        by_source=_by_source(table),
        notes=[*table.notes, *table.provenance],
        group=table.grouped_by,
        related=[_related_rows(table, column) for column in identity_columns(table)],
    )


def missing_files(table: LabelTable) -> list[str]:
    """Image items that are no file below the table's root."""
    if table.root is None:
        return []
    return [image.item for image in table.images() if not image.exists()]


def strongest_pairs(pairs: Together, names: Sequence[str]) -> list[Pair]:
    """The pairs of classes with the highest correlation φ over items where both are known."""
    phi = np.where(pairs.both >= FEWEST_TOGETHER, np.nan_to_num(pairs.correlation, nan=-1), -1)
    return [
        Pair(names[i], names[j], int(pairs.both[i, j]), round(float(phi[i, j]), 3))
        for i, j in _highest(np.triu(phi, 1), STRONGEST_PAIRS)
    ]


def implications(pairs: Together, names: Sequence[str]) -> Strongest[Implication]:
    """Classes with enough positives not to be of the tail, of which 99 % have another that is not usual anyway."""
    usual = np.divide(pairs.first.T, pairs.known, out=np.ones_like(pairs.known), where=pairs.known > 0) > USUAL
    given = np.where((pairs.first >= MEDIUM_POSITIVES) & ~usual, np.nan_to_num(pairs.given), 0)
    np.fill_diagonal(given, 0)
    certain = np.where(given >= ALWAYS, pairs.first, 0)
    strongest = [
        Implication(names[i], names[j], int(pairs.first[i, j]), int(pairs.first[i, j] - pairs.both[i, j]))
        for i, j in _highest(certain, MOST_LISTED)
    ]
    return Strongest(int(np.count_nonzero(certain)), strongest)


def exclusions(pairs: Together, names: Sequence[str]) -> Strongest[Exclusion]:
    """Pairs that never occur together though chance would bring them together.

    Of independent classes none is together with a probability of about exp(−expected); the limit holds the
    probability of a single false pair among all at 5 %.
    """
    expected = np.triu(np.nan_to_num(pairs.expected), 1)
    least = np.log(max(len(names) * (len(names) - 1) / 2, 1) / SIGNIFICANCE)
    certain = np.where((pairs.both == 0) & (expected >= least), expected, 0)
    strongest = [
        Exclusion(names[i], names[j], round(float(expected[i, j]), 1)) for i, j in _highest(certain, MOST_LISTED)
    ]
    return Strongest(int(np.count_nonzero(certain)), strongest)


def _classes(table: LabelTable) -> list[ClassFacts]:
    train, val, test = (count(table.labels[table.part(part)]) for part in PARTS)
    # Without a test part a study takes a share of train.
    measured = len(table.part("test")) > 0
    positives = test.present if measured else (HELD_OUT * train.present).round()
    absent = test.absent if measured else (HELD_OUT * train.absent).round()
    deviation = average_precision_deviation(positives, absent)
    needed = [_whole(positives_needed(deviation, positives, points / 100)) for points in (5, 1)]
    return [
        ClassFacts(
            name=str(name),
            positives=int(train.present[place]),
            unknown=int(train.unknown[place]),
            positives_val=int(val.present[place]),
            positives_test=int(test.present[place]),
            tier=tier,
            absent=int(train.absent[place]),
            absent_test=int(test.absent[place]),
            shares={part: _share(own, place) for part, own in zip(PARTS, (train, val, test), strict=True)},
            deviation=None if np.isnan(deviation[place]) else round(100 * float(deviation[place]), 2),
            needed_5=needed[0][place],
            needed_1=needed[1][place],
        )
        for place, (name, tier) in enumerate(zip(table.names, tiers(train.present), strict=True))
    ]


def _share(counts: Counts, place: int) -> float | None:
    known = int(counts.present[place] + counts.absent[place])
    return int(counts.present[place]) / known if known else None


def _whole(values: np.ndarray) -> list[int | None]:
    return [None if np.isnan(value) else int(value) for value in values.tolist()]


def _paired(positives: np.ndarray) -> np.ndarray:
    """The classes whose pairs are looked at: the most frequent, in their order."""
    return np.sort(np.argsort(-positives, kind="stable")[:MOST_PAIRED])


def _highest(values: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Places of the highest values above 0, highest first."""
    places = np.flatnonzero(values > 0)
    places = places[np.argsort(-values.ravel()[places], kind="stable")[:most]]
    rows, columns = np.unravel_index(places, values.shape)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


# --- what stands in two parts ------------------------------------------------------------------------------


def _in_two_parts(table: LabelTable) -> list[str]:
    if are_distinct(table.items, len(table)):
        return []
    parts: dict[str, set[str]] = {}
    for item, part in zip(table.items, table.split, strict=True):
        parts.setdefault(item, set()).add(part)
    return [item for item, found in parts.items() if len(found) > 1]


def _contradicted(table: LabelTable) -> list[str]:
    """Items that stand more than once with labels that contradict each other."""
    if are_distinct(table.items, len(table)):
        return []
    first: dict[str, np.ndarray] = {}
    found: dict[str, None] = {}
    for item, labels in zip(table.items, table.labels, strict=True):
        before = first.setdefault(item, labels)
        if ((before != labels) & (before != UNKNOWN) & (labels != UNKNOWN)).any():
            found[item] = None
    return list(found)


def _shared_values(table: LabelTable) -> list[Leak]:
    """Images of several regions, values of the group's column, identities and cameras in two parts."""
    leaks = []
    if any(without_region(item) != item for item in table.items):
        leaks += _shared("image", [without_region(item) for item in table.items], table.split)
    groups = [name for name in dict.fromkeys((table.grouped_by or IDENTITY, IDENTITY)) if name in table.columns]
    cameras = [CAMERA] if CAMERA in table.columns and CAMERA not in groups else []
    for kind, columns in (("group", groups), ("camera", cameras)):
        for column in columns:
            leaks += _shared(kind, *_known_values(table, column), column)
    return leaks


def _related_rows(table: LabelTable, column: str) -> RelatedRows:
    values, split = _known_values(table, column)
    return RelatedRows(column, len(set(values)), len(values), _shared("related", values, split, column))


def _known_values(table: LabelTable, column: str) -> tuple[list[str], np.ndarray]:
    """The values of a column that say something, and the parts of their rows."""
    values = table.columns[column].tolist()
    told = [row for row, value in enumerate(values) if not is_unknown(value)]
    return [str(values[row]) for row in told], table.split[told]


def _shared(kind: str, values: list[str], split: np.ndarray, column: str = "") -> list[Leak]:
    if not values:
        return []
    numbers, names = numbers_of(values), list(dict.fromkeys(values))
    there = {part: np.bincount(numbers[split == part], minlength=len(names)) > 0 for part in PARTS}
    leaks = []
    for earlier, later in combinations(PARTS, 2):
        both = there[earlier] & there[later]
        examples = [names[number] for number in np.flatnonzero(both)[:MOST_LISTED].tolist()]
        leaks.append(Leak(kind, (earlier, later), int(both.sum()), int(there[later].sum()), examples, column))
    return [leak for leak in leaks if leak.found]


def _shared_copies(table: LabelTable, copies: Copies) -> list[Leak]:
    """Items of a later part with a copy, or a near copy, in an earlier one."""
    exact = [pair for group in copies.exact for pair in combinations(group[:MOST_LISTED], 2)]
    exact += [(group[0], row) for group in copies.exact for row in group[MOST_LISTED:]]
    near = [(pair.first, pair.second) for pair in copies.near]
    of_part = {part: int((table.split[copies.compared] == part).sum()) for part in PARTS}
    leaks = []
    for kind, pairs in (("copy", exact), ("near copy", near)):
        rows = np.array(pairs, np.int64).reshape(-1, 2)
        rows = np.concatenate([rows, rows[:, ::-1]])
        for earlier, later in combinations(PARTS, 2):
            across = (table.split[rows[:, 0]] == earlier) & (table.split[rows[:, 1]] == later)
            found = np.unique(rows[across, 1]).tolist()
            examples = [str(table.items[row]) for row in found[:MOST_LISTED]]
            leaks.append(Leak(kind, (earlier, later), len(found), of_part[later], examples))
    return [leak for leak in leaks if leak.found]


def _copy_facts(table: LabelTable, copies: Copies) -> CopyFacts:
    def pair(first: int, second: int, distance: int = 0, likeness: float = 1.0) -> CopyPair:
        one, other = table.labels[first], table.labels[second]
        differing = int(((one != other) & (one != UNKNOWN) & (other != UNKNOWN)).sum())
        parts = str(table.split[first]), str(table.split[second])
        return CopyPair(str(table.items[first]), str(table.items[second]), parts, distance, likeness, differing)

    def items(groups: list[list[int]]) -> list[list[str]]:
        return [[str(table.items[row]) for row in group] for group in groups]

    exact = (pair(group[0], row) for group in copies.exact for row in group[1:])
    near = [pair(*one) for one in copies.near]
    rows = np.array([(one.first, one.second) for one in copies.near], np.int64).reshape(-1, 2)
    known = ((table.labels[rows[:, 0]] != UNKNOWN) & (table.labels[rows[:, 1]] != UNKNOWN)).sum()
    return CopyFacts(
        compared=len(copies.compared),
        unreadable={str(table.items[row]): reason for row, reason in copies.unreadable.items()},
        exact=items(copies.exact),
        contradicted=[one for one in exact if one.differing],
        near=near,
        groups=items(copies.groups()),
        label_changes=sum(one.differing for one in near) / int(known) if known else None,
    )


# --- shifts between parts, and sources ---------------------------------------------------------------------


def _others(table: LabelTable) -> list[tuple[str, np.ndarray]]:
    if not len(table.part("train")):
        return []
    return [(part, table.part(part)) for part in ("val", "test") if len(table.part(part))]


def _prevalence_shifts(table: LabelTable) -> Strongest[PartShift]:
    train, groups = table.part("train"), table.groups()  # rows of one group are not independent
    shifts = {
        part: prevalence_shift(table.labels[train], table.labels[rows], groups[train], groups[rows])
        for part, rows in _others(table)
    }
    return _significant(shifts, lambda place: [str(table.names[place])])


def _pair_shifts(table: LabelTable, pairs: Together, paired: np.ndarray, names: Sequence[str]) -> Strongest[PartShift]:
    groups = table.groups()

    def inflation(rows: np.ndarray) -> float:
        return len(rows) / max(len(np.unique(groups[rows])), 1)

    train = inflation(table.part("train"))
    shifts = {
        part: pair_shift(pairs, together(table.labels[rows][:, paired]), (train, inflation(rows)))
        for part, rows in _others(table)
    }
    return _significant(shifts, lambda place: [names[one] for one in divmod(place, len(names))])


def _significant(shifts: dict[str, Shift], called: Callable[[int], list[str]]) -> Strongest[PartShift]:
    """What moved by more than chance over all parts, the surest first."""
    tested = {part: np.flatnonzero(shift.tested & ~np.isnan(shift.deviations)) for part, shift in shifts.items()}
    if not any(len(places) for places in tested.values()):
        return Strongest(0, [])
    names = np.repeat(list(tested), [len(places) for places in tested.values()])
    places = np.concatenate(list(tested.values()))
    first, second, deviations = (
        np.concatenate([getattr(shift, name).ravel()[tested[part]] for part, shift in shifts.items()])
        for name in ("first", "second", "deviations")
    )
    p = holm(p_values(deviations))
    order = np.argsort(-np.abs(deviations), kind="stable")
    order = order[p[order] < SIGNIFICANCE]
    return Strongest(
        len(order),
        [
            PartShift(
                part=str(names[one]),
                classes=called(int(places[one])),
                train=round(float(first[one]), 4),
                other=round(float(second[one]), 4),
                deviations=round(float(deviations[one]), 1),
                p=float(p[one]),
            )
            for one in order[:MOST_LISTED].tolist()
        ],
    )


def _by_source(table: LabelTable) -> UnknownBySource | None:
    """None for a single source."""
    if "source" not in table.columns:
        return None
    names, numbers, sizes = np.unique(table.columns["source"].astype(str), return_inverse=True, return_counts=True)
    if len(names) < 2:
        return None
    largest = np.argsort(-sizes, kind="stable")[:MOST_SOURCES].tolist()
    shares = [(table.labels[numbers == source] == UNKNOWN).mean(0).round(4).tolist() for source in largest]
    return UnknownBySource([str(names[one]) for one in largest], [int(sizes[one]) for one in largest], shares)
