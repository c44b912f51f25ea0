"""The critical-difference diagram: average ranks of methods over data sets, and which are not distinguishable."""

from typing import TYPE_CHECKING

from rarecall.reports.drawing import INK, PIXELS, SOFT, Drawing, Line, Words, fitted, width_of
from rarecall.statistics import Ranks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BAR = "#D55E00"
_ROW = 26.0
_MOST = 0.41  # of the width, for the names on each side
_RANK = 70.0  # what a method's rank and the line to it take
_AXIS, _BETWEEN = 86.0, 13.0  # where the scale is, and the bars below it


def critical_difference(ranks: Ranks, width: float = 9.2) -> "Figure":
    """Draw methods by their average rank, the best on the left, with bars over those not distinguishable.

    Args:
        ranks: of `statistics.friedman_nemenyi`.
        width: in inches; names are on both sides of the scale.

    Returns:
        A figure of matplotlib, with `savefig`.

    Reference: J. Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006, figure 1.
    """
    return draw(ranks, width * PIXELS).figure()


def draw(ranks: Ranks, width: float) -> Drawing:
    """The diagram, for a page; width in pixels."""
    order = sorted(range(len(ranks.methods)), key=lambda place: ranks.average_ranks[place])
    room = _MOST * width - _RANK
    names = [(fitted(ranks.methods[place], room), ranks.average_ranks[place]) for place in order]
    halves = names[: (len(names) + 1) // 2], names[(len(names) + 1) // 2 :][::-1]
    first = _AXIS + 26 + _BETWEEN * len(ranks.groups)
    drawing = Drawing(width, first + _ROW * len(halves[0]), "average ranks")
    scale = _Scale(drawing, len(names), *(_RANK + max(width_of(name) for name, _ in own) for own in halves))
    scale.draw(step=1 + len(names) // int(1.6 * width / PIXELS))
    _ruler(drawing, scale, ranks)
    _bars(drawing, scale, ranks)
    for side, own in zip(("right", "left"), halves, strict=True):
        for row, (name, rank) in enumerate(own):
            _method(drawing, scale, name, rank, first + row * _ROW, side)
    return drawing


class _Scale:
    """Where ranks are across the drawing, between the names on both sides."""

    def __init__(self, drawing: Drawing, methods: int, left: float, right: float) -> None:
        self.drawing, self.methods = drawing, methods
        self.low, self.high = left, drawing.width - right

    def at(self, rank: float) -> float:
        return self.low + (rank - 1) / (self.methods - 1) * (self.high - self.low)

    def draw(self, step: int) -> None:
        self.drawing.add(Line([(self.low, _AXIS), (self.high, _AXIS)], INK))
        for rank in range(1, self.methods + 1):
            x = self.at(rank)
            self.drawing.add(Line([(x, _AXIS), (x, _AXIS - 7)], INK))
            if (rank - 1) % step == 0:
                self.drawing.add(Words((x, _AXIS - 17), str(rank), "center"))


def _ruler(drawing: Drawing, scale: _Scale, ranks: Ranks) -> None:
    """The critical difference itself, above the scale; one wider than the scale is only told."""
    words = f"critical difference {ranks.critical_difference:.2f} (level {ranks.level:g})"
    drawing.add(Words((drawing.width / 2, 16), words, "center"))
    end = 1 + ranks.critical_difference
    if end > len(ranks.methods):
        return
    drawing.add(Line([(scale.at(1), 40), (scale.at(end), 40)], INK, 2))
    for rank in (1, end):
        drawing.add(Line([(scale.at(rank), 35), (scale.at(rank), 45)], INK, 2))


def _bars(drawing: Drawing, scale: _Scale, ranks: Ranks) -> None:
    rank_of = dict(zip(ranks.methods, ranks.average_ranks, strict=True))
    for row, group in enumerate(ranks.groups):
        y = _AXIS + 14 + _BETWEEN * row
        ends = [(scale.at(rank_of[group[0]]) - 4, y), (scale.at(rank_of[group[-1]]) + 4, y)]
        drawing.add(Line(ends, _BAR, 5))


def _method(drawing: Drawing, scale: _Scale, name: str, rank: float, y: float, side: str) -> None:
    """A line from the rank down to the name at the edge."""
    x, edge = scale.at(rank), scale.low - 14 if side == "right" else scale.high + 14
    drawing.add(Line([(x, _AXIS), (x, y), (edge, y)], SOFT))
    words = f"{name}  {rank:.2f}" if side == "right" else f"{rank:.2f}  {name}"
    drawing.add(Words((edge - 5 if side == "right" else edge + 5, y), words, side))
