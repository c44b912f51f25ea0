"""Metrics of an order: only which entry scores higher than which counts, ties included."""

from functools import partial
from typing import Literal, overload

import torch  # noqa: F401 - examples use it
from jaxtyping import Float, Shaped
from torch import Tensor

from rarecall.errors import OptionError, unknown_name
from rarecall.metrics._cuts import Worth, f1, recall_if_precise
from rarecall.metrics._places import Places, of_each_ranking
from rarecall.metrics._shared import check_inputs, mean_of_present

Scores = Float[Tensor, "*batch samples classes"]
Targets = Shaped[Tensor, "*batch samples classes"]
PerClass = Float[Tensor, "*batch classes"]
PerSample = Float[Tensor, "*batch samples"]


def average_precision(scores: Scores, targets: Targets) -> PerClass:
    r"""Average precision of each class, `Σ (R_k - R_{k-1}) P_k` over the distinct scores.

    It is the mean, over the positives, of the precision among the items that score at least as high. That
    needs no ordering of the items, only each positive's place among the sorted scores, and it treats ties as
    scikit-learn's `average_precision_score` does.

    Args:
        scores: (..., N, C), higher means more likely; logits or probabilities, only their order counts.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).

    Returns:
        (..., C) float64; NaN where a class has no positive.

    Raises:
        ShapeError: the shapes differ, a score is NaN or infinite, or a target is not 1, 0 or -1.

    >>> average_precision(torch.tensor([[0.9], [0.8], [0.7]]), torch.tensor([[1], [0], [1]]))
    tensor([0.8333], dtype=torch.float64)

    Reference: scikit-learn user guide, section on precision, recall and F-measures.
    """
    check_inputs("scores", scores, targets)
    return of_each_ranking([precision_averaged], scores, targets)[0]


@overload
def mean_average_precision(
    scores: Scores, targets: Targets, way: str = ..., absent: str = ..., return_counts: Literal[False] = ...
) -> Tensor: ...
@overload
def mean_average_precision(
    scores: Scores, targets: Targets, way: str = ..., absent: str = ..., *, return_counts: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def mean_average_precision(
    scores: Scores,
    targets: Targets,
    way: str = "class",
    absent: str = "skip",
    return_counts: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Mean of the average precision of each class (mAP@class) or of each sample (mAP@sample).

    Args:
        scores: (..., N, C), only their order counts.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown.
        way: `class` ranks the samples of each class, `sample` the classes of each sample. The second is the
            label ranking average precision.
        absent: what a class (or sample) without positives is: `skip` leaves it out, `zero` counts it as 0
            (Xu et al. 2024), `nan` makes the mean NaN.
        return_counts: return also how many classes (or samples) have a positive.

    Returns:
        The leading shape, float64, from 0 to 1; NaN if nothing has a positive under `skip`.

    Raises:
        OptionError: another `way` or `absent`.
        ShapeError: as `average_precision`.

    >>> scores, targets = torch.tensor([[2.0, 1.0], [3.0, 0.0]]), torch.tensor([[1, 0], [0, 0]])
    >>> mean_average_precision(scores, targets, way="sample", return_counts=True)
    (tensor(1., dtype=torch.float64), tensor(1))

    Reference: T. Kobayashi, Two-way multi-label loss, CVPR 2023, section 4.
    """
    if way not in ("class", "sample"):
        raise OptionError(unknown_name("way", way, ("class", "sample")))
    check_inputs("scores", scores, targets)
    values = of_each_ranking([precision_averaged], scores, targets, way)[0]
    mean, counts = mean_of_present(values, absent, return_counts=True)
    return (mean, counts) if return_counts else mean


def roc_auc(scores: Scores, targets: Targets) -> PerClass:
    """Area under each class's receiver operating characteristic.

    The share of pairs of a positive and a negative that the positive wins; a tie counts half. Prevalence does
    not enter: of a rare class, a thousand false alarms among a million negatives cost it nothing, and average
    precision says more.

    Args:
        scores: (..., N, C), only their order counts.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).

    Returns:
        (..., C) float64, 0.5 for a random order; NaN where a class lacks positives or negatives.

    Raises:
        ShapeError: as `average_precision`.

    >>> roc_auc(torch.tensor([[0.9], [0.8], [0.7]]), torch.tensor([[1], [0], [1]]))
    tensor([0.5000], dtype=torch.float64)

    Reference: J. Hanley and B. McNeil, The meaning and use of the area under a ROC curve, Radiology 1982.
    """
    check_inputs("scores", scores, targets)
    return of_each_ranking([pairs_won], scores, targets)[0]


def recall_at_precision(scores: Scores, targets: Targets, precision: float = 0.9) -> PerClass:
    """The highest recall of each class at which precision is still at least the given one.

    Args:
        scores: (..., N, C), only their order counts.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        precision: to hold, above 0 and at most 1. Default 0.9, our choice.

    Returns:
        (..., C) float64; 0 where no threshold holds the precision, NaN where a class has no positive.

    Raises:
        OptionError: a precision outside 0 to 1.
        ShapeError: as `average_precision`.

    >>> recall_at_precision(torch.tensor([[0.9], [0.8], [0.7]]), torch.tensor([[1], [0], [1]]))
    tensor([0.5000], dtype=torch.float64)
    """
    check_precision(precision)
    check_inputs("scores", scores, targets)
    return of_each_ranking([partial(recall_held, precision=precision)], scores, targets)[0]


def coverage_error(scores: Scores, targets: Targets) -> PerSample:
    """How far down its ranked classes each sample has to go to find all that are present.

    Args:
        scores: (..., N, C), only their order counts.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).

    Returns:
        (..., N) float64, from the number of its positives (best) to that of its known labels; NaN for a sample
        without positives. `mean_of_present` averages it: scikit-learn's `coverage_error` is the policy `zero`.

    Raises:
        ShapeError: as `average_precision`.

    >>> coverage_error(torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[1, 0, 1]]))
    tensor([3.], dtype=torch.float64)

    Reference: G. Tsoumakas et al., Mining multi-label data, 2010.
    """
    check_inputs("scores", scores, targets)
    return of_each_ranking([coverage], scores, targets, "sample")[0]


def ranking_loss(scores: Scores, targets: Targets) -> PerSample:
    """The share of each sample's pairs of a present and an absent class whose order is wrong; ties are wrong.

    Args:
        scores: (..., N, C), only their order counts.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).

    Returns:
        (..., N) float64, 0 is best; NaN for a sample without such a pair. `mean_of_present` averages it:
        scikit-learn's `label_ranking_loss` is the policy `zero`.

    Raises:
        ShapeError: as `average_precision`.

    >>> ranking_loss(torch.tensor([[0.9, 0.8, 0.7]]), torch.tensor([[1, 0, 1]]))
    tensor([0.5000], dtype=torch.float64)

    Reference: G. Tsoumakas et al., Mining multi-label data, 2010.
    """
    check_inputs("scores", scores, targets)
    return of_each_ranking([pairs_not_won], scores, targets, "sample")[0]


def precision_averaged(places: Places) -> Float[Tensor, " rankings"]:
    """Average precision."""
    return places.sum(places.hits / places.at_least.double()) / places.positives


def pairs_won(places: Places) -> Float[Tensor, " rankings"]:
    """Area under the ROC curve."""
    lost = places.at_least - places.hits - places.tied_negatives / 2.0
    return 1 - places.sum(lost) / _pairs(places)


def recall_held(places: Places, precision: float) -> Float[Tensor, " rankings"]:
    """Recall at fixed precision."""
    return best_of(places, partial(recall_if_precise, precision=precision))


def best_f1(places: Places) -> Float[Tensor, " rankings"]:
    """The highest F1 that any threshold reaches."""
    return best_of(places, f1)


def best_of(places: Places, worth: Worth) -> Float[Tensor, " rankings"]:
    """What the best cut is worth; NaN without a positive."""
    return places.largest(worth(places.hits, places.at_least, places.positives[places.row]))


def coverage(places: Places) -> Float[Tensor, " rankings"]:
    """Coverage error."""
    return places.largest(places.at_least)


def pairs_not_won(places: Places) -> Float[Tensor, " rankings"]:
    """Ranking loss."""
    return places.sum(places.at_least - places.hits) / _pairs(places)


def _pairs(places: Places) -> Float[Tensor, " rankings"]:
    """How many pairs of a positive and a negative there are; 0 divides to NaN."""
    return (places.positives * (places.known - places.positives)).double()


def check_precision(precision: float) -> None:
    """Refuse a precision outside 0 to 1."""
    if not 0 < precision <= 1:
        raise OptionError(f"precision {precision} must be above 0 and at most 1")
