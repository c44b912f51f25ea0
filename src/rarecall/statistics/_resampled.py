"""Average precision on many resamples of the same items at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num, Shaped
from torch import Tensor
from torch.nn import functional as F

from rarecall.errors import ShapeError
from rarecall.metrics.checks import check_inputs

_SCORES = 2**21  # that are sorted at once
_WEIGHTS = 2**19  # that stay in a processor's cache for all classes of a block
_FEWEST_RESAMPLES = 128  # at once, below which the sums of rows are slow
_SHARED = 2**23  # weights of some resamples, above which the cores share each computation, to hold them once

Matrix = Float[Tensor, "samples classes"]
Labels = Shaped[Tensor, "samples classes"]
Weights = Num[Tensor, "samples resamples"]


def resampled_average_precision(
    scores: Matrix, targets: Labels, weights: Weights
) -> Float[Tensor, "resamples classes"]:
    r"""Average precision of each class on each resample of the items.

    A resample is how often each item was drawn: `AP = Σ_i w_i P_i / Σ_i w_i` over the positives, with P_i the
    share of positives among the weights of the items that score at least as high. Every class is sorted once
    for all resamples, and items below its last positive are never touched.

    Args:
        scores: (N, C), higher means more likely; only their order counts.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        weights: (N, R), 0 or more; whole numbers of any type, as `bootstrap_weights` draws them.

    Returns:
        (R, C) float64, exact for whole numbers whose sum is below 2²⁴; NaN where no positive was drawn. Beyond
        it, a block of 2M scores is held, and for each core one of 0.5M weights (128 resamples or more).

    Raises:
        ShapeError: tensors that do not fit, a score that is not finite, or a weight that is not 0 or more.

    >>> weights = torch.tensor([[1, 2], [1, 0], [1, 1]])
    >>> resampled_average_precision(torch.tensor([[3.0], [2.0], [1.0]]), torch.tensor([[1], [0], [1]]), weights)
    tensor([[0.8333],
            [1.0000]], dtype=torch.float64)

    Reference: B. Efron and R. Tibshirani, An introduction to the bootstrap, 1993, chapter 6.
    """
    lowest = weights.min().item() if weights.numel() else 0
    if not lowest >= 0:
        raise ShapeError(f"a weight is {lowest:g}: each says how often its item was drawn, 0 or more")
    blocks = [values for _, values in by_class_block(scores, targets, weights)]
    return torch.cat(blocks, 1) if blocks else scores.new_empty((weights.shape[1], 0), dtype=torch.float64)


def by_class_block(scores: Matrix, targets: Labels, weights: Weights) -> Iterator[tuple[slice, Tensor]]:
    """`resampled_average_precision` of a block of classes at a time, with the place of the block."""
    check_inputs("scores", scores, targets)
    if scores.ndim != 2 or weights.ndim != 2 or len(weights) != len(scores):
        raise ShapeError(
            f"scores {tuple(scores.shape)} must be (samples, classes) and weights {tuple(weights.shape)} "
            "(samples, resamples) of the same samples"
        )
    width = max(1, _SCORES // max(len(scores), 1))
    for start in range(0, scores.shape[1], width):
        block = slice(start, start + width)
        levels = _levels(scores[:, block], targets[:, block])
        yield block, _of_classes(levels, weights, scores.device)


def _of_classes(levels: "list[_Levels]", weights: Weights, device: torch.device) -> Float[Tensor, "resamples block"]:
    """Some resamples at a time, which cores share.

    PyTorch would share each computation on few items among all cores, thousands of times, and wait each time for the
    last one: where a core has something else to do, that took up to 30 times as long.
    """
    if not weights.shape[1]:
        return torch.empty((0, len(levels)), dtype=torch.float64, device=device)

    def measured(part: Tensor) -> Tensor:
        own = part.to(device).float().contiguous()
        return torch.stack([_average_precision(one, own) for one in levels], 1)

    parts = weights.split(max(_FEWEST_RESAMPLES, _WEIGHTS // max(len(weights), 1)), 1)
    if device.type != "cpu" or parts[0].numel() > _SHARED:
        return torch.cat([measured(part) for part in parts])
    with _one_thread_each() as cores, ThreadPoolExecutor(min(cores, len(parts))) as pool:
        return torch.cat(list(pool.map(measured, parts)))


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Let every thread that begins here compute alone; gives how many PyTorch would use for one computation."""
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield cores
    finally:
        torch.set_num_threads(cores)


@dataclass(frozen=True)
class _Levels:
    """One class's items from the highest score on, cut after each score that a positive has.

    Attributes:
        items: those that score as high as the last positive or higher.
        starts: where each level begins in `items`.
        positives: the positive items, in the same order.
        positive_starts: where each level begins in `positives`.
    """

    items: Int[Tensor, " ranked"]
    starts: Int[Tensor, " levels"]
    positives: Int[Tensor, " positives"]
    positive_starts: Int[Tensor, " levels"]


def _levels(scores: Tensor, targets: Tensor) -> list[_Levels]:
    """The levels of each class."""
    rows = torch.where(targets >= 0, scores, -torch.inf).T
    ranked, order = rows.sort(1, descending=True)
    positive = (targets > 0).T.gather(1, order)
    place = torch.arange(rows.shape[1], device=rows.device).expand_as(order)
    # A tie is cut after its last item, and only where it holds a positive.
    last_of_tie = torch.ones_like(positive)
    last_of_tie[:, :-1] = ranked[:, :-1] != ranked[:, 1:]
    end_of_tie = torch.where(last_of_tie, place, rows.shape[1]).flip(1).cummin(1).values.flip(1)
    row, at = positive.nonzero(as_tuple=True)
    cut = torch.zeros_like(positive)
    cut[row, end_of_tie[row, at]] = True
    parts = (order, _by_row(cut, place), _by_row(positive, place), _by_row(positive, order))
    return [_one_class(*own) for own in zip(*parts, strict=True)]


def _by_row(chosen: Tensor, values: Tensor) -> tuple[Tensor, ...]:
    """The chosen values of each row."""
    split: tuple[Tensor, ...] = torch.split(values[chosen], chosen.sum(1).tolist())
    return split


def _one_class(order: Tensor, cuts: Tensor, places: Tensor, positives: Tensor) -> _Levels:
    """The levels that end at the places `cuts` of `order`, and the positives at their `places`."""
    ends = cuts + 1
    starts = torch.cat([ends.new_zeros(min(1, len(ends))), ends[:-1]])
    return _Levels(order[: ends[-1] if len(ends) else 0], starts, positives, torch.searchsorted(places, starts))


def _average_precision(levels: _Levels, weights: Tensor) -> Float[Tensor, " resamples"]:
    """Of one class on some resamples."""
    if not len(levels.starts):
        return torch.full((weights.shape[1],), torch.nan, dtype=torch.float64, device=weights.device)
    drawn = F.embedding_bag(levels.items, weights, levels.starts, mode="sum").cumsum(0)
    own = F.embedding_bag(levels.positives, weights, levels.positive_starts, mode="sum")
    precision = own.cumsum(0).double() / drawn.clamp(min=torch.finfo(torch.float32).tiny)
    return (own * precision).sum(0) / own.sum(0, dtype=torch.float64)
