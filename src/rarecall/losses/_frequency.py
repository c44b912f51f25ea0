"""Cross-entropy and focal loss with corrections for how often each class is present.

They all take `positives`, the number of training items in which each class is present, and most take `total`,
the number in which it is known: one number, or one for each class. A class without a positive (or without a
negative) counts as if it had one. `losses.build(name, labels=table.labels)` counts both.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rarecall.errors import OptionError
from rarecall.losses import _kernel
from rarecall.losses._entries import Terms, cross_entropy_terms, focal_terms, reduce_entries
from rarecall.losses._pointwise import binary_cross_entropy
from rarecall.losses._shared import (
    Logits,
    Option,
    PerClass,
    Reduction,
    Targets,
    Total,
    check_choice,
    check_number,
    check_range,
    per_class,
    prepare,
    require,
    spread,
)

MODES = ("by_class", "average_n", "average_w", "min_n")


class Counts(NamedTuple):
    """In how many items each class is present and in how many it is absent, (..., 1, C)."""

    present: Tensor
    absent: Tensor

    def positives(self) -> Tensor:
        """At least 1."""
        return self.present.clamp(min=1)

    def negatives(self) -> Tensor:
        """At least 1."""
        return self.absent.clamp(min=1)

    def total(self) -> Tensor:
        """At least 1."""
        return (self.present + self.absent).clamp(min=1)


def class_counts(like: Tensor, positives: PerClass, total: Total) -> Counts:
    """The counts as tensors like the logits.

    Raises:
        ShapeError: another number of classes than the logits have.
        OptionError: a negative count, or more positives than items.
    """
    present = per_class("positives", positives, like)
    every = total if isinstance(total, int | float) else per_class("total", total, like)
    absent = every - present
    if _kernel.can_look_at(present, absent) and absent.numel() and not torch.minimum(present, absent).amin() >= 0:
        raise _contradiction(present, absent)
    return Counts(present, absent)


def _contradiction(present: Tensor, absent: Tensor) -> OptionError:
    """The error for the first class whose counts cannot be."""
    present, absent = torch.broadcast_tensors(present, absent)
    place = tuple((~((present >= 0) & (absent >= 0))).nonzero()[0].tolist())
    n, total = present[place].item(), (present + absent)[place].item()
    of = "" if total == math.inf else f" of total={total:g}"
    return OptionError(f"positives of class {place[-1]} are {n:g}{of}: must be from 0 to the total")


def reweighted_cross_entropy(
    logits: Logits,
    targets: Targets,
    *,
    positives: PerClass,
    total: Total,
    power: Option = 0.5,
    gamma: Option | None = None,
    balance: Option = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Re-weighting (RW): every entry of a class weighs as much as the class is rare.

    .. math:: w_c\, \mathrm{BCE}(z, y), \quad w_c = (N / n_c)^{\text{power}}

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        positives: n, (C,), training items in which the class is present.
        total: N, training items in which it is known; a number or (C,).
        power: 0.5 (Lin et al. 2024: "the inverse square root of class frequency"), 0 leaves classes alone.
        gamma: γ of the focal form `balance · w · focal`; None: cross-entropy.
        balance: factor of the focal form only, 2 (the code of Wu et al. 2020).
        reduction: `mean` over known entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: shapes that do not fit, or counts of another number of classes.
        OptionError: an option out of its range, or more positives than items.

    >>> reweighted_cross_entropy(torch.zeros(1, 2), torch.zeros(1, 2), positives=torch.tensor([1, 4]), total=4)
    tensor(1.0397)

    Reference: T. Wu et al., Distribution-balanced loss for multi-label classification in long-tailed datasets,
    ECCV 2020, section 4.2.
    """
    check_range("power", power, 0.0)
    z, y = prepare(logits, targets)
    counts = class_counts(z, positives, total)
    return _weighted(z, y, (counts.total() / counts.positives()) ** spread(power), gamma, balance, reduction)


def frequency_weighted_cross_entropy(
    logits: Logits,
    targets: Targets,
    *,
    positives: PerClass,
    total: Total,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross-entropy whose positives weigh √(negatives / positives) of their class.

    .. math:: -\sqrt{\frac{N - n_c}{n_c}}\, y \log p - (1 - y) \log(1 - p)

    The cross-entropy that Kobayashi 2023 compares with is weighted by class frequency; how is not printed, and
    the square root is our choice.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        positives: n, (C,), training items in which the class is present.
        total: N, training items in which it is known; a number or (C,).
        reduction: `mean` over known entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: shapes that do not fit, or counts of another number of classes.
        OptionError: more positives than items.

    >>> frequency_weighted_cross_entropy(torch.zeros(1, 1), torch.ones(1, 1), positives=torch.tensor([1]), total=5)
    tensor(1.3863)

    Reference: T. Kobayashi, Two-way multi-label loss, CVPR 2023, section 4.3.
    """
    z, y = prepare(logits, targets)
    counts = class_counts(z, positives, total)
    return binary_cross_entropy(
        z, y, pos_weight=(counts.negatives() / counts.positives()).sqrt().squeeze(-2), reduction=reduction
    )


def attribute_weighted_cross_entropy(
    logits: Logits,
    targets: Targets,
    *,
    positives: PerClass,
    total: Total,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Cross-entropy as pedestrian attributes are usually weighted: the rarer kind of label weighs more.

    .. math:: e^{1 - r_c} \cdot -y \log p + e^{r_c} \cdot -(1 - y) \log(1 - p), \quad r_c = n_c / N

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        positives: n, (C,), training items in which the class is present.
        total: N, training items in which it is known; a number or (C,).
        reduction: `mean` over known entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: shapes that do not fit, or counts of another number of classes.
        OptionError: more positives than items.

    >>> attribute_weighted_cross_entropy(torch.zeros(1, 1), torch.ones(1, 1), positives=torch.tensor([1]), total=2)
    tensor(1.1428)

    Reference: D. Li et al., Multi-attribute learning for pedestrian attribute recognition in surveillance
    scenarios, ACPR 2015.
    """
    z, y = prepare(logits, targets)
    counts = class_counts(z, positives, total)
    rate = counts.positives() / counts.total()
    present_weight, absent_weight = torch.exp(1 - rate), torch.exp(rate)

    def formula(z: Tensor) -> Terms:
        present, absent, _ = cross_entropy_terms(z)
        return Terms(present_weight * present, absent_weight * absent)

    call = _kernel.Call(_kernel.CROSS_ENTROPY, present_weight=present_weight, absent_weight=absent_weight)
    return reduce_entries(z, y, formula, reduction, call=call)


def class_balanced(
    logits: Logits,
    targets: Targets,
    *,
    positives: PerClass,
    total: Total,
    beta: Option = 0.9,
    mode: str = "by_class",
    gamma: Option | None = 2.0,
    balance: Option = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Class-balanced loss (CB): classes weigh by the inverse of their effective number of samples.

    .. math:: w(n) = \frac{1 - \beta}{1 - \beta^{n}}, \quad \text{balance} \cdot w \cdot \mathrm{focal}(z, y)

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        positives: n, (C,), training items in which the class is present.
        total: N, training items in which it is known; a number or (C,).
        beta: β in [0, 1), 0.9 (the code of Wu et al. 2020); at 0 all classes weigh 1.
        mode: `by_class`: each entry weighs w(n) of its class. The others give every entry of a row the same
            weight, from the classes that are present in it: `average_n`: w of their mean count; `average_w`: the
            mean of their w; `min_n`: w of the smallest count. A row in which none is present weighs w(N), as a
            class would that every item has.
        gamma: focusing exponent, 2; None: cross-entropy instead of focal, and no balance.
        balance: factor of the focal form only, 2 (the code of Wu et al. 2020).
        reduction: `mean` over known entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: shapes that do not fit, or counts of another number of classes.
        OptionError: an option out of its range, or more positives than items.

    >>> class_balanced(torch.zeros(1, 1), torch.ones(1, 1), positives=torch.tensor([2]), total=5, gamma=None)
    tensor(0.3648)

    References: Y. Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019; T. Wu et al.,
    Distribution-balanced loss for multi-label classification in long-tailed datasets, ECCV 2020 (the modes).
    """
    check_choice("mode", mode, MODES)
    check_number("beta", beta)
    require(isinstance(beta, Tensor) or 0 <= beta < 1, "beta", beta, "at least 0 and below 1")
    z, y = prepare(logits, targets)
    counts = class_counts(z, positives, total)
    n = counts.positives()
    decay = spread(beta)
    log_decay = decay.log() if isinstance(decay, Tensor) else math.log(decay) if decay else -math.inf

    def weight(number: Tensor) -> Tensor:
        return (decay - 1) / torch.expm1(number * log_decay)  # 1 - β^n without its cancellation for β near 1

    if mode == "by_class":
        return _weighted(z, y, weight(n), gamma, balance, reduction)
    present = y.clamp(min=0)
    number = present.sum(-1, keepdim=True)
    divisor = torch.where(number > 0, number, 1.0)
    if not y.shape[-1]:
        return _weighted(z, y, n, gamma, balance, reduction)
    every = counts.total().amax(-1, keepdim=True)
    if mode == "average_n":
        of_row = weight(torch.where(number > 0, (present * n).sum(-1, keepdim=True) / divisor, every))
    elif mode == "average_w":
        mean = (present * weight(n)).sum(-1, keepdim=True) / divisor
        of_row = torch.where(number > 0, mean, weight(every))
    else:
        least = torch.where(y > 0, n, torch.inf).amin(-1, keepdim=True)
        of_row = weight(torch.where(number > 0, least, every))
    return _weighted(z, y, of_row, gamma, balance, reduction, by_row=True)


def distribution_balanced(
    logits: Logits,
    targets: Targets,
    *,
    positives: PerClass,
    total: Total,
    alpha: Option = 0.1,
    beta: Option = 10.0,
    mu: Option = 0.2,
    negative_scale: Option = 2.0,
    init_bias: Option = 0.05,
    gamma: Option | None = 2.0,
    balance: Option = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Distribution-balanced loss (DB): re-balanced weights and a tolerant push on negatives.

    .. math::

        r_{ic} = \frac{1 / n_c}{\sum_j y_{ij} / n_j}, \quad w_{ic} = \sigma(\beta (r_{ic} - \mu)) + \alpha, \quad
        b_c = -\log\Big(\frac{N}{n_c} - 1\Big) \frac{\text{init\_bias}}{s}

    The logit z + b is scaled by s for negatives only, and their weight divided by s; the loss is the weighted
    focal loss of it, times the balance, or without γ the weighted cross-entropy.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        positives: n, (C,), training items in which the class is present.
        total: N, training items in which it is known; a number or (C,).
        alpha: α, least weight, 0.1.
        beta: β, slope, 10.
        mu: μ, where the weight rises, 0.2 (the authors' on COCO-LT; 0.3 on VOC-LT).
        negative_scale: s, 2 (COCO-LT; 5 on VOC-LT).
        init_bias: 0.05.
        gamma: γ, 2; None: cross-entropy, and no balance.
        balance: factor of the focal form only, 2.
        reduction: `mean` over known entries, `sum`, `batchmean` or `none`. A row in which no class is present
            has weight 1 + α everywhere.

    Raises:
        ShapeError: shapes that do not fit, or counts of another number of classes.
        OptionError: an option out of its range, or more positives than items.

    >>> distribution_balanced(torch.zeros(1, 2), torch.tensor([[1, 0]]), positives=torch.tensor([9, 1]), total=10)
    tensor(0.2518)

    Reference: T. Wu et al., Distribution-balanced loss for multi-label classification in long-tailed datasets,
    ECCV 2020.
    """
    check_range("alpha", alpha, 0.0)
    check_range("gamma", gamma, 0.0)
    check_range("negative_scale", negative_scale, 0.0, above=True)
    check_range("balance", balance, 0.0)
    for name, value in (("beta", beta), ("mu", mu), ("init_bias", init_bias)):
        check_number(name, value)
    z, y = prepare(logits, targets)
    counts = class_counts(z, positives, total)
    n, others = counts.positives(), counts.negatives()
    scale, factor = spread(negative_scale), 1.0 if gamma is None else spread(balance)
    bias = -torch.log(others / n) * spread(init_bias) / scale
    rarity = 1 / n

    def formula(z: Tensor) -> Terms:
        rarity_of_row = (y.clamp(min=0) * rarity).sum(-1, keepdim=True)
        share = torch.where(rarity_of_row > 0, rarity / rarity_of_row.clamp(min=1e-30), torch.inf)
        weight = torch.sigmoid(spread(beta) * (share - spread(mu))) + spread(alpha)
        exponent = 0.0 if gamma is None else spread(gamma)
        present = focal_terms(z + bias, exponent).present
        absent = focal_terms(scale * (z + bias), exponent).absent
        return Terms(factor * weight * present, factor * weight / scale * absent)

    kind = 0.0 if gamma is None else gamma
    call = _kernel.Call(
        _kernel.REBALANCED,
        (1.0, negative_scale, kind, beta, mu, alpha, 1.0),
        absent_weight=torch.ones_like(n) / scale,
        present_bias=bias,
        absent_bias=scale * bias,
        rarity=rarity,
        factor=factor,
    )
    return reduce_entries(z, y, formula, reduction, call=call)


def ldam(
    logits: Logits,
    targets: Targets,
    *,
    positives: PerClass,
    max_margin: Option = 0.5,
    scale: Option = 30.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Label-distribution-aware margin loss (LDAM) on binary terms: rare classes must win by more.

    .. math:: \mathrm{BCE}\big(s (z - y\, m_c), y\big), \quad m_c = m \Big(\frac{n_c}{\min_j n_j}\Big)^{-1/4}

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        positives: n, (C,), training items in which the class is present.
        max_margin: m, the margin of the rarest class, 0.5 (the authors').
        scale: s, 30 (the authors').
        reduction: `mean` over known entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: shapes that do not fit, or counts of another number of classes.
        OptionError: an option out of its range, or a negative count.

    >>> ldam(torch.zeros(1, 1), torch.zeros(1, 1), positives=torch.tensor([3]))
    tensor(0.6931)

    References: K. Cao et al., Learning imbalanced datasets with label-distribution-aware margin loss, NeurIPS
    2019; T. Wu et al., ECCV 2020 (on binary terms).
    """
    check_range("max_margin", max_margin, 0.0)
    check_range("scale", scale, 0.0, above=True)
    z, y = prepare(logits, targets)
    n = class_counts(z, positives, torch.inf).positives()
    rarest = n.amin(-1, keepdim=True) if n.shape[-1] else n
    margins = spread(max_margin) * (n / rarest) ** -0.25
    pace = spread(scale)

    def formula(z: Tensor) -> Terms:
        return Terms(cross_entropy_terms(pace * (z - margins)).present, cross_entropy_terms(pace * z).absent)

    call = _kernel.Call(_kernel.SHIFTED, (scale, scale), present_bias=-pace * margins)
    return reduce_entries(z, y, formula, reduction, call=call)


def _weighted(
    z: Tensor,
    y: Tensor,
    weight: Tensor,
    gamma: Option | None,
    balance: Option,
    reduction: Reduction,
    by_row: bool = False,
) -> Tensor:
    """`weight · BCE`, or `balance · weight · focal`, for weights of classes (..., 1, C) or of rows (..., N, 1)."""
    check_range("gamma", gamma, 0.0)
    check_range("balance", balance, 0.0)
    factor = 1.0 if gamma is None else spread(balance)

    def formula(z: Tensor) -> Terms:
        present, absent, _ = cross_entropy_terms(z) if gamma is None else focal_terms(z, spread(gamma))
        return Terms(factor * weight * present, factor * weight * absent)

    of_class = None if by_row else weight
    call = _kernel.Call(
        _kernel.CROSS_ENTROPY if gamma is None else _kernel.FOCAL,
        () if gamma is None else (gamma, gamma, 1.0, 1.0),
        present_weight=of_class,
        absent_weight=of_class,
        rows=weight if by_row else None,
        factor=factor,
    )
    return reduce_entries(z, y, formula, reduction, call=call)
