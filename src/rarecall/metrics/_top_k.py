"""Decisions for the highest scores: the k highest of each sample or class, and the highest of all."""

from typing import Any, Literal, overload

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rarecall.errors import OptionError, ShapeError
from rarecall.metrics._decisions import Decided, Scores, Targets, check_way, precision_recall_f1, sample_blocks
from rarecall.metrics._shared import check_finite, check_inputs


def top_k(scores: Scores, k: int, *, way: str = "sample", targets: Targets | None = None) -> Decided:
    """Decide the k highest scores of each sample, or of each class.

    Equal scores at the last place are taken in the order of the classes (by class: of the samples), the first
    ones first. Where there are k known entries or fewer, all of them are decided.

    Args:
        scores: (..., N, C), higher means more likely; only their order counts.
        k: how many to decide, 1 or more.
        way: `sample` decides k classes of each sample, `class` k samples of each class. Default `sample`.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown: an unknown entry is never decided and takes no
            place among the k. Default None: every entry may be decided.

    Returns:
        (..., N, C), true where decided.

    Raises:
        OptionError: another `way`, or a `k` that is no whole number of 1 or more.
        ShapeError: the shapes differ, a score is not finite, or a target is not 1, 0 or -1.

    The protocol of DeepFashion is the balanced accuracy of the five highest classes of each image, over the
    classes and over the images:

    >>> scores, targets = torch.tensor([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0]]), torch.tensor([[1, 0, 1], [0, 1, 0]])
    >>> decided = top_k(scores, 2, targets=targets)
    >>> from rarecall.metrics import mean_accuracy
    >>> mean_accuracy(decided, targets), mean_accuracy(decided, targets, way="sample")
    (tensor(0.8333, dtype=torch.float64), tensor(0.8750, dtype=torch.float64))

    Reference: Q. Dong et al., Imbalanced deep learning by minority class incremental rectification, TPAMI 2018.
    """
    check_way(way)
    _check_k(k)
    if targets is None:
        check_finite("scores", scores)
        targets = torch.zeros((), device=scores.device).expand(scores.shape)
    else:
        check_inputs("scores", scores, targets)
    if way == "class":
        return _top_k_of_rows(scores.detach().mT, targets.mT, k).mT
    return _top_k_of_rows(scores.detach(), targets, k)


def _top_k_of_rows(scores: Tensor, targets: Tensor, k: int) -> Bool[Tensor, "*batch rows entries"]:
    return torch.cat([_top_k_of_block(*block, k) for block in sample_blocks(scores, targets)], -2)


def _top_k_of_block(scores: Tensor, targets: Tensor, k: int) -> Tensor:
    scores = torch.where(targets >= 0, scores, -torch.inf)
    last = scores.topk(min(k, scores.shape[-1]), -1).values[..., -1:]
    above = scores > last
    tied = (scores == last) & (targets >= 0)
    room = k - above.sum(-1, keepdim=True)
    return above | (tied & (tied.cumsum(-1, dtype=torch.int32) <= room))


@overload
def top_k_recall(
    scores: Scores,
    targets: Targets,
    k: int,
    *,
    average: str | None = ...,
    absent: str = ...,
    return_counts: Literal[False] = ...,
) -> Tensor: ...
@overload
def top_k_recall(
    scores: Scores,
    targets: Targets,
    k: int,
    *,
    average: str | None = ...,
    absent: str = ...,
    return_counts: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def top_k_recall(
    scores: Scores,
    targets: Targets,
    k: int,
    *,
    average: str | None = "micro",
    absent: str = "skip",
    return_counts: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Share of the present labels that are among the k highest known classes of their sample.

    Args:
        scores: (..., N, C), higher means more likely; only their order counts. Ties as in `top_k`.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out, and given no place among the k).
        k: how many classes of each sample are decided, 1 or more.
        average: `micro` takes all labels together (DeepFashion's), `macro` the mean over the classes, `sample`
            over the samples; None gives each class. Default `micro`.
        absent: as in `precision_recall_f1`. Default `skip`.
        return_counts: return also how many classes or samples have a known positive (`micro`: 1 or 0).

    Returns:
        The leading shape, float64, from 0 to 1; (..., C) of each class, NaN without a known positive.

    Raises:
        OptionError: another `average` or `absent`, or a `k` that is no whole number of 1 or more.
        ShapeError: as `top_k`.

    >>> top_k_recall(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[1, 1, 0]]), 2)
    tensor(0.5000, dtype=torch.float64)

    References: Y. Gong et al., Deep convolutional ranking for multilabel image annotation, ICLR 2014; Z. Liu et
    al., DeepFashion: powering robust clothes recognition and retrieval with rich annotations, CVPR 2016.
    """
    found, counts = precision_recall_f1(
        top_k(scores, k, targets=targets), targets, average=average, absent=absent, return_counts=True
    )
    return (found.recall, counts) if return_counts else found.recall


def top_1_accuracy(scores: Scores, classes: Int[Tensor, "*batch samples"]) -> Float[Tensor, "*batch"]:
    """Share of the samples whose one class has the highest score; of equal scores, the first class counts.

    Args:
        scores: (..., N, C), higher means more likely.
        classes: (..., N), the number of each sample's class from 0, or -1 where it is unknown (left out).

    Returns:
        The leading shape, float64, from 0 to 1; NaN if no class is known.

    Raises:
        ShapeError: the shapes do not fit, a score is not finite, or a class has no such number.

    >>> top_1_accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    tensor(0.5000, dtype=torch.float64)
    """
    check_finite("scores", scores)
    _check_classes(scores, classes)
    if not scores.numel():
        return torch.full(scores.shape[:-2], torch.nan, dtype=torch.float64, device=scores.device)
    right = (scores.argmax(-1) == classes).double()
    return torch.where(classes >= 0, right, torch.nan).nanmean(-1)


def _check_classes(scores: Tensor, classes: Any) -> None:
    if not isinstance(classes, Tensor) or classes.is_floating_point() or classes.shape != scores.shape[:-1]:
        found = f"{classes.dtype} {tuple(classes.shape)}" if isinstance(classes, Tensor) else type(classes).__name__
        raise ShapeError(f"classes must be whole numbers {tuple(scores.shape[:-1])}, one a sample, not {found}")
    outside = (classes < -1) | (classes >= scores.shape[-1])
    if outside.any():
        where = tuple(outside.nonzero()[0].tolist())
        raise ShapeError(
            f"the class at {where} is {classes[where].item()}: it must be from 0 to {scores.shape[-1] - 1}, or -1"
        )


def _check_k(k: Any) -> None:
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise OptionError(f"k={k}: it must be a whole number of 1 or more")
