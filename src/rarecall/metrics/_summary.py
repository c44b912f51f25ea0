"""The figures that a leaderboard shows, of one set of scores."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from rarecall.metrics._decisions import precision_recall_f1
from rarecall.metrics._ranking import average_precision, mean_average_precision
from rarecall.metrics._shared import check_thresholds


def summarise(
    scores: Float[Tensor, "samples classes"],
    targets: Shaped[Tensor, "samples classes"],
    thresholds: Float[Tensor, " classes"],
    groups: Mapping[str, Int[np.ndarray, " members"]],
) -> dict[str, float]:
    """mAP@class, mAP@sample, macro F1 at the thresholds, and the mAP of each group of classes.

    Args:
        scores: (N, C), higher for what is more likely present.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        thresholds: (C,); the decision is `score >= threshold`.
        groups: class numbers by name; `all` has mAP@class already.

    Returns:
        `map_class`, `map_sample`, `macro_f1` and `map_<group>`, from 0 to 1, NaN where nothing counts.
    """
    check_thresholds(thresholds, scores.shape[1])
    ap = average_precision(scores, targets)
    figures = {
        "map_class": ap.nanmean(),
        "map_sample": mean_average_precision(scores, targets, way="sample"),
        "macro_f1": precision_recall_f1(scores >= thresholds, targets).f1.nanmean(),
        **{f"map_{name}": ap[members].nanmean() for name, members in groups.items() if name != "all"},
    }
    return {name: float(value) for name, value in figures.items()}
