"""How figures are named and written, on the terminal and on the page alike."""

from typing import Any

from rarecall.studies.verdict import signed

FIGURES = {
    "map_class": "mAP@class",
    "map_head": "head",
    "map_medium": "medium",
    "map_tail": "tail",
    "map_sample": "mAP@sample",
    "macro_f1": "macro F1",
}


def number(value: float | None) -> str:
    """One decimal, or a dash for what does not exist."""
    return "–" if value is None else f"{value:.1f}"


def deviation(value: float | None) -> str:
    """The ± part; nothing for one seed."""
    return "" if value is None else f" ± {value:.1f}"


def interval(difference: dict[str, Any]) -> str:
    """A difference to the best with its interval.

    >>> interval({"mean": -1.2, "low": -2.0, "high": -0.4})
    '−1.2 (−2.0 to −0.4)'
    """
    if difference["mean"] == difference["low"] == difference["high"] == 0:
        return "best"
    mean, low, high = (signed(difference[key]) for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
