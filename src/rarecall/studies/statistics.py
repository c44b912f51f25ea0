"""How sure a study can be: means over seeds, and paired differences with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

RESAMPLES = 1000
LEVEL = 0.95
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Difference:
    """How far one loss is from the best on a group of classes, with its interval; in mAP from -1 to 1."""

    mean: float
    low: float
    high: float


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN deviation for one value.

    >>> mean_and_deviation([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    array = np.asarray(values, dtype=float)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else float("nan")


def resampled_average_precision(
    scores: Float[Tensor, "samples classes"],
    targets: Tensor,
    weights: Float[Tensor, "samples resamples"],
) -> Float[Tensor, "resamples classes"]:
    """Average precision of each class on each resample of the items.

    A resample is how often each item was drawn. Only a class's positives are sorted, once for all resamples.

    Args:
        scores: (N, C).
        targets: (N, C), 1 present, 0 absent, -1 unknown.
        weights: (N, R) whole numbers.

    Returns:
        (R, C); NaN where no positive was drawn.

    >>> ones = torch.ones(3, 1)
    >>> resampled_average_precision(torch.tensor([[3.0], [2.0], [1.0]]), torch.tensor([[1], [0], [1]]), ones)
    tensor([[0.8333]])
    """
    result = torch.full((weights.shape[1], scores.shape[1]), torch.nan)
    for place in range(scores.shape[1]):
        known = targets[:, place] >= 0
        positive = targets[:, place] > 0
        if not positive.any():
            continue
        everyone = bool(known.all())
        # Each item falls to the highest-ranked positive that it scores at least as high as; adding those
        # shares up down the ranks counts the items at or above every positive, ties included.
        ordered, order = (-scores[positive, place]).sort()
        own = weights[positive][order]
        drawn = _at_or_above(ordered, -scores[known, place], weights if everyone else weights[known])
        hits = _at_or_above(ordered, ordered, own)
        result[:, place] = (own * hits / drawn.clamp(min=1)).sum(0) / own.sum(0)
    return result


def _at_or_above(ranks: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """Summed weights of the values that stand at or before each of the sorted `ranks`."""
    share = torch.zeros(len(ranks) + 1, weights.shape[1])
    return share.index_add_(0, torch.searchsorted(ranks, values), weights)[:-1].cumsum(0)


Scores = Mapping[str, Sequence[Tensor]]
Differences = dict[str, dict[str, Difference]]


def differences_to_best(
    comparisons: Mapping[str, Scores],
    targets: Tensor,
    groups: Mapping[str, np.ndarray],
    resamples: int = RESAMPLES,
) -> dict[str, Differences]:
    """For each group of classes, each loss's paired difference to the loss with the highest mean there.

    Test items and seeds are both drawn with replacement, the same ones for every loss, so that what an item
    or a seed does to all losses alike cancels. A class of which a resample draws no positive is left out of
    that resample for all losses.

    Args:
        comparisons: under the name of each comparison, for each loss the test scores (N, C) of each seed; the
            same seeds in the same order. A tensor that stands in several comparisons is resampled once.
        targets: (N, C).
        groups: class numbers of each group that is averaged over.
        resamples: how many, 1000.

    Returns:
        comparison -> group -> loss -> difference; the best loss has 0 with an empty interval.

    Reference: B. Efron and R. Tibshirani, An introduction to the bootstrap, 1993, chapter 13.
    """
    random = np.random.Generator(np.random.PCG64(BOOTSTRAP_SEED))
    weights = _draws(random, len(targets), resamples)
    means: dict[int, np.ndarray] = {}  # (resamples + 1, groups) of each tensor; entry 0 is the data as it is

    def means_of(run: Tensor) -> np.ndarray:
        if id(run) not in means:
            means[id(run)] = _group_means(resampled_average_precision(run, targets, weights), groups)
        return means[id(run)]

    seeds = {len(runs) for scores in comparisons.values() for runs in scores.values()}
    drawn_seeds = {size: random.integers(size, size=(resamples, size)) for size in sorted(seeds)}
    return {
        name: _compare(
            {loss: np.stack([means_of(run) for run in runs], 1) for loss, runs in scores.items()}, groups, drawn_seeds
        )
        for name, scores in comparisons.items()
    }


def _draws(random: np.random.Generator, items: int, resamples: int) -> Tensor:
    """(items, resamples + 1) how often each item is drawn; the first column is the data as it is."""
    weights = np.ones((resamples + 1, items), np.float32)
    for resample in range(1, resamples + 1):
        weights[resample] = np.bincount(random.integers(items, size=items), minlength=items)
    return torch.from_numpy(weights.T.copy())


def _compare(
    means: Mapping[str, np.ndarray], groups: Mapping[str, np.ndarray], drawn_seeds: Mapping[int, np.ndarray]
) -> Differences:
    """Differences from (resamples + 1, seeds, groups) means of each loss."""
    observed = {loss: values[0].mean(0) for loss, values in means.items()}
    resampled = {
        loss: np.take_along_axis(values[1:], drawn_seeds[values.shape[1]][:, :, None], axis=1).mean(1)
        for loss, values in means.items()
    }
    result: Differences = {}
    for place, group in enumerate(groups):
        best = max(observed, key=lambda loss: observed[loss][place])
        result[group] = {
            loss: _difference(
                observed[loss][place] - observed[best][place], resampled[loss][:, place] - resampled[best][:, place]
            )
            for loss in means
        }
    return result


def _group_means(values: Tensor, groups: Mapping[str, np.ndarray]) -> np.ndarray:
    """(resamples, groups) mean over the classes of each group that have a value."""
    return torch.stack([values[:, torch.from_numpy(rows)].nanmean(1) for rows in groups.values()], 1).numpy()


def _difference(observed: float, resampled: np.ndarray) -> Difference:
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Difference(float(observed), float(low), float(high))
