"""What every statistic shares: the check of its options and of its pairs, means and deviations."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rarecall.errors import OptionError, ShapeError

LEVEL = 0.05
POWER = 0.8


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


def paired_differences(first: Sequence[float], second: Sequence[float]) -> Float[np.ndarray, " pairs"]:
    """`first - second`, pair by pair.

    Raises:
        ShapeError: the two differ in length, there is no pair, or a value is not a finite number.
    """
    pair: list[np.ndarray] = [np.asarray(values, dtype=float) for values in (first, second)]
    if pair[0].ndim != 1 or pair[0].shape != pair[1].shape or not len(pair[0]):
        raise ShapeError(
            f"pairs need two equally long lists of figures, not {pair[0].shape} and {pair[1].shape}: one for each seed"
        )
    for name, values in zip(("first", "second"), pair, strict=True):
        if not np.isfinite(values).all():
            where = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ShapeError(f"figure {where} of the {name} is {values[where]}: leave the pair out of both")
    differences: np.ndarray = pair[0] - pair[1]
    return differences
