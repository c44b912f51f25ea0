"""Scales, panels with their axes, and legends: what the figures are put together from."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rarecall.reports.drawing import FONT, GRID, INK, SMALL, SOFT, Area, Dots, Drawing, Line, Point, Words, width_of

Ticks = Sequence[tuple[float, str]]
STEPS = (1, 2, 2.5, 5, 10)
ROW = 20.0  # of a legend
GAP = 6.0


@dataclass(frozen=True)
class Scale:
    """From values to a share of a panel's side."""

    low: float
    high: float
    log: bool = False

    def share(self, values: Iterable[float]) -> np.ndarray:
        """Where the values are, from 0 to 1."""
        found = np.asarray(list(values), dtype=float)
        low, high = self.low, self.high
        if self.log:
            found, low, high = np.log(found), math.log(low), math.log(high)
        shares: np.ndarray = (found - low) / (high - low)
        return shares

    def ticks(self, most: int = 6) -> Ticks:
        """Round values on the scale, at most so many, with their words."""
        values = _decades(self.low, self.high, most) if self.log else _round_values(self.low, self.high, most)
        return [(value, f"{value:,.10g}".replace("-", "−")) for value in values]


def _round_values(low: float, high: float, most: int) -> list[float]:
    """Multiples of a round step.

    >>> _round_values(0, 47, 6)
    [0.0, 10.0, 20.0, 30.0, 40.0]
    """
    least = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in STEPS if factor * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    """Powers of 10, and between them 2 and 5 where there are few.

    >>> _decades(0.7, 300, 8), _decades(0.7, 3e7, 4)
    ([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0], [1.0, 100.0, 10000.0, 1000000.0])
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    known = [value for value in fine if low <= value <= high]
    if len(known) < 2:
        return _round_values(low, high, most)
    if len(known) <= most:
        return known
    tens = [10.0**power for power in powers if low <= 10.0**power <= high]
    return tens[:: 1 + (len(tens) - 1) // most]


class Panel:
    """A rectangle of a drawing with a scale along each side; what is drawn in it is given in values."""

    def __init__(
        self, drawing: Drawing, left: float, top: float, right: float, bottom: float, x: Scale, y: Scale
    ) -> None:
        self.drawing, self.x, self.y = drawing, x, y
        self.left, self.top, self.right, self.bottom = left, top, right, bottom

    def points(self, x: Iterable[float], y: Iterable[float]) -> list[Point]:
        """In pixels."""
        across = self.left + self.x.share(x) * (self.right - self.left)
        down = self.bottom - self.y.share(y) * (self.bottom - self.top)
        return list(zip(across.tolist(), down.tolist(), strict=True))

    def line(
        self,
        x: Iterable[float],
        y: Iterable[float],
        colour: str,
        *,
        width: float = 2.5,
        dotted: bool = False,
        dots: float = 0,
    ) -> None:
        """A line through the points that are numbers, with dots on them if they have a radius."""
        points = [point for point in self.points(x, y) if not math.isnan(point[1])]
        if len(points) > 1:
            self.drawing.add(Line(points, colour, width, dotted))
        if points and (dots or len(points) == 1):
            self.drawing.add(Dots(points, colour, dots or width))

    def dots(
        self,
        x: Iterable[float],
        y: Iterable[float],
        colour: str,
        radius: float = 3.5,
        *,
        opacity: float = 1.0,
        ring: bool = False,
    ) -> None:
        """A dot at each point."""
        if points := self.points(x, y):
            self.drawing.add(Dots(points, colour, radius, opacity, ring))

    def band(self, x: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> None:
        """What lies between two lines."""
        edge = self.points(x, high) + self.points(x, low)[::-1]
        self.drawing.add(Area(edge, colour, 0.15))

    def bar(self, x: tuple[float, float], y: tuple[float, float], colour: str) -> None:
        """A rectangle."""
        (left, bottom), (right, top) = self.points(x, y)
        self.drawing.add(Area([(left, bottom), (left, top), (right, top), (right, bottom)], colour))

    def mark_x(self, value: float, colour: str = SOFT, *, dotted: bool = True) -> None:
        """A line from bottom to top."""
        ((x, _),) = self.points([value], [self.y.low])
        self.drawing.add(Line([(x, self.bottom), (x, self.top)], colour, 1, dotted))

    def x_axis(self, title: str, ticks: Ticks | None = None, *, grid: bool = True) -> None:
        """The lower side, with words at the ticks and below them."""
        for value, words in self.x.ticks(max(2, int((self.right - self.left) / 70))) if ticks is None else ticks:
            ((x, _),) = self.points([value], [self.y.low])
            if grid:
                self.drawing.add(Line([(x, self.bottom), (x, self.top)], GRID))
            self.drawing.add(Words((x, self.bottom + 12), words, "center", SOFT))
        self.drawing.add(Line([(self.left, self.bottom), (self.right, self.bottom)], SOFT))
        if title:
            self.drawing.add(Words(((self.left + self.right) / 2, self.bottom + 32), title, "center"))

    def y_axis(self, title: str, ticks: Ticks | None = None, *, grid: bool = True, on_right: bool = False) -> None:
        """The left side, or the right one, with words at the ticks and a title that runs along it."""
        ticks = self.y_ticks() if ticks is None else ticks
        side, edge, away = ("left", self.right, 1) if on_right else ("right", self.left, -1)
        for value, words in ticks:
            ((_, y),) = self.points([self.x.low], [value])
            if grid:
                self.drawing.add(Line([(self.left, y), (self.right, y)], GRID))
            self.drawing.add(Words((edge + away * GAP, y), words, side, SOFT))
        if title:
            at = edge + away * (room_for(ticks) - 9)
            self.drawing.add(Words((at, (self.top + self.bottom) / 2), title, "center", angle=90))

    def y_ticks(self) -> Ticks:
        """As many as there is room for."""
        return self.y.ticks(max(2, int((self.bottom - self.top) / 40)))


def room_for(ticks: Ticks, *, title: bool = True) -> float:
    """What the words at a side take."""
    return max((width_of(words) for _, words in ticks), default=0.0) + 2 * GAP + (18 if title else 0)


def legend(drawing: Drawing, entries: Iterable[tuple[str, str, str]]) -> float:
    """What the colours mean, along the top; returns where it ends.

    Args:
        drawing: that it is added to.
        entries: words, colour, and `dot`, `ring` or `line` of each.
    """
    x, y = GAP, ROW / 2
    for words, colour, kind in entries:
        room = width_of(words, FONT) + 40
        if x > GAP and x + room > drawing.width:
            x, y = GAP, y + ROW
        if kind == "line":
            drawing.add(Line([(x, y), (x + 14, y)], colour, 1, dotted=True))
        else:
            drawing.add(Dots([(x + 7, y)], colour, 5, ring=kind == "ring"))
        drawing.add(Words((x + 19, y), words, "left", INK, FONT))
        x += room
    return y + ROW / 2 + GAP if x > GAP else 0.0


def heading(drawing: Drawing, at: Point, words: str) -> None:
    """The title of one of several panels."""
    drawing.add(Words(at, words, "center", INK, SMALL))
