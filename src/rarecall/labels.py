"""What a label matrix is, and what can be counted on it.

A label is 1 (present), 0 (absent) or -1 (unknown), everywhere in the library. A label matrix has one row per
item and one column per class, (N, C) int8. Nothing turns unknown into absent unless it is asked to by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int8

PRESENT, ABSENT, UNKNOWN = 1, 0, -1

LabelMatrix = Int8[np.ndarray, "samples classes"]

HEAD_POSITIVES = 100
MEDIUM_POSITIVES = 20
TIERS = ("head", "medium", "tail")
COMMON_SHARE, RARE_SHARE = 0.2, 0.01


@dataclass(frozen=True)
class Counts:
    """Present, absent and unknown labels of each class, each (C,) int64."""

    present: Int[np.ndarray, " classes"]
    absent: Int[np.ndarray, " classes"]
    unknown: Int[np.ndarray, " classes"]


def count(labels: LabelMatrix) -> Counts:
    """Count each class's labels.

    >>> count(np.array([[1, 0], [-1, 0]], np.int8)).present
    array([1, 0])
    """
    present, absent = (labels == PRESENT).sum(0), (labels == ABSENT).sum(0)
    return Counts(present, absent, len(labels) - present - absent)


def tiers(positives: Int[np.ndarray, " classes"]) -> list[str]:
    """Head (100 training positives or more), medium (20 to 99) or tail (fewer than 20) for each class.

    The limits are those of the long-tailed VOC and COCO lists (Wu et al., ECCV 2020): a class with exactly
    100 positives is head.

    >>> tiers(np.array([100, 99, 20, 19, 0]))
    ['head', 'medium', 'medium', 'tail', 'tail']
    """
    return ["head" if n >= HEAD_POSITIVES else "medium" if n >= MEDIUM_POSITIVES else "tail" for n in positives]


def prevalence_tiers(counts: Counts) -> list[str]:
    """Common (present in more than 20 % of the known labels), medium (1 to 20 %) or rare (below 1 %) for each class.

    The limits are those of El Mir's tiers of pedestrian attributes (arXiv 2606.14770, 2026); the number of items
    does not enter. A class of which nothing is known is rare.

    >>> prevalence_tiers(count(np.array([[1, 0], [0, 0], [-1, 0]], np.int8)))
    ['common', 'rare']
    """
    known = np.maximum(counts.present + counts.absent, 1)
    shares = (counts.present / known).tolist()
    return ["common" if share > COMMON_SHARE else "medium" if share >= RARE_SHARE else "rare" for share in shares]


def measured_groups(
    targets: LabelMatrix, train_positives: Int[np.ndarray, " classes"]
) -> dict[str, Int[np.ndarray, " members"]]:
    """Class numbers of all, head, medium and tail classes that have a positive in `targets`; empty ones left out.

    >>> measured_groups(np.array([[1, 0, 1]], np.int8), np.array([100, 30, 5]))
    {'all': array([0, 2]), 'head': array([0]), 'tail': array([2])}
    """
    return groups_of(targets, tiers(train_positives))


def groups_of(targets: LabelMatrix, tier: Sequence[str]) -> dict[str, Int[np.ndarray, " members"]]:
    """Class numbers of all classes that have a positive in `targets`, and of those of each tier; empty ones left out.

    >>> groups_of(np.array([[1, 0, 1]], np.int8), ["common", "rare", "rare"])
    {'all': array([0, 2]), 'common': array([0]), 'rare': array([2])}
    """
    measured = (targets == PRESENT).any(0)
    members = {"all": np.flatnonzero(measured)}
    names = [name for name in ("head", "common", "medium", "tail", "rare") if name in tier]
    members |= {name: np.flatnonzero(measured & (np.array(tier) == name)) for name in names}
    return {name: rows for name, rows in members.items() if len(rows)}
