"""Bootstrap intervals of mean average precision, and of paired differences, over test items and seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Num, Shaped
from torch import Tensor

from rarecall.errors import OptionError, ShapeError
from rarecall.labels import MEDIUM_POSITIVES
from rarecall.statistics._resampled import by_class_block
from rarecall.statistics._shared import check_share

RESAMPLES = 1000
CONFIDENCE = 0.95
BOOTSTRAP_SEED = 0
_STRATA_ENTRIES = 2**24

Scores = Mapping[str, Sequence[Tensor]]
Groups = Mapping[str, Int[np.ndarray, " members"]]


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval, in mAP: from 0 to 1, or from -1 to 1 for a difference.

    Attributes:
        mean: on the data as they are.
        low: the lower end.
        high: the upper end.
    """

    mean: float
    low: float
    high: float


Intervals = dict[str, dict[str, Interval]]


def bootstrap_weights(
    targets: Shaped[Tensor, "samples classes"],
    resamples: int = RESAMPLES,
    *,
    stratified: bool = False,
    seed: int = BOOTSTRAP_SEED,
) -> Num[Tensor, "samples resamples"]:
    r"""How often each item stands in each resample.

    Plain draws take N of the N items with replacement. Stratified draws keep a class with few positives in
    every resample: the stratum of an item is the rarest tail class (with fewer than `labels.MEDIUM_POSITIVES`
    positives here) that it is positive for, all other items are one stratum, and from the n items of a stratum
    n - 1 are drawn and weigh n / (n - 1), without which the variance would be too small by (n - 1) / n (Rao and
    Wu). A lone item always weighs 1. A tail class all of whose positives are positive for still rarer ones can be
    lost all the same.

    Args:
        targets: (N, C), 1 present, 0 absent, -1 unknown.
        resamples: R, 1000.
        stratified: within strata. It holds the number of positives still, which does vary from test set to
            test set: on 300 items with classes of 3 to 15 positives, 95 % intervals of a difference covered it
            in 91 % of 500 simulations, with plain draws in 96 %.
        seed: of the draws.

    Returns:
        (N, R) on the CPU; uint8, or float32 where stratified.

    Raises:
        OptionError: fewer than 1 resample.
        ShapeError: no matrix of targets, or one without an item.

    >>> bootstrap_weights(torch.ones(5, 1), 3).sum(0)
    tensor([5, 5, 5])

    References: B. Efron and R. Tibshirani, An introduction to the bootstrap, 1993, chapter 6. J. Rao and C. Wu,
    Resampling inference with complex survey data, JASA 83, 1988.
    """
    _check_targets(targets, resamples)
    random = np.random.Generator(np.random.PCG64(seed))
    return _stratified(targets, resamples, random) if stratified else _plain(len(targets), resamples, random)


def bootstrap_interval(
    scores: Float[Tensor, "samples classes"],
    targets: Shaped[Tensor, "samples classes"],
    groups: Groups,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    stratified: bool = False,
    seed: int = BOOTSTRAP_SEED,
) -> dict[str, Interval]:
    """The mAP of each group of classes with its bootstrap interval over test items.

    An item that is drawn twice is tied with itself, so the AP of a resample is too high, the more so the fewer
    positives a class has. The interval is therefore that of the resamples moved as a whole by their mean's
    distance from the mAP itself. On 300 items, with 22 classes of 3 to 90 positives, it covered the true mAP in
    93 % of 1500 simulations, the interval without the move in 86 %, and a bias-corrected one (BC, which takes
    the tie for a bias of the figure) in 75 %.

    Args:
        scores: (N, C).
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        groups: class numbers of each group that is averaged over; a class of which a resample draws no positive
            is left out of that resample.
        resamples: how many, 1000.
        confidence: that the interval holds the mAP, 0.95.
        stratified: as in `bootstrap_weights`.
        seed: of the draws.

    Returns:
        group -> interval, from 0 to 1; NaN where nothing has a positive.

    Raises:
        OptionError: fewer than 1 resample, or a confidence outside 0 to 1.
        ShapeError: tensors that do not fit, no items, or a group with a class that the scores lack.

    >>> scores, targets = torch.tensor([[3.0], [2.0], [1.0], [0.0]]), torch.tensor([[1], [1], [0], [0]])
    >>> bootstrap_interval(scores, targets, {"all": np.array([0])}, resamples=50)
    {'all': Interval(mean=1.0, low=1.0, high=1.0)}

    Reference: as `bootstrap_weights`, chapter 13.
    """
    check_share("confidence", confidence)
    weights = bootstrap_weights(targets, resamples, stratified=stratified, seed=seed)
    observed, resampled = _group_means(scores, targets, weights, groups)
    result = {}
    for place, group in enumerate(groups):
        own = resampled[:, place]
        bias = np.nanmean(own) - observed[place] if np.isfinite(own).any() else 0.0
        low, high = np.clip(_quantiles(own - bias, confidence), 0, 1)
        result[group] = Interval(float(observed[place]), float(low), float(high))
    return result


def differences_to_best(
    comparisons: Mapping[str, Scores],
    targets: Shaped[Tensor, "samples classes"],
    groups: Groups,
    resamples: int = RESAMPLES,
    *,
    confidence: float = CONFIDENCE,
    stratified: bool = False,
    seed: int = BOOTSTRAP_SEED,
) -> dict[str, Intervals]:
    """For each group of classes, each loss's paired difference to the loss with the highest mean there.

    Test items and seeds are both drawn with replacement, the same ones for every loss, so that what an item
    or a seed does to all losses alike cancels. A class of which a resample draws no positive is left out of
    that resample for all losses. The interval holds the middle 95 % of the resampled differences: what a
    resample adds to both losses cancels too, and that interval covered the true difference in 96 % of 1500
    simulations (300 items, 22 classes of 3 to 90 positives), a bias-corrected one in 89 %. With few seeds the
    part of the seeds is too narrow, by a third of its variance with 3; and the best is chosen on the same
    figures, which favours it.

    Args:
        comparisons: under the name of each comparison, for each loss the test scores (N, C) of each seed; the
            same seeds in the same order. A tensor that stands in several comparisons is resampled once.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        groups: class numbers of each group that is averaged over.
        resamples: how many, 1000.
        confidence: that the interval holds the difference, 0.95.
        stratified: as in `bootstrap_weights`.
        seed: of the draws.

    Returns:
        comparison -> group -> loss -> difference, from -1 to 1; the best loss has 0 with an empty interval.

    Raises:
        OptionError: fewer than 1 resample, a confidence outside 0 to 1, or losses with different numbers of seeds.
        ShapeError: tensors that do not fit, no items, or a group with a class that the scores lack.

    >>> good, poor = torch.tensor([[3.0], [2.0], [1.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    >>> scores = {"study": {"good": [good], "poor": [poor]}}
    >>> found = differences_to_best(scores, torch.tensor([[1], [0], [0]]), {"all": np.array([0])}, 50)
    >>> round(found["study"]["all"]["poor"].mean, 3)
    -0.667

    Reference: B. Efron and R. Tibshirani, An introduction to the bootstrap, 1993, chapter 13.
    """
    check_share("confidence", confidence)
    for name, scores in comparisons.items():
        if len({len(runs) for runs in scores.values()}) != 1 or not all(scores.values()):
            raise OptionError(f"the losses of {name!r} have different numbers of seeds: pairs need the same for all")
    weights = bootstrap_weights(targets, resamples, stratified=stratified, seed=seed)
    means: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def means_of(run: Tensor) -> tuple[np.ndarray, np.ndarray]:
        if id(run) not in means:
            means[id(run)] = _group_means(run, targets, weights, groups)
        return means[id(run)]

    result = {}
    for name, scores in comparisons.items():
        own = {loss: [means_of(run) for run in runs] for loss, runs in scores.items()}
        drawn = _drawn_seeds(len(next(iter(own.values()))), resamples, seed)
        observed = {loss: np.mean([values for values, _ in runs], 0) for loss, runs in own.items()}
        resampled = {
            loss: np.take_along_axis(np.stack([values for _, values in runs], 1), drawn, axis=1).mean(1)
            for loss, runs in own.items()
        }
        result[name] = _to_best(observed, resampled, groups, confidence)
    return result


def _to_best(
    observed: Mapping[str, np.ndarray], resampled: Mapping[str, np.ndarray], groups: Groups, confidence: float
) -> Intervals:
    """Differences from the (groups,) means and the (resamples, groups) means of each loss."""
    result: Intervals = {}
    for place, group in enumerate(groups):
        best = max(observed, key=lambda loss: np.nan_to_num(observed[loss][place], nan=-1.0))
        result[group] = {}
        for loss in observed:
            low, high = _quantiles(resampled[loss][:, place] - resampled[best][:, place], confidence)
            result[group][loss] = Interval(float(observed[loss][place] - observed[best][place]), low, high)
    return result


def _drawn_seeds(seeds: int, resamples: int, seed: int) -> Int[np.ndarray, "resamples seeds 1"]:
    """Which seeds each resample takes, from a stream of their own: the same in every comparison."""
    random = np.random.Generator(np.random.PCG64([seed, seeds]))
    return random.integers(seeds, size=(resamples, seeds, 1))


def _quantiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """The ends of the middle part of the values, NaN left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _group_means(
    scores: Tensor, targets: Tensor, weights: Tensor, groups: Groups
) -> tuple[Float[np.ndarray, " groups"], Float[np.ndarray, "resamples groups"]]:
    """The mean over the classes of each group that have a value, of the data as they are and of each resample."""
    weights = torch.cat([weights.new_ones(len(weights), 1), weights], 1)
    member = torch.zeros(scores.shape[-1], len(groups), dtype=torch.float64)
    for place, (name, members) in enumerate(groups.items()):
        member[_class_numbers(name, members, len(member)), place] = 1
    sums = torch.zeros(weights.shape[1], len(groups), dtype=torch.float64)
    counts = torch.zeros_like(sums)
    for block, values in by_class_block(scores, targets, weights):
        values = values.cpu()
        sums += values.nan_to_num(0.0) @ member[block]
        counts += (~values.isnan()).double() @ member[block]
    means = (sums / counts).numpy()
    return means[0], means[1:]


def _class_numbers(group: str, members: Int[np.ndarray, " members"], classes: int) -> Int[Tensor, " members"]:
    """The members of a group, which must be classes of the scores."""
    numbers = np.asarray(members)
    wrong = numbers if numbers.dtype.kind not in "iu" else numbers[(numbers < 0) | (numbers >= classes)]
    if wrong.size:
        raise ShapeError(f"group {group!r} has class {wrong.flat[0]}: give class numbers from 0 to {classes - 1}")
    return torch.from_numpy(numbers.astype(np.int64))


def _check_targets(targets: Tensor, resamples: int) -> None:
    if resamples < 1:
        raise OptionError(f"resamples must be 1 or more, not {resamples}")
    if targets.ndim != 2 or not len(targets):
        raise ShapeError(f"targets {tuple(targets.shape)} must be (samples, classes) with 1 sample or more")


def _plain(items: int, resamples: int, random: np.random.Generator) -> Tensor:
    weights = np.empty((resamples, items), np.uint8)
    for resample in range(resamples):
        weights[resample] = np.bincount(random.integers(items, size=items), minlength=items)
    return torch.from_numpy(weights).T.contiguous()


def _stratified(targets: Tensor, resamples: int, random: np.random.Generator) -> Tensor:
    stratum = _strata(targets)
    order = np.argsort(stratum, kind="stable")
    size = np.bincount(stratum)[stratum[order]]
    start = np.searchsorted(stratum[order], stratum[order])
    # One draw of each stratum falls out; a lone item has no other to give way to.
    drawn = (np.arange(len(order)) > start) | (size == 1)
    weigh = np.where(size == 1, 1.0, size / np.maximum(size - 1, 1))
    weights = np.empty((resamples, len(order)), np.float32)
    for resample in range(resamples):
        picks = start + (random.random(len(order)) * size).astype(np.int64)
        weights[resample, order] = weigh * np.bincount(picks[drawn], minlength=len(order))
    return torch.from_numpy(weights).T.contiguous()


def _strata(targets: Tensor) -> Int[np.ndarray, " samples"]:
    """For each item the rank of the rarest tail class that it is positive for, or one number for all others."""
    positives = torch.stack([(part > 0).sum(0) for part in _row_blocks(targets)]).sum(0)
    rarest_first = positives.argsort(stable=True)
    rare = rarest_first[(positives[rarest_first] > 0) & (positives[rarest_first] < MEDIUM_POSITIVES)]
    found = [
        torch.cat([part[:, rare] > 0, part.new_ones(len(part), 1, dtype=torch.bool)], 1).int().argmax(1)
        for part in _row_blocks(targets)
    ]
    _, stratum = np.unique(torch.cat(found).cpu().numpy(), return_inverse=True)
    return stratum


def _row_blocks(targets: Tensor) -> tuple[Tensor, ...]:
    rows: tuple[Tensor, ...] = torch.split(targets, max(1, _STRATA_ENTRIES // max(targets.shape[1], 1)))
    return rows
