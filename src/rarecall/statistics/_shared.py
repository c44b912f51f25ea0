"""What every statistic shares: the check of its options and of its pairs, means and deviations."""

import math
import reprlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rarecall.errors import OptionError, ShapeError

LEVEL = 0.05
POWER = 0.8
_DIGITS = 12


def check_share(name: str, value: float) -> None:
    """Refuse what does not lie between 0 and 1.

    Raises:
        OptionError: with the value.
    """
    if not 0 < value < 1:
        raise OptionError(f"{name} must lie between 0 and 1, not {value:g}")


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (over n - 1); NaN deviation for one value.

    >>> mean_and_deviation([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    array = np.asarray(values, dtype=float)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else math.nan


def as_figures(name: str, values: Sequence[float]) -> Float[np.ndarray, " figures"]:
    """The values as an array.

    Raises:
        ShapeError: with the name, where they are no list of numbers or one is not finite.
    """
    try:
        figures: np.ndarray = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ShapeError(f"{name}: give a list of numbers, one for each seed, not {reprlib.repr(values)}") from None
    if figures.ndim != 1:
        raise ShapeError(f"{name}: give a list of numbers, one for each seed, not the shape {figures.shape}")
    if not np.isfinite(figures).all():
        where = int(np.flatnonzero(~np.isfinite(figures))[0])
        raise ShapeError(f"figure {where} of {name} is {figures[where]}: leave that pair out of every list")
    return figures


def paired_differences(first: Sequence[float], second: Sequence[float]) -> Float[np.ndarray, " pairs"]:
    """`first - second`, pair by pair, to 12 significant digits of the largest figure.

    Without the rounding, differences that are equal in the decimals of the figures differ in their last bit, and
    a test of ranks would find neither ties nor zeros.

    Raises:
        ShapeError: the two differ in length, there is no pair, or a value is not a finite number.
    """
    pair = [as_figures(name, values) for name, values in (("the first", first), ("the second", second))]
    if pair[0].shape != pair[1].shape or not len(pair[0]):
        raise ShapeError(
            f"pairs need two equally long lists of figures, not {pair[0].shape} and {pair[1].shape}: one for each seed"
        )
    scale = float(np.abs(pair).max()) or 1.0
    differences: np.ndarray = np.round((pair[0] - pair[1]) / scale, _DIGITS) * scale
    return differences
