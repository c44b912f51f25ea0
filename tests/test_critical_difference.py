"""The critical-difference diagram shows every method at its rank, and a bar for each group."""

import numpy as np
import pytest

from rarecall.reports import figures
from rarecall.reports.critical_difference import critical_difference
from rarecall.statistics import Ranks, friedman_nemenyi


def ranks_of(methods: int, datasets: int = 6, names: list[str] | None = None) -> Ranks:
    table = np.random.default_rng(0).normal(size=(datasets, methods)) + np.linspace(3, 0, methods)
    return friedman_nemenyi(table, names)


@pytest.mark.parametrize("methods", [2, 3, 4, 15])
def test_every_method_and_group_is_drawn(methods: int) -> None:
    ranks = ranks_of(methods, 12, [f"method {place}" for place in range(methods)])
    axes = critical_difference(ranks).axes[0]
    words = [text.get_text() for text in axes.texts]
    for name, rank in zip(ranks.methods, ranks.average_ranks, strict=True):
        assert any(name in said and f"{rank:.2f}" in said for said in words)
    ends = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 3]
    low, high = axes.lines[0].get_xdata()
    places = [low + (rank - 1) / (methods - 1) * (high - low) for rank in ranks.average_ranks]
    assert sorted(ends) == pytest.approx(sorted(places))
    assert any(f"critical difference {ranks.critical_difference:.2f}" in said for said in words)
    assert sum(line.get_linewidth() == 3.5 for line in axes.lines) == len(ranks.groups)


@pytest.mark.parametrize("width", [9.2, 4.0])
def test_long_names_fit_and_do_not_meet(width: float) -> None:
    names = [f"{'a long name of a loss ' * 3}{place}" for place in range(15)]
    figure = critical_difference(ranks_of(15, 8, names), width)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) > 15
    across, height = figure.canvas.get_width_height()
    for place, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= across
        assert box.y0 >= 0
        assert box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


def test_a_name_may_be_empty() -> None:
    assert critical_difference(ranks_of(3, names=["", " ", "x"]), 4.0).axes


def test_names_are_no_formulas_and_the_same_ranks_give_the_same_picture() -> None:
    ranks = ranks_of(3, names=["two$way$", "100 % {x}", "<b>"])
    with figures.style():
        svg = figures.to_svg(critical_difference(ranks))
        assert "two$way$" in svg
        assert "&lt;b&gt;" in svg
        assert svg == figures.to_svg(critical_difference(ranks))
        assert figures.to_png(critical_difference(ranks)).startswith(b"\x89PNG")
