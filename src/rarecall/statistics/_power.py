"""How many seeds a difference needs, and how small a difference so many seeds can show."""

import math
from functools import partial

from rarecall.errors import OptionError
from rarecall.statistics._shared import LEVEL, POWER, check_share

MOST_SEEDS = 100_000


def t_test_power(effect: float, seeds: int, *, level: float = LEVEL) -> float:
    r"""How often a two-sided paired t-test with so many seeds finds a true effect.

    `1 - β = P(|T| > t_{1-α/2, n-1})` with T noncentral t of n - 1 degrees of freedom and noncentrality `√n d_z`.

    Args:
        effect: the true mean difference in standard deviations of the difference (`cohens_d`).
        seeds: pairs, 2 or more.
        level: of significance, 0.05.

    Returns:
        From `level` (no effect) to 1.

    Raises:
        OptionError: fewer than 2 seeds, an effect that is NaN, or a level outside 0 to 1.

    >>> round(t_test_power(0.5, 34), 2)
    0.81

    Reference: J. Cohen, Statistical power analysis for the behavioral sciences, 1988, chapter 2.
    """
    from scipy import special

    check_share("level", level)
    if seeds < 2:
        raise OptionError(f"seeds must be 2 or more, not {seeds}: one shows no spread")
    if math.isnan(effect):
        raise OptionError("effect must be a number, not nan: give the mean difference over its standard deviation")
    freedom, shift = seeds - 1, abs(effect) * math.sqrt(seeds)
    limit = -float(special.stdtrit(freedom, level / 2))
    return min(1 - _noncentral_t(limit, freedom, shift) + _noncentral_t(-limit, freedom, shift), 1.0)


def _noncentral_t(value: float, freedom: int, shift: float) -> float:
    """The distribution function; SciPy's gives NaN for some probabilities that are 0 to 15 digits."""
    from scipy import special

    chance = float(special.nctdtr(freedom, shift, value))
    return 0.0 if math.isnan(chance) else chance


def seeds_needed(sd: float, difference: float, *, power: float = POWER, level: float = LEVEL) -> int | None:
    """The fewest seeds with which a paired t-test finds a true difference as often as `power` says.

    Args:
        sd: standard deviation over seeds of the paired difference, in the unit of `difference`.
        difference: to be seen, of either sign.
        power: how often, 0.8 (Cohen's convention).
        level: of significance, 0.05, two-sided.

    Returns:
        2 or more; None where no number up to 100,000 is enough, as for no difference at all.

    Raises:
        OptionError: a negative or unknown `sd` or `difference`, or a power or level outside 0 to 1.

    >>> seeds_needed(sd=1.0, difference=0.5), seeds_needed(sd=1.0, difference=0.0)
    (34, None)

    Reference: as `t_test_power`.
    """
    _check(sd, power)
    if not math.isfinite(difference):
        raise OptionError(f"difference must be a number, not {difference}")
    if not difference:
        return None
    effect = abs(difference) / sd if sd else math.inf
    if effect > 1e6:
        return 2

    def enough(seeds: int) -> bool:
        return t_test_power(effect, seeds, level=level) >= power

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high <= MOST_SEEDS else None


def detectable_difference(sd: float, seeds: int, *, power: float = POWER, level: float = LEVEL) -> float:
    """The smallest true difference that a paired t-test with so many seeds finds as often as `power` says.

    Args:
        sd: standard deviation over seeds of the paired difference.
        seeds: 2 or more.
        power: how often, 0.8; more than the level.
        level: of significance, 0.05, two-sided.

    Returns:
        In the unit of `sd`.

    Raises:
        OptionError: a negative `sd`, fewer than 2 seeds, or a power that is not above the level.

    >>> round(detectable_difference(sd=1.0, seeds=5), 2)
    1.68

    Reference: as `t_test_power`.
    """
    from scipy import optimize

    _check(sd, power)
    if power <= level:
        raise OptionError(f"power must be above the level of {level:g}, not {power:g}")
    lacking = partial(_lacking, seeds=seeds, power=power, level=level)
    high = 1.0
    while lacking(high) > 0:
        high *= 2
    return sd * float(optimize.brentq(lacking, 0.0, high, xtol=1e-9))


def _lacking(effect: float, seeds: int, power: float, level: float) -> float:
    return power - t_test_power(effect, seeds, level=level)


def _check(sd: float, power: float) -> None:
    check_share("power", power)
    if not (sd >= 0 and math.isfinite(sd)):
        raise OptionError(f"sd must be 0 or more, not {sd}: take the deviation of the differences of two seeds or more")
