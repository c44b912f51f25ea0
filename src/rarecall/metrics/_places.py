"""Where the positives stand among the scores: all that a ranking metric needs, from one sort.

Each score becomes a whole number in the order of the scores, and its label the lowest bit of that number, so that
one sort of plain integers orders scores and labels together. Positives come before negatives of the same score:
the first positive of a run of ties stands where the run begins, and ties cost nothing more.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from rarecall.metrics._blocks import row_blocks

BLOCK = 1 << 24  # entries that are sorted at a time: about half a gigabyte of working memory
THREADED = 1 << 16  # fewer entries are sorted sooner than threads start

_BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}
_KEYS = {torch.int16: torch.int32, torch.int32: torch.int64, torch.int64: torch.int64}


@dataclass(frozen=True)
class Places:
    """The positives of some rankings, in rising order of their scores, P in all.

    Attributes:
        keys: (rankings, entries) sorted; the score's number times two, plus one where the entry is not positive.
        known: (rankings,) entries that are known.
        positives: (rankings,) entries that are positive.
        flat: (P,) where each positive stands in the flattened keys.
    """

    keys: Int[Tensor, "rankings entries"]
    known: Int[Tensor, " rankings"]
    positives: Int[Tensor, " rankings"]
    flat: Int[Tensor, " P"]

    @classmethod
    def of(cls, scores: Float[Tensor, "rankings entries"], targets: Shaped[Tensor, "rankings entries"]) -> "Places":
        """Sort each row; unknown entries are put behind all others and never read."""
        numbers = order_numbers(scores)
        wide = _KEYS[numbers.dtype]
        keys = (numbers.to(wide) << 1) | (targets < 1)
        sort_rows(keys.masked_fill_(targets < 0, torch.iinfo(wide).max))
        flat = ((keys & 1) == 0).flatten().nonzero().flatten()
        return cls(keys, torch.count_nonzero(targets >= 0, 1), torch.count_nonzero(targets > 0, 1), flat)

    @cached_property
    def row(self) -> Int[Tensor, " P"]:
        """The ranking of each positive."""
        return torch.repeat_interleave(torch.arange(len(self.keys), device=self.keys.device), self.positives)

    @cached_property
    def first_tied(self) -> Int[Tensor, " P"]:
        """For each positive, the first positive of the same ranking with the same score."""
        key = self.keys.flatten()[self.flat]
        starts = torch.ones_like(key, dtype=torch.bool)
        starts[1:] = (key[1:] != key[:-1]) | (self.row[1:] != self.row[:-1])
        everyone = torch.arange(len(key), device=key.device)
        return torch.where(starts, everyone, 0).cummax(0).values

    @cached_property
    def at_least(self) -> Int[Tensor, " P"]:
        """How many known entries score at least as high as each positive."""
        return self.known[self.row] - self.flat[self.first_tied] + self.row * self.keys.shape[1]

    @cached_property
    def hits(self) -> Int[Tensor, " P"]:
        """How many positives score at least as high as each positive."""
        return self.positives.cumsum(0)[self.row] - self.first_tied

    @cached_property
    def tied_negatives(self) -> Int[Tensor, " P"]:
        """How many negatives score the same as each positive."""
        number = self.keys >> 1
        ends = torch.ones_like(number, dtype=torch.bool)
        ends[:, :-1] = number[:, 1:] != number[:, :-1]
        last = ends.flatten().nonzero().flatten()
        end = last[torch.searchsorted(last, self.flat)]  # of the run of ties
        tied = torch.bincount(self.first_tied, minlength=len(self.flat))[self.first_tied]
        return end + 1 - self.flat[self.first_tied] - tied

    def sum(self, values: Tensor) -> Float[Tensor, " rankings"]:
        """Add up one value of each positive over its ranking, in float64."""
        total = torch.zeros(len(self.keys), dtype=torch.float64, device=self.keys.device)
        return total.index_add_(0, self.row, values.double())

    def largest(self, values: Tensor) -> Float[Tensor, " rankings"]:
        """The largest value of each ranking's positives; NaN without a positive."""
        found = torch.full((len(self.keys),), -torch.inf, dtype=torch.float64, device=self.keys.device)
        found.scatter_reduce_(0, self.row, values.double(), "amax")
        return torch.where(self.positives > 0, found, torch.nan)


Measure = Callable[[Places], Float[Tensor, " rankings"]]


def of_each_ranking(
    measures: Sequence[Measure],
    scores: Float[Tensor, "*batch samples classes"],
    targets: Shaped[Tensor, "*batch samples classes"],
    way: str = "class",
) -> list[Float[Tensor, "*batch rankings"]]:
    """Several measures of each class, or of each sample, from one sort, in blocks of bounded memory."""
    if way == "class":
        scores, targets = scores.mT, targets.mT
    shape, entries = scores.shape[:-1], scores.shape[-1]
    rows, wanted = (values.reshape(shape.numel(), entries) for values in (scores.detach(), targets))
    step = max(1, BLOCK // max(1, entries))
    parts = [
        [measure(places) for measure in measures]
        for at in range(0, len(rows), step)
        for places in [Places.of(rows[at : at + step].contiguous(), wanted[at : at + step].contiguous())]
    ]
    nothing = [torch.zeros(0, dtype=torch.float64, device=scores.device)] * len(measures)
    return [torch.cat(values).reshape(shape) for values in zip(*(parts or [nothing]), strict=True)]


def order_numbers(scores: Tensor) -> Int[Tensor, "rankings entries"]:
    """Whole numbers in the order of the scores, equal where the scores are."""
    if scores.dtype not in _BITS:
        return _ranks(scores)
    bits = (scores + 0.0).view(_BITS[scores.dtype])  # −0 becomes 0
    return torch.where(bits < 0, bits ^ torch.iinfo(bits.dtype).max, bits)


def _ranks(scores: Tensor) -> Int[Tensor, "rankings entries"]:
    """How many different scores of its row are below each: for numbers too wide to share theirs with a label."""
    ordered, order = scores.sort(1)
    rises = torch.zeros_like(order)
    rises[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return torch.empty_like(order).scatter_(1, order, rises.cumsum(1))


def sorted_known(scores: Shaped[Tensor, "rankings entries"], targets: Shaped[Tensor, "rankings entries"]) -> Tensor:
    """The known scores of each row in ascending order, filled up with +∞; float32 or float64."""
    values = scores.to(wide_type(scores), copy=True)
    for part, labels in row_blocks(values, targets):
        part.masked_fill_(labels < 0, torch.inf)
    sort_rows(values)
    return values


def wide_type(scores: Tensor) -> torch.dtype:
    """The type that scores are sorted in: float32 or wider, because NumPy has no bfloat16."""
    return torch.float64 if scores.dtype == torch.float64 else torch.float32


def sort_rows(keys: Shaped[Tensor, "rankings entries"]) -> None:
    """Sort each row in place; NumPy's vectorised sort is about ten times as fast as PyTorch's on a CPU."""
    if keys.device.type != "cpu":
        keys.copy_(keys.sort(1).values)
        return
    array, workers = keys.numpy(), torch.get_num_threads()
    if array.size < THREADED or workers == 1:
        array.sort(1)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda part: part.sort(1), np.array_split(array, min(workers, len(array)))))
