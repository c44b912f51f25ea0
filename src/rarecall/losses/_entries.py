"""One term per entry, its weight and their sum: what all pointwise losses are made of."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rarecall.losses import _kernel
from rarecall.losses._shared import REDUCTIONS, check_choice, reduce_terms, weight_of


class Terms(NamedTuple):
    """The term of an entry if it is present, absent or unknown; None: an unknown entry has none."""

    present: Tensor
    absent: Tensor
    unknown: Tensor | None = None


def cross_entropy_terms(logits: Tensor) -> Terms:
    """-log p and -log(1 - p)."""
    return Terms(-F.logsigmoid(logits), -F.logsigmoid(-logits))


def focal_terms(logits: Tensor, gamma_present: float | Tensor, gamma_absent: float | Tensor | None = None) -> Terms:
    """-(1 - p)^γ log p and -p^γ log(1 - p), with powers in log space."""
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    absent = gamma_present if gamma_absent is None else gamma_absent
    return Terms(-torch.exp(gamma_present * log_q) * log_p, -torch.exp(absent * log_p) * log_q)


def reduce_entries(
    logits: Tensor,
    targets: Tensor,
    formula: Callable[[Tensor], Terms],
    reduction: str,
    *,
    call: _kernel.Call | None = None,
    every: bool = False,
    soft: float | Tensor = 1.0,
) -> Tensor:
    """Add up `y · present + (1 - y) · absent`, and `unknown` where y is -1.

    Args:
        logits: (..., N, C), as `prepare` returns them.
        targets: (..., N, C), likewise.
        formula: the terms of logits.
        reduction: `mean` is over the known entries, or over every one.
        call: the same for the kernel.
        every: unknown entries have a term and count.
        soft: what entries with a target between 0 and 1 are weighed by.
    """
    check_choice("reduction", reduction, REDUCTIONS)

    def plain(logits: Tensor) -> Tensor:
        unknown = targets < 0
        terms = formula(logits if every else torch.where(unknown, 0.0, logits))
        entries = targets * terms.present + (1 - targets) * terms.absent
        if isinstance(soft, Tensor) or soft != 1:
            entries = torch.where((targets > 0) & (targets < 1), soft * entries, entries)
        if every:
            entries = torch.where(unknown, 0.0 if terms.unknown is None else terms.unknown, entries)
        counted = torch.ones_like(unknown) if every else ~unknown
        return reduce_terms(entries, counted, (-2, -1), targets.shape[-2], reduction)

    if call is None or reduction == "none" or not _kernel.takes(logits, targets, call):
        return plain(logits)
    counts = _kernel.count(targets)
    if counts.wrong:
        return plain(logits)
    scale = weight_of(reduction, targets.numel() if every else counts.known, targets.shape[0])
    return _kernel.pointwise(logits, targets, call, (scale, scale, scale if every else 0.0), not counts.soft, plain)


def balanced_sides(
    logits: Tensor,
    targets: Tensor,
    formula: Callable[[Tensor], Terms],
    negatives: float | Tensor | None,
    beta: float | Tensor,
    reduction: str,
    *,
    call: _kernel.Call | None = None,
) -> Tensor:
    """The mean over positives plus β times the mean over negatives, so that neither drowns the other.

    Args:
        logits: (..., N, C), as `prepare` returns them.
        targets: (..., N, C), likewise.
        formula: the terms of logits.
        negatives: how many the negatives are; None counts them.
        beta: the weight of the negatives, of the leading shape with two more dimensions.
        reduction: `mean` adds the two means, the others take β · absent as the term of a negative.
        call: the same for the kernel.
    """
    check_choice("reduction", reduction, REDUCTIONS)

    def plain(logits: Tensor) -> Tensor:
        known = targets >= 0
        terms = formula(torch.where(known, logits, 0.0))
        present = torch.where(known, targets * terms.present, 0.0)
        absent = torch.where(known, beta * (1 - targets) * terms.absent, 0.0)
        if reduction != "mean":
            return reduce_terms(present + absent, known, (-2, -1), targets.shape[-2], reduction)
        positives = targets.clamp(min=0).sum((-2, -1))
        others = torch.where(known, 1 - targets, 0.0).sum((-2, -1)) if negatives is None else negatives
        return _mean(present.sum((-2, -1)), positives) + _mean(absent.sum((-2, -1)), others)

    if call is None or reduction == "none" or isinstance(beta, Tensor) or not _kernel.takes(logits, targets, call):
        return plain(logits)
    counts = _kernel.count(targets)
    if counts.wrong:
        return plain(logits)
    others = counts.known - counts.present if negatives is None else float(negatives)
    if reduction == "mean":
        scales = (1 / counts.present if counts.present else 0.0, beta / others if others else 0.0)
    else:
        each = weight_of(reduction, 0, targets.shape[0])
        scales = (each, each * beta)
    return _kernel.pointwise(logits, targets, call, (*scales, 0.0), not counts.soft, plain)


def _mean(total: Tensor, number: float | Tensor) -> Tensor:
    if isinstance(number, Tensor):
        return total / torch.where(number > 0, number, 1.0)
    return total / number if number else total * 0
