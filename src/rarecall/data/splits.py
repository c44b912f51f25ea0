"""Parts that a data set does not bring: stratified, from one seed, the same for every loss and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rarecall.data.table import PARTS, LabelTable, are_distinct
from rarecall.errors import DataError, OptionError, unknown_name
from rarecall.labels import PRESENT, UNKNOWN, LabelMatrix
from rarecall.stratification import stratified_parts

HELD_OUT = 0.2
SPLIT_SEED = 0
SCARCE = 5


def complete_split(table: LabelTable, wanted: Sequence[str] = ("test", "val")) -> tuple[LabelTable, list[str]]:
    """Take the missing parts from train: 20 % for the test part, then 20 % of the rest for validation.

    What belongs together stays together, or the part would hold what was trained on: rows of one value of the
    table's `group`, else of the column `identity` where there is one, else the regions of one image.

    Returns the table with all three parts and a sentence for each part that was taken.

    Raises:
        DataError: there is no training part, or too few rows to take a part from.
    """
    notes = []
    for part in wanted:
        if len(table.part(part)):
            continue
        train = table.part("train")
        if len(train) < 5:
            raise DataError(
                f"{table.source}: {len(train)} training rows are too few to take a {part} part from: "
                "add rows or name the parts in a split column"
            )
        group = _in_order_of_names(table, train, table.groups()[train])
        if group.max() < 1:
            raise DataError(
                f"{table.source}: all {len(train):,} training rows belong together"
                + (f" (by {table.grouped_by})" if table.grouped_by else "")
                + f", so no {part} part can be taken from them: name the parts in a split column"
            )
        labels = np.full((group.max() + 1, len(table.names)), UNKNOWN, np.int8)
        np.maximum.at(labels, group, table.labels[train])
        taken_groups = stratified(labels, HELD_OUT, SPLIT_SEED)
        split = table.split.copy()
        split[train[np.isin(group, taken_groups)]] = part
        table = replace(table, split=split)
        taken = len(table.part(part))
        by = f", by {table.grouped_by}" if table.grouped_by else ""
        notes.append(f"{taken:,} of {len(train):,} training rows serve as the {part} part (stratified{by}, seed 0)")
    if not len(table.part("train")):
        raise DataError(f"{table.source}: no row is in the train part, so there is nothing to learn from")
    return table, notes


def _in_order_of_names(table: LabelTable, rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The groups of rows, numbered by their first names, so that the order of the rows does not matter."""
    names = [table.items[row] for row in rows.tolist()]
    if are_distinct(groups.tolist(), len(groups)):  # every row for itself: the same without a dictionary
        numbers = np.empty(len(names), np.int64)
        numbers[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        return numbers
    first: dict[int, str] = {}
    for name, group in zip(names, groups.tolist(), strict=True):
        first[group] = min(name, first.get(group, name))
    place = {group: number for number, group in enumerate(sorted(first, key=lambda group: first[group]))}
    return np.array([place[group] for group in groups.tolist()])


def check_learnable(table: LabelTable, chosen_on: str | None = "val") -> None:
    """Refuse a table that nothing can be learnt from, chosen on or measured on.

    Args:
        table: with a complete split.
        chosen_on: the part that choices are made on; None: there need not be one.

    Raises:
        DataError: fewer rows than classes, or a part without any positive.
    """
    if len(table) < len(table.names):
        raise DataError(
            f"{table.source}: {len(table)} rows for {len(table.names)} classes: labels need one row per item "
            "and one column per class; merge or drop classes, or add rows"
        )
    needs = {"train": "nothing can be learnt", "val": "no epoch can be chosen", "test": "nothing can be measured"}
    for part, consequence in needs.items():
        if part == "val" and chosen_on is None:
            continue
        if not (table.labels[table.part(part)] == PRESENT).any():
            raise DataError(f"{table.source}: no class has a positive in the {part} part, so {consequence}")


def stratified(labels: LabelMatrix, fraction: float, seed: int) -> np.ndarray:
    """Row numbers of a part with about `fraction` of the rows and of every class's positives.

    Iterative stratification (Sechidis et al., ECML 2011), which deals out the rarest class first. Rows of a
    class with fewer than five positives stay out of the part: one or two of them could measure nothing
    there, and training cannot spare them. Where too few other rows are left, all rows take part.
    """
    present = labels == PRESENT
    scarce = present[:, present.sum(0) < SCARCE].any(1)
    wanted = max(round(fraction * len(labels)), 1)
    rows = np.flatnonzero(~scarce) if (~scarce).sum() >= 2 * wanted else np.arange(len(labels))
    parts = stratified_parts(present[rows], [1 - wanted / len(rows), wanted / len(rows)], seed)
    return np.asarray(rows[parts == 1])


def split(table: LabelTable, shares: Mapping[str, float], seed: int = 0, group: str | None = None) -> LabelTable:
    """Deal all rows out anew to parts of the given shares, stratified, no group in two parts.

    Where every group is one row, by iterative stratification (Sechidis et al., ECML 2011): the rows of the class
    with the fewest rows left come first, each to the part that lacks most positives of it. Else groups are dealt
    out from the largest to the smallest, each to the part p with the greatest need

        need(p) = Σ_c (g_c / n_c) · (1 − d_pc / (s_p n_c)) + (g / n) · (1 − d_p / (s_p n))

    where s_p is the part's share, n and n_c are the rows and the positives of class c, g and g_c those of the
    group, d_p and d_pc those that the part was dealt before. The seed orders groups of one size; of parts with the
    same need the first takes the group.

    Args:
        table: its own parts are not looked at.
        shares: of `train`, `val` and `test`; they sum to 1.
        seed: the same seed gives the same parts on every machine.
        group: the column whose values stay together, such as `patient`; default: the table's own `group`, else
            `identity` if there is such a column, else the image, of which a table may hold several regions.

    Raises:
        DataError: there is no such column, or a part would be empty.
        OptionError: an unknown part, or shares that are not positive or do not sum to 1.

    >>> from rarecall.data import load
    >>> split(load("digits"), {"train": 0.5, "test": 0.5}).provenance
    ('split(train=0.5, test=0.5, seed=0)',)
    """
    for part in shares:
        if part not in PARTS:
            raise OptionError(unknown_name("part", part, PARTS))
    if not all(share > 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise OptionError(f"shares {dict(shares)}: give positive numbers that sum to 1")
    names = np.array(list(shares))
    dealt = _deal(table, np.array(list(shares.values()), float), seed, group)
    if len(empty := sorted({*shares} - {*names[dealt]})):
        raise DataError(f"{table.source}: too few rows or groups for a {empty[0]} part: ask for fewer parts")
    told = ", ".join(f"{part}={share:g}" for part, share in shares.items())
    return table.derived(f"split({told}, seed={seed}{_told(table, group)})", split=names[dealt])


def k_fold(table: LabelTable, k: int, seed: int = 0, group: str | None = None) -> list[LabelTable]:
    """The table k times: in the one numbered i, fold i is the test part and all the others are train.

    All rows are dealt out to k equal shares as in `split`; `complete_split` takes a validation part from train.

    Args:
        table: its own parts are not looked at.
        k: how many folds, at least 2.
        seed: as in `split`.
        group: as in `split`.

    Raises:
        DataError: there is no such column, or a fold would be empty.
        OptionError: fewer than two folds.

    >>> from rarecall.data import load
    >>> sum(len(fold.part("test")) for fold in k_fold(load("digits"), 4))
    1600
    """
    if k < 2:
        raise OptionError(f"{k} folds: give 2 or more")
    if k > (groups := int(table.groups(group).max()) + 1):
        raise DataError(f"{table.source}: too few rows or groups for {k:,} folds: there are {groups:,}: ask for fewer")
    dealt = _deal(table, np.full(k, 1 / k), seed, group)
    if len(np.unique(dealt)) < k:
        raise DataError(f"{table.source}: too few rows or groups for {k} folds: ask for fewer")
    return [
        table.derived(
            f"k_fold(fold={fold}, k={k}, seed={seed}{_told(table, group)})",
            split=np.where(dealt == fold, "test", "train"),
        )
        for fold in range(k)
    ]


def _told(table: LabelTable, group: str | None) -> str:
    column = group or table.grouped_by
    return "" if column is None else f", group={column!r}"


def _deal(table: LabelTable, shares: np.ndarray, seed: int, group: str | None) -> np.ndarray:
    """The number of the part of each row."""
    from scipy.sparse import csr_array

    groups = table.groups(group)
    sizes = np.bincount(groups)
    present = table.labels == PRESENT
    if sizes.max() > 1:
        member = csr_array((np.ones(len(groups), np.int64), (groups, np.arange(len(groups)))))
        positives = (member @ csr_array(present)).toarray()
        return np.asarray(_deal_groups(positives, sizes, shares, seed)[groups])
    return stratified_parts(present, shares.tolist(), seed)


def _deal_groups(positives: np.ndarray, sizes: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """The part of each group: the largest first, each to the part in the greatest need."""
    counts = np.column_stack([positives, sizes]).astype(float)
    totals = np.maximum(counts.sum(0), 1)
    weights, wanted = counts / totals, np.outer(shares, totals)
    had = np.zeros_like(wanted)
    shuffled = np.random.Generator(np.random.PCG64(seed)).permutation(len(sizes))
    part = np.empty(len(sizes), np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")].tolist():
        need = (1 - had / wanted) @ weights[group]
        part[group] = need.round(9).argmax()  # the order of a sum, which machines choose, decides no tie
        had[part[group]] += counts[group]
    return part
