"""Losses with one term per entry: cross-entropy and the ways to focus it.

All of them take soft targets in [0, 1], leave out entries whose target is -1 (value and gradient exactly 0),
and average over the known entries.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rarecall.losses import _kernel
from rarecall.losses._entries import Terms, balanced_sides, cross_entropy_terms, focal_terms, reduce_entries
from rarecall.losses._shared import (
    Logits,
    Option,
    PerClass,
    Reduction,
    Targets,
    check_choice,
    check_number,
    check_range,
    per_class,
    prepare,
    require,
    spread,
    take_unknown,
)


def binary_cross_entropy(
    logits: Logits,
    targets: Targets,
    *,
    pos_weight: PerClass | None = None,
    label_smoothing: Option = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Binary cross-entropy of each entry, also called logistic regression (LR) or ERM.

    .. math:: -w_c\, y \log \sigma(z) - (1 - y) \log(1 - \sigma(z))

    Args:
        logits: (..., N, C), any real number.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown, or soft in [0, 1].
        pos_weight: (..., C), the weight of the positive term of each class. Default none.
        label_smoothing: ε; targets become 1 - ε and ε (the convention of Cole et al. 2021, not ε/2).
        reduction: `mean` over known entries, `sum`, `batchmean` (sum / N) or `none` (entries).

    Returns:
        The leading shape, or (..., N, C) for `none`; 0 where nothing is known.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> binary_cross_entropy(torch.tensor([[0.0, 3.0]]), torch.tensor([[1, -1]]))
    tensor(0.6931)

    Reference: D. R. Cox, The regression analysis of binary sequences, JRSS B 1958.
    """
    check_range("label_smoothing", label_smoothing, 0.0, 0.5)
    z, y = prepare(logits, targets)
    weight = 1.0 if pos_weight is None else per_class("pos_weight", pos_weight, z)
    smoothing = spread(label_smoothing)
    if isinstance(smoothing, Tensor) or smoothing:
        y = torch.where(y < 0, y, y * (1 - 2 * smoothing) + smoothing)

    def formula(z: Tensor) -> Terms:
        present, absent, _ = cross_entropy_terms(z)
        return Terms(weight * present, absent)

    call = _kernel.Call(_kernel.EntryTerm.CROSS_ENTROPY, present_weight=weight if isinstance(weight, Tensor) else None)
    return reduce_entries(z, y, formula, reduction, call=call)


def focal(
    logits: Logits,
    targets: Targets,
    *,
    alpha: Option | None = None,
    gamma: Option = 2.0,
    modulation: str = "p_t",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Focal loss: cross-entropy that loses interest in entries it already gets right.

    .. math:: -\alpha\, y (1 - p)^\gamma \log p - (1 - \alpha) (1 - y)\, p^\gamma \log(1 - p), \quad p = \sigma(z)

    γ = 0 without α is the binary cross-entropy.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        alpha: weight of positives, 1 - α of negatives; None weighs both 1. Lin et al. use 0.25.
        gamma: focusing exponent, 2 in Lin et al. and in El Mir 2026.
        modulation: `p_t` as above; `as-printed` takes (1 - p)^γ for negatives too, as equation 2 of El Mir
            2026 prints it, which keeps the easy negatives instead of the hard ones.
        reduction: `mean` over known entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> focal(torch.tensor([[0.0]]), torch.tensor([[1]]))
    tensor(0.1733)

    References: T.-Y. Lin et al., Focal loss for dense object detection, ICCV 2017; H. El Mir, An empirical
    analysis of optimization dynamics and sparsity boundaries in pedestrian attribute recognition, 2026.
    """
    check_range("alpha", alpha, 0.0, 1.0)
    check_range("gamma", gamma, 0.0)
    check_choice("modulation", modulation, ("p_t", "as-printed"))
    z, y = prepare(logits, targets)
    exponent = spread(gamma)
    weights: tuple[Option, Option] = (1.0, 1.0) if alpha is None else (spread(alpha), 1 - spread(alpha))
    printed = modulation == "as-printed"

    def formula(z: Tensor) -> Terms:
        present, absent, _ = focal_terms(z, exponent)
        if printed:
            log_q = F.logsigmoid(-z)
            absent = -torch.exp(exponent * log_q) * log_q
        return Terms(weights[0] * present, weights[1] * absent)

    call = None
    if not printed and not isinstance(alpha, Tensor):
        call = _kernel.Call(_kernel.EntryTerm.FOCAL, (gamma, gamma, *weights))
    return reduce_entries(z, y, formula, reduction, call=call)


def asymmetric(
    logits: Logits,
    targets: Targets,
    *,
    gamma_pos: Option = 0.0,
    gamma_neg: Option = 4.0,
    margin: Option = 0.05,
    detach_focusing: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Asymmetric loss: negatives are focused harder than positives, and dropped once they are easy enough.

    .. math:: -y (1 - p)^{\gamma_+} \log p - (1 - y)\, p_m^{\gamma_-} \log(1 - p_m), \quad p_m = \max(p - m, 0)

    γ₊ = γ₋ = m = 0 is the binary cross-entropy; γ₊ = γ₋ and m = 0 is the focal loss, whose gradient it has with
    `detach_focusing=False`.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        gamma_pos: γ₊, 0 (Kobayashi 2023; the authors' class defaults to 1).
        gamma_neg: γ₋, 4.
        margin: m, 0.05; negatives with p ≤ m contribute nothing.
        detach_focusing: take the powers as constants in the gradient, as the authors' code does by default.
        reduction: `mean` over known entries, `sum` (the authors'), `batchmean` or `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> asymmetric(torch.tensor([[0.0, -9.0]]), torch.tensor([[1, 0]]), reduction="none")
    tensor([[0.6931, 0.0000]])

    Reference: T. Ridnik et al., Asymmetric loss for multi-label classification, ICCV 2021.
    """
    check_range("gamma_pos", gamma_pos, 0.0)
    check_range("gamma_neg", gamma_neg, 0.0)
    check_range("margin", margin, 0.0, 1.0)
    z, y = prepare(logits, targets)
    shift = spread(margin)

    def formula(z: Tensor) -> Terms:
        log_p, log_q = F.logsigmoid(z), F.logsigmoid(-z)
        shifted = torch.sigmoid(z) - shift
        easy = shifted <= 0
        # log(1 - p_m) = log(q + m): added in log space it stays finite when q underflows and m is 0.
        if isinstance(shift, Tensor):
            log_rest = torch.logaddexp(log_q, shift.to(z).log())
        else:
            log_rest = torch.log(torch.sigmoid(-z) + shift) if shift else log_q
        log_q_shifted = torch.where(easy, 0.0, log_rest.clamp(max=0))
        focus_present = torch.exp(spread(gamma_pos) * log_q)
        focus_absent = torch.where(easy, 1.0, shifted) ** spread(gamma_neg)
        if detach_focusing:
            focus_present, focus_absent = focus_present.detach(), focus_absent.detach()
        return Terms(-focus_present * log_p, -focus_absent * log_q_shifted)

    call = _kernel.Call(_kernel.EntryTerm.ASYMMETRIC, (gamma_pos, gamma_neg, margin, float(detach_focusing)))
    return reduce_entries(z, y, formula, reduction, call=call)


def hill(
    logits: Logits,
    targets: Targets,
    *,
    margin: Option = 1.0,
    gamma: Option = 2.0,
    lamb: Option = 1.5,
    unknown: str = "ignore",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Hill loss: negatives that look most like positives are pushed less, because they may be missed labels.

    .. math:: -y (1 - p')^\gamma \log p' + (1 - y) (\lambda - p)\, p^2, \quad p' = \sigma(z - m)

    The gradient on a negative rises up to p = 1/2 and falls again to 0, like a hill.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        margin: m, 1 (the authors').
        gamma: γ, 2 (the authors').
        lamb: λ, 1.5 (the authors'), at which the gradient vanishes at p = 1.
        unknown: `ignore` leaves unknown entries out; `absent` takes them as absent, which is how the authors
            train with missing labels.
        reduction: `mean` over known entries, `sum` (the authors'), `batchmean` or `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> hill(torch.tensor([[0.0]]), torch.tensor([[0]]))
    tensor(0.2500)

    Reference: Y. Zhang et al., Simple and robust loss design for multi-label learning with missing labels,
    2021 (arXiv:2112.07368).
    """
    check_number("margin", margin)
    check_range("gamma", gamma, 0.0)
    check_range("lamb", lamb, 1.0)
    z, y = prepare(logits, targets)
    y = take_unknown(y, unknown)

    def formula(z: Tensor) -> Terms:
        present = focal_terms(z - spread(margin), spread(gamma)).present
        p = torch.sigmoid(z)
        return Terms(present, (spread(lamb) - p) * p**2)

    call = _kernel.Call(_kernel.EntryTerm.HILL, (margin, gamma, lamb))
    return reduce_entries(z, y, formula, reduction, call=call)


def splc(
    logits: Logits,
    targets: Targets,
    *,
    margin: Option = 1.0,
    gamma: Option = 2.0,
    threshold: Option | None = None,
    unknown: str = "ignore",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Self-paced loss correction: a focal loss for which negatives that look present become positives.

    .. math:: -y (1 - p')^\gamma \log p' - (1 - y)\, p^\gamma \log(1 - p), \quad p' = \sigma(z - m)

    and y = 1 for every entry that is not observed as present but has p above the threshold.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        margin: m, 1 (the authors').
        gamma: γ, 2 (the authors').
        threshold: probability above which an entry with target 0 counts as present; None: none does. The authors
            take 0.6 from the second epoch on, and so does the module after `set_progress`.
        unknown: `ignore` leaves unknown entries out; `absent` takes them as absent, which is how the authors
            train with missing labels; only then can they be corrected.
        reduction: `mean` over known entries, `sum` (the authors'), `batchmean` or `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> splc(torch.tensor([[3.0, 0.0]]), torch.tensor([[0, 0]]), threshold=0.6, reduction="none")
    tensor([[0.0018, 0.1733]])

    Reference: Y. Zhang et al., Simple and robust loss design for multi-label learning with missing labels,
    2021 (arXiv:2112.07368).
    """
    check_number("margin", margin)
    check_range("gamma", gamma, 0.0)
    check_range("threshold", threshold, 0.0, 1.0)
    z, y = prepare(logits, targets)
    y = take_unknown(y, unknown)

    def formula(z: Tensor) -> Terms:
        present = focal_terms(z - spread(margin), spread(gamma)).present
        absent = focal_terms(z, spread(gamma)).absent
        if threshold is not None:
            limit = spread(torch.logit(threshold)) if isinstance(threshold, Tensor) else _logit(threshold)
            absent = torch.where(z > limit, present, absent)
        return Terms(present, absent)

    call = None
    if not isinstance(threshold, Tensor):
        call = _kernel.Call(_kernel.EntryTerm.SHIFTED_FOCAL, (margin, gamma, _logit(threshold)))
    return reduce_entries(z, y, formula, reduction, call=call)


def hard_selection(
    logits: Logits,
    targets: Targets,
    *,
    beta: Option = 10.0,
    ratio: float = 0.25,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Logistic regression with hard selection (HS-LR): only the hardest negatives of each sample count.

    .. math::

        -\frac{1}{N_+} \sum y \log p
        - \frac{\beta}{N k} \sum_i \sum_{c \in \mathrm{top}_k(i)} (1 - y_{ic}) \log(1 - p_{ic})

    over each sample's k = max(1, ⌊ratio · C⌋) largest terms; where a sample has fewer negatives, the missing
    terms are 0. With one positive per sample it is equation 5 of Dong et al., with k of C instead of C - 1.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown (never selected; C counts it), or soft in [0, 1].
        beta: β, 10 (the paper's).
        ratio: m, the share of the classes that is selected, 0.25 (the paper's; it finds 0.25 to 0.75 good).
        reduction: `mean` as above, N counting samples with a known entry; `sum`, `batchmean` and `none` take
            `-log p` of positives and `-β log(1 - p)` of selected negatives as they are.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> hard_selection(torch.tensor([[0.0, 0.0, -9.0, -9.0]]), torch.tensor([[1, 0, 0, 0]]), beta=1.0)
    tensor(1.3863)

    Reference: Q. Dong et al., Single-label multi-class image classification by deep logistic regression, AAAI
    2019.
    """
    check_range("beta", beta, 0.0)
    require(isinstance(ratio, int | float) and 0 < ratio <= 1, "ratio", ratio, "a number above 0 and at most 1")
    z, y = prepare(logits, targets)
    if z.shape != y.shape:
        z, y = torch.broadcast_tensors(z, y)
    wanted = max(1, math.floor(z.shape[-1] * ratio))
    chosen: Tensor
    samples: int | Tensor
    if _kernel.takes(z, y):
        chosen, samples = _kernel.select(z, y, wanted)
    else:
        chosen, samples = _hardest(z.detach(), y, wanted), (y >= 0).any(-1).sum(-1).to(z.dtype)

    def formula(z: Tensor) -> Terms:
        present, absent, _ = cross_entropy_terms(z)
        return Terms(present, chosen * absent)

    call = _kernel.Call(_kernel.EntryTerm.SELECTED, extras=chosen)
    return balanced_sides(z, y, formula, wanted * samples, spread(beta), reduction, call=call)


def _hardest(z: Tensor, y: Tensor, number: int) -> Tensor:
    """How much of each entry is among its row's `number` largest absent terms: 1, 0, or a share of equal ones."""
    if not z.shape[-1]:
        return torch.ones_like(z)
    candidates = torch.where((y >= 0) & (y < 1), (1 - y) * F.softplus(z), -1.0)
    least = candidates.topk(number, -1, sorted=False).values.amin(-1, keepdim=True)
    above, level = candidates > least, candidates == least
    places = (number - above.sum(-1, keepdim=True)) / level.sum(-1, keepdim=True)
    return torch.where(above, 1.0, torch.where(level, places.to(z.dtype), 0.0))


def soft_selection(
    logits: Logits,
    targets: Targets,
    *,
    beta: Option = 10.0,
    exponent: Option = 2.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Logistic regression with soft selection (SS-LR): negatives count by how hard they are.

    .. math:: -\frac{1}{N_+} \sum y \log p - \frac{\beta}{N_-} \sum (1 - y)\, p^r \log(1 - p)

    With r = 0 it is hard selection of every negative. The weight p^r takes part in the gradient. With one
    positive per sample it is the paper's equation 6.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        beta: β, 10 (the paper's).
        exponent: r, 2 (the paper's; 50 for ImageNet).
        reduction: `mean` as above, N₊ and N₋ counting the known positives and negatives of the batch; `sum`,
            `batchmean` and `none` take `-log p` of positives and `-β p^r log(1 - p)` of negatives as they are.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> soft_selection(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 0]]), beta=1.0)
    tensor(0.8664)

    Reference: Q. Dong et al., Single-label multi-class image classification by deep logistic regression, AAAI
    2019.
    """
    check_range("beta", beta, 0.0)
    check_range("exponent", exponent, 0.0)
    z, y = prepare(logits, targets)

    def formula(z: Tensor) -> Terms:
        return focal_terms(z, 0.0, spread(exponent))

    call = _kernel.Call(_kernel.EntryTerm.FOCAL, (0.0, exponent, 1.0, 1.0))
    return balanced_sides(z, y, formula, None, spread(beta), reduction, call=call)


def _logit(probability: float | None) -> float:
    """The logit above which no entry lies if there is no threshold."""
    if probability is None or probability >= 1:
        return math.inf
    return math.log(probability / (1 - probability)) if probability > 0 else -math.inf
