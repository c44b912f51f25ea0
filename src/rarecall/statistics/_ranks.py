"""Several methods on several data sets: Friedman's test of their ranks, and Nemenyi's of which of them differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rarecall.errors import OptionError, ShapeError, listing
from rarecall.statistics._shared import LEVEL, check_share

Table = Float[np.ndarray, "datasets methods"]


@dataclass(frozen=True)
class Ranks:
    """How methods rank over data sets.

    Attributes:
        methods: their names, in the order of the table.
        average_ranks: of each method; 1 is the best.
        datasets: how many.
        chi_square: Friedman's statistic, corrected for ties.
        p_value: of the chi-square with k - 1 degrees of freedom; `smallest_p` or more.
        f_statistic: Iman and Davenport's F, which is less conservative.
        f_p_value: of F with k - 1 and (k - 1)(N - 1) degrees of freedom; `smallest_p` or more.
        level: of the critical difference.
        critical_difference: methods whose average ranks are at most this far apart are not distinguishable.
        groups: names of the methods of each largest group that are not distinguishable, best first; one of all
            methods where `smallest_p` is not below the level.
        smallest_p: how likely the data sets rank alike by chance; nothing they could show has a smaller p.
    """

    methods: tuple[str, ...]
    average_ranks: tuple[float, ...]
    datasets: int
    chi_square: float
    p_value: float
    f_statistic: float
    f_p_value: float
    level: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    smallest_p: float

    @property
    def verdict(self) -> list[str]:
        """Sentences: the best rank, whether Friedman's test tells the methods apart, and whom the best beats."""
        best, *others = self._best_first()
        ranks = ", ".join(f"{name} {rank:.2f}" for rank, name in others)
        first = f"Over {self.datasets} data sets, {best[1]} has the best average rank: {best[0]:.2f} ({ranks})."
        if self.smallest_p >= self.level:
            few = f"{self.datasets} data sets are few"
            return [first, f"{few}: Friedman's test cannot go below p = {self.smallest_p:.3g} with them."]
        p_value = f"p = {self.f_p_value:.2g}"
        if self.f_p_value >= self.level:
            return [first, f"Friedman's test does not tell the methods apart ({p_value})."]
        return [first, *self._told(f"Friedman's test tells the methods apart ({p_value})")]

    def _told(self, begin: str) -> list[str]:
        """Whom the best beats, after what Friedman's test says."""
        (_, best), *others = self._best_first()
        level = [name for rank, name in others if rank - min(self.average_ranks) <= self.critical_difference]
        beaten = [name for _, name in others if name not in level]
        difference = f"a critical difference of {self.critical_difference:.2f}"
        alike = f"{best} is not distinguishable from {listing(level)}"
        if not beaten:
            return [f"{begin}, but no single pair: with {difference}, {alike}."]
        beats = f"{best} beats {listing(beaten)}"
        return [f"{begin}.", f"With {difference}, {f'{beats} and {alike}' if level else beats}."]

    def _best_first(self) -> list[tuple[float, str]]:
        """Average rank and name of each method."""
        return sorted(zip(self.average_ranks, self.methods, strict=True))


def friedman_nemenyi(
    table: Table | Sequence[Sequence[float]],
    methods: Sequence[str] | None = None,
    *,
    higher_is_better: bool = True,
    level: float = LEVEL,
) -> Ranks:
    r"""Friedman's test whether k methods rank alike over N data sets, and Nemenyi's critical difference.

        χ² = 12N / (k(k+1)) · (Σ_j R_j² - k(k+1)²/4) / (1 - Σ(t³ - t) / (N(k³ - k)))
        F = (N-1)χ² / (N(k-1) - χ²)
        CD = q_α √(k(k+1) / (6N))

    with the average ranks R_j, t the size of each tie on a data set, and q_α the studentized range over √2.

    Both p-values approximate. By chance all data sets rank k methods alike with probability `1 / k!^(N-1)`, and
    less likely no outcome is: neither p goes below it, and with F = ∞ it is exact. A data set with ties has
    `k! / Π t!` orders in place of k!, and the bound is that of the data set with the most orders m,
    `max m / Π m`.

    Args:
        table: (N, k) one figure for each data set and method; ties take their mean rank.
        methods: k names; the column numbers if none are given.
        higher_is_better: rank the highest figure first.
        level: of significance, 0.05.

    Returns:
        p is 1 if every method ties on every data set. 2 data sets of 3 methods, or 5 of 2, cannot reach 0.05; the
        verdict then says so, and nothing of the methods. Few data sets (N ≤ 10 or k ≤ 5) make the chi-square
        conservative; read F.

    Raises:
        ShapeError: no table of 2 data sets and 2 methods or more, or a figure that is not finite.
        OptionError: names that do not fit, or a level outside 0 to 1.

    >>> found = friedman_nemenyi([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [6.0, 5.0, 4.0]], ["a", "b", "c"])
    >>> [round(rank, 2) for rank in found.average_ranks], round(found.chi_square, 2)
    ([1.0, 2.33, 2.67], 4.67)
    >>> found.groups
    (('a', 'b', 'c'),)
    >>> found.verdict[0]
    'Over 3 data sets, a has the best average rank: 1.00 (b 2.33, c 2.67).'

    Reference: J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006, section 3.2.
    """
    from scipy import special, stats

    check_share("level", level)
    figures = _checked(table)
    datasets, count = figures.shape
    names = [str(place) for place in range(count)] if methods is None else list(methods)
    if len(names) != count or len(set(names)) != count:
        raise OptionError(f"the table has {count} methods: give as many different names, not {len(names)}")
    ranks = stats.rankdata(-figures if higher_is_better else figures, axis=1)
    average = ranks.mean(0)
    chi_square, f_statistic = _friedman(ranks)
    smallest = _smallest_p(ranks)
    apart = critical_difference(count, datasets, level=level)
    # The critical difference approximates too: it may not tell apart what no outcome could.
    joined = apart if smallest < level else math.inf
    return Ranks(
        methods=tuple(names),
        average_ranks=tuple(average.tolist()),
        datasets=datasets,
        chi_square=chi_square,
        p_value=max(float(special.chdtrc(count - 1, chi_square)), smallest),
        f_statistic=f_statistic,
        f_p_value=max(float(special.fdtrc(count - 1, (count - 1) * (datasets - 1), f_statistic)), smallest),
        level=level,
        critical_difference=apart,
        groups=_groups(names, average, joined),
        smallest_p=smallest,
    )


def critical_difference(methods: int, datasets: int, *, level: float = LEVEL) -> float:
    """Nemenyi's critical difference of average ranks, `q_α √(k(k+1) / (6N))`.

    Raises:
        OptionError: fewer than 2 methods, no data set, or a level outside 0 to 1.

    >>> round(critical_difference(4, 14), 2)
    1.25

    Reference: as `friedman_nemenyi`.
    """
    from scipy import stats

    check_share("level", level)
    if methods < 2 or datasets < 1:
        raise OptionError(f"2 methods and 1 data set or more are needed, not {methods} and {datasets}")
    studentized = float(stats.studentized_range.isf(level, methods, math.inf))  # type: ignore[attr-defined]
    return studentized / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * datasets))


def _checked(table: Table | Sequence[Sequence[float]]) -> Table:
    try:
        figures = np.asarray(table, dtype=float)
    except ValueError:
        raise ShapeError("the table must have one figure for each data set and method: its rows differ") from None
    if figures.ndim != 2 or min(figures.shape) < 2:
        raise ShapeError(f"the table {figures.shape} must have 2 data sets (rows) and 2 methods (columns) or more")
    if not np.isfinite(figures).all():
        row, column = np.argwhere(~np.isfinite(figures))[0]
        raise ShapeError(f"data set {row}, method {column} has {figures[row, column]}: leave that data set out")
    return figures


def _friedman(ranks: np.ndarray) -> tuple[float, float]:
    """Chi-square, corrected for ties, and Iman and Davenport's F."""
    datasets, count = ranks.shape
    # A tie of t methods adds up to t³ - t: each of its members has t with the same rank.
    alike = (ranks[:, :, None] == ranks[:, None, :]).sum(2)
    untied = 1 - (alike**2 - 1).sum() / (datasets * (count**3 - count))
    spread = (ranks.mean(0) ** 2).sum() - count * (count + 1) ** 2 / 4
    if untied <= 0:
        return 0.0, 0.0
    chi_square = float(12 * datasets / (count * (count + 1)) * spread / untied)
    rest = datasets * (count - 1) - chi_square
    return chi_square, (datasets - 1) * chi_square / rest if rest > 1e-9 else math.inf


def _smallest_p(ranks: Table) -> float:
    """How likely the data sets, each in a random one of its orders, agree as far as their ties let them.

    The methods may change their names in at least as many ways as the data set with the most orders has, and
    what Friedman's test sees stays the same: no outcome has fewer than those tables among all.
    """
    orders = [_orders(row) for row in ranks]
    return max(orders) / math.prod(orders)


def _orders(row: Float[np.ndarray, " methods"]) -> int:
    """In how many ways the ranks of a data set can be given to its methods."""
    ties = np.unique(row, return_counts=True)[1]
    return math.factorial(len(row)) // math.prod(math.factorial(size) for size in ties.tolist())


def _groups(names: Sequence[str], average: np.ndarray, apart: float) -> tuple[tuple[str, ...], ...]:
    """Runs of methods in the order of their ranks within the critical difference, none inside another."""
    order = np.argsort(average, kind="stable")
    ends = np.searchsorted(average[order], average[order] + apart, side="right")
    runs = [
        tuple(names[place] for place in order[start:end])
        for start, end in enumerate(ends)
        if end - start > 1 and (start == 0 or end > ends[start - 1])
    ]
    return tuple(runs)
