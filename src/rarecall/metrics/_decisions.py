"""Decisions: thresholds fitted on validation, and the precision, recall and F1 that follow."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from rarecall.metrics._ranking import check_inputs

Scores = Float[Tensor, "samples classes"]
Targets = Shaped[Tensor, "samples classes"]
PerClass = Float[Tensor, " classes"]


@dataclass(frozen=True)
class Decisions:
    """Precision, recall and F1 of each class, (C,) float64.

    Precision is NaN where nothing was predicted, recall where nothing is present; F1 is 2 TP / (2 TP + FP +
    FN), so it is 0 where a present class was never predicted and NaN only where there is no positive.
    """

    precision: PerClass
    recall: PerClass
    f1: PerClass


def precision_recall_f1(decided: Bool[Tensor, "samples classes"], targets: Targets) -> Decisions:
    """Precision, recall and F1 of each class over its known labels.

    Args:
        decided: (N, C), true where the class is predicted.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).

    Raises:
        ShapeError: the shapes differ.

    >>> decided = torch.tensor([[True], [True], [False]])
    >>> precision_recall_f1(decided, torch.tensor([[1], [0], [-1]])).f1
    tensor([0.6667], dtype=torch.float64)
    """
    check_inputs("decisions", decided, targets)
    hit = (decided & (targets > 0)).sum(0).double()
    predicted = (decided & (targets >= 0)).sum(0).double()
    present = (targets > 0).sum(0).double()
    f1 = torch.where(present > 0, 2 * hit / (predicted + present), torch.nan)
    return Decisions(hit / predicted, hit / present, f1)


def fit_thresholds(scores: Scores, targets: Targets, *, min_positives: int = 5) -> PerClass:
    """Thresholds that maximise F1 on validation data: decide `score >= threshold`.

    A class gets its own threshold if it has `min_positives` or more; the others share the one that maximises
    F1 over all entries, because a threshold fitted on one or two positives only fits them. Nothing is assumed
    of the scale of the scores: ranking losses have no natural zero.

    Args:
        scores: (N, C), of the validation part; never of the part that is reported.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        min_positives: how many positives a class needs for a threshold of its own. Default 5, our choice.

    Returns:
        (C,), halfway between the lowest score that is decided positive and the next below; +∞ where there is
        no positive at all.

    Raises:
        ShapeError: the shapes differ.

    >>> fit_thresholds(torch.tensor([[3.0], [2.0], [1.0]]), torch.tensor([[1], [1], [0]]), min_positives=1)
    tensor([1.5000])

    Reference: Z. Lipton et al., Optimal thresholding of classifiers to maximize F1 measure, ECML 2014.
    """
    check_inputs("scores", scores, targets)
    own = _best_f1_threshold(scores, targets)
    shared = _best_f1_threshold(scores.reshape(-1, 1), targets.reshape(-1, 1))
    return torch.where((targets > 0).sum(0) >= min_positives, own, shared)


def _best_f1_threshold(scores: Scores, targets: Targets) -> PerClass:
    if not scores.numel():
        return scores.new_full(scores.shape[1:], torch.inf)
    known = targets >= 0
    ordered, order = torch.where(known, scores, -torch.inf).sort(stable=True, dim=0, descending=True)
    hit = (targets > 0).gather(0, order).cumsum(0)
    # Unknown entries stand last; deciding them too changes nothing.
    decided = torch.arange(1, len(scores) + 1, device=scores.device)[:, None].clamp(max=known.sum(0))
    following = torch.cat([ordered[1:], torch.full_like(ordered[:1], -torch.inf)])
    parts = ordered > following  # a threshold cannot part equal scores
    parts[-1] = True
    best = torch.where(parts, 2 * hit / (decided + hit[-1:]), -1.0).argmax(0, keepdim=True)
    at, below = ordered.gather(0, best)[0], following.gather(0, best)[0]
    halfway = at / 2 + below / 2
    exact = (halfway > below) & (halfway <= at) & below.isfinite()  # not so between neighbouring numbers
    return torch.where(hit[-1] > 0, torch.where(exact, halfway, at), torch.inf)
