"""Simulated imbalance, missing labels and wrong labels: what a study of them starts from.

Each takes a table and gives another that says in its provenance how it was made. Only the train part changes
unless others are named. Random numbers come from the seed alone and are the same on every machine.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rarecall.data.table import PARTS, LabelTable
from rarecall.errors import DataError, OptionError, unknown_name
from rarecall.labels import ABSENT, PRESENT, UNKNOWN, LabelMatrix

if TYPE_CHECKING:
    from scipy.sparse import csr_array

EXPONENT = 6.0  # of the Pareto curve of VOC-LT and COCO-LT
TAIL = 0.99  # the curve is followed up to this quantile
KINDS = {"known": (PRESENT, ABSENT), "present": (PRESENT,), "absent": (ABSENT,)}
BLOCK = 1 << 22  # labels that are drawn for at a time


def pareto_counts(classes: int, maximum: float, minimum: float, exponent: float = EXPONENT) -> np.ndarray:
    """Positives (C,) of each class from the most frequent to the rarest, on the density of a Pareto distribution.

        count_j = minimum + (maximum − minimum) · (f_j − f_last) / (1 − f_last),   f_j = x_j^−(α+1)

    with x_j in equal steps from 1 to the 0.99 quantile 0.01^(−1/α), which is the density α x_min^α / x^(α+1) for
    x_min = 1, brought between the two ends. VOC-LT's reference, with its maximum of 800, ends at 4.

    >>> pareto_counts(5, 800, 4).round(1)
    array([800. , 135.8,  33.2,  10.4,   4. ])

    Reference: Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets,
    ECCV 2020.
    """
    places = np.linspace(1, (1 - TAIL) ** (-1 / exponent), classes)
    density = places ** -(exponent + 1)
    least = density[-1] if classes > 1 else 0.0
    return np.asarray(minimum + (maximum - minimum) * (density - least) / (1 - least))


def long_tail(
    table: LabelTable,
    maximum: float,
    minimum: float,
    seed: int = 0,
    exponent: float = EXPONENT,
    parts: Sequence[str] = ("train",),
) -> LabelTable:
    """Leave rows out until the positives of the classes fall along a Pareto curve.

    The classes are ranked as for VOC-LT by how much they come with others, r_c = Σ_k n_kc / n_k, where n_k is the
    positives of class k and n_kc those rows of them that hold c too: a class that comes with many others cannot be
    rare. The class of rank j gets the target t_c = `pareto_counts`[j], or all its positives where they are fewer.
    Rows are then visited in random order, again and again, each left out or taken back where that lowers

        Σ_c |n_c − t_c| / t_c

    until no single row does: the counts fit as well as co-occurrence allows. A row without a positive is left out,
    as it belongs to no class.

    Args:
        table: what is thinned.
        maximum: positives of the most frequent class.
        minimum: positives of the rarest.
        seed: of the order of rows.
        exponent: α of the curve; greater is steeper.
        parts: that are thinned, as one.

    Raises:
        DataError: the parts hold no positive.
        OptionError: not 1 ≤ minimum ≤ maximum, or an exponent that is not positive.
    """
    from scipy.sparse import csr_array

    if not 1 <= minimum <= maximum or not np.isfinite(maximum):
        raise OptionError(f"maximum={maximum}, minimum={minimum}: give 1 ≤ minimum ≤ maximum")
    if not 0 < exponent < np.inf:
        raise OptionError(f"exponent={exponent}: give a number above 0")
    chosen = _in_parts(table, parts)
    rows = np.flatnonzero(chosen)
    present = csr_array(table.labels[rows] == PRESENT, dtype=np.int64)
    if not present.nnz:
        raise DataError(f"{table.source}: no positive in {' and '.join(parts)}, so there is nothing to thin")
    keep = ~chosen
    keep[rows] = _fit(present, _targets(present, maximum, minimum, exponent), seed)
    step = f"long_tail(maximum={maximum:g}, minimum={minimum:g}, seed={seed}{_if_not(EXPONENT, exponent=exponent)}"
    return table.select(keep).derived(f"{step}{_if_not(('train',), parts=tuple(parts))})")


def _targets(present: "csr_array", maximum: float, minimum: float, exponent: float) -> np.ndarray:
    """Wanted positives of each class, (C,)."""
    together = (present.T @ present).toarray()
    positives = np.maximum(np.diag(together), 1)
    rank = np.argsort(-(together / positives[:, None]).sum(0).round(9), kind="stable")
    targets = np.empty(len(positives))
    targets[rank] = pareto_counts(len(positives), maximum, minimum, exponent)
    return np.minimum(targets.round(), positives)


def _fit(present: "csr_array", targets: np.ndarray, seed: int) -> np.ndarray:
    """Which rows to keep, (N,) bool."""
    of_row = [classes.tolist() for classes in np.split(present.indices, present.indptr[1:-1])]
    kept = [bool(classes) for classes in of_row]
    excess: list[float] = (present.sum(0) - targets).tolist()
    weight: list[float] = (1 / targets).tolist()
    order = np.random.Generator(np.random.PCG64(seed)).permutation(np.flatnonzero(kept)).tolist()
    moved = True
    while moved:  # ends, for every move lowers the misfit and there are finitely many choices
        moved = False
        for row in order:
            change = -1 if kept[row] else 1
            misfit = sum(weight[c] * (abs(excess[c] + change) - abs(excess[c])) for c in of_row[row])
            if misfit < -1e-9:  # rounding must not move a row back and forth
                moved, kept[row] = True, not kept[row]
                for c in of_row[row]:
                    excess[c] += change
    return np.array(kept)


def single_positive(
    table: LabelTable, seed: int = 1200, validation: float = 0.2, parts: Sequence[str] = ("train",)
) -> LabelTable:
    """One known positive for each row, all else unknown: the protocol of single positive labels.

    As its authors publish it. A table without a validation part gives `validation` of its N train rows: the last
    round(validation · N) places of RandomState(seed).permutation(N). Labels are drawn from a fresh RandomState(seed)
    for the train rows (those that went to validation with them) and for each other part: for each row the numbers of
    its positives are shuffled and the first is kept, then those of its negatives are shuffled and none is kept. What
    is drawn replaces the labels of `parts`; the other parts keep theirs, so that they can be measured on.

    Args:
        table: its labels should be complete.
        seed: 1200 gives the published labels, for rows in the order of the published arrays.
        validation: the share of train that goes to a missing validation part; 0 for none.
        parts: whose labels are replaced.

    Raises:
        OptionError: a share outside 0 ≤ validation < 1, or an unknown part.

    References: Cole et al., Multi-Label Learning from Single Positive Labels, CVPR 2021; Chen et al., GR, 2024.
    """
    if not 0 <= validation < 1:
        raise OptionError(f"validation={validation}: give a share of train, 0 or more and below 1")
    labels, split = table.labels.copy(), table.split.astype("<U5")
    replaced = _in_parts(table, parts)
    for phase in PARTS:
        rows = table.part(phase)
        observed = _first_positives(table.labels[rows], np.random.RandomState(seed))
        if phase == "train" and not len(table.part("val")):
            split[rows[_last_places(len(rows), validation, seed)]] = "val"
            replaced = np.isin(split, list(parts))
        labels[rows] = np.where(replaced[rows, None], observed, labels[rows])
    options = _if_not(0.2, validation=validation) + _if_not(("train",), parts=tuple(parts))
    return table.derived(f"single_positive(seed={seed}{options})", labels=labels, split=split)


def _last_places(rows: int, share: float, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).permutation(rows)[rows - int(np.round(share * rows)) :]


def _first_positives(labels: LabelMatrix, random: np.random.RandomState) -> LabelMatrix:
    observed = np.full_like(labels, UNKNOWN)
    for row, known in enumerate(labels):
        positives, negatives = np.flatnonzero(known == PRESENT), np.flatnonzero(known == ABSENT)
        random.shuffle(positives)
        random.shuffle(negatives)  # nothing of it is kept, but what is drawn next depends on it
        observed[row, positives[:1]] = PRESENT
    return observed


def keep_labels(
    table: LabelTable, fraction: float, seed: int = 0, of: str = "known", parts: Sequence[str] = ("train",)
) -> LabelTable:
    """Keep each label with the same probability, and make the others unknown.

        P(label is kept) = fraction, independently for each label

    Args:
        table: what labels are taken from.
        fraction: the probability, 0 to 1.
        seed: of the draw.
        of: which labels may go: `known`, or only those `present` or `absent`.
        parts: whose labels may go.

    Raises:
        OptionError: a fraction outside 0 to 1, an unknown kind or part.

    >>> from rarecall.data import load
    >>> known = keep_labels(load("digits"), 0.3).labels[:1000] >= 0
    >>> round(float(known.mean()), 2)
    0.3
    """
    labels = table.labels.copy()
    for rows, drawn in _drawn(table, 1 - _checked(fraction), seed, of, parts):
        labels[rows] = np.where(drawn, UNKNOWN, labels[rows])
    return table.derived(f"keep_labels(fraction={fraction:g}, seed={seed}{_told(of, parts)})", labels=labels)


def flip_labels(
    table: LabelTable, fraction: float, seed: int = 0, of: str = "known", parts: Sequence[str] = ("train",)
) -> LabelTable:
    """Turn labels into their opposite: wrong labels made on purpose. Unknown stays unknown.

        P(label becomes 1 − label) = fraction, independently for each label

    Args:
        table: what labels are taken from.
        fraction: the probability, 0 to 1.
        seed: of the draw.
        of: which labels may flip: `known` (symmetric noise), or only those `present` or `absent`.
        parts: whose labels may flip.

    Raises:
        OptionError: a fraction outside 0 to 1, an unknown kind or part.

    >>> from rarecall.data import load
    >>> table = load("digits")
    >>> wrong = flip_labels(table, 0.1, of="present").labels != table.labels
    >>> bool((table.labels[wrong] == 1).all())
    True
    """
    labels = table.labels.copy()
    for rows, drawn in _drawn(table, _checked(fraction), seed, of, parts):
        labels[rows] = np.where(drawn, 1 - labels[rows], labels[rows])
    return table.derived(f"flip_labels(fraction={fraction:g}, seed={seed}{_told(of, parts)})", labels=labels)


def _drawn(
    table: LabelTable, probability: float, seed: int, of: str, parts: Sequence[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers, and which of their labels are drawn, a block of rows at a time: one draw for every label."""
    if of not in KINDS:
        raise OptionError(unknown_name("of", of, KINDS))
    random = np.random.Generator(np.random.PCG64(seed))
    rows = np.flatnonzero(_in_parts(table, parts))
    classes = len(table.names)
    for start in range(0, len(rows), max(BLOCK // classes, 1)):
        block = rows[start : start + max(BLOCK // classes, 1)]
        chance = random.random((len(block), classes)) < probability
        yield block, chance & np.isin(table.labels[block], KINDS[of])


def _checked(fraction: float) -> float:
    if not 0 <= fraction <= 1:
        raise OptionError(f"fraction={fraction}: give a probability, 0 to 1")
    return fraction


def _in_parts(table: LabelTable, parts: Sequence[str]) -> np.ndarray:
    for part in parts:
        if part not in PARTS:
            raise OptionError(unknown_name("part", part, PARTS))
    return np.isin(table.split, list(parts))


def _told(of: str, parts: Sequence[str]) -> str:
    return _if_not("known", of=of) + _if_not(("train",), parts=tuple(parts))


def _if_not(default: object, **option: object) -> str:
    """How a step tells of an option that is not the default."""
    return "".join(f", {name}={value!r}" for name, value in option.items() if value != default)
