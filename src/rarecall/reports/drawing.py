"""Drawings of lines, areas, dots and words: as SVG for the pages, as a matplotlib figure for files.

The pages are not drawn by matplotlib, whose import and layout would take longer than the rest of a report.
"""

import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from markupsafe import escape

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#333333", "#777777", "#e6e6e6"
FONT = 13.0  # of words, in pixels
SMALL = 12.0
PIXELS = 100  # of an inch
_NARROW, _BROAD = frozenset("iljtfrI.,:;|!'()[]/ "), frozenset("mwMW@%—…+=<>")
_ANCHORS = {"left": "start", "center": "middle", "right": "end"}

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line through points."""

    points: Sequence[Point]
    colour: str
    width: float = 1.0
    dotted: bool = False

    def svg(self) -> str:
        """As an element."""
        dashes = ' stroke-dasharray="2 3"' if self.dotted else ""
        path = "L".join(f"{_short(x)} {_short(y)}" for x, y in self.points)
        return f'<path d="M{path}" fill="none" stroke="{self.colour}" stroke-width="{_short(self.width)}"{dashes}/>'


@dataclass(frozen=True)
class Area:
    """A filled polygon."""

    points: Sequence[Point]
    colour: str
    opacity: float = 1.0

    def svg(self) -> str:
        """As an element."""
        path = "L".join(f"{_short(x)} {_short(y)}" for x, y in self.points)
        faint = "" if self.opacity == 1 else f' fill-opacity="{self.opacity:g}"'
        return f'<path d="M{path}z" fill="{self.colour}"{faint}/>'


@dataclass(frozen=True)
class Dots:
    """Dots of one size and colour, filled or as rings."""

    points: Sequence[Point]
    colour: str
    radius: float
    opacity: float = 1.0
    ring: bool = False

    def svg(self) -> str:
        """As one element where they are filled: lines of no length with round ends, the shortest way to write dots."""
        if self.ring:
            circles = "".join(
                f'<circle cx="{_short(x)}" cy="{_short(y)}" r="{_short(self.radius)}"/>' for x, y in self.points
            )
            return f'<g fill="none" stroke="{self.colour}">{circles}</g>'
        path = "".join(f"M{_short(x)} {_short(y)}h0" for x, y in self.points)
        faint = "" if self.opacity == 1 else f' stroke-opacity="{self.opacity:g}"'
        width = _short(2 * self.radius)
        return f'<path d="{path}" stroke="{self.colour}" stroke-width="{width}" stroke-linecap="round"{faint}/>'


@dataclass(frozen=True)
class Words:
    """A line of text, at half its height, that begins, ends or has its middle at a point; turned by degrees."""

    at: Point
    text: str
    side: str = "left"
    colour: str = INK
    size: float = SMALL
    angle: float = 0.0

    def svg(self) -> str:
        """As an element."""
        x, y = _short(self.at[0]), _short(self.at[1])
        turned = f' transform="rotate({-self.angle:g} {x} {y})"' if self.angle else ""
        return (
            f'<text x="{x}" y="{y}" dy=".35em" text-anchor="{_ANCHORS[self.side]}" font-size="{self.size:g}" '
            f'fill="{self.colour}"{turned}>{escape(self.text)}</text>'
        )


@dataclass
class Drawing:
    """What is drawn, the first lowest; in pixels from the upper left corner."""

    width: float
    height: float
    title: str
    marks: list[Line | Area | Dots | Words] = field(default_factory=list)

    def add(self, *marks: Line | Area | Dots | Words) -> None:
        """Draw over what is there."""
        self.marks += marks

    def svg(self) -> str:
        """An SVG that scales with the page; the same bytes for the same drawing."""
        size = f"{_short(self.width)} {_short(self.height)}"
        inside = "".join(mark.svg() for mark in self.marks)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="system-ui, sans-serif" '
            f'role="img" aria-label="{escape(self.title)}">{inside}</svg>'
        )

    def figure(self) -> "Figure":
        """The same as a figure of matplotlib, of so many hundredths of an inch."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width / PIXELS, self.height / PIXELS), facecolor="white")
        for place, mark in enumerate(self.marks):
            _artist(figure, mark, self).set_zorder(place)
        return figure

    def png(self) -> bytes:
        """As a PNG."""
        import warnings

        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name may be in any script
            self.figure().savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()


def _artist(figure: "Figure", mark: Line | Area | Dots | Words, drawing: Drawing) -> "Artist":
    """The mark as a part of the figure."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon

    def placed(points: Sequence[Point]) -> list[Point]:
        return [(x / drawing.width, 1 - y / drawing.height) for x, y in points]

    points_of = 72 / PIXELS
    if isinstance(mark, Words):
        return figure.text(
            *placed([mark.at])[0], mark.text, ha=mark.side, va="center", color=mark.colour,
            fontsize=mark.size * points_of, rotation=mark.angle, rotation_mode="anchor", parse_math=False,
        )  # fmt: skip
    if isinstance(mark, Area):
        area = Polygon(placed(mark.points), color=mark.colour, alpha=mark.opacity, linewidth=0)
        return figure.add_artist(area)
    line = Line2D(*zip(*placed(mark.points), strict=True), color=mark.colour)
    if isinstance(mark, Line):
        line.set(linewidth=mark.width * points_of, linestyle=":" if mark.dotted else "-")
    else:
        line.set(linestyle="", marker="o", markersize=2 * mark.radius * points_of, alpha=mark.opacity)
        line.set(markeredgewidth=float(mark.ring), markerfacecolor="none" if mark.ring else mark.colour)
    return figure.add_artist(line)


def width_of(text: str, size: float = SMALL) -> float:
    """About how wide a text is; fonts differ."""
    return size * sum(map(_width, text))


@cache
def _width(letter: str) -> float:
    if letter in _NARROW:
        return 0.36
    if letter in _BROAD or unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return 0.7 if letter.isupper() else 0.6


def fitted(text: str, room: float, size: float = SMALL) -> str:
    """The text, cut so that it fits."""
    if width_of(text, size) <= room:
        return text
    kept = text
    while kept and width_of(kept + "…", size) > room:
        kept = kept[:-1]
    return kept + "…"


def _short(value: float) -> str:
    """A tenth of a pixel is enough.

    >>> _short(12.04), _short(-0.01), _short(3)
    ('12', '0', '3')
    """
    return f"{round(value, 1) + 0.0:g}"
