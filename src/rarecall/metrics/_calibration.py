"""Calibration: how far probabilities are from frequencies, and what brings them nearer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from rarecall.errors import OptionError, unknown_name
from rarecall.metrics._blocks import class_blocks, count_positives, join_blocks, row_blocks
from rarecall.metrics._places import sorted_known
from rarecall.metrics._shared import check_inputs, check_probabilities, check_whole

Values = Float[Tensor, "*batch samples classes"]
Targets = Shaped[Tensor, "*batch samples classes"]
PerClass = Float[Tensor, "*batch classes"]
Binning = Literal["width", "mass"]
_Block = tuple[Tensor, Tensor, Tensor]

BINNINGS = ("width", "mass")
BLOCK = 1 << 20
"""Entries that are worked on at once, in float64."""
STEPS = 100
"""Newton steps at most; about ten are taken."""
CLOSE = 1e-8
"""The last step of the temperature, relative: what is left after it is of the order of its square."""
TINY = 1e-300
REACH = 1e3
"""How far the temperature may be from the root mean square of the logits, as a factor either way."""


@dataclass(frozen=True)
class Reliability:
    """What a reliability diagram shows of each class.

    Attributes:
        count: (..., C, bins) known entries in the bin.
        confidence: (..., C, bins) float64, their mean probability; NaN for an empty bin.
        frequency: (..., C, bins) float64, the share of them that is present; NaN for an empty bin.
    """

    count: Int[Tensor, "*batch classes bins"]
    confidence: Float[Tensor, "*batch classes bins"]
    frequency: Float[Tensor, "*batch classes bins"]


def reliability(probabilities: Values, targets: Targets, *, bins: int = 15, binning: Binning = "width") -> Reliability:
    """Mean probability and frequency of the positives in bins of the probability, for each class.

    Args:
        probabilities: (..., N, C), from 0 to 1, of the class being present.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        bins: how many. Default 15 (Guo et al. 2017).
        binning: `width`: bins of equal width, each with its lower bound, the last with 1 too. `mass`: bins of
            equally many known entries of the class; equal probabilities stay in one bin, so that some bins may
            hold more and others none.

    Raises:
        OptionError: `bins` that is no whole number of 1 or more, or another binning.
        ShapeError: the shapes differ, or a probability is not one.

    >>> probabilities, targets = torch.tensor([[0.1], [0.3], [0.8]]), torch.tensor([[0], [1], [1]])
    >>> reliability(probabilities, targets, bins=2).frequency
    tensor([[0.5000, 1.0000]], dtype=torch.float64)

    Reference: A. Niculescu-Mizil and R. Caruana, Predicting good probabilities with supervised learning, ICML 2005.
    """
    check_probabilities(probabilities, targets)
    _check_bins(bins, binning)
    lead, classes = probabilities.shape[:-2], probabilities.shape[-1]
    if not probabilities.numel():
        nothing = torch.zeros(*lead, classes, bins, dtype=torch.float64, device=probabilities.device)
        return Reliability(nothing.long(), nothing / 0, nothing / 0)
    blocks = [
        _bin_sums(rows, wanted, bins, binning)
        for rows, wanted in class_blocks(probabilities.detach(), targets, entries=BLOCK)
    ]
    count, confidence, frequency = (join_blocks(list(sums), lead) for sums in zip(*blocks, strict=True))
    return Reliability(count.long(), confidence / count, frequency / count)


def expected_calibration_error(
    probabilities: Values, targets: Targets, *, bins: int = 15, binning: Binning = "width"
) -> PerClass:
    r"""Expected calibration error of each class, `Σ_b n_b / n |mean p - mean y|` over the bins b.

    It is that of a binary event: of the probability that the class is present, whether above or below one half.
    The error of the same name for one label of many (Guo et al. 2017) looks only at the likeliest class and at
    whether it is right. A rare class has most of its entries in the lowest bin of equal width, so a small value
    says little of it there; bins of equal mass look closer. More bins, and fewer entries, raise it by chance.

    Args:
        probabilities: (..., N, C), from 0 to 1.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        bins: as `reliability`. Default 15.
        binning: as `reliability`.

    Returns:
        (..., C) float64, from 0 to 1; NaN where nothing is known of a class.

    Raises:
        OptionError: as `reliability`.
        ShapeError: as `reliability`.

    >>> expected_calibration_error(torch.tensor([[0.2], [0.2], [0.9]]), torch.tensor([[0], [1], [1]]), bins=2)
    tensor([0.2333], dtype=torch.float64)

    Reference: M. Naeini, G. Cooper and M. Hauskrecht, Obtaining well calibrated probabilities using Bayesian
    binning, AAAI 2015.
    """
    seen = reliability(probabilities, targets, bins=bins, binning=binning)
    gaps = (seen.confidence - seen.frequency).abs().nan_to_num(0.0)
    return (gaps * seen.count).sum(-1) / seen.count.sum(-1)


def brier_score(probabilities: Values, targets: Targets) -> PerClass:
    """Brier score of each class, the mean of `(p - y)²` over the known entries.

    Args:
        probabilities: (..., N, C), from 0 to 1.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).

    Returns:
        (..., C) float64, from 0 (best) to 1; NaN where nothing is known of a class.

    Raises:
        ShapeError: the shapes differ, or a probability is not one.

    >>> brier_score(torch.tensor([[0.5], [1.0], [0.3]]), torch.tensor([[1], [1], [-1]]))
    tensor([0.1250], dtype=torch.float64)

    Reference: G. Brier, Verification of forecasts expressed in terms of probability, 1950.
    """
    check_probabilities(probabilities, targets)
    if not probabilities.numel():
        shape = (*probabilities.shape[:-2], probabilities.shape[-1])
        return torch.full(shape, torch.nan, dtype=torch.float64, device=probabilities.device)
    blocks = []
    for rows, wanted in class_blocks(probabilities.detach(), targets, entries=BLOCK):
        squared = (rows.double() - (wanted > 0).double()).square()
        blocks.append((squared * (wanted >= 0)).sum(1) / (wanted >= 0).sum(1))
    return join_blocks(blocks, probabilities.shape[:-2])


def fit_temperature(logits: Values, targets: Targets) -> Float[Tensor, "*batch"]:
    r"""The temperature T > 0 for which `sigmoid(logits / T)` has the lowest cross-entropy on validation data.

    One number for all classes, so neither the order nor the sign of a logit changes. Cross-entropy is convex in
    1/T; its minimum is found by Newton's method within a bracket.

    Args:
        logits: (..., N, C), of the validation part.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).

    Returns:
        The leading shape, float64, within a factor of 1000 of the root mean square of the known logits. The
        bounds are reached only where no T is best: the lower one where every logit has the sign of its target,
        so that T could go to 0; the upper one where the signs say nothing or the contrary, so that T could grow
        for ever. 1 where there is no known logit other than 0.

    Raises:
        ShapeError: the shapes differ, or a logit is not finite.

    >>> logits, targets = torch.tensor([[4.0], [4.0], [4.0], [-4.0]]), torch.tensor([[1], [1], [0], [0]])
    >>> temperature = fit_temperature(logits, targets)
    >>> temperature, (4 / temperature).sigmoid()  # as often right as it says
    (tensor(3.6410, dtype=torch.float64), tensor(0.7500, dtype=torch.float64))

    Reference: C. Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.
    """
    check_inputs("logits", logits, targets)
    lead = logits.shape[:-2]
    shape = (lead.numel(), logits.shape[-2] * logits.shape[-1])
    flat, wanted = logits.detach().reshape(shape), targets.reshape(shape)
    scale = _root_mean_square(flat, wanted)
    inverse = _best_inverse(flat, wanted, scale)
    return torch.where(scale > 0, 1 / inverse, 1.0).reshape(lead)


@dataclass(frozen=True)
class Platt:
    """Calibrated logits `scale · logit + bias` of each class.

    Attributes:
        scale: (..., C) float64, above 0: the order within a class stays.
        bias: (..., C) float64.
    """

    scale: PerClass
    bias: PerClass

    def __call__(self, logits: Values) -> Values:
        """Logits (..., N, C) to calibrated logits, float64; their sigmoid is the probability."""
        return logits * self.scale[..., None, :] + self.bias[..., None, :]


def fit_platt(logits: Values, targets: Targets, *, min_positives: int = 5) -> Platt:
    r"""Platt scaling of each class: `sigmoid(scale · logit + bias)` with the lowest cross-entropy on validation data.

    The targets are Platt's, `(n₊ + 1) / (n₊ + 2)` for the n₊ positives and `1 / (n₋ + 2)` for the n₋ negatives,
    so the result is finite where the classes are separable, too. All classes are fitted at once by Newton's
    method with backtracking.

    A class shares the fit to the entries of all classes if it has fewer than `min_positives` positives, or no
    negative, or if its own scale would not be above 0, which would turn the order of its scores round. If the
    shared scale is not above 0 either, the logits of such a class stay as they are.

    Memory: that of one block of entries, and one byte an entry.

    Args:
        logits: (..., N, C), of the validation part; scores of any scale will do.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        min_positives: how many positives a class needs for a fit of its own, and never less than 1. Default 5,
            our choice.

    Raises:
        OptionError: `min_positives` that is no whole number of 0 or more.
        ShapeError: the shapes differ, or a logit is not finite.

    >>> platt = fit_platt(torch.tensor([[9.0], [5.0], [4.0]]), torch.tensor([[1], [1], [0]]), min_positives=1)
    >>> platt(torch.tensor([[9.0], [4.0]])).sigmoid()
    tensor([[0.7887],
            [0.4883]], dtype=torch.float64)

    Reference: J. Platt, Probabilistic outputs for support vector machines, 1999; H.-T. Lin, C.-J. Lin and R. Weng,
    A note on Platt's probabilistic outputs for support vector machines, Machine Learning 68, 2007.
    """
    check_inputs("logits", logits, targets)
    check_whole("min_positives", min_positives, 0)
    lead, classes = logits.shape[:-2], logits.shape[-1]
    if not logits.numel():
        scale = torch.ones(*lead, classes, dtype=torch.float64, device=logits.device)
        return Platt(scale, torch.zeros_like(scale))
    scale, bias = _platt(logits, targets, max(min_positives, 1))
    if scale.isnan().any():
        pooled = _platt(logits.flatten(-2)[..., None], targets.flatten(-2)[..., None], 1)
        scale, bias = torch.where(scale.isnan(), pooled[0], scale), torch.where(bias.isnan(), pooled[1], bias)
    return Platt(scale.nan_to_num(1.0), bias.nan_to_num(0.0))


def _check_bins(bins: int, binning: str) -> None:
    check_whole("bins", bins, 1)
    if binning not in BINNINGS:
        raise OptionError(unknown_name("binning", binning, BINNINGS))


def _bin_sums(rows: Tensor, wanted: Tensor, bins: int, binning: str) -> tuple[Tensor, Tensor, Tensor]:
    """Entries, probabilities and positives summed over each bin, (rows, bins) float64."""
    known = wanted >= 0
    place = _equal_mass(rows, wanted, bins) if binning == "mass" else _equal_width(rows, bins)
    zeros = torch.zeros(len(rows), bins, dtype=torch.float64, device=rows.device)
    summed = (known.double(), rows.double() * known, (wanted > 0).double())
    count, probability, positive = (zeros.scatter_add(1, place, values) for values in summed)
    return count, probability, positive


def _equal_width(rows: Tensor, bins: int) -> Tensor:
    bounds = torch.linspace(0, 1, bins + 1, dtype=rows.dtype, device=rows.device)
    return torch.bucketize(rows, bounds[1:-1].contiguous(), right=True)


def _equal_mass(rows: Tensor, wanted: Tensor, bins: int) -> Tensor:
    """The bin of how many known entries are below: the same for equal probabilities."""
    ordered, entries = sorted_known(rows, wanted), (wanted >= 0).sum(1, keepdim=True)
    below = torch.searchsorted(ordered, rows.to(ordered.dtype))
    return (below * bins // entries.clamp(min=1)).clamp(max=bins - 1)


def _root_mean_square(flat: Tensor, wanted: Tensor) -> Tensor:
    squares = torch.zeros(len(flat), dtype=torch.float64, device=flat.device)
    number = torch.zeros_like(squares)
    for logits, labels in row_blocks(flat, wanted, entries=BLOCK):
        squares += torch.where(labels >= 0, logits.double(), 0.0).square().sum(1)
        number += (labels >= 0).sum(1)
    return (squares / number.clamp(min=1)).sqrt()


def _best_inverse(flat: Tensor, wanted: Tensor, scale: Tensor) -> Tensor:
    """(rows,), where the slope of the cross-entropy in 1/T is 0: Newton's method, or else halving the bracket."""
    unit = torch.where(scale > 0, scale, 1.0)
    low, high, inverse = 1 / (REACH * unit), REACH / unit, 1 / unit
    step = torch.full_like(unit, torch.inf)
    for _ in range(STEPS):
        slope, curvature = _slope_and_curvature(inverse, flat, wanted)
        found = (slope == 0) & (curvature > 0)
        low = torch.where((slope <= 0) & ~found, inverse, low)  # both are 0 where every sigmoid is 0 or 1 already
        high = torch.where(slope > 0, inverse, high)
        newton = inverse - slope / curvature
        fast = (newton > low) & (newton < high) & ((newton - inverse).abs() <= step.abs() / 2)
        fast |= (newton - inverse).abs() < CLOSE * inverse  # there rounding decides, and the bracket may be wrong
        step = torch.where(found, 0.0, torch.where(fast, newton, (low * high).sqrt()) - inverse)
        inverse = inverse + step
        if (step.abs() < CLOSE * inverse).all():
            break
    return inverse


def _slope_and_curvature(inverse: Tensor, flat: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative in 1/T of `Σ softplus(z / T) - y z / T`."""
    slope, curvature = torch.zeros_like(inverse), torch.zeros_like(inverse)
    for scores, labels in row_blocks(flat, wanted, entries=BLOCK):
        logits = torch.where(labels >= 0, scores.double(), 0.0)
        probability = torch.sigmoid(logits * inverse[:, None])
        slope += ((probability - (labels > 0).double()) * logits).sum(1)
        curvature += (probability * (1 - probability) * logits.square()).sum(1)
    return slope, curvature


def _platt(logits: Tensor, targets: Tensor, min_positives: int) -> tuple[Tensor, Tensor]:
    """Scale and bias (..., C); NaN for a class that cannot have its own."""
    blocks = [
        _platt_rows(rows, wanted, min_positives)
        for rows, wanted in class_blocks(logits.detach(), targets, entries=BLOCK)
    ]
    scale, bias = (join_blocks(list(values), logits.shape[:-2]) for values in zip(*blocks, strict=True))
    return scale, bias


def _platt_rows(rows: Tensor, wanted: Tensor, min_positives: int) -> tuple[Tensor, Tensor]:
    highest, lowest = _extremes(rows, wanted)
    # From -1 to 1, so that the steps do not depend on the scale of the logits.
    centre, half = (highest / 2 + lowest / 2).nan_to_num(0.0), highest / 2 - lowest / 2
    half = torch.where(half > 0, half, 1.0)
    logistic = _Logistic(rows, wanted, centre, half)
    scale, bias = _newton(logistic)
    scale, bias = scale / half[:, 0], bias - scale * centre[:, 0] / half[:, 0]
    own = (logistic.positives >= min_positives) & (logistic.negatives > 0) & (scale > 0)[:, None]
    return torch.where(own[:, 0], scale, torch.nan), torch.where(own[:, 0], bias, torch.nan)


def _extremes(rows: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The highest and the lowest known value of each row, (rows, 1) float64; -∞ and ∞ where there is none."""
    found = [
        (
            torch.where(labels >= 0, values.double(), -torch.inf).amax(1, keepdim=True),
            torch.where(labels >= 0, values.double(), torch.inf).amin(1, keepdim=True),
        )
        for values, labels in row_blocks(rows, wanted, entries=BLOCK)
    ]
    highest, lowest = (torch.cat(values, 1) for values in zip(*found, strict=True))
    return highest.amax(1, keepdim=True), lowest.amin(1, keepdim=True)


class _Logistic:
    """The cross-entropy of `scale · x + bias` against Platt's targets, of several classes at once."""

    def __init__(self, rows: Tensor, wanted: Tensor, centre: Tensor, half: Tensor) -> None:
        self.rows, self.wanted, self.centre, self.half = rows, wanted, centre, half
        self.positives = count_positives(wanted, 1)[:, None]
        self.negatives = count_positives(wanted == 0, 1)[:, None]
        self.high = (self.positives + 1) / (self.positives.double() + 2)
        self.low = 1 / (self.negatives.double() + 2)
        self.prior = ((self.positives + 1) / (self.negatives.double() + 1)).log()[:, 0]
        # A block is prepared once for all steps; where there are more, each is prepared anew at each step.
        self.kept = list(self._blocks()) if rows.numel() <= BLOCK else None

    def _blocks(self) -> Iterator[_Block]:
        """Values, targets and what is known, (rows, some entries) each."""
        for rows, wanted in row_blocks(self.rows, self.wanted, entries=BLOCK):
            known = wanted >= 0
            values = torch.where(known, (rows.double() - self.centre) / self.half, 0.0)
            yield values, torch.where(wanted > 0, self.high, self.low), known

    def at(self, scale: Tensor, bias: Tensor) -> "_Point":
        """Loss and Newton step. About the weighted mean the 2×2 system is diagonal, and far values cost no digits."""
        blocks = self._blocks() if self.kept is None else self.kept
        parts = zip(*(_sums(block, scale, bias) for block in blocks), strict=True)
        loss, total, mean, by_scale, by_level, spread = (torch.stack(part) for part in parts)
        weight = total.sum(0).clamp(min=TINY)
        middle = (total * mean).sum(0) / weight
        shift = mean - middle  # each block's sums are about its own mean
        by_scale, by_level = (by_scale + shift * by_level).sum(0), by_level.sum(0)
        spread = (spread + total * shift.square()).sum(0)
        step_scale = -by_scale / spread.clamp(min=TINY)  # equal logits: 0 / TINY
        step_level = -by_level / weight
        fall = -by_scale * step_scale - by_level * step_level
        return _Point(scale, bias, loss.sum(0), step_scale, step_level - middle * step_scale, fall)


def _sums(block: _Block, scale: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Of one block: loss, weight, weighted mean, slopes in the scale and the level, and spread about the mean."""
    values, targets, known = block
    logits = scale[:, None] * values + bias[:, None]
    loss = ((torch.nn.functional.softplus(logits) - targets * logits) * known).sum(1)
    probability = logits.sigmoid_()
    error, weight = (probability - targets) * known, probability * (1 - probability) * known
    total = weight.sum(1)
    mean = (weight * values).sum(1) / total.clamp(min=TINY)
    centred = values - mean[:, None]
    return loss, total, mean, (error * centred).sum(1), error.sum(1), (weight * centred.square()).sum(1)


@dataclass(frozen=True)
class _Point:
    """Where the fit is, (rows,) each: the loss there, the Newton step and how fast the loss falls along it."""

    scale: Tensor
    bias: Tensor
    loss: Tensor
    step_scale: Tensor
    step_bias: Tensor
    fall: Tensor


def _newton(logistic: _Logistic) -> tuple[Tensor, Tensor]:
    point = logistic.at(torch.zeros_like(logistic.prior), logistic.prior)
    for _ in range(STEPS):
        if (point.fall < 1e-12).all():  # after one more step, of the order of its square
            break
        point = _step(logistic, point)
    return point.scale + point.step_scale, point.bias + point.step_bias


def _step(logistic: _Logistic, point: _Point) -> _Point:
    """The whole step, or half of it, half of that and so on, until the loss falls by enough (Armijo)."""
    size = torch.ones_like(point.scale)
    for _ in range(STEPS):
        after = logistic.at(point.scale + size * point.step_scale, point.bias + size * point.step_bias)
        enough = (after.loss <= point.loss - 1e-4 * size * point.fall) | (point.fall < 1e-9)  # there rounding decides
        if enough.all():
            break
        size = torch.where(enough, size, size / 2)
    return after
