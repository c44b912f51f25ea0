"""Rules for unknown labels: losses in which an entry with target -1 has a term of its own.

They are made for single positive labels, where one positive of each image is known and all else is unknown, and
work for any mixture of present (1), absent (0) and unknown (-1). Each averages over all N · C entries.
"""

import math

import torch
from torch import Tensor

from rarecall.errors import OptionError
from rarecall.losses import _kernel
from rarecall.losses._entries import Terms, cross_entropy_terms, reduce_entries
from rarecall.losses._gradient import differentiable
from rarecall.losses._pointwise import binary_cross_entropy
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
    spread,
)

SCHEMES = ("reject", "correct-temporarily", "correct-permanently")


def assume_negative(
    logits: Logits,
    targets: Targets,
    *,
    label_smoothing: Option = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Assume negative (AN): cross-entropy with every unknown label taken as absent.

    .. math:: -[y = 1] \log p - [y \ne 1] \log(1 - p)

    With label smoothing it is AN-LS.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        label_smoothing: ε, 0 (AN) or 0.1 (AN-LS); targets become 1 - ε and ε, not ε/2.
        reduction: `mean` over all entries, `sum`, `batchmean` (sum / N) or `none` (entries).

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> assume_negative(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, -1]]))
    tensor(0.6931)

    Reference: E. Cole et al., Multi-label learning from single positive labels, CVPR 2021.
    """
    if isinstance(label_smoothing, Tensor) or label_smoothing != 0:
        z, y = prepare(logits, targets)
        return binary_cross_entropy(z, y.clamp(min=0), label_smoothing=label_smoothing, reduction=reduction)
    return _as_absent(logits, targets, 1.0, reduction)


def weak_assume_negative(
    logits: Logits,
    targets: Targets,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Weak assume negative (WAN): unknown labels taken as absent, and what is absent divided by C - 1.

    .. math:: -[y = 1] \log p - \frac{1}{C - 1} [y \ne 1] \log(1 - p)

    so that the one positive of an image weighs as much as all its other classes.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        reduction: `mean` over all entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.

    >>> weak_assume_negative(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[1, -1, -1]]), reduction="sum")
    tensor(1.3863)

    Reference: E. Cole et al., Multi-label learning from single positive labels, CVPR 2021.
    """
    classes = logits.shape[-1] if getattr(logits, "ndim", 0) else 1
    return _as_absent(logits, targets, 1 / max(classes - 1, 1), reduction)


def expected_positive(
    logits: Logits,
    targets: Targets,
    *,
    expected_positives: Option,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Expected positive regularisation (EPR): only known labels count, and how many are present on average.

    .. math::

        -\frac{1}{NC} \sum [y = 1] \log p + [y = 0] \log(1 - p)
        + \frac{1}{C^2} \Big(\frac{1}{N} \sum_{ic} p_{ic} - k\Big)^2

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        expected_positives: k, present labels per image: VOC 1.5, COCO 2.9, NUS 1.9, CUB 31.4 (Cole et al. 2021).
        reduction: `mean` as above, `sum` (N C times it) or `batchmean` (C times it); the penalty has no entries,
            so there is no `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: a negative number of positives, or `none`.

    >>> expected_positive(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, -1]]), expected_positives=1.0)
    tensor(0.3466)

    Reference: E. Cole et al., Multi-label learning from single positive labels, CVPR 2021.
    """
    check_range("expected_positives", expected_positives, 0.0)
    factor = _whole(logits, reduction)
    z, y = prepare(logits, targets)

    def formula(z: Tensor) -> Tensor:
        return factor * _penalised(z, y, expected_positives)

    if isinstance(expected_positives, Tensor) or not _kernel.takes(z, y) or _kernel.count(y).wrong:
        return formula(z)
    excess = (_kernel.total_probability(z) / z.shape[-2] - expected_positives) / z.shape[-1]
    call = _kernel.Call(_kernel.EntryTerm.EXPECTED, (2 * excess,))
    scale = factor / y.numel()
    return _kernel.pointwise(z, y, call, (scale, scale, scale), False, formula, plus=factor * excess**2)


def role(
    logits: Logits,
    targets: Targets,
    *,
    estimates: Logits,
    expected_positives: Option,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Regularised online label estimation (ROLE): the network and a table of estimates teach each other.

    .. math::

        \tfrac12 \big[\mathrm{obs}(p) + \mathrm{obs}(g)\big] + \tfrac12 \big[\mathrm{CE}(p; \bar g) +
        \mathrm{CE}(g; \bar p)\big] + \tfrac12 \big[\mathrm{reg}(p) + \mathrm{reg}(g)\big]

    with g = σ(estimates); obs and reg are the two parts of `expected_positive`, and a bar stops the gradient.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        estimates: (..., N, C), logits of the estimated labels of these items. The module of `losses.build` holds
            them for all training items.
        expected_positives: k, present labels per image: VOC 1.5, COCO 2.9, NUS 1.9, CUB 31.4.
        reduction: `mean` as above, `sum` (N C times it) or `batchmean` (C times it); there is no `none`.

    Raises:
        ShapeError: the shapes differ, or the logits are not floating-point.
        OptionError: a negative number of positives, or `none`.

    >>> role(torch.zeros(1, 2), torch.tensor([[1, -1]]), estimates=torch.zeros(1, 2), expected_positives=1.0)
    tensor(1.0397)

    Reference: E. Cole et al., Multi-label learning from single positive labels, CVPR 2021.
    """
    check_range("expected_positives", expected_positives, 0.0)
    factor = _whole(logits, reduction)
    z, y = prepare(logits, targets)
    g, _ = prepare(estimates, targets)

    def side(own: Tensor, other: Tensor) -> Tensor:
        taught = binary_cross_entropy(own, other.detach().sigmoid())
        return factor / 2 * (_penalised(own, y, expected_positives) + taught)

    if isinstance(expected_positives, Tensor) or not (_kernel.takes(z, y) and _kernel.takes(g, y)):
        return side(z, g) + side(g, z)
    wanted = torch.is_grad_enabled() and (z.requires_grad or g.requires_grad)
    sides = _kernel.teach(z, g, y, expected_positives, factor / 2, wanted)
    if sides is None:
        return side(z, g) + side(g, z)

    def of(own: Tensor, other: Tensor, taught: _kernel.Taught) -> Tensor:
        def run(own: Tensor, _: bool) -> tuple[Tensor, Tensor | None]:
            return own.new_tensor(taught.value), taught.gradient

        held = other.detach()
        return differentiable(own, [y, held], run, lambda own: side(own, held))

    return of(z, g, sides[0]) + of(g, z, sides[1])


def entropy_maximization(
    logits: Logits,
    targets: Targets,
    *,
    alpha: Option = 0.1,
    pseudo_weight: Option = 0.4,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Entropy maximisation (EM): unknown labels are acknowledged by asking for uncertainty.

    .. math:: -[y = 1] \log p - [y = 0] \log(1 - p) - \alpha\, [y = -1]\, H(p), \quad
        H(p) = -p \log p - (1 - p) \log(1 - p)

    and β CE(p; y) for soft targets between 0 and 1, the asymmetric pseudo-labels (APL) that the module of
    `losses.build` collects.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft pseudo-labels in (0, 1).
        alpha: α, weight of the entropy: VOC 0.2, NUS and COCO 0.1, CUB 0.01 (the authors').
        pseudo_weight: β, weight of soft targets: VOC 0.02, NUS 0.2, COCO 0.9, CUB 0.4 (the authors').
        reduction: `mean` over all entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> entropy_maximization(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, -1]]), reduction="none")
    tensor([[ 0.6931, -0.0693]])

    Reference: D. Zhou et al., Acknowledging the unknown for multi-label learning with single positive labels, ECCV
    2022.
    """
    check_range("alpha", alpha, 0.0)
    check_range("pseudo_weight", pseudo_weight, 0.0)
    z, y = prepare(logits, targets)

    def formula(z: Tensor) -> Terms:
        present, absent, _ = cross_entropy_terms(z)
        p = torch.sigmoid(z)
        return Terms(present, absent, -spread(alpha) * (p * present + (1 - p) * absent))

    soft = spread(pseudo_weight)
    call = None
    if not isinstance(soft, Tensor):
        call = _kernel.Call(_kernel.EntryTerm.ENTROPY, (alpha,), soft=soft)
    return reduce_entries(z, y, formula, reduction, call=call, every=True, soft=soft)


def large_loss(
    logits: Logits,
    targets: Targets,
    *,
    progress: float = 1.0,
    delta: float = 0.002,
    scheme: str = "reject",
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Large loss: unknown labels are taken as absent, but those with the largest losses are not believed.

    The k largest losses among the batch's unknown entries are dropped (`reject`) or their labels are taken as
    present, for this step (`correct-temporarily`) or from now on (`correct-permanently`), with

    .. math:: k = \lceil N C \cdot \text{progress} \cdot \Delta \rceil, \quad
        k = \lceil N C \cdot \Delta \rceil \text{ if permanently}

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        progress: epochs that are finished; 0 believes every label.
        delta: Δ, share of the entries, 0.002 (the authors take 0.001 to 0.004).
        scheme: one of the three. What is corrected permanently has to be remembered by the caller, with
            `largest_losses`; the module of `losses.build` does so.
        reduction: `mean` over all entries, dropped ones with 0; `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> z, y = torch.tensor([[2.0, 1.0, -3.0]]), torch.tensor([[1, -1, -1]])
    >>> large_loss(z, y, delta=0.1, reduction="none")
    tensor([[0.1269, 0.0000, 0.0486]])

    Reference: Y. Kim et al., Large loss matters in weakly supervised multi-label classification, CVPR 2022.
    """
    check_choice("scheme", scheme, SCHEMES)
    check_choice("reduction", reduction, REDUCTIONS)
    check_range("progress", progress, 0.0)
    check_range("delta", delta, 0.0, 1.0)
    z, y = torch.broadcast_tensors(*prepare(logits, targets))
    share, value = delta if scheme == "correct-permanently" else progress * delta, -1.0 if scheme == "reject" else 1.0
    if _kernel.takes(z, y):
        believed = _kernel.believe(z, y, _number(z, share), value)
    else:
        believed = torch.where(largest_losses(z, y, share), value, y.clamp(min=0))
    if reduction == "mean":
        return _observed(z, believed)
    return binary_cross_entropy(z, believed, reduction=reduction)


def largest_losses(logits: Tensor, targets: Tensor, share: float) -> Tensor:
    """Where the ⌈N C · share⌉ unknown entries are that would have the largest losses as absent ones, (..., N, C).

    >>> largest_losses(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([[-1, 1, -1]]), 0.3)
    tensor([[False, False,  True]])
    """
    number = _number(logits, share)
    # -log(1 - p) rises with the logit, so the largest logits have the largest losses.
    unknown = (targets < 0) & ~logits.isnan()  # what is not a number shall not be dropped, which would hide it
    scores = torch.where(unknown, logits.detach(), -torch.inf).flatten(-2)
    chosen = torch.zeros_like(scores)
    if number:
        chosen = chosen.scatter(-1, scores.topk(number, -1, sorted=False).indices, 1.0)
    return (chosen > 0).reshape(logits.shape) & unknown


def _number(logits: Tensor, share: float) -> int:
    entries = logits.shape[-2] * logits.shape[-1]
    return min(math.ceil(entries * share - 1e-9), entries)


def generalized_robust(
    logits: Logits,
    targets: Targets,
    *,
    w: Option = 2.0,
    b: Option = -2.0,
    mu: Option = 0.8,
    sigma: Option = 0.5,
    q2: Option = 0.01,
    q3: Option = 1.0,
    k: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Generalised robust loss (GR): an unknown label is present with a probability that the score suggests.

    .. math::

        v \Big[k \frac{1 - p^{q_2}}{q_2} + (1 - k) \frac{1 - (1 - p)^{q_3}}{q_3}\Big], \quad
        k = \sigma(w \bar p + b), \; v = e^{-(\bar p - \mu)^2 / (2 \sigma^2)}

    for unknown entries, -log p for present and -log(1 - p) for absent ones; a bar stops the gradient. Powers are
    taken in log space. With q → 0 a side is the cross-entropy, with q = 1 the absolute error. With k = 0, σ = ∞
    and q3 → 0 it is AN.

    Args:
        logits: (..., N, C).
        targets: (..., N, C), 1, 0, -1 unknown, or soft in [0, 1].
        w: slope of the probability. The authors move it from 0 to 2 over the epochs (VOC), or to 10 (COCO, NUS,
            CUB). This default and the next three are the last values on VOC; the module of `losses.build` moves
            them with `set_progress`.
        b: its offset, -2 throughout (VOC), or from -2 to -8 (COCO, NUS, CUB).
        mu: score of the largest weight, from 0.5 to 0.8.
        sigma: width of the weight, from 2 to 0.5.
        q2: robustness of the present side, 0.01.
        q3: robustness of the absent side, 1 (CUB: 1.5).
        k: the probability itself in place of w and b, of a shape that broadcasts to the logits; it may be learnt.
        reduction: `mean` over all entries, `sum`, `batchmean` or `none`.

    Raises:
        ShapeError: the last two dimensions differ, or the logits are not floating-point.
        OptionError: an option out of its range.

    >>> generalized_robust(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, -1]]), reduction="none")
    tensor([[0.6931, 0.4605]])

    Reference: Y. Chen et al., Boosting single positive multi-label classification with generalized robust loss,
    IJCAI 2024 (arXiv:2405.03501).
    """
    for name, value in (("w", w), ("b", b), ("mu", mu)):
        check_number(name, value)
    check_range("sigma", sigma, 0.0, above=True)
    check_range("q2", q2, 0.0, above=True)
    check_range("q3", q3, 0.0, above=True)
    z, y = prepare(logits, targets)

    def formula(z: Tensor) -> Terms:
        present, absent, _ = cross_entropy_terms(z)
        p = torch.sigmoid(z.detach())
        share = torch.sigmoid(spread(w) * p + spread(b)) if k is None else k
        weight = torch.exp(-((p - spread(mu)) ** 2) / (2 * spread(sigma) ** 2))
        as_present = -torch.expm1(-spread(q2) * present) / spread(q2)
        as_absent = -torch.expm1(-spread(q3) * absent) / spread(q3)
        return Terms(present, absent, weight * (share * as_present + (1 - share) * as_absent))

    call = None
    if k is None and not isinstance(sigma, Tensor):
        call = _kernel.Call(
            _kernel.EntryTerm.GENERALIZED_ROBUST, (w, b, mu, 1 / (2 * sigma**2), q2, q3, 1 / q2, 1 / q3)
        )
    return reduce_entries(z, y, formula, reduction, call=call, every=True)


def _as_absent(logits: Tensor, targets: Tensor, weight: float, reduction: Reduction) -> Tensor:
    """Cross-entropy with unknown entries taken as absent, and the weight on what is absent."""
    z, y = prepare(logits, targets)

    def formula(z: Tensor) -> Terms:
        present, absent, _ = cross_entropy_terms(z)
        return Terms(present, weight * absent, weight * absent)

    call = _kernel.Call(_kernel.EntryTerm.CROSS_ENTROPY, absent_factor=weight)
    return reduce_entries(z, y, formula, reduction, call=call, every=True)


def _observed(z: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of the known entries, averaged over all."""
    call = _kernel.Call(_kernel.EntryTerm.CROSS_ENTROPY, unknown_factor=0.0)
    return reduce_entries(z, y, cross_entropy_terms, "mean", call=call, every=True)


def _penalised(z: Tensor, y: Tensor, expected_positives: Option) -> Tensor:
    """Cross-entropy of the known entries, and the penalty on another number of positives than is expected."""
    observed = _observed(z, y)
    if not z.numel():
        return observed
    positives = torch.sigmoid(z).sum(-1).mean(-1)
    return observed + ((positives - expected_positives) / z.shape[-1]) ** 2


def _whole(logits: Tensor, reduction: str) -> float:
    """What a loss of the whole batch is multiplied by for a reduction."""
    check_choice("reduction", reduction, REDUCTIONS)
    if reduction == "none":
        raise OptionError("reduction='none': the penalty belongs to the whole batch: take mean, sum or batchmean")
    if reduction == "mean" or getattr(logits, "ndim", 0) < 2:
        return 1.0
    return float(logits.shape[-1] * (logits.shape[-2] if reduction == "sum" else 1))
