"""Losses that rank: a log-sum-exp margin between the positives and the negatives of a row or a column.

One primitive carries them all. `T · LSE(z / T)` over a set is a smooth maximum, so
`T LSE_n(z / T) + T LSE_p(-z / T)` is how far the highest negative stands above the lowest positive.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rarecall.errors import OptionError
from rarecall.losses._shared import (
    Logits,
    Option,
    Reduction,
    Targets,
    check_choice,
    check_range,
    prepare,
    reduce_terms,
    spread,
)

WAYS = ("both", "sample", "class", "joint")
LEFT_OUT = -1e30  # stands for -∞, with which exponentials are several times slower and softmax is NaN


class _LogSumExp(torch.autograd.Function):
    """`log Σ exp(v)` over one dimension, kept. Its gradient is the softmax, which `torch.logsumexp` does not use.

    The gradient is made of differentiable operations on the input, so that second derivatives are right too.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, dim: int) -> Tensor:
        # The softmax at the maximum is 1 / Σ exp(v - max).
        return values.amax(dim, keepdim=True) - values.softmax(dim).amax(dim, keepdim=True).log()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:  # noqa: ARG004
        values, ctx.dim = inputs
        ctx.save_for_backward(values)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        return gradient[0] * values.softmax(ctx.dim), None


def masked_logsumexp(values: Tensor, excluded: Tensor, dim: int, temperature: Option = 1.0) -> Tensor:
    """`T log Σ exp(v / T)` over the entries that are not `excluded`, keeping `dim`; the maximum at T = 0.

    An empty set gives -∞ without any gradient, where `torch.logsumexp` would have NaN.
    """
    if values.shape[dim] == 0:
        return values.sum(dim, keepdim=True) - torch.inf
    kept = values.masked_fill(excluded, LEFT_OUT)
    scale = spread(temperature)
    if isinstance(scale, Tensor):
        smooth = _LogSumExp.apply(kept / torch.where(scale > 0, scale, 1.0), dim)
        result = torch.where(scale > 0, scale * smooth, kept.amax(dim, keepdim=True))
    elif scale == 0:
        result = kept.amax(dim, keepdim=True)
    elif scale == 1:
        result = _LogSumExp.apply(kept, dim)
    else:
        result = scale * _LogSumExp.apply(kept / scale, dim)
    return torch.where(result > LEFT_OUT / 2, result, -torch.inf)


def two_way(
    logits: Logits,
    targets: Targets,
    *,
    positive_temperature: Option = 4.0,
    negative_temperature: Option = 1.0,
    ways: str = "both",
    bias: Option = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Two-way loss: positives above negatives along every sample and along every class.

    .. math::

        \mathrm{softplus}\big(T_N \log \sum_{n} e^{z_n / T_N} + T_P \log \sum_{p} e^{-z_p / T_P} + \epsilon\big)

    over each row (a sample's classes) and each column (a class's samples in the batch); `both` adds the two
    means. A row or column counts if it has a positive; one without negatives counts with value 0. The loss
    does not change when all logits are shifted, so a decision needs a fitted threshold. With one positive
    per row and both temperatures 1, the sample-wise loss is the softmax cross-entropy.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, or -1 unknown (in neither set).
        positive_temperature: T_P, 4 (Kobayashi 2023, Table 1); 0 takes the hard minimum.
        negative_temperature: T_N, 1; 0 takes the hard maximum.
        ways: `both`, `sample` (rows), `class` (columns) or `joint` (the whole batch as one set).
        bias: ε added inside the softplus, 0 (Table 2 of the paper).
        reduction: `mean` over the counted rows or columns of each way, `sum`, `batchmean`, or `none`: rows
            (..., N) for `sample`, columns (..., C) for `class`; the other ways have no common shape.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range, or `none` with `both` or `joint`.

    >>> two_way(torch.tensor([[2.0, -1.0]]), torch.tensor([[1, 0]]), ways="sample")
    tensor(0.0486)

    Reference: T. Kobayashi, Two-way multi-label loss, CVPR 2023.
    """
    check_choice("ways", ways, WAYS)
    check_range("positive_temperature", positive_temperature, 0.0)
    check_range("negative_temperature", negative_temperature, 0.0)
    if reduction == "none" and ways in ("both", "joint"):
        raise OptionError(f"reduction='none' with ways={ways!r} has no shape: take ways='sample' or 'class'")
    z, y = torch.broadcast_tensors(*prepare(logits, targets))
    samples = z.shape[-2]
    if ways == "joint":
        z, y = z.flatten(-2)[..., None, :], y.flatten(-2)[..., None, :]
    no_positive, no_negative = y <= 0, y != 0

    def along(dim: int) -> Tensor:
        lowest_positive = masked_logsumexp(-z, no_positive, dim, positive_temperature)
        highest_negative = masked_logsumexp(z, no_negative, dim, negative_temperature)
        counted = lowest_positive > -torch.inf
        terms = F.softplus(highest_negative + lowest_positive + spread(bias))
        terms = reduce_terms(terms, counted, (-2, -1), samples, reduction)
        return terms.squeeze(dim) if reduction == "none" else terms

    if ways == "both":
        return along(-1) + along(-2)
    return along(-2 if ways == "class" else -1)


def distributionally_robust(
    logits: Logits,
    targets: Targets,
    *,
    gamma: Option = 5.0,
    negative_gamma: Option | None = 7.0,
    positive_gamma: Option | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Distributionally robust loss (DR): rank within each class, and keep its negatives below zero.

    .. math::

        \log\big(1 + \sum_p \sum_n e^{\gamma (z_n - z_p)} + \sum_n e^{\gamma_- z_n} + \sum_p e^{-\gamma_+ z_p}\big)

    down each column of the batch, averaged over the classes. The double sum factorises, so this costs
    O(N · C) and is stable at any logit, where the sum of pairs overflows from |z| about 12. Without either
    constraint it is C-LSEP.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, or -1 unknown (in neither set).
        gamma: γ of the pairs, 5 (the authors').
        negative_gamma: γ₋ of the constraint on negatives: 7 (the authors' on VOC-LT; 10 on COCO-LT), None: no
            constraint.
        positive_gamma: γ₊ of the constraint on positives, None: no constraint. Alone it is the paper's PGC,
            with `negative_gamma` its GC.
        reduction: `mean` over the classes with a known entry, `sum`, `batchmean` (sum / N) or `none`: (..., C).

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> distributionally_robust(torch.tensor([[1.0], [-1.0]]), torch.tensor([[1], [0]]), gamma=1.0)
    tensor(0.1277)

    Reference: D. Lin et al., Distributionally robust loss for long-tailed multi-label image classification,
    ECCV 2024.
    """
    for name, value in (
        ("gamma", gamma),
        ("negative_gamma", negative_gamma),
        ("positive_gamma", positive_gamma),
    ):
        check_range(name, value, 0.0)
    z, y = torch.broadcast_tensors(*prepare(logits, targets))
    no_positive, no_negative = y <= 0, y != 0

    def lse(scaled: Tensor, excluded: Tensor) -> Tensor:
        return masked_logsumexp(scaled, excluded, -2)

    pairs = lse(spread(gamma) * z, no_negative) + lse(-spread(gamma) * z, no_positive)
    parts = [torch.zeros_like(pairs), pairs]
    if negative_gamma is not None:
        parts.append(lse(spread(negative_gamma) * z, no_negative))
    if positive_gamma is not None:
        parts.append(lse(-spread(positive_gamma) * z, no_positive))
    terms = torch.stack(torch.broadcast_tensors(*parts)).logsumexp(0)
    known = (y >= 0).any(-2, keepdim=True)
    terms = reduce_terms(terms, known, (-2, -1), z.shape[-2], reduction)
    return terms.squeeze(-2) if reduction == "none" else terms
