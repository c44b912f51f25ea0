"""Stratified parts: every class's positives dealt out evenly, the rarest class first."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int


def stratified_parts(
    present: Bool[np.ndarray, "samples classes"], shares: Sequence[float], seed: int
) -> Int[np.ndarray, " samples"]:
    """The part of each item, so that every part has about its share of the items and of each class's positives.

    Iterative stratification: of the items that are left those of the class with the fewest come first, each to the
    part that lacks most positives of that class.

    Args:
        present: (N, C), where a class is known to be present.
        shares: of each part, above 0; they sum to 1.
        seed: of the order of the items and of choices between equal parts; the same on every machine.

    Returns:
        (N,), from 0 to the number of parts less one.

    >>> np.bincount(stratified_parts(np.array([[1], [0], [1], [0]], bool), [0.5, 0.5], seed=0))
    array([2, 2])

    Reference: K. Sechidis, G. Tsoumakas and I. Vlahavas, On the stratification of multi-label data, ECML PKDD 2011.
    """
    from iterstrat.ml_stratifiers import IterativeStratification

    # Legacy random states are frozen: they draw the same in every version of NumPy.
    random = np.random.RandomState(seed)
    order = np.arange(len(present))
    random.shuffle(order)
    labels = present if present.shape[1] else np.zeros((len(present), 1), bool)
    parts = IterativeStratification(labels=labels[order], r=np.array(shares, float), random_state=random)
    return np.asarray(parts[np.argsort(order)], np.int64)
