"""Cross-entropy and focal loss with corrections for how often each class is present.

They all take `positives`, the number of training items in which each class is present, and most take `total`,
the number in which it is known: one number, or one for each class. A class without a positive (or without a
negative) counts as if it had one. `losses.build(name, labels=table.labels)` counts both.
"""

import math
from collections.abc import Callable, MutableMapping
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

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
from rarecall.losses._torch_internals import is_observed, version_of

MODES = ("by_class", "average_n", "average_w", "min_n")


class ClassFrequencies:
    """In how many items each class is present and in how many it is absent, (..., 1, C)."""

    def __init__(self, present: Tensor, absent: Tensor) -> None:
        self.present, self.absent = present, absent
        self.made: dict[Any, tuple[Tensor, ...]] | None = None  # a dictionary if the counts are remembered

    def positives(self) -> Tensor:
        """At least 1."""
        return self.present.clamp(min=1)

    def negatives(self) -> Tensor:
        """At least 1."""
        return self.absent.clamp(min=1)

    def total(self) -> Tensor:
        """At least 1."""
        return (self.present + self.absent).clamp(min=1)

    def once(self, make: Callable[..., tuple[Tensor, ...]], *options: Option) -> tuple[Tensor, ...]:
        """What `make` makes of these counts and of options, remembered with the counts."""
        if self.made is None or any(isinstance(option, Tensor) for option in options):
            return make(self, *options)
        key = (make, options)
        if key not in self.made:
            if len(self.made) >= OPTIONS_REMEMBERED:
                self.made.clear()
            self.made[key] = make(self, *options)
        return self.made[key]


OPTIONS_REMEMBERED = 16
_REMEMBERED: MutableMapping[Tensor, tuple[Any, Total, ClassFrequencies]] = WeakIdKeyDictionary()


def class_counts(like: Tensor, positives: PerClass, total: Total) -> ClassFrequencies:
    """The counts as tensors like the logits.

    They are remembered, with the weights made of them, for as long as the very tensor of the positives lives and is
    not changed: a loss in training has the same ones in every step, and at 80 classes they are half of its time.

    Raises:
        ShapeError: another number of classes than the logits have.
        OptionError: a negative count, or more positives than items.
    """
    if not _is_constant(positives) or not (isinstance(total, int | float) or _is_constant(total)):
        return _class_counts(like, positives, total)
    versions = (version_of(positives), version_of(total) if isinstance(total, Tensor) else total)
    made_of = (like.dtype, like.device, like.shape[-1], versions)
    remembered = _REMEMBERED.get(positives)
    if remembered is not None:
        before, same_total, counts = remembered
        if before == made_of and (same_total is total or not isinstance(total, Tensor)):
            return counts
    counts = _class_counts(like, positives.clone(), total)  # a view would keep the tensor alive
    counts.made = {}
    _REMEMBERED[positives] = (made_of, total, counts)
    return counts


def _is_constant(value: Any) -> TypeGuard[Tensor]:
    return (
        type(value) is Tensor
        and not value.requires_grad
        and not torch.compiler.is_compiling()
        and not is_observed()
        and not (value.is_inference() or torch.is_inference_mode_enabled())
        and version_of(value) is not None
    )


def _class_counts(like: Tensor, positives: PerClass, total: Total) -> ClassFrequencies:
    present = per_class("positives", positives, like)
    every = total if isinstance(total, int | float) else per_class("total", total, like)
    absent = every - present
    if _kernel.can_look_at(present, absent) and absent.numel() and not torch.minimum(present, absent).amin() >= 0:
        raise _contradiction(present, absent)
    return ClassFrequencies(present, absent)


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
    (weight,) = counts.once(_inverse_power, power)
    return _weighted(z, y, weight, gamma, balance, reduction)


def _inverse_power(counts: ClassFrequencies, power: Option) -> tuple[Tensor, ...]:
    return ((counts.total() / counts.positives()) ** spread(power),)


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
    (weight,) = class_counts(z, positives, total).once(_root_of_odds)
    return binary_cross_entropy(z, y, pos_weight=weight, reduction=reduction)


def _root_of_odds(counts: ClassFrequencies) -> tuple[Tensor, ...]:
    return ((counts.negatives() / counts.positives()).sqrt().squeeze(-2),)


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
    present_weight, absent_weight = class_counts(z, positives, total).once(_weights_of_rate)

    def formula(z: Tensor) -> Terms:
        present, absent, _ = cross_entropy_terms(z)
        return Terms(present_weight * present, absent_weight * absent)

    call = _kernel.Call(_kernel.EntryTerm.CROSS_ENTROPY, present_weight=present_weight, absent_weight=absent_weight)
    return reduce_entries(z, y, formula, reduction, call=call)


def _weights_of_rate(counts: ClassFrequencies) -> tuple[Tensor, ...]:
    rate = counts.positives() / counts.total()
    return torch.exp(1 - rate), torch.exp(rate)


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
    if mode == "by_class":
        (weight_of_class,) = counts.once(_of_class, beta)
        return _weighted(z, y, weight_of_class, gamma, balance, reduction)
    n = counts.positives()

    def weight(number: Tensor) -> Tensor:
        return _inverse_effective(number, beta)

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


def _of_class(counts: ClassFrequencies, beta: Option) -> tuple[Tensor, ...]:
    return (_inverse_effective(counts.positives(), beta),)


def _inverse_effective(number: Tensor, beta: Option) -> Tensor:
    """(1 - β) / (1 - β^n), without its cancellation for β near 1."""
    decay = spread(beta)
    log_decay = decay.log() if isinstance(decay, Tensor) else math.log(decay) if decay else -math.inf
    return (decay - 1) / torch.expm1(number * log_decay)


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
    bias, absent_bias, rarity, absent_weight = counts.once(_tolerance, init_bias, negative_scale)
    scale, factor = spread(negative_scale), 1.0 if gamma is None else spread(balance)

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
        _kernel.EntryTerm.REBALANCED,
        (1.0, negative_scale, kind, beta, mu, alpha, 1.0),
        absent_weight=absent_weight,
        present_bias=bias,
        absent_bias=absent_bias,
        rarity=rarity,
        factor=factor,
    )
    return reduce_entries(z, y, formula, reduction, call=call)


def _tolerance(counts: ClassFrequencies, init_bias: Option, negative_scale: Option) -> tuple[Tensor, ...]:
    """The bias of a logit, that of a scaled one, the rarity, and the weight of an absent entry."""
    n, scale = counts.positives(), spread(negative_scale)
    bias = -torch.log(counts.negatives() / n) * spread(init_bias) / scale
    return bias, scale * bias, 1 / n, torch.ones_like(n) / scale


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
    margins, bias = class_counts(z, positives, torch.inf).once(_margins, max_margin, scale)
    pace = spread(scale)

    def formula(z: Tensor) -> Terms:
        return Terms(cross_entropy_terms(pace * (z - margins)).present, cross_entropy_terms(pace * z).absent)

    call = _kernel.Call(_kernel.EntryTerm.SHIFTED, (scale, scale), present_bias=bias)
    return reduce_entries(z, y, formula, reduction, call=call)


def _margins(counts: ClassFrequencies, max_margin: Option, scale: Option) -> tuple[Tensor, ...]:
    """The margins of the classes, and what they add to scaled logits."""
    n = counts.positives()
    rarest = n.amin(-1, keepdim=True) if n.shape[-1] else n
    margins = spread(max_margin) * (n / rarest) ** -0.25
    return margins, -spread(scale) * margins


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
        _kernel.EntryTerm.CROSS_ENTROPY if gamma is None else _kernel.EntryTerm.FOCAL,
        () if gamma is None else (gamma, gamma, 1.0, 1.0),
        present_weight=of_class,
        absent_weight=of_class,
        rows=weight if by_row else None,
        factor=factor,
    )
    return reduce_entries(z, y, formula, reduction, call=call)
