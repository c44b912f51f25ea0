"""Every formula once more, in plain Python floats and loops, to hold the tensor code against.

A batch is a list of rows. A loss gives a number, or for `none` the list of its terms in reading order; a term
that does not count is None until then.
"""

import math
from collections.abc import Iterable, Sequence

Rows = Sequence[Sequence[float]]
Term = float | None


def reduce_terms(terms: Sequence[Term], samples: int, reduction: str) -> float | list[float]:
    """Sum, mean over what counts, sum over the samples, or the terms with 0 for what does not count."""
    if reduction == "none":
        return [0.0 if term is None else term for term in terms]
    counted = [term for term in terms if term is not None]
    total = math.fsum(counted)
    return total / {"sum": 1, "batchmean": samples, "mean": max(len(counted), 1)}[reduction]


def sigmoid(z: float) -> float:
    """The probability of a logit."""
    return 1 / (1 + math.exp(-z))


def entries(logits: Rows, targets: Rows) -> Iterable[tuple[int, float, float]]:
    """Class, logit and target of every entry in reading order."""
    for z_row, y_row in zip(logits, targets, strict=True):
        for c, (z, y) in enumerate(zip(z_row, y_row, strict=True)):
            yield c, z, y


def binary_cross_entropy(
    logits: Rows,
    targets: Rows,
    *,
    pos_weight: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> float | list[float]:
    """-w y log p - (1 - y) log(1 - p), with 1 - ε for 1 and ε for 0."""
    terms: list[Term] = []
    for c, z, y in entries(logits, targets):
        p = sigmoid(z)
        weight = 1.0 if pos_weight is None else pos_weight[c]
        smooth = y * (1 - label_smoothing) + (1 - y) * label_smoothing
        term = -weight * smooth * math.log(p) - (1 - smooth) * math.log(1 - p)
        terms.append(None if y < 0 else term)
    return reduce_terms(terms, len(logits), reduction)


def focal(
    logits: Rows,
    targets: Rows,
    *,
    alpha: float | None = None,
    gamma: float = 2.0,
    modulation: str = "p_t",
    reduction: str = "mean",
) -> float | list[float]:
    """-α_t (1 - p_t)^γ log p_t; `as-printed` has (1 - p)^γ on the negatives too."""
    positive_weight, negative_weight = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    terms: list[Term] = []
    for _, z, y in entries(logits, targets):
        p = sigmoid(z)
        easy = p if modulation == "as-printed" else 1 - p
        positive = -positive_weight * (1 - p) ** gamma * math.log(p)
        negative = -negative_weight * (1 - easy) ** gamma * math.log(1 - p)
        terms.append(None if y < 0 else y * positive + (1 - y) * negative)
    return reduce_terms(terms, len(logits), reduction)


def asymmetric(
    logits: Rows,
    targets: Rows,
    *,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    margin: float = 0.05,
    detach_focusing: bool = True,  # noqa: ARG001 - about the gradient only
    reduction: str = "mean",
) -> float | list[float]:
    """-y (1 - p)^γ₊ log p - (1 - y) p_m^γ₋ log(1 - p_m), p_m = max(p - m, 0)."""
    terms: list[Term] = []
    for _, z, y in entries(logits, targets):
        p = sigmoid(z)
        shifted = max(p - margin, 0.0)
        positive = -((1 - p) ** gamma_pos) * math.log(p)
        negative = -(shifted**gamma_neg) * math.log(1 - shifted)
        terms.append(None if y < 0 else y * positive + (1 - y) * negative)
    return reduce_terms(terms, len(logits), reduction)


def smooth_maximum(values: Sequence[float], temperature: float) -> float:
    """T log Σ exp(v / T), the maximum at T = 0."""
    if temperature == 0:
        return max(values)
    return temperature * math.log(math.fsum(math.exp(value / temperature) for value in values))


def parts(z: Iterable[float], y: Iterable[float]) -> tuple[list[float], list[float], bool]:
    """The positives' logits, the negatives' logits, and whether anything is known at all."""
    pairs = list(zip(z, y, strict=True))
    positives = [value for value, label in pairs if label > 0]
    negatives = [value for value, label in pairs if label == 0]
    return positives, negatives, bool(positives or negatives)


def columns(rows: Rows) -> list[list[float]]:
    """The transpose."""
    return [list(column) for column in zip(*rows, strict=True)]


def two_way(
    logits: Rows,
    targets: Rows,
    *,
    positive_temperature: float = 4.0,
    negative_temperature: float = 1.0,
    ways: str = "both",
    bias: float = 0.0,
    reduction: str = "mean",
) -> float | list[float]:
    """softplus(T_N LSE_n(z / T_N) + T_P LSE_p(-z / T_P) + ε) of each set with a positive."""

    def term(z: Iterable[float], y: Iterable[float]) -> Term:
        positives, negatives, _ = parts(z, y)
        if not positives:
            return None
        if not negatives:
            return 0.0
        highest_negative = smooth_maximum(negatives, negative_temperature)
        lowest_positive = smooth_maximum([-z for z in positives], positive_temperature)
        return math.log(1 + math.exp(highest_negative + lowest_positive + bias))

    by_row = [term(z, y) for z, y in zip(logits, targets, strict=True)]
    by_column = [term(z, y) for z, y in zip(columns(logits), columns(targets), strict=True)]
    as_one = [term([z for row in logits for z in row], [y for row in targets for y in row])]
    chosen = {"sample": [by_row], "class": [by_column], "both": [by_row, by_column], "joint": [as_one]}[ways]
    if reduction == "none":
        return reduce_terms(chosen[0], len(logits), reduction)
    return sum(reduce_terms(terms, len(logits), reduction) for terms in chosen)


def distributionally_robust(
    logits: Rows,
    targets: Rows,
    *,
    gamma: float = 5.0,
    negative_gamma: float | None = 7.0,
    positive_gamma: float | None = None,
    reduction: str = "mean",
) -> float | list[float]:
    """log(1 + Σ_p Σ_n e^{γ(z_n - z_p)} + Σ_n e^{γ₋ z_n} + Σ_p e^{-γ₊ z_p}) of each column, pair by pair."""
    terms: list[Term] = []
    for z, y in zip(columns(logits), columns(targets), strict=True):
        positives, negatives, known = parts(z, y)
        inside = 1.0
        for positive in positives:
            for negative in negatives:
                inside += math.exp(gamma * (negative - positive))
        if negative_gamma is not None:
            inside += math.fsum(math.exp(negative_gamma * negative) for negative in negatives)
        if positive_gamma is not None:
            inside += math.fsum(math.exp(-positive_gamma * positive) for positive in positives)
        terms.append(math.log(inside) if known else None)
    return reduce_terms(terms, len(logits), reduction)


def average_precision(scores: Sequence[float], targets: Sequence[float]) -> float:
    """The mean, over the positives of one class, of the precision among what scores at least as high."""
    known = [(score, label > 0) for score, label in zip(scores, targets, strict=True) if label >= 0]
    precisions = []
    for score, positive in known:
        if positive:
            above = [label for other, label in known if other >= score]
            precisions.append(sum(above) / len(above))
    return math.fsum(precisions) / len(precisions) if precisions else math.nan


def f1_at(threshold: float, scores: Sequence[float], targets: Sequence[float]) -> float:
    """2 TP / (2 TP + FP + FN) of one class over its known labels, deciding `score >= threshold`."""
    true_positives = false_positives = false_negatives = 0
    for score, label in zip(scores, targets, strict=True):
        if label >= 0:
            true_positives += label > 0 and score >= threshold
            false_positives += label == 0 and score >= threshold
            false_negatives += label > 0 and score < threshold
    return 2 * true_positives / (2 * true_positives + false_positives + false_negatives)


def best_f1(scores: Sequence[float], targets: Sequence[float]) -> float:
    """The highest F1 of one class among all cuts at a known score."""
    cuts = {score for score, label in zip(scores, targets, strict=True) if label >= 0}
    return max(f1_at(cut, scores, targets) for cut in cuts)
