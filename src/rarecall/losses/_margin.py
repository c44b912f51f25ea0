"""Losses that rank: a log-sum-exp margin between the positives and the negatives of a row or a column.

One primitive carries them all. `T · LSE(z / T)` over a set is a smooth maximum, so the hardest negative is
`T LSE_n(z / T)` and the hardest positive, the one that scores lowest, `-T LSE_p(-z / T)`. `hardest` gives both for
every row, every column, or both ways at once; a loss says what to do with the two.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rarecall.errors import OptionError
from rarecall.losses import _kernel
from rarecall.losses._gradient import Part, in_blocks, pays_in_blocks
from rarecall.losses._shared import (
    REDUCTIONS,
    Logits,
    Option,
    Reduction,
    Targets,
    check_choice,
    check_number,
    check_range,
    prepare,
    reduce_terms,
    require,
    spread,
    weight_of,
)

WAYS = ("both", "sample", "class", "joint")
TWO_WAYS = ("both", "sample", "class")
DIMENSIONS = {"both": (-1, -2), "class": (-2,)}  # along which sets lie; along the rows otherwise
LEFT_OUT = -1e30  # stands for -∞, of which a set of nothing else would have a gradient that is not a number


def masked_logsumexp(values: Tensor, excluded: Tensor, dim: int, temperature: Option = 1.0) -> Tensor:
    """`T log Σ exp(v / T)` over the entries that are not `excluded`, keeping `dim`; the maximum at T = 0.

    An empty set gives -∞ without any gradient, where `torch.logsumexp` would have NaN.
    """
    if values.shape[dim] == 0:
        return values.sum(dim, keepdim=True) - torch.inf
    kept = values.masked_fill(excluded, LEFT_OUT)
    scale = spread(temperature)
    if isinstance(scale, Tensor):
        smooth = (kept / torch.where(scale > 0, scale, 1.0)).logsumexp(dim, keepdim=True)
        result = torch.where(scale > 0, scale * smooth, kept.amax(dim, keepdim=True))
    elif scale == 0:
        result = kept.amax(dim, keepdim=True)
    elif scale == 1:
        result = kept.logsumexp(dim, keepdim=True)
    else:
        result = scale * (kept / scale).logsumexp(dim, keepdim=True)
    return torch.where(result <= LEFT_OUT / 2, -torch.inf, result)


class Hardest(NamedTuple):
    """Smooth maxima over the negatives and over the negated positives of each set, (..., sets); -∞ if none.

    The sets are rows, then columns, as the ways ask for; `sizes` tells how many of each.
    """

    negative: Tensor
    positive: Tensor
    sizes: tuple[int, ...]


def hardest(
    logits: Tensor,
    targets: Tensor,
    ways: str,
    *,
    negative: Option = 1.0,
    positive: Option = -1.0,
    temperatures: tuple[Option, Option] = (1.0, 1.0),
) -> Hardest:
    """`T LSE(f z / T)` over negatives and over positives, for each row, each column, both, or all in one.

    Args:
        logits: (..., N, C), as `prepare` returns them.
        targets: (..., N, C), likewise.
        ways: one of `WAYS`.
        negative: the factor f of negatives.
        positive: the factor f of positives.
        temperatures: T of the two; 0 takes the maximum.
    """
    scaled = (spread(negative) * logits, targets != 0), (spread(positive) * logits, ~(targets > 0))
    return extremes(scaled, ways, temperatures)


def extremes(
    scores: Sequence[tuple[Tensor, Tensor]], ways: str, temperatures: tuple[Option, Option] = (1.0, 1.0)
) -> Hardest:
    """The same of any scores of negatives and of positives, each with what is excluded."""
    if ways == "joint":
        scores = [(values.flatten(-2)[..., None, :], out.flatten(-2)[..., None, :]) for values, out in scores]
    dims = DIMENSIONS.get(ways, (-1,))
    sizes = tuple(scores[0][0].shape[-3 - dim] for dim in dims)
    negative, positive = (
        torch.cat([masked_logsumexp(values, excluded, dim, temperature).squeeze(dim) for dim in dims], -1)
        for (values, excluded), temperature in zip(scores, temperatures, strict=True)
    )
    return Hardest(negative, positive, sizes)


def rank(
    logits: Tensor,
    targets: Tensor,
    ways: str,
    reduction: str,
    formula: Callable[[Tensor, Tensor, str, str], Tensor],
    call: _kernel.Ranking,
) -> Tensor:
    """The loss by its formula of logits, targets, ways and reduction, or by the kernel where that can compute it."""

    def plain(logits: Tensor) -> Tensor:
        return formula(logits, targets, ways, reduction)

    if reduction == "none" or (ways == "joint" and call.bucket):
        return plain(logits)
    weight = 0.0 if reduction == "mean" else weight_of(reduction, 0, logits.shape[0])
    if _kernel.takes(logits, targets, call):
        if ways != "joint":
            return _kernel.ranking(logits, targets, call, ways, weight, plain)
        shape = logits.shape
        flat = (logits.reshape(1, -1), targets.reshape(1, -1))
        return _kernel.ranking(*flat, call, "sample", weight, lambda flat: plain(flat.reshape(shape)))
    if ways == "joint" or call.bucket or not pays_in_blocks(logits, targets) or not call.fits(logits):
        return plain(logits)

    def part(way: str, dim: int) -> Part:
        counted = ((targets > 0) if call.needs_positive else (targets >= 0)).any(dim).sum()
        share = weight or 1 / counted.clamp(min=1).to(logits.dtype)
        return lambda z, y: share * formula(z, y, way, "sum")

    parts = [(0, part("sample", 1))] * (ways != "class") + [(1, part("class", 0))] * (ways != "sample")
    return in_blocks(logits, targets, parts, plain)


def reduce_sets(terms: Tensor, counted: Tensor, sizes: Sequence[int], samples: int, reduction: str) -> Tensor:
    """Reduce the terms of rows and columns; the mean is one of each, added up."""
    if reduction != "mean" or len(sizes) == 1:
        return reduce_terms(terms, counted, (-1,), samples, reduction)
    with torch.no_grad():
        parts = counted.to(terms.dtype).split(list(sizes), -1)
        weights = torch.cat([part / part.sum(-1, keepdim=True).clamp(min=1) for part in parts], -1)
    return (torch.where(counted, terms, 0.0) * weights).sum(-1)


def check_reduction(reduction: str, ways: str) -> None:
    """Refuse an unknown reduction, and `none` where the terms have no common shape."""
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "none" and ways in ("both", "joint"):
        raise OptionError(f"reduction='none' with ways={ways!r} has no shape: take ways='sample' or 'class'")


def softmax_regression(
    logits: Logits,
    targets: Targets,
    *,
    ways: str = "sample",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Softmax cross-entropy (SR) against the positives of a row or column, as a distribution of equal shares.

    .. math:: -\sum_c \tilde y_c \log \frac{e^{z_c}}{\sum_{c'} e^{z_{c'}}}, \quad
        \tilde y_c = \frac{y_c}{\sum_{c'} y_{c'}}

    With one positive per row it is the usual single-label cross-entropy. It pulls the logits of several positives
    to the same value.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown (left out of the softmax), or soft in [0, 1].
        ways: `sample` (rows), `class` (columns) or `both`.
        reduction: `mean` over the rows or columns with a positive (for `both`, the two means added), `sum`,
            `batchmean`, or `none`: rows (..., N) or columns (..., C).

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: unknown ways, or `none` with `both`.

    >>> softmax_regression(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[1, 1, 0]]))
    tensor(1.0986)

    References: Q. Dong et al., AAAI 2019, equation 4; T. Kobayashi, Two-way multi-label loss, CVPR 2023, equation
    18 (several positives).
    """
    check_choice("ways", ways, TWO_WAYS)
    check_reduction(reduction, ways)
    z, y = torch.broadcast_tensors(*prepare(logits, targets))

    def formula(z: Tensor, y: Tensor, ways: str, reduction: str) -> Tensor:
        below, above, sizes = hardest(z, y, ways, positive=1.0)
        weight = torch.where(y > 0, y, 0.0)
        weighted = torch.where(y > 0, y * z, 0.0)
        dims = DIMENSIONS.get(ways, (-1,))
        share = torch.cat([weighted.sum(dim) / _or_one(weight.sum(dim)) for dim in dims], -1)
        counted = above != -torch.inf
        # Without -∞, whose second derivative is NaN.
        pair = torch.stack([below.clamp(min=LEFT_OUT), torch.where(counted, above, 0.0)])
        return reduce_sets(pair.logsumexp(0) - share, counted, sizes, z.shape[-2], reduction)

    call = _kernel.Ranking(_kernel.SetTerm.SOFTMAX, (1.0, 1.0), needs_positive=True)
    return rank(z, y, ways, reduction, formula, call)


def lsep(
    logits: Logits,
    targets: Targets,
    *,
    gamma: Option = 1.0,
    ways: str = "sample",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Log-sum-exp pairwise loss (LSEP): every positive above every negative of its row; C-LSEP: of its column.

    .. math:: \log\Big(1 + \sum_p \sum_n e^{\gamma (z_n - z_p)}\Big)

    The double sum factorises, so this costs O(N · C) and is stable at any logit. It does not change when the
    logits of a row (or column) are shifted. At γ = 1 its terms, and so every reduction but the mean, are those of the
    two-way loss of that way with both temperatures 1; the mean is too where every row with a known entry has a
    positive, because a row without one counts here, with value 0, and not there.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, or -1 unknown (in neither set).
        gamma: γ, 1 (5 in C-LSEP as the distributionally robust loss uses it).
        ways: `sample` (LSEP), `class` (C-LSEP) or `both`.
        reduction: `mean` over the rows or columns with a known entry (for `both`, the two means added), `sum`,
            `batchmean`, or `none`: rows (..., N) or columns (..., C).

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range, or `none` with `both`.

    >>> lsep(torch.tensor([[1.0, 0.0]]), torch.tensor([[1, 0]]))
    tensor(0.3133)

    References: Y. Li et al., Improving pairwise ranking for multi-label image classification, CVPR 2017; D. Lin et
    al., ECCV 2024, equations 3 and 7.
    """
    check_range("gamma", gamma, 0.0)
    check_choice("ways", ways, TWO_WAYS)
    check_reduction(reduction, ways)
    z, y = torch.broadcast_tensors(*prepare(logits, targets))

    def formula(z: Tensor, y: Tensor, ways: str, reduction: str) -> Tensor:
        sets = hardest(z, y, ways, negative=gamma, positive=-gamma)
        terms = F.softplus(sets.negative + sets.positive)
        return reduce_sets(terms, _any_known(sets), sets.sizes, z.shape[-2], reduction)

    return rank(z, y, ways, reduction, formula, _kernel.Ranking(_kernel.SetTerm.MARGIN, (gamma, -gamma)))


def zlpr(
    logits: Logits,
    targets: Targets,
    *,
    ways: str = "sample",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Zero-bounded log-sum-exp and pairwise rank-based loss (ZLPR): positives above 0, negatives below.

    .. math:: \log\Big(1 + \sum_p e^{-z_p}\Big) + \log\Big(1 + \sum_n e^{z_n}\Big)

    Unlike LSEP it knows zero, so that logits above it can be taken as decisions. With one class it is the binary
    cross-entropy; it is the multi-similarity loss at temperatures 1.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, or -1 unknown (in neither set).
        ways: `sample` (rows), `class` (columns: C-ZLPR) or `both`.
        reduction: `mean` over the rows or columns with a known entry (for `both`, the two means added), `sum`,
            `batchmean`, or `none`: rows (..., N) or columns (..., C).

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: unknown ways, or `none` with `both`.

    >>> zlpr(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 0]]))
    tensor(1.3863)

    References: J. Su et al., ZLPR: a novel loss for multi-label classification, 2022 (arXiv:2208.02955); D. Lin et
    al., ECCV 2024, equation 4.
    """
    return multi_similarity(logits, targets, ways=ways, reduction=reduction)


def multi_similarity(
    logits: Logits,
    targets: Targets,
    *,
    positive_temperature: Option = 1.0,
    negative_temperature: Option = 1.0,
    ways: str = "sample",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Multi-similarity loss: the hardest positive above 0 and the hardest negative below, each by itself.

    .. math::

        \mathrm{softplus}\Big(T_P \log \sum_p e^{-z_p / T_P}\Big) +
        \mathrm{softplus}\Big(T_N \log \sum_n e^{z_n / T_N}\Big)

    At temperatures 1 it is ZLPR.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, or -1 unknown (in neither set).
        positive_temperature: T_P, 1; 0 takes the hard minimum.
        negative_temperature: T_N, 1; 0 takes the hard maximum.
        ways: `sample` (rows), `class` (columns) or `both`.
        reduction: `mean` over the rows or columns with a known entry (for `both`, the two means added), `sum`,
            `batchmean`, or `none`: rows (..., N) or columns (..., C).

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range, or `none` with `both`.

    >>> multi_similarity(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 0]]), positive_temperature=4.0)
    tensor(1.3863)

    References: X. Wang et al., Multi-similarity loss with general pair weighting for deep metric learning, CVPR
    2019; T. Kobayashi, Two-way multi-label loss, CVPR 2023, equation 20 and Table 4 (temperatures).
    """
    check_range("positive_temperature", positive_temperature, 0.0)
    check_range("negative_temperature", negative_temperature, 0.0)
    check_choice("ways", ways, TWO_WAYS)
    check_reduction(reduction, ways)
    z, y = torch.broadcast_tensors(*prepare(logits, targets))
    temperatures = (negative_temperature, positive_temperature)

    def formula(z: Tensor, y: Tensor, ways: str, reduction: str) -> Tensor:
        sets = hardest(z, y, ways, temperatures=temperatures)
        terms = F.softplus(sets.negative) + F.softplus(sets.positive)
        return reduce_sets(terms, _any_known(sets), sets.sizes, z.shape[-2], reduction)

    call = _kernel.Ranking(_kernel.SetTerm.SEPARATE, _factors(temperatures), temperatures)
    return rank(z, y, ways, reduction, formula, call)


def circle(
    logits: Logits,
    targets: Targets,
    *,
    margin: Option = 0.25,
    gamma: Option = 32.0,
    ways: str = "sample",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Circle loss on probabilities: pairs, each side paced by how far it is from where it should be.

    .. math::

        \mathrm{softplus}\big(\mathrm{LSE}_n(\gamma\, a_n (s - m)) + \mathrm{LSE}_p(-\gamma\, a_p (s - 1 + m))\big),
        \quad s = \sigma(z),\; a_n = [s + m]_+,\; a_p = [1 + m - s]_+

    where the paces a are constants in the gradient.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, or -1 unknown (in neither set).
        margin: m, 0.25 (Sun et al. for face recognition; Lin et al. 2024 print none).
        gamma: γ, 32 (our choice; Lin et al. 2024 print none).
        ways: `sample` (rows), `class` (columns) or `both`.
        reduction: `mean` over the rows or columns with a known entry (for `both`, the two means added), `sum`,
            `batchmean`, or `none`: rows (..., N) or columns (..., C).

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range, or `none` with `both`.

    >>> circle(torch.tensor([[4.0, -4.0]]), torch.tensor([[1, 0]]))
    tensor(0.0185)

    Reference: Y. Sun et al., Circle loss: a unified perspective of pair similarity optimization, CVPR 2020.
    """
    check_range("margin", margin, 0.0)
    check_range("gamma", gamma, 0.0)
    check_choice("ways", ways, TWO_WAYS)
    check_reduction(reduction, ways)
    z, y = torch.broadcast_tensors(*prepare(logits, targets))
    m, pace = spread(margin), spread(gamma)

    def formula(z: Tensor, y: Tensor, ways: str, reduction: str) -> Tensor:
        s = torch.sigmoid(torch.where(y < 0, 0.0, z))
        negative = pace * (s.detach() + m).clamp(min=0) * (s - m)
        positive = -pace * (1 + m - s.detach()).clamp(min=0) * (s - 1 + m)
        sets = extremes(((negative, y != 0), (positive, ~(y > 0))), ways)
        terms = F.softplus(sets.negative + sets.positive)
        return reduce_sets(terms, _any_known(sets), sets.sizes, z.shape[-2], reduction)

    call = _kernel.Ranking(_kernel.SetTerm.MARGIN, (gamma, margin), score=_kernel.SetScore.CIRCLE)
    return rank(z, y, ways, reduction, formula, call)


def two_way(
    logits: Logits,
    targets: Targets,
    *,
    positive_temperature: Option = 4.0,
    negative_temperature: Option = 1.0,
    ways: str = "both",
    bias: Option = 0.0,
    bucket_size: int | None = None,
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
        bucket_size: columns (and the joint set) reach over so many consecutive rows, and the means of the buckets
            that have a positive are averaged: 128 in the paper, where a bucket is what one device holds. None:
            the whole batch.
        reduction: `mean` over the counted rows or columns of each way, `sum`, `batchmean`, or `none`: rows
            (..., N) for `sample`, columns (..., C) for `class`, (..., buckets, C) in buckets; the other ways have
            no common shape.

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
    check_reduction(reduction, ways)
    check_number("bias", bias)
    fits = bucket_size is None or (isinstance(bucket_size, int) and bucket_size >= 1)
    require(fits, "bucket_size", bucket_size, "a number of rows, or None")
    z, y = torch.broadcast_tensors(*prepare(logits, targets))

    temperatures = (negative_temperature, positive_temperature)
    bucketed = bucket_size is not None and ways != "sample" and z.shape[-2] > bucket_size

    def whole(z: Tensor, y: Tensor, ways: str, reduction: str) -> Tensor:
        sets = hardest(z, y, ways, temperatures=temperatures)
        terms = F.softplus(sets.negative + sets.positive + _leading(bias))
        return reduce_sets(terms, sets.positive != -torch.inf, sets.sizes, z.shape[-2], reduction)

    def in_buckets(z: Tensor, y: Tensor, ways: str, reduction: str) -> Tensor:
        across, inner = "class" if ways == "both" else ways, "sum" if reduction == "batchmean" else reduction
        labels = y.split(bucket_size, -2)
        buckets = [whole(*bucket, across, inner) for bucket in zip(z.split(bucket_size, -2), labels, strict=True)]
        if reduction == "none":
            return torch.stack(buckets, -2)
        with_positive = torch.stack([(part > 0).any(-1).any(-1) for part in labels], -1)
        value = reduce_terms(torch.stack(buckets, -1), with_positive, (-1,), z.shape[-2], reduction)
        return value + whole(z, y, "sample", reduction) if ways == "both" else value

    call = _kernel.Ranking(
        _kernel.SetTerm.MARGIN,
        _factors(temperatures),
        temperatures,
        bias,
        needs_positive=True,
        bucket=bucket_size if bucketed else None,
    )
    return rank(z, y, ways, reduction, in_buckets if bucketed else whole, call)


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
    check_reduction(reduction, "class")
    of_negatives = 1.0 if negative_gamma is None else negative_gamma
    of_positives = 1.0 if positive_gamma is None else positive_gamma
    second = (negative_gamma is not None, positive_gamma is not None)

    def formula(z: Tensor, y: Tensor, ways: str, reduction: str) -> Tensor:
        sets = hardest(z, y, ways, negative=gamma, positive=-gamma)
        parts = [torch.zeros_like(sets.negative), sets.negative + sets.positive]
        if any(second):
            bounds = hardest(z, y, ways, negative=of_negatives, positive=-of_positives)
            parts += [bound for bound, wanted in zip(bounds[:2], second, strict=True) if wanted]
        terms = torch.stack(torch.broadcast_tensors(*parts)).logsumexp(0)
        return reduce_sets(terms, _any_known(sets), sets.sizes, z.shape[-2], reduction)

    factors = (gamma, -gamma, of_negatives, -of_positives) if any(second) else (gamma, -gamma)
    call = _kernel.Ranking(_kernel.SetTerm.CONSTRAINED, factors, second=second)
    return rank(z, y, "class", reduction, formula, call)


def _or_one(number: Tensor) -> Tensor:
    """What the sum over a set is divided by; an empty one by 1."""
    return torch.where(number > 0, number, 1.0)


def _any_known(sets: Hardest) -> Tensor:
    return (sets.negative != -torch.inf) | (sets.positive != -torch.inf)


def _leading(option: Option) -> Option:
    """Let an option of the leading shape broadcast against (..., sets)."""
    return option[..., None] if isinstance(option, Tensor) and option.ndim else option


def _factors(temperatures: tuple[Option, Option]) -> tuple[Option, Option]:
    """1 / T of the two, for a kernel that is not asked if a temperature is 0 or a tensor."""
    negative, positive = (1.0 if isinstance(one, Tensor) or one == 0 else 1 / one for one in temperatures)
    return negative, -positive
