"""Losses with one term per entry: cross-entropy and the ways to focus it.

All of them take soft targets in [0, 1], leave out entries whose target is -1 (value and gradient exactly 0),
and average over the known entries.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

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


def _reduce_entries(entries: Tensor, targets: Tensor, reduction: Reduction) -> Tensor:
    return reduce_terms(entries, targets >= 0, (-2, -1), targets.shape[-2], reduction)


def binary_cross_entropy(
    logits: Logits,
    targets: Targets,
    *,
    pos_weight: Tensor | None = None,
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
    smoothing = spread(label_smoothing)
    smooth = (
        y if not isinstance(label_smoothing, Tensor) and label_smoothing == 0 else y * (1 - 2 * smoothing) + smoothing
    )
    weight = None if pos_weight is None else pos_weight[..., None, :].to(z.dtype)
    shapes = (z, smooth) if weight is None else (z, smooth, weight)
    z, smooth = torch.broadcast_tensors(*shapes)[:2]
    entries = F.binary_cross_entropy_with_logits(z, smooth, pos_weight=weight, reduction="none")
    return _reduce_entries(entries, y, reduction)


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
    log_p, log_q = F.logsigmoid(z), F.logsigmoid(-z)
    exponent = spread(gamma)
    hard_positive = torch.exp(exponent * log_q)
    hard_negative = hard_positive if modulation == "as-printed" else torch.exp(exponent * log_p)
    positive, negative = -y * hard_positive * log_p, -(1 - y) * hard_negative * log_q
    if alpha is not None:
        weight = spread(alpha)
        positive, negative = weight * positive, (1 - weight) * negative
    return _reduce_entries(positive + negative, y, reduction)


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

    γ₊ = γ₋ = m = 0 is the binary cross-entropy.

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
    log_p, log_q = F.logsigmoid(z), F.logsigmoid(-z)
    shift = torch.as_tensor(margin, dtype=z.dtype, device=z.device)[..., None, None]
    shifted = torch.sigmoid(z) - shift
    active = shifted > 0
    # log(1 - p_m) = log(q + m): added in log space it stays finite when q underflows and m is 0.
    log_q_shifted = torch.where(active, torch.logaddexp(log_q, shift.log()).clamp(max=0), 0.0)
    focus_positive = torch.exp(spread(gamma_pos) * log_q)
    focus_negative = torch.where(active, shifted, 1.0) ** spread(gamma_neg)
    if detach_focusing:
        focus_positive, focus_negative = focus_positive.detach(), focus_negative.detach()
    entries = -y * focus_positive * log_p - (1 - y) * focus_negative * log_q_shifted
    return _reduce_entries(entries, y, reduction)
