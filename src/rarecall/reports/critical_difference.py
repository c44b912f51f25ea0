"""The critical-difference diagram: average ranks of methods over data sets, and which are not distinguishable."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rarecall.reports.figures import STYLE
from rarecall.statistics import Ranks

_TEXT = "#222222"
_BAR = "#D55E00"
_ROW = 0.26  # inches
_LONGEST = 32


def critical_difference(ranks: Ranks, width: float = 9.2) -> Figure:
    """Draw methods by their average rank, the best on the left, with bars over those not distinguishable.

    Args:
        ranks: of `statistics.friedman_nemenyi`.
        width: in inches; names are on both sides of the scale.

    Returns:
        A figure for `figures.to_svg` or `figures.to_png`.

    Reference: J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006, figure 1.
    """
    order = sorted(range(len(ranks.methods)), key=lambda place: ranks.average_ranks[place])
    names = [(ranks.methods[place], ranks.average_ranks[place]) for place in order]
    left = (len(names) + 1) // 2
    first_row = 1.0 + 0.5 * len(ranks.groups)
    bottom = first_row + left
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, _ROW * (bottom + 3.4)))
        axes = figure.add_axes((0, 0, 1, 1))
        # The names take a third of the width on each side.
        span = len(names) - 1
        axes.set_xlim(1 - span, len(names) + span)
        axes.set_ylim(bottom + 0.2, -3.2)
        axes.axis("off")
        _scale(axes, len(names))
        _ruler(axes, ranks)
        _bars(axes, ranks)
        for row, (name, rank) in enumerate(names[:left]):
            _method(axes, name, rank, first_row + row, 1 - 0.06 * span, "right")
        for row, (name, rank) in enumerate(reversed(names[left:])):
            _method(axes, name, rank, first_row + row, len(names) + 0.06 * span, "left")
    return figure


def _scale(axes: Axes, methods: int) -> None:
    axes.plot([1, methods], [0, 0], color=_TEXT, linewidth=1)
    for rank in range(1, methods + 1):
        axes.plot([rank, rank], [0, -0.3], color=_TEXT, linewidth=1)
        axes.text(rank, -0.5, str(rank), ha="center", va="bottom", color=_TEXT)


def _ruler(axes: Axes, ranks: Ranks) -> None:
    """The critical difference itself, above the scale; a difference wider than the scale is only told."""
    words = f"critical difference {ranks.critical_difference:.2f} (level {ranks.level:g})"
    end = 1 + ranks.critical_difference
    if end > len(ranks.methods):
        axes.text((1 + len(ranks.methods)) / 2, -2.2, words, ha="center", va="center", color=_TEXT)
        return
    axes.plot([1, end], [-2.2, -2.2], color=_TEXT, linewidth=1.5)
    for at in (1, end):
        axes.plot([at, at], [-2.4, -2.0], color=_TEXT, linewidth=1.5)
    axes.text(end + 0.02 * len(ranks.methods), -2.2, words, ha="left", va="center", color=_TEXT)


def _bars(axes: Axes, ranks: Ranks) -> None:
    rank_of = dict(zip(ranks.methods, ranks.average_ranks, strict=True))
    reach = 0.006 * len(ranks.methods)
    for row, group in enumerate(ranks.groups):
        height = 0.55 + 0.5 * row
        ends = [rank_of[group[0]] - reach, rank_of[group[-1]] + reach]
        axes.plot(ends, [height, height], color=_BAR, linewidth=3.5, solid_capstyle="round", zorder=3)


def _method(axes: Axes, name: str, rank: float, row: float, edge: float, side: str) -> None:
    """A line from the rank down to the name at the edge."""
    axes.plot([rank, rank, edge], [0, row, row], color="#777777", linewidth=1)
    shown = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
    shown = shown.replace("$", r"\$")  # which would begin a formula
    words = f"{shown}  {rank:.2f} " if side == "right" else f" {rank:.2f}  {shown}"
    axes.text(edge, row, words, ha=side, va="center", color=_TEXT, fontsize=9)
