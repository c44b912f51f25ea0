"""The critical-difference diagram: average ranks of methods over data sets, and which are not distinguishable."""

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rarecall.reports.figures import STYLE
from rarecall.statistics import Ranks

_TEXT = "#222222"
_BAR = "#D55E00"
_ROW = 0.26  # inches
_LETTER = 0.074  # inches, of a name's letters on average
_RANK = 9  # letters that a method's rank and the line to it take
_MOST = 0.41  # of the width, for the names on each side


def critical_difference(ranks: Ranks, width: float = 9.2) -> Figure:
    """Draw methods by their average rank, the best on the left, with bars over those not distinguishable.

    Args:
        ranks: of `statistics.friedman_nemenyi`.
        width: in inches; names are on both sides of the scale.

    Returns:
        A figure for `figures.to_svg` or `figures.to_png`.

    Reference: J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006, figure 1.
    """
    longest = int(_MOST * width / _LETTER) - _RANK
    order = sorted(range(len(ranks.methods)), key=lambda place: ranks.average_ranks[place])
    names = [(_shortened(ranks.methods[place], longest), ranks.average_ranks[place]) for place in order]
    left = (len(names) + 1) // 2
    first_row = 1.0 + 0.5 * len(ranks.groups)
    bottom = first_row + left
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, _ROW * (bottom + 4.1)))
        axes = figure.add_axes((0, 0, 1, 1))
        span = len(names) - 1
        side = _LETTER * (max(len(name) for name, _ in names) + _RANK)
        margin = span * side / (width - 2 * side)
        axes.set_xlim(1 - margin, len(names) + margin)
        axes.set_ylim(bottom + 0.2, -3.9)
        axes.axis("off")
        _scale(axes, len(names), step=1 + len(names) // int(1.6 * width))
        _ruler(axes, ranks)
        _bars(axes, ranks)
        for row, (name, rank) in enumerate(names[:left]):
            _method(axes, name, rank, first_row + row, 1 - 0.06 * span, "right")
        for row, (name, rank) in enumerate(reversed(names[left:])):
            _method(axes, name, rank, first_row + row, len(names) + 0.06 * span, "left")
    return figure


def _scale(axes: Axes, methods: int, step: int) -> None:
    axes.plot([1, methods], [0, 0], color=_TEXT, linewidth=1)
    for rank in range(1, methods + 1):
        axes.plot([rank, rank], [0, -0.3], color=_TEXT, linewidth=1)
        if (rank - 1) % step == 0:
            axes.text(rank, -0.5, str(rank), ha="center", va="bottom", color=_TEXT)


def _ruler(axes: Axes, ranks: Ranks) -> None:
    """The critical difference itself, above the scale; one wider than the scale is only told."""
    words = f"critical difference {ranks.critical_difference:.2f} (level {ranks.level:g})"
    axes.text((1 + len(ranks.methods)) / 2, -3.1, words, ha="center", va="center", color=_TEXT, fontsize=9)
    end = 1 + ranks.critical_difference
    if end > len(ranks.methods):
        return
    axes.plot([1, end], [-2.2, -2.2], color=_TEXT, linewidth=1.5)
    for at in (1, end):
        axes.plot([at, at], [-2.4, -2.0], color=_TEXT, linewidth=1.5)


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
    shown = name.replace("$", r"\$")  # which would begin a formula
    words = f"{shown}  {rank:.2f} " if side == "right" else f" {rank:.2f}  {shown}"
    axes.text(edge, row, words, ha=side, va="center", color=_TEXT, fontsize=9)


def _shortened(name: str, longest: int) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
