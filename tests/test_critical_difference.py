"""The critical-difference diagram shows every method at its rank, and a bar for each group."""

import numpy as np
import pytest

from rarecall.reports.critical_difference import critical_difference, draw
from rarecall.reports.drawing import Drawing, Line, Words
from rarecall.statistics import Ranks, friedman_nemenyi


def ranks_of(methods: int, datasets: int = 6, names: list[str] | None = None) -> Ranks:
    table = np.random.default_rng(0).normal(size=(datasets, methods)) + np.linspace(3, 0, methods)
    return friedman_nemenyi(table, names)


def lines(drawing: Drawing, width: float) -> list[Line]:
    return [mark for mark in drawing.marks if isinstance(mark, Line) and mark.width == width]


@pytest.mark.parametrize("methods", [2, 3, 4, 15])
def test_every_method_and_group_is_drawn(methods: int) -> None:
    ranks = ranks_of(methods, 12, [f"method {place}" for place in range(methods)])
    drawing = draw(ranks, 920)
    words = [mark.text for mark in drawing.marks if isinstance(mark, Words)]
    for name, rank in zip(ranks.methods, ranks.average_ranks, strict=True):
        assert any(name in said and f"{rank:.2f}" in said for said in words)
    ends = [line.points[0][0] for line in lines(drawing, 1) if len(line.points) == 3]
    (low, _), (high, _) = lines(drawing, 1)[0].points
    places = [low + (rank - 1) / (methods - 1) * (high - low) for rank in ranks.average_ranks]
    assert sorted(ends) == pytest.approx(sorted(places))
    assert any(f"critical difference {ranks.critical_difference:.2f}" in said for said in words)
    assert len(lines(drawing, 5)) == len(ranks.groups)


def test_long_names_fit_and_do_not_meet() -> None:
    figure = critical_difference(ranks_of(15, 8, [f"{'a long name of a loss ' * 3}{place}" for place in range(15)]))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    assert len(boxes) > 15
    width, height = figure.canvas.get_width_height()
    for place, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


def test_names_are_no_formulas_and_the_same_ranks_give_the_same_picture() -> None:
    ranks = ranks_of(3, names=["two$way$", "100 % {x}", "<b>"])
    svg = draw(ranks, 920).svg()
    assert "two$way$" in svg
    assert "&lt;b&gt;" in svg
    assert svg == draw(ranks, 920).svg()
    assert any("two$way$" in text.get_text() for text in critical_difference(ranks).texts)
    assert draw(ranks, 920).png().startswith(b"\x89PNG")
