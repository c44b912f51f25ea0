"""Every formula once more, in plain Python floats and loops, to hold the tensor code against.

A batch is a list of rows. A loss gives a number, or for `none` the list of its terms in reading order; a term
that does not count is None until then.
"""

import math
from collections.abc import Callable, Iterable, Sequence

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


def rank(
    logits: Rows,
    targets: Rows,
    ways: str,
    reduction: str,
    value: Callable[[list[float], list[float]], float],
    needs_positive: bool = False,
) -> float | list[float]:
    """A term of the positives' and negatives' logits for each row, column, or both."""

    def term(z: Iterable[float], y: Iterable[float]) -> Term:
        positives, negatives, known = parts(z, y)
        return value(positives, negatives) if (positives if needs_positive else known) else None

    by_row = [term(z, y) for z, y in zip(logits, targets, strict=True)]
    by_column = [term(z, y) for z, y in zip(columns(logits), columns(targets), strict=True)]
    chosen = {"sample": [by_row], "class": [by_column], "both": [by_row, by_column]}[ways]
    if reduction == "none":
        return reduce_terms(chosen[0], len(logits), reduction)
    return sum(reduce_terms(terms, len(logits), reduction) for terms in chosen)


def softmax_regression(
    logits: Rows, targets: Rows, *, ways: str = "sample", reduction: str = "mean"
) -> float | list[float]:
    """-Σ (1 / positives) log softmax over the known entries."""

    def value(positives: list[float], negatives: list[float]) -> float:
        total = math.log(math.fsum(math.exp(z) for z in positives + negatives))
        return -math.fsum((z - total) / len(positives) for z in positives)

    return rank(logits, targets, ways, reduction, value, needs_positive=True)


def lsep(
    logits: Rows, targets: Rows, *, gamma: float = 1.0, ways: str = "sample", reduction: str = "mean"
) -> float | list[float]:
    """log(1 + Σ_p Σ_n e^{γ(z_n - z_p)}), pair by pair."""

    def value(positives: list[float], negatives: list[float]) -> float:
        return math.log(1 + math.fsum(math.exp(gamma * (n - p)) for n in negatives for p in positives))

    return rank(logits, targets, ways, reduction, value)


def zlpr(logits: Rows, targets: Rows, *, ways: str = "sample", reduction: str = "mean") -> float | list[float]:
    """log(1 + Σ_p e^{-z_p}) + log(1 + Σ_n e^{z_n})."""

    def value(positives: list[float], negatives: list[float]) -> float:
        return math.log(1 + math.fsum(math.exp(-z) for z in positives)) + math.log(
            1 + math.fsum(math.exp(z) for z in negatives)
        )

    return rank(logits, targets, ways, reduction, value)


def multi_similarity(
    logits: Rows,
    targets: Rows,
    *,
    positive_temperature: float = 1.0,
    negative_temperature: float = 1.0,
    ways: str = "sample",
    reduction: str = "mean",
) -> float | list[float]:
    """Softplus of the smooth maximum of -z over positives, plus that of z over negatives."""

    def value(positives: list[float], negatives: list[float]) -> float:
        total = 0.0
        if positives:
            total += math.log(1 + math.exp(smooth_maximum([-z for z in positives], positive_temperature)))
        if negatives:
            total += math.log(1 + math.exp(smooth_maximum(negatives, negative_temperature)))
        return total

    return rank(logits, targets, ways, reduction, value)


def circle(
    logits: Rows,
    targets: Rows,
    *,
    margin: float = 0.25,
    gamma: float = 32.0,
    ways: str = "sample",
    reduction: str = "mean",
) -> float | list[float]:
    """log(1 + Σ_n e^{γ a_n (s_n - m)} Σ_p e^{-γ a_p (s_p - 1 + m)})."""

    def value(positives: list[float], negatives: list[float]) -> float:
        of_negatives = of_positives = 0.0
        for s in map(sigmoid, negatives):
            of_negatives += math.exp(gamma * max(s + margin, 0) * (s - margin))
        for s in map(sigmoid, positives):
            of_positives += math.exp(-gamma * max(1 + margin - s, 0) * (s - 1 + margin))
        return math.log(1 + of_negatives * of_positives)

    return rank(logits, targets, ways, reduction, value)


def hill(
    logits: Rows,
    targets: Rows,
    *,
    margin: float = 1.0,
    gamma: float = 2.0,
    lamb: float = 1.5,
    unknown: str = "ignore",
    reduction: str = "mean",
) -> float | list[float]:
    """-y (1 - σ(z - m))^γ log σ(z - m) + (1 - y)(λ - p) p²."""
    terms: list[Term] = []
    for _, z, y in entries(logits, targets):
        label = 0.0 if y < 0 and unknown == "absent" else y
        p, shifted = sigmoid(z), sigmoid(z - margin)
        term = -label * (1 - shifted) ** gamma * math.log(shifted) + (1 - label) * (lamb - p) * p**2
        terms.append(None if label < 0 else term)
    return reduce_terms(terms, len(logits), reduction)


def splc(
    logits: Rows,
    targets: Rows,
    *,
    margin: float = 1.0,
    gamma: float = 2.0,
    threshold: float | None = None,
    unknown: str = "ignore",
    reduction: str = "mean",
) -> float | list[float]:
    """-y (1 - σ(z - m))^γ log σ(z - m) - (1 - y) p^γ log(1 - p), with y = 1 for what scores above the threshold."""
    terms: list[Term] = []
    for _, z, y in entries(logits, targets):
        label = 0.0 if y < 0 and unknown == "absent" else y
        p, shifted = sigmoid(z), sigmoid(z - margin)
        if threshold is not None and 0 <= label < 1 and p > threshold:
            label = 1.0
        term = -label * (1 - shifted) ** gamma * math.log(shifted) - (1 - label) * p**gamma * math.log(1 - p)
        terms.append(None if label < 0 else term)
    return reduce_terms(terms, len(logits), reduction)


def hard_selection(
    logits: Rows, targets: Rows, *, beta: float = 10.0, ratio: float = 0.25, reduction: str = "mean"
) -> float | list[float]:
    """-Σ y log p / N₊ + β · mean over the N × k hardest of -(1 - y) log(1 - p)."""
    k = max(1, int(len(logits[0]) * ratio))
    positive, positives, negative, rows = 0.0, 0.0, 0.0, 0
    by_entry: list[list[float]] = []
    for z_row, y_row in zip(logits, targets, strict=True):
        known = [(z, y) for z, y in zip(z_row, y_row, strict=True) if y >= 0]
        hardness = [-(1 - y) * math.log(1 - sigmoid(z)) if y >= 0 else -1.0 for z, y in zip(z_row, y_row, strict=True)]
        selected = sorted(range(len(z_row)), key=lambda c: -hardness[c])[:k]
        positive += math.fsum(-y * math.log(sigmoid(z)) for z, y in known)
        positives += math.fsum(y for _, y in known)
        negative += math.fsum(max(hardness[c], 0.0) for c in selected)
        rows += bool(known)
        by_entry.append(
            [
                (-y * math.log(sigmoid(z)) if y > 0 else 0.0) + beta * max(hardness[c], 0.0) * (c in selected)
                for c, (z, y) in enumerate(zip(z_row, y_row, strict=True))
            ]
        )
    if reduction == "none":
        return [term for row in by_entry for term in row]
    if reduction == "mean":
        return (positive / positives if positives else 0.0) + (beta * negative / (rows * k) if rows else 0.0)
    return (positive + beta * negative) / (len(logits) if reduction == "batchmean" else 1)


def soft_selection(
    logits: Rows, targets: Rows, *, beta: float = 10.0, exponent: float = 2.0, reduction: str = "mean"
) -> float | list[float]:
    """-Σ y log p / N₊ - β Σ (1 - y) p^r log(1 - p) / N₋."""
    positive, negative, positives, negatives = [], [], 0.0, 0.0
    for _, z, y in entries(logits, targets):
        p = sigmoid(z)
        positive.append(-y * math.log(p) if y >= 0 else 0.0)
        negative.append(-beta * (1 - y) * p**exponent * math.log(1 - p) if y >= 0 else 0.0)
        positives += max(y, 0.0)
        negatives += 1 - y if y >= 0 else 0.0
    if reduction == "none":
        return [a + b for a, b in zip(positive, negative, strict=True)]
    if reduction == "mean":
        return (math.fsum(positive) / positives if positives else 0.0) + (
            math.fsum(negative) / negatives if negatives else 0.0
        )
    return math.fsum(positive + negative) / (len(logits) if reduction == "batchmean" else 1)


def weighted_entries(
    logits: Rows,
    targets: Rows,
    weight: Callable[[int, int, float], float],
    gamma: float | None,
    reduction: str,
    every: bool = False,
) -> float | list[float]:
    """weight(row, class, y) times cross-entropy, or focal loss, of each known entry."""
    terms: list[Term] = []
    for i, (z_row, y_row) in enumerate(zip(logits, targets, strict=True)):
        for c, (z, y) in enumerate(zip(z_row, y_row, strict=True)):
            p, power = sigmoid(z), gamma or 0.0
            term = -y * (1 - p) ** power * math.log(p) - (1 - y) * p**power * math.log(1 - p)
            terms.append((0.0 if every else None) if y < 0 else weight(i, c, y) * term)
    return reduce_terms(terms, len(logits), reduction)


def reweighted_cross_entropy(
    logits: Rows,
    targets: Rows,
    *,
    positives: Sequence[float],
    total: float,
    power: float = 0.5,
    gamma: float | None = None,
    balance: float = 2.0,
    reduction: str = "mean",
) -> float | list[float]:
    """(N / n_c)^power times cross-entropy, or balance times focal."""
    factor = 1.0 if gamma is None else balance
    return weighted_entries(
        logits, targets, lambda _i, c, _y: factor * (total / positives[c]) ** power, gamma, reduction
    )


def frequency_weighted_cross_entropy(
    logits: Rows, targets: Rows, *, positives: Sequence[float], total: float, reduction: str = "mean"
) -> float | list[float]:
    """Positives weigh √(negatives / positives)."""
    weights = [math.sqrt((total - n) / n) for n in positives]
    return binary_cross_entropy(logits, targets, pos_weight=weights, reduction=reduction)


def attribute_weighted_cross_entropy(
    logits: Rows, targets: Rows, *, positives: Sequence[float], total: float, reduction: str = "mean"
) -> float | list[float]:
    """exp(y (1 - r) + (1 - y) r) times cross-entropy; between the two ends for soft targets."""
    terms: list[Term] = []
    for c, z, y in entries(logits, targets):
        p, rate = sigmoid(z), positives[c] / total
        term = -math.exp(1 - rate) * y * math.log(p) - math.exp(rate) * (1 - y) * math.log(1 - p)
        terms.append(None if y < 0 else term)
    return reduce_terms(terms, len(logits), reduction)


def class_balanced(
    logits: Rows,
    targets: Rows,
    *,
    positives: Sequence[float],
    total: float,
    beta: float = 0.9,
    mode: str = "by_class",
    gamma: float | None = 2.0,
    balance: float = 2.0,
    reduction: str = "mean",
) -> float | list[float]:
    """(1 - β) / (1 - β^n) of the class, or by one of three rules of the row, times balance times focal."""

    def effective(n: float) -> float:
        return (1 - beta) / (1 - beta**n)

    def weight(i: int, c: int, _y: float) -> float:
        if mode == "by_class":
            return effective(positives[c])
        present = [(n, y) for n, y in zip(positives, targets[i], strict=True) if y > 0]
        share = math.fsum(y for _, y in present)
        if not present:
            return effective(total)
        if mode == "average_n":
            return effective(math.fsum(n * y for n, y in present) / share)
        if mode == "average_w":
            return math.fsum(effective(n) * y for n, y in present) / share
        return effective(min(n for n, _ in present))

    factor = 1.0 if gamma is None else balance
    return weighted_entries(logits, targets, lambda i, c, y: factor * weight(i, c, y), gamma, reduction)


def distribution_balanced(
    logits: Rows,
    targets: Rows,
    *,
    positives: Sequence[float],
    total: float,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.2,
    negative_scale: float = 2.0,
    init_bias: float = 0.05,
    gamma: float | None = 2.0,
    balance: float = 2.0,
    reduction: str = "mean",
) -> float | list[float]:
    """Balance · (1 - e^{-BCE})^γ · w · BCE of the shifted and, for negatives, scaled logit."""
    terms: list[Term] = []
    for z_row, y_row in zip(logits, targets, strict=True):
        rarity = math.fsum(max(y, 0.0) / n for y, n in zip(y_row, positives, strict=True))
        for z, y, n in zip(z_row, y_row, positives, strict=True):
            bias = -math.log(total / n - 1) * init_bias / negative_scale
            share = (1 / n) / rarity if rarity else math.inf
            weight = 1 / (1 + math.exp(-beta * (share - mu))) + alpha
            of_positive = softplus(-(z + bias))
            of_negative = softplus(negative_scale * (z + bias))
            if gamma is not None:
                of_positive *= balance * (1 - math.exp(-of_positive)) ** gamma
                of_negative *= balance * (1 - math.exp(-of_negative)) ** gamma
            term = weight * (y * of_positive + (1 - y) * of_negative / negative_scale)
            terms.append(None if y < 0 else term)
    return reduce_terms(terms, len(logits), reduction)


def ldam(
    logits: Rows,
    targets: Rows,
    *,
    positives: Sequence[float],
    max_margin: float = 0.5,
    scale: float = 30.0,
    reduction: str = "mean",
) -> float | list[float]:
    """Cross-entropy of s (z - y m_c), each side by itself for soft targets."""
    terms: list[Term] = []
    for c, z, y in entries(logits, targets):
        margin = max_margin * (positives[c] / min(positives)) ** -0.25
        positive = softplus(-scale * (z - margin))
        terms.append(None if y < 0 else y * positive + (1 - y) * softplus(scale * z))
    return reduce_terms(terms, len(logits), reduction)


def softplus(x: float) -> float:
    """log(1 + e^x) where e^x may be beyond a float."""
    return x if x > 500 else math.log1p(math.exp(x))


def assume_negative(
    logits: Rows, targets: Rows, *, label_smoothing: float = 0.0, reduction: str = "mean"
) -> float | list[float]:
    """Cross-entropy with 0 for -1."""
    absent = [[max(y, 0.0) for y in row] for row in targets]
    return binary_cross_entropy(logits, absent, label_smoothing=label_smoothing, reduction=reduction)


def weak_assume_negative(logits: Rows, targets: Rows, *, reduction: str = "mean") -> float | list[float]:
    """Cross-entropy with 0 for -1 and the negative term divided by C - 1."""
    divisor = max(len(logits[0]) - 1, 1)
    terms: list[Term] = []
    for _, z, y in entries(logits, targets):
        label, p = max(y, 0.0), sigmoid(z)
        terms.append(-label * math.log(p) - (1 - label) * math.log(1 - p) / divisor)
    return reduce_terms(terms, len(logits), reduction)


def observed(logits: Rows, targets: Rows) -> float:
    """Cross-entropy of what is known, over all entries."""
    total = 0.0
    for _, z, y in entries(logits, targets):
        p = sigmoid(z)
        total += -y * math.log(p) - (1 - y) * math.log(1 - p) if y >= 0 else 0.0
    return total / (len(logits) * len(logits[0]))


def penalty(logits: Rows, expected_positives: float) -> float:
    """((mean over rows of the sum of p) - k)² / C²."""
    mean = math.fsum(sigmoid(z) for row in logits for z in row) / len(logits)
    return (mean - expected_positives) ** 2 / len(logits[0]) ** 2


def whole(logits: Rows, reduction: str) -> float:
    """What a loss of the whole batch is multiplied by."""
    rows, classes = len(logits), len(logits[0])
    return {"mean": 1.0, "sum": float(rows * classes), "batchmean": float(classes)}[reduction]


def expected_positive(
    logits: Rows, targets: Rows, *, expected_positives: float, reduction: str = "mean"
) -> float | list[float]:
    """The observed part plus the penalty."""
    return whole(logits, reduction) * (observed(logits, targets) + penalty(logits, expected_positives))


def role(
    logits: Rows, targets: Rows, *, estimates: Rows, expected_positives: float, reduction: str = "mean"
) -> float | list[float]:
    """Half of: both observed parts, both cross-entropies with the other as target, both penalties."""

    def against(z_rows: Rows, g_rows: Rows) -> float:
        total = 0.0
        for z_row, g_row in zip(z_rows, g_rows, strict=True):
            for z, g in zip(z_row, g_row, strict=True):
                p, target = sigmoid(z), sigmoid(g)
                total += -target * math.log(p) - (1 - target) * math.log(1 - p)
        return total / (len(z_rows) * len(z_rows[0]))

    value = 0.0
    for own, other in ((logits, estimates), (estimates, logits)):
        value += 0.5 * (observed(own, targets) + against(own, other) + penalty(own, expected_positives))
    return whole(logits, reduction) * value


def entropy_maximization(
    logits: Rows, targets: Rows, *, alpha: float = 0.1, pseudo_weight: float = 0.4, reduction: str = "mean"
) -> float | list[float]:
    """-log p, -log(1 - p), -α H(p) for unknown, β CE for soft targets."""
    terms: list[Term] = []
    for _, z, y in entries(logits, targets):
        p = sigmoid(z)
        if y < 0:
            terms.append(alpha * (p * math.log(p) + (1 - p) * math.log(1 - p)))
        else:
            weight = pseudo_weight if 0 < y < 1 else 1.0
            terms.append(weight * (-y * math.log(p) - (1 - y) * math.log(1 - p)))
    return reduce_terms(terms, len(logits), reduction)


def large_loss(
    logits: Rows,
    targets: Rows,
    *,
    progress: float = 1.0,
    delta: float = 0.002,
    scheme: str = "reject",
    reduction: str = "mean",
) -> float | list[float]:
    """Cross-entropy with 0 for -1, the k largest losses among these dropped or with 1 for -1."""
    number = len(logits) * len(logits[0])
    share = delta if scheme == "correct-permanently" else progress * delta
    k = math.ceil(number * share - 1e-9)
    flat = [(z, y) for _, z, y in entries(logits, targets)]
    unknown = sorted((i for i, (_, y) in enumerate(flat) if y < 0), key=lambda i: math.log(1 - sigmoid(flat[i][0])))
    chosen = set(unknown[:k])
    terms: list[Term] = []
    for i, (z, y) in enumerate(flat):
        p, label = sigmoid(z), max(y, 0.0)
        if i in chosen:
            terms.append(0.0 if scheme == "reject" else -math.log(p))
        else:
            terms.append(-label * math.log(p) - (1 - label) * math.log(1 - p))
    return reduce_terms(terms, len(logits), reduction)


def generalized_robust(
    logits: Rows,
    targets: Rows,
    *,
    w: float = 2.0,
    b: float = -2.0,
    mu: float = 0.8,
    sigma: float = 0.5,
    q2: float = 0.01,
    q3: float = 1.0,
    reduction: str = "mean",
) -> float | list[float]:
    """V [k (1 - p^q2) / q2 + (1 - k)(1 - (1 - p)^q3) / q3] for unknown, cross-entropy for known."""
    terms: list[Term] = []
    for _, z, y in entries(logits, targets):
        p = sigmoid(z)
        k, v = sigmoid(w * p + b), math.exp(-((p - mu) ** 2) / (2 * sigma**2))
        robust = v * (k * (1 - p**q2) / q2 + (1 - k) * (1 - (1 - p) ** q3) / q3)
        terms.append(robust if y < 0 else -y * math.log(p) - (1 - y) * math.log(1 - p))
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
