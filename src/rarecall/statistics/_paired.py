"""Paired tests over seeds or data sets, corrections for several of them, and the size of an effect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rarecall.errors import OptionError
from rarecall.statistics._shared import LEVEL, check_share, mean_and_deviation, paired_differences

MOST_EXACT_PAIRS = 200
_ONE_PAIR = "one pair: nothing can be concluded about the spread over seeds"
_ALL_ALIKE = "every pair differs by the same: the test sees no spread"
_ALL_EQUAL = "all pairs are equal"


@dataclass(frozen=True)
class SignificanceTest:
    """The outcome of a two-sided paired test.

    Attributes:
        statistic: t, or the smaller of the two sums of ranks; NaN for one pair.
        p_value: how often pairs without a true difference would differ at least as much; NaN for one pair.
        pairs: how many pairs the test could use.
        smallest_p: no outcome with so many pairs has a smaller p; 0 where there is no such bound.
        note: what has to be said with the p-value, or nothing.
    """

    statistic: float
    p_value: float
    pairs: int
    smallest_p: float
    note: str = ""

    @property
    def sees_no_spread(self) -> bool:
        """Whether all pairs differ by the same, so that the p-value of a t-test says nothing."""
        return math.isinf(self.statistic)


def paired_t_test(first: Sequence[float], second: Sequence[float]) -> SignificanceTest:
    r"""Student's paired t-test, `t = d̄ / (s_d / √n)` with n - 1 degrees of freedom, two-sided.

    It takes the differences as drawn from a normal distribution, which few seeds cannot show. Seeds on one
    split share their test items: the test says whether more seeds would show the same, not whether another
    test set would.

    Args:
        first: one figure for each seed (or data set).
        second: the figures of the other method on the same seeds, in the same order.

    Returns:
        p is NaN for one pair, 1 if all pairs are equal, and 0 if all differ by the same.

    Raises:
        ShapeError: lists of different lengths, without a pair or with a value that is not finite.

    >>> test = paired_t_test([3.0, 4.0, 6.0], [1.0, 3.0, 3.0])
    >>> round(test.statistic, 3), round(test.p_value, 3)
    (3.464, 0.074)

    Reference: Student, The probable error of a mean, Biometrika 6, 1908.
    """
    from scipy import special

    differences = paired_differences(first, second)
    pairs = len(differences)
    mean, deviation = mean_and_deviation(differences.tolist())
    if pairs < 2:
        return SignificanceTest(math.nan, math.nan, pairs, 0.0, _ONE_PAIR)
    if not differences.any():
        return SignificanceTest(0.0, 1.0, pairs, 0.0, _ALL_EQUAL)
    # Figures that differ by the same still differ in their last bit.
    if deviation <= 1e-12 * abs(mean):
        return SignificanceTest(math.copysign(math.inf, mean), 0.0, pairs, 0.0, _ALL_ALIKE)
    statistic = mean / (deviation / math.sqrt(pairs))
    return SignificanceTest(statistic, float(2 * special.stdtr(pairs - 1, -abs(statistic))), pairs, 0.0)


def wilcoxon_signed_rank(first: Sequence[float], second: Sequence[float], *, level: float = LEVEL) -> SignificanceTest:
    r"""Wilcoxon's signed-rank test, two-sided and exact for up to 200 pairs that differ, ties included.

    The absolute differences are ranked, ties with their mean rank; pairs that are equal are left out. Figures
    count to 12 significant digits of the largest: what differs beyond them is equal or tied. With n pairs no p
    is below `2 · 2⁻ⁿ`: 3 seeds cannot reach 0.05, nor can 5.

    SciPy's exact distribution knows no ties; with them it draws at random or approximates. This one counts
    the sums of ranks of all 2ⁿ choices of signs. With more than 200 pairs the smaller sum W of the ranks r is
    taken as normal, `z = (W - Σr/2) / √(Σr²/4)`: from p = 0.01 up within 2 % of the exact p, below it too high.

    Args:
        first: one figure for each seed (or data set).
        second: the figures of the other method on the same seeds, in the same order.
        level: of significance, 0.05, below which the note says that p cannot go.

    Returns:
        p is NaN for one pair and 1 if all pairs are equal.

    Raises:
        ShapeError: as `paired_t_test`.
        OptionError: a level outside 0 to 1.

    >>> test = wilcoxon_signed_rank([3.0, 4.0, 6.0], [1.0, 3.0, 3.0])
    >>> test.p_value, test.note
    (0.25, 'the Wilcoxon signed-rank test with 3 pairs cannot go below p = 0.25')

    Reference: F. Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1, 1945.
    """
    from scipy import stats

    check_share("level", level)
    every = paired_differences(first, second)
    if len(every) < 2:
        return SignificanceTest(math.nan, math.nan, len(every), 1.0, _ONE_PAIR)
    differences = every[every != 0]
    if not len(differences):
        return SignificanceTest(0.0, 1.0, 0, 1.0, _ALL_EQUAL)
    # Twice the ranks are whole numbers, ties or not.
    doubled = np.rint(2 * stats.rankdata(abs(differences))).astype(int)
    positive = int(doubled[differences > 0].sum())
    smaller = min(positive, int(doubled.sum()) - positive)
    chance = _chance_of_sum if len(doubled) <= MOST_EXACT_PAIRS else _normal_chance_of_sum
    p_value = min(1.0, 2 * chance(smaller, doubled))
    smallest = smallest_wilcoxon_p(len(differences))
    note = f"the Wilcoxon signed-rank test with {len(differences)} pairs cannot go below p = {smallest:.3g}"
    return SignificanceTest(smaller / 2, p_value, len(differences), smallest, note if smallest >= level else "")


def smallest_wilcoxon_p(pairs: int) -> float:
    """The smallest two-sided p that so many pairs can have, `2 · 2⁻ⁿ`.

    >>> [smallest_wilcoxon_p(pairs) for pairs in (1, 3, 5, 6)]
    [1.0, 0.25, 0.0625, 0.03125]
    """
    return 2.0 ** (1 - pairs) if pairs else 1.0


def _chance_of_sum(limit: int, ranks: Int[np.ndarray, " pairs"]) -> float:
    """How likely the sum of `ranks` is at most `limit` when each rank is counted with probability 1/2."""
    chances = np.zeros(limit + 1)
    chances[0] = 1
    for rank in ranks:
        chances[rank:] += chances[: max(limit + 1 - rank, 0)]
        chances /= 2
    return float(chances.sum())


def _normal_chance_of_sum(limit: int, ranks: Int[np.ndarray, " pairs"]) -> float:
    """`_chance_of_sum` of a normal distribution with the mean and the variance of the sum."""
    from scipy import special

    return float(special.ndtr((limit - ranks.sum() / 2) / (np.linalg.norm(ranks) / 2)))


def holm(p_values: Sequence[float] | Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    r"""Holm's step-down correction: the p-values of m tests so adjusted that any error at all has the level's chance.

    With the p-values in rising order, `p̃_k = max_{j ≤ k} min(1, (m - j + 1) p_j)`.

    Args:
        p_values: from 0 to 1; NaN is kept, and not counted as a test.

    Returns:
        The adjusted p-values, in the order given.

    Raises:
        OptionError: a p-value outside 0 to 1.

    >>> holm([0.01, 0.04, float("nan")])
    array([0.02, 0.04,  nan])

    Reference: S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 1979.
    """
    given = np.asarray(p_values, dtype=float)
    if ((given < 0) | (given > 1)).any():
        raise OptionError(f"a p-value lies between 0 and 1, not {given[(given < 0) | (given > 1)][0]:g}")
    order = np.argsort(given)[: np.count_nonzero(~np.isnan(given))]
    adjusted = np.full(len(given), math.nan)
    times = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(times * given[order], 1.0))
    return adjusted


def cohens_d(first: Sequence[float], second: Sequence[float]) -> float:
    r"""Cohen's d of paired figures, `d_z = d̄ / s_d`: the mean difference in its own standard deviations.

    Returns:
        NaN for one pair, 0 if all pairs are equal, infinite if all differ by the same.

    Raises:
        ShapeError: as `paired_t_test`.

    >>> round(cohens_d([3.0, 4.0, 6.0], [1.0, 3.0, 3.0]), 3)
    2.0

    Reference: J. Cohen, Statistical power analysis for the behavioral sciences, 1988, section 2.3.5.
    """
    test = paired_t_test(first, second)
    return test.statistic / math.sqrt(test.pairs)


def hedges_g(first: Sequence[float], second: Sequence[float]) -> float:
    r"""`cohens_d` without its bias, `g = d_z Γ(m/2) / (√(m/2) Γ((m-1)/2))` with m = n - 1.

    Few seeds overstate an effect: by three quarters with 3, by a quarter with 5.

    Returns:
        NaN for fewer than 3 pairs, of which the correction leaves nothing.

    Raises:
        ShapeError: as `paired_t_test`.

    >>> round(hedges_g([3.0, 4.0, 6.0], [1.0, 3.0, 3.0]), 3)
    1.128

    Reference: L. Hedges, Distribution theory for Glass's estimator of effect size, J. Educ. Statist. 6, 1981.
    """
    from scipy import special

    effect, freedom = cohens_d(first, second), len(first) - 1
    if freedom < 2:
        return math.nan
    logarithm = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)
    return float(effect * math.exp(logarithm) / math.sqrt(freedom / 2))


def rank_biserial(first: Sequence[float], second: Sequence[float]) -> float:
    r"""Rank-biserial correlation of pairs, `(W₊ - W₋) / (W₊ + W₋)`: the effect that Wilcoxon's test tests.

    Returns:
        From -1 (every pair falls) to 1 (every pair rises); 0 if all pairs are equal.

    Raises:
        ShapeError: as `paired_t_test`.

    >>> round(rank_biserial([3.0, 4.0, 2.0], [1.0, 3.0, 5.0]), 3)
    0.0

    Reference: D. Kerby, The simple difference formula, Comprehensive Psychology 3, 2014.
    """
    from scipy import stats

    differences = paired_differences(first, second)
    differences = differences[differences != 0]
    if not len(differences):
        return 0.0
    ranks = stats.rankdata(abs(differences))
    return float((ranks * np.sign(differences)).sum() / ranks.sum())
