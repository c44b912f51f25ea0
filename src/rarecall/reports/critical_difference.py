"""The critical-difference diagram: average ranks of methods over data sets, and which are not distinguishable."""

import math
from typing import TYPE_CHECKING

from rarecall.reports.figures import INK, SOFT, style
from rarecall.statistics import Ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAR = "#D55E00"
_ROW, _BETWEEN = 0.26, 0.13  # inches, of a name and of a bar
_AXIS = 0.86  # inches from the top
_MOST = 0.41  # of the width, for the names on each side
_APART = 0.25  # inches at least, of numbers on the scale
_RANK = 0.72  # inches that a method's rank and the line to it take


def critical_difference(ranks: Ranks, width: float = 9.2) -> "Figure":
    """Draw methods by their average rank, the best on the left, with bars over those not distinguishable.

    Args:
        ranks: of `statistics.friedman_nemenyi`.
        width: in inches; names are on both sides of the scale.

    Returns:
        A figure of matplotlib, with `savefig`.

    Reference: J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006, figure 1.
    """
    from matplotlib.figure import Figure

    order = sorted(range(len(ranks.methods)), key=lambda place: ranks.average_ranks[place])
    first = _AXIS + 0.26 + _BETWEEN * len(ranks.groups)
    height = first + _ROW * ((len(order) + 1) // 2)
    with style():
        room = _MOST * width - _RANK
        names = [(_fitted(ranks.methods[place], room), ranks.average_ranks[place]) for place in order]
        halves = names[: (len(names) + 1) // 2], names[(len(names) + 1) // 2 :][::-1]
        figure = Figure(figsize=(width, height), label="average ranks")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # inches
        axes.axis("off")
        left, right = (_RANK + max(_width(name) for name, _ in own) for own in halves)
        scale = _Scale(len(names), left, right, width)
        scale.draw(axes)
        _ruler(axes, scale, ranks)
        _bars(axes, scale, ranks)
        for side, own in zip(("right", "left"), halves, strict=True):
            for row, (name, rank) in enumerate(own):
                _method(axes, scale, name, rank, first + row * _ROW, side)
    return figure


class _Scale:
    """Where ranks are across the figure, between the names on both sides."""

    def __init__(self, methods: int, left: float, right: float, width: float) -> None:
        self.methods, self.low, self.high = methods, left, width - right

    def at(self, rank: float) -> float:
        return self.low + (rank - 1) / (self.methods - 1) * (self.high - self.low)

    def draw(self, axes: "Axes") -> None:
        step = math.ceil(_APART / (self.at(2) - self.at(1)))
        axes.plot([self.low, self.high], [_AXIS, _AXIS], color=INK, linewidth=1)
        for rank in range(1, self.methods + 1):
            axes.plot([self.at(rank)] * 2, [_AXIS, _AXIS - 0.07], color=INK, linewidth=1)
            if (rank - 1) % step == 0:
                axes.text(self.at(rank), _AXIS - 0.17, str(rank), ha="center", va="center")


def _ruler(axes: "Axes", scale: _Scale, ranks: Ranks) -> None:
    """The critical difference itself, above the scale; one wider than the scale is only told."""
    words = f"critical difference {ranks.critical_difference:.2f} (level {ranks.level:g})"
    axes.text(axes.get_xlim()[1] / 2, 0.16, words, ha="center", va="center")
    end = 1 + ranks.critical_difference
    if end > len(ranks.methods):
        return
    axes.plot([scale.at(1), scale.at(end)], [0.4, 0.4], color=INK, linewidth=1.5)
    for rank in (1, end):
        axes.plot([scale.at(rank)] * 2, [0.35, 0.45], color=INK, linewidth=1.5)


def _bars(axes: "Axes", scale: _Scale, ranks: Ranks) -> None:
    rank_of = dict(zip(ranks.methods, ranks.average_ranks, strict=True))
    for row, group in enumerate(ranks.groups):
        y = _AXIS + 0.14 + _BETWEEN * row
        ends = [scale.at(rank_of[group[0]]) - 0.04, scale.at(rank_of[group[-1]]) + 0.04]
        axes.plot(ends, [y, y], color=_BAR, linewidth=3.5, zorder=3)


def _method(axes: "Axes", scale: _Scale, name: str, rank: float, y: float, side: str) -> None:
    """A line from the rank down to the name at the edge."""
    x, edge = scale.at(rank), scale.low - 0.14 if side == "right" else scale.high + 0.14
    axes.plot([x, x, edge], [_AXIS, y, y], color=SOFT, linewidth=1)
    words = f"{name}  {rank:.2f}" if side == "right" else f"{rank:.2f}  {name}"
    axes.text(edge - 0.05 if side == "right" else edge + 0.05, y, words, ha=side, va="center")


def _fitted(name: str, room: float) -> str:
    """The name, cut so that it is no wider than the room in inches."""
    if _width(name) <= room:
        return name
    kept = name[: int(len(name) * room / _width(name)) + 1]
    while kept and _width(kept + "…") > room:
        kept = kept[:-1]
    return kept + "…"


def _width(name: str) -> float:
    """In inches, with what whole pixels may add."""
    from matplotlib.textpath import TextPath

    return 1.04 * float(TextPath((0, 0), name).get_extents().width) / 72 if name.strip() else 0.0
