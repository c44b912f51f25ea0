"""The critical-difference diagram shows every method at its rank, and a bar for each group."""

import numpy as np
import pytest

from rarecall.reports import figures
from rarecall.reports.critical_difference import critical_difference
from rarecall.statistics import friedman_nemenyi


def diagram(methods: int, datasets: int = 6, names: list[str] | None = None):
    table = np.random.default_rng(0).normal(size=(datasets, methods)) + np.linspace(3, 0, methods)
    ranks = friedman_nemenyi(table, names)
    return ranks, critical_difference(ranks)


@pytest.mark.parametrize("methods", [2, 3, 4, 15])
def test_every_method_and_group_is_drawn(methods: int) -> None:
    ranks, figure = diagram(methods, 12, [f"method {place}" for place in range(methods)])
    axes = figure.axes[0]
    words = [text.get_text() for text in axes.texts]
    for name, rank in zip(ranks.methods, ranks.average_ranks, strict=True):
        assert any(name in said and f"{rank:.2f}" in said for said in words)
        assert any(line.get_xdata()[0] == rank for line in axes.lines)
    assert any(f"critical difference {ranks.critical_difference:.2f}" in said for said in words)
    assert sum(line.get_linewidth() == 3.5 for line in axes.lines) == len(ranks.groups)


def test_long_names_fit_and_do_not_meet() -> None:
    _, figure = diagram(15, 8, [f"{'a long name of a loss ' * 3}{place}" for place in range(15)])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    width, height = figure.canvas.get_width_height()
    for place, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= width
        assert box.y0 >= 0
        assert box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


def test_names_are_no_formulas_and_the_same_ranks_give_the_same_picture() -> None:
    names = ["two$way$", "100 % {x}", "<b>"]
    svg = figures.to_svg(diagram(3, names=names)[1])
    assert "two$way$" in svg
    assert "&lt;b&gt;" in svg
    assert svg == figures.to_svg(diagram(3, names=names)[1])
    assert figures.to_png(diagram(3, names=names)[1]).startswith(b"\x89PNG")
