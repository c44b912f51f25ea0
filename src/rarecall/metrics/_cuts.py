"""Cuts of rankings, which decide every entry that scores at least as high as one of them.

A cut below a negative is never better than the one above it, so the best cut stands at a positive. `Places` tells of
every positive how many entries and how many positives the cut there decides, and so does `SortedScores`, which knows
the scores themselves besides.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from rarecall.metrics._blocks import count_positives, row_blocks
from rarecall.metrics._places import sort_rows, sorted_known, wide_type

Worth = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What cuts are worth, from their hits, how many entries they decide and how many positives there are."""


def f1(hits: Tensor, decided: Tensor, present: Tensor) -> Tensor:
    """F1, in float64."""
    return 2 * hits.double() / (decided + present)


def recall_if_precise(hits: Tensor, decided: Tensor, present: Tensor, *, precision: float) -> Tensor:
    """Recall where the precision is reached, else 0; in float64."""
    return torch.where(hits.double() / decided >= precision, hits.double() / present, 0.0)


def reaches_recall(hits: Tensor, _: Tensor, present: Tensor, *, recall: float) -> Tensor:
    """1 where the recall is reached, else 0; in float64."""
    return (hits.double() / present >= recall).double()


# Two ways to the same places, because a fit of all classes together is one ranking of every entry. Places of 20
# million entries take 25 bytes an entry in float32 and 37 in float64, most of it for ranks while they are made, and
# twice the time; the sorted scores take 4 and 8. And a threshold is a score, which a rank does not tell.
@dataclass(frozen=True)
class SortedScores:
    """The scores of some rankings in order; a cut is named by how many known entries it decides.

    Attributes:
        ordered: (rankings, entries) ascending; unknown entries are +∞, so they stand last.
        positive: (rankings, most) the scores of the positives, ascending, filled up with +∞.
        known: (rankings,) entries that are known.
        present: (rankings,) entries that are positive.
    """

    ordered: Float[Tensor, "rankings entries"]
    positive: Float[Tensor, "rankings most"]
    known: Int[Tensor, " rankings"]
    present: Int[Tensor, " rankings"]

    @classmethod
    def of(
        cls, scores: Float[Tensor, "rankings entries"], targets: Shaped[Tensor, "rankings entries"]
    ) -> "SortedScores":
        """Sort each row, and its positives."""
        present = count_positives(targets, 1)
        positive = _sorted_positives(scores, targets > 0, present)
        ordered = sorted_known(scores, targets)
        known = torch.searchsorted(ordered, ordered.new_full((len(ordered), 1), torch.inf))[:, 0]
        return cls(ordered, positive, known, present)

    def at_least(self, scores: Float[Tensor, "rankings cuts"]) -> Int[Tensor, "rankings cuts"]:
        """How many known entries score at least as high."""
        return self.known[:, None] - torch.searchsorted(self.ordered, scores)

    def best(self, worth: Worth) -> Int[Tensor, " rankings"]:
        """The cut that is worth most; of equally good ones the highest, and none that is worth nothing."""
        present = self.present[:, None]
        most, best = torch.zeros_like(present), torch.zeros_like(present, dtype=torch.float64)
        for (part,) in row_blocks(self.positive.flip(1)):
            cuts = part.contiguous()
            decided, hits = self.at_least(cuts), present - torch.searchsorted(self.positive, cuts)
            value = worth(hits, decided, present)
            top = value.argmax(1, keepdim=True)
            better = value.gather(1, top) > best
            most = torch.where(better, decided.gather(1, top), most)
            best = torch.where(better, value.gather(1, top), best)
        return most[:, 0]

    def nearest(self, wanted: Int[Tensor, " rankings"]) -> Int[Tensor, " rankings"]:
        """The cut that decides as many entries as are wanted, or as near to it as ties allow."""
        last = (self.known - wanted).clamp(max=self.ordered.shape[1] - 1)[:, None]
        score = self.ordered.gather(1, last)
        with_ties = self.at_least(score)[:, 0]
        without = (self.known - torch.searchsorted(self.ordered, score, right=True)[:, 0]).clamp(min=0)
        nearest = torch.where(with_ties - wanted <= wanted - without, with_ties, without)
        return torch.where(wanted > 0, nearest, 0)

    def threshold(self, decided: Int[Tensor, " rankings"], dtype: torch.dtype) -> Float[Tensor, " rankings"]:
        """The score halfway between the lowest decided entry and the next below, in the type of the scores."""
        last, ordered = (self.known - decided)[:, None], self.ordered
        at = ordered.gather(1, last.clamp(max=ordered.shape[1] - 1)).to(dtype)
        below = torch.where(last > 0, ordered.gather(1, (last - 1).clamp(min=0)), -torch.inf).to(dtype)
        halfway = at / 2 + below / 2
        exact = (halfway > below) & (halfway <= at)  # not so between neighbouring numbers, nor where nothing is below
        return torch.where(decided > 0, torch.where(exact, halfway, at)[:, 0], torch.inf)


def _sorted_positives(rows: Tensor, positive: Tensor, present: Tensor) -> Tensor:
    most = max(int(present.max()), 1)
    values = torch.full((len(rows), most), torch.inf, dtype=wide_type(rows), device=rows.device)
    values[torch.arange(most, device=rows.device) < present[:, None]] = rows[positive].to(values.dtype)
    sort_rows(values)
    return values
