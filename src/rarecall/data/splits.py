"""Parts that a data set does not bring: stratified, from one seed, the same for every loss and seed."""

from dataclasses import replace

import numpy as np

from rarecall.data.table import LabelTable
from rarecall.errors import DataError
from rarecall.labels import PRESENT, UNKNOWN, LabelMatrix

HELD_OUT = 0.2
SPLIT_SEED = 0
SCARCE = 5


def complete_split(table: LabelTable) -> tuple[LabelTable, list[str]]:
    """Take the missing parts from train: 20 % for the test part, then 20 % of the rest for validation.

    Returns the table with all three parts and a sentence for each part that was taken.

    Raises:
        DataError: there is no training part, or too few rows to take a part from.
    """
    notes = []
    for part in ("test", "val"):
        if len(table.part(part)):
            continue
        train = table.part("train")
        if len(train) < 5:
            raise DataError(
                f"{table.source}: {len(train)} training rows are too few to take a {part} part from: "
                "add rows or name the parts in a split column"
            )
        # Rows of one item stay together, or the part would hold what was trained on.
        names, group = np.unique([table.items[row] for row in train.tolist()], return_inverse=True)
        labels = np.full((len(names), len(table.names)), UNKNOWN, np.int8)
        np.maximum.at(labels, group, table.labels[train])
        taken_groups = stratified(labels, HELD_OUT, SPLIT_SEED)
        split = table.split.copy()
        split[train[np.isin(group, taken_groups)]] = part
        table = replace(table, split=split)
        taken = len(table.part(part))
        notes.append(f"{taken:,} of {len(train):,} training rows serve as the {part} part (stratified, seed 0)")
    if not len(table.part("train")):
        raise DataError(f"{table.source}: no row is in the train part, so there is nothing to learn from")
    return table, notes


def check_learnable(table: LabelTable) -> None:
    """Refuse a table that nothing can be learnt from, chosen on or measured on.

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
        if not (table.labels[table.part(part)] == PRESENT).any():
            raise DataError(f"{table.source}: no class has a positive in the {part} part, so {consequence}")


def stratified(labels: LabelMatrix, fraction: float, seed: int) -> np.ndarray:
    """Row numbers of a part with about `fraction` of the rows and of every class's positives.

    Iterative stratification (Sechidis et al., ECML 2011), which deals out the rarest class first. Rows of a
    class with fewer than five positives stay out of the part: one or two of them could measure nothing
    there, and training cannot spare them. Where too few other rows are left, all rows take part.
    """
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    present = labels == PRESENT
    scarce = present[:, present.sum(0) < SCARCE].any(1)
    wanted = round(fraction * len(labels))
    rows = np.flatnonzero(~scarce) if (~scarce).sum() >= 2 * wanted else np.arange(len(labels))
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=wanted / len(rows), random_state=seed)
    kinds = present[rows] if present.shape[1] > 1 else np.stack([present[rows, 0], ~present[rows, 0]], 1)
    _, part = next(splitter.split(np.zeros((len(rows), 1)), kinds.astype(int)))
    return np.sort(rows[part])
