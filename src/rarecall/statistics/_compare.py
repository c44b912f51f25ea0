"""Methods compared over seeds: means, paired tests, effects, seeds needed, and the verdict in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rarecall.errors import OptionError, ShapeError, listing
from rarecall.statistics._paired import (
    SignificanceTest,
    hedges_g,
    holm,
    paired_t_test,
    smallest_wilcoxon_p,
    wilcoxon_signed_rank,
)
from rarecall.statistics._power import seeds_needed
from rarecall.statistics._shared import LEVEL, as_figures, check_share, mean_and_deviation, paired_differences

FEW_SEEDS = 5
_MOST_NAMED = 6


@dataclass(frozen=True)
class Contender:
    """One method beside the best.

    Attributes:
        name: of the method.
        mean: over seeds.
        deviation: sample standard deviation over seeds; NaN for one.
        difference: mean paired difference to the best; 0 or less.
        difference_deviation: its sample standard deviation; NaN for one seed.
        t_test: paired, over seeds.
        t_adjusted: its p after Holm's correction for all methods compared with the best.
        wilcoxon: paired, over seeds.
        wilcoxon_adjusted: its p after Holm's correction.
        effect: Hedges' g of the pairs; NaN below 3 seeds.
        seeds_needed: for a paired t-test to find a true difference like this one in 8 of 10 studies; None where
            no number is enough or nothing is known of the spread.
    """

    name: str
    mean: float
    deviation: float
    difference: float
    difference_deviation: float
    t_test: SignificanceTest
    t_adjusted: float
    wilcoxon: SignificanceTest
    wilcoxon_adjusted: float
    effect: float
    seeds_needed: int | None


@dataclass(frozen=True)
class Comparison:
    """How methods compare over seeds.

    Attributes:
        best: the method with the highest mean.
        mean: of the best.
        deviation: of the best; NaN for one seed.
        seeds: how many.
        level: of significance.
        others: the other methods, the highest mean first.
    """

    best: str
    mean: float
    deviation: float
    seeds: int
    level: float
    others: tuple[Contender, ...]

    @property
    def verdict(self) -> list[str]:
        """Sentences: the best, whom it beats over seeds, and what so few seeds can say."""
        spread = "" if math.isnan(self.deviation) else f" ± {self.deviation:.3g}"
        first = f"{self.best} has the highest mean: {self.mean:.4g}{spread}"
        sentences = [f"{first} over {self.seeds} seeds." if self.seeds > 1 else f"{first}."]
        if self.seeds == 1:
            behind = [f"{other.name} ({abs(other.difference):.3g} behind)" for other in self.others]
            sentences += [f"Next: {listing(behind, _MOST_NAMED)}."] if behind else []
        if self.seeds > 1 and not self.others:
            return sentences
        return [*sentences, *self.tested(), *self.needed(), *about_seeds(self.seeds, level=self.level)]

    def tells(self, other: Contender) -> bool:
        """Whether the t-test over seeds tells the best from another method.

        Seeds that all differ by the same show no spread, and without one the test can tell nothing.
        """
        return other.t_adjusted < self.level and not other.t_test.sees_no_spread

    def tested(self, begin: str = "") -> list[str]:
        """A sentence about the t-tests, with another beginning if one is given; none for one seed or one method."""
        if self.seeds < 2 or not self.others:
            return []
        begin = begin or f"Paired t-tests over {self.seeds} seeds, Holm-corrected,"
        silent = [other for other in self.others if other.t_test.sees_no_spread]
        beaten = [other for other in self.others if self.tells(other)]
        level = [other for other in self.others if not (self.tells(other) or other.t_test.sees_no_spread)]
        parts = [
            f"{verb} {listing((_with_p(other) for other in own), _MOST_NAMED)}"
            for verb, own in (
                (f"tell {self.best} from", beaten),
                ("not from" if beaten else f"do not tell {self.best} from", level),
                (f"say nothing of {self.best} and", silent),
            )
            if own
        ]
        return [f"{begin} {', '.join(parts)}."]

    def needed(self) -> list[str]:
        """A sentence about the seeds that it takes to tell the nearest that is not told from the best, if any."""
        for other in self.others:
            if not other.t_adjusted < self.level and (other.seeds_needed or 0) > self.seeds:
                gap, seeds = -other.difference, other.seeds_needed
                return [f"If {other.name} is truly {gap:.2g} behind, it takes about {seeds:,} seeds to show that."]
        return []


def about_seeds(seeds: int, *, level: float = LEVEL) -> list[str]:
    """What a number of seeds cannot say at a level of significance, 0.05, or nothing.

    >>> about_seeds(1)
    ['One seed: nothing can be concluded about seeds.']
    """
    if seeds == 1:
        return ["One seed: nothing can be concluded about seeds."]
    smallest = smallest_wilcoxon_p(seeds)
    if smallest < level:
        return []
    few = f"{seeds} seeds are few" if seeds < FEW_SEEDS else f"With {seeds} seeds the tests are weak"
    return [f"{few}: the Wilcoxon signed-rank test cannot go below p = {smallest:.3g} with them."]


def compare(values: Mapping[str, Sequence[float]], *, level: float = LEVEL) -> Comparison:
    """Compare methods by their figures on the same seeds; the higher, the better.

    The best by its mean is paired with every other, seed by seed. It is chosen on the same figures, which
    favours it: a p-value near the level is no proof. The tests say what other seeds would show, on the same
    split; what other test items would show is what `differences_to_best` says.

    Args:
        values: for each method one figure for each seed, the same seeds in the same order.
        level: of significance, 0.05.

    Returns:
        The means, tests and effects, and the `verdict` in words. With one seed the tests are NaN.

    Raises:
        OptionError: no method, or a level outside 0 to 1.
        ShapeError: methods with different numbers of seeds, none, or what is no list of finite numbers.

    >>> found = compare({"two-way": [50.1, 50.4, 49.9], "dr": [49.9, 50.5, 49.8], "focal": [46.8, 47.5, 46.9]})
    >>> print(*found.verdict, sep=chr(10))
    two-way has the highest mean: 50.13 ± 0.252 over 3 seeds.
    Paired t-tests over 3 seeds, Holm-corrected, tell two-way from focal (p = 0.0031), not from dr (p = 0.53).
    If dr is truly 0.067 behind, it takes about 44 seeds to show that.
    3 seeds are few: the Wilcoxon signed-rank test cannot go below p = 0.25 with them.

    References: Holm 1979, Student 1908 and Wilcoxon 1945, as `holm`, `paired_t_test` and `wilcoxon_signed_rank`.
    """
    check_share("level", level)
    _check_seeds(values)
    means = {name: mean_and_deviation(own) for name, own in values.items()}
    best, *others = sorted(values, key=lambda name: -means[name][0])
    t_tests = [paired_t_test(values[name], values[best]) for name in others]
    wilcoxons = [wilcoxon_signed_rank(values[name], values[best], level=level) for name in others]
    t_adjusted, wilcoxon_adjusted = (holm([test.p_value for test in tests]) for tests in (t_tests, wilcoxons))
    contenders = [
        _contender(name, values[name], values[best], t_tests[place], t_adjusted[place], wilcoxons[place],
                   wilcoxon_adjusted[place], level)
        for place, name in enumerate(others)
    ]  # fmt: skip
    return Comparison(best, *means[best], len(values[best]), level, tuple(contenders))


def _check_seeds(values: Mapping[str, Sequence[float]]) -> None:
    if not values:
        raise OptionError("no method to compare: give each a list of figures, one for each seed")
    seeds = {name: len(as_figures(repr(name), own)) for name, own in values.items()}
    if len(set(seeds.values())) > 1:
        sizes = listing(f"{name} {count}" for name, count in seeds.items())
        raise ShapeError(f"the methods have different numbers of seeds: {sizes}; leave out the seeds that one lacks")
    if not all(seeds.values()):
        raise ShapeError("the methods have no figure: give one for each seed")


def _contender(
    name: str,
    own: Sequence[float],
    best: Sequence[float],
    t_test: SignificanceTest,
    t_adjusted: float,
    wilcoxon: SignificanceTest,
    wilcoxon_adjusted: float,
    level: float,
) -> Contender:
    mean, deviation = mean_and_deviation(own)
    difference, spread = mean_and_deviation(paired_differences(own, best).tolist())
    return Contender(
        name=name,
        mean=mean,
        deviation=deviation,
        difference=difference,
        difference_deviation=spread,
        t_test=t_test,
        t_adjusted=t_adjusted,
        wilcoxon=wilcoxon,
        wilcoxon_adjusted=wilcoxon_adjusted,
        effect=hedges_g(own, best),
        seeds_needed=None if math.isnan(spread) else seeds_needed(spread, difference, level=level),
    )


def _with_p(other: Contender) -> str:
    """The name, and the p-value or why it says nothing."""
    if other.t_test.sees_no_spread:
        return f"{other.name} ({other.t_test.note})"
    p_value = other.t_adjusted
    return f"{other.name} (p < 0.0001)" if p_value < 1e-4 else f"{other.name} (p = {p_value:.2g})"
