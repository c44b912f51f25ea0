"""Several methods on several data sets: Friedman's test of their ranks, and Nemenyi's of which of them differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special, stats

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
        p_value: of the chi-square with k - 1 degrees of freedom.
        f_statistic: Iman and Davenport's F, which is less conservative.
        f_p_value: of F with k - 1 and (k - 1)(N - 1) degrees of freedom.
        level: of the critical difference.
        critical_difference: methods whose average ranks are at most this far apart are not distinguishable.
        groups: names of the methods of each largest group that are not distinguishable, best first.
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

    @property
    def verdict(self) -> list[str]:
        """Sentences: the best rank, whether Friedman's test tells the methods apart, and whom the best beats."""
        best, *others = sorted(zip(self.average_ranks, self.methods, strict=True))
        ranks = ", ".join(f"{name} {rank:.2f}" for rank, name in others)
        first = f"Over {self.datasets} data sets, {best[1]} has the best average rank: {best[0]:.2f} ({ranks})."
        told = self.f_p_value < self.level
        second = f"Friedman's test {'tells' if told else 'does not tell'} the methods apart (p = {self.f_p_value:.2g})."
        if not told:
            return [first, second]
        beaten = [name for rank, name in others if rank - best[0] > self.critical_difference]
        level = [name for rank, name in others if rank - best[0] <= self.critical_difference]
        third = f"With a critical difference of {self.critical_difference:.2f}"
        parts = [f"{best[1]} beats {listing(beaten)}"] if beaten else []
        parts += [f"{best[1]} is not distinguishable from {listing(level)}"] if level else []
        return [first, second, f"{third}, {' and '.join(parts)}."]


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

    Args:
        table: (N, k) one figure for each data set and method; ties take their mean rank.
        methods: k names; the column numbers if none are given.
        higher_is_better: rank the highest figure first.
        level: of significance, 0.05.

    Returns:
        p is 1 if every method ties on every data set. Few data sets (N ≤ 10 or k ≤ 5) make the chi-square
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
    check_share("level", level)
    figures = _checked(table)
    datasets, count = figures.shape
    names = [str(place) for place in range(count)] if methods is None else list(methods)
    if len(names) != count or len(set(names)) != count:
        raise OptionError(f"the table has {count} methods: give as many different names, not {len(names)}")
    ranks = stats.rankdata(-figures if higher_is_better else figures, axis=1)
    average = ranks.mean(0)
    chi_square, f_statistic = _friedman(ranks)
    apart = critical_difference(count, datasets, level=level)
    return Ranks(
        methods=tuple(names),
        average_ranks=tuple(average.tolist()),
        datasets=datasets,
        chi_square=chi_square,
        p_value=float(special.chdtrc(count - 1, chi_square)),
        f_statistic=f_statistic,
        f_p_value=float(special.fdtrc(count - 1, (count - 1) * (datasets - 1), f_statistic)),
        level=level,
        critical_difference=apart,
        groups=_groups(names, average, apart),
    )


def critical_difference(methods: int, datasets: int, *, level: float = LEVEL) -> float:
    """Nemenyi's critical difference of average ranks, `q_α √(k(k+1) / (6N))`.

    Raises:
        OptionError: fewer than 2 methods, no data set, or a level outside 0 to 1.

    >>> round(critical_difference(4, 14), 2)
    1.25

    Reference: as `friedman_nemenyi`.
    """
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
