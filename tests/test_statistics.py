"""Bootstrap and differences, against what they must equal."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from rarecall import metrics
from rarecall.studies.statistics import differences_to_best, mean_and_deviation, resampled_average_precision

GENERATOR = torch.Generator().manual_seed(5)


def sample(rows: int = 60, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores with many ties, and targets with unknowns."""
    scores = torch.randn(rows, classes, generator=GENERATOR).round(decimals=1)
    targets = (torch.rand(rows, classes, generator=GENERATOR) < 0.2).to(torch.int8)
    targets[torch.rand(rows, classes, generator=GENERATOR) < 0.1] = -1
    return scores, targets


def test_drawing_every_item_once_is_the_average_precision_itself() -> None:
    scores, targets = sample()
    found = resampled_average_precision(scores, targets, torch.ones(len(scores), 1))[0]
    torch.testing.assert_close(found.double(), metrics.average_precision(scores, targets), rtol=1e-6, atol=1e-6)


def test_a_resample_is_the_average_precision_of_the_drawn_items() -> None:
    scores, targets = sample()
    weights = torch.from_numpy(np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), size=8).T).float()
    found = resampled_average_precision(scores, targets, weights)
    for draw in range(8):
        rows = torch.repeat_interleave(torch.arange(60), weights[:, draw].long())
        for place in range(5):
            known = targets[rows, place] >= 0
            truth, ranked = targets[rows, place][known], scores[rows, place][known]
            if (truth > 0).any():
                assert found[draw, place].item() == pytest.approx(average_precision_score(truth, ranked), abs=1e-6)
            else:
                assert found[draw, place].isnan()


def test_a_class_without_positives_is_nan() -> None:
    found = resampled_average_precision(torch.zeros(4, 1), torch.zeros(4, 1, dtype=torch.int8), torch.ones(4, 3))
    assert found.isnan().all()


def runs(quality: float, seeds: int, targets: torch.Tensor) -> list[torch.Tensor]:
    """Scores that know `quality` of the targets."""
    return [quality * targets + torch.randn(targets.shape, generator=GENERATOR) for _ in range(seeds)]


def test_a_clear_difference_is_told_from_none() -> None:
    targets = (torch.rand(300, 4, generator=GENERATOR) < 0.3).to(torch.int8)
    good = runs(2.0, 3, targets)
    nearly = [scores + 0.01 * torch.randn(scores.shape, generator=GENERATOR) for scores in good]
    scores = {"good": good, "nearly": nearly, "poor": runs(0.3, 3, targets)}
    found = differences_to_best({"x": scores}, targets, {"all": np.arange(4), "one": np.array([2])}, resamples=200)["x"]
    best = max(found["all"], key=lambda loss: found["all"][loss].mean)
    assert best in ("good", "nearly")
    assert (found["all"][best].mean, found["all"][best].low, found["all"][best].high) == (0, 0, 0)
    other = ({"good", "nearly"} - {best}).pop()
    assert found["all"][other].high >= 0
    assert found["all"]["poor"].high < -0.1
    assert set(found) == {"all", "one"}


def test_the_interval_covers_the_difference_about_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(40):
        generator = torch.Generator().manual_seed(trial)
        targets = (torch.rand(150, 1, generator=generator) < 0.4).to(torch.int8)
        # Two losses of the same true quality: the true difference is 0.
        pair = [[1.0 * targets + torch.randn(targets.shape, generator=generator)] for _ in range(2)]
        found = differences_to_best({"": {"x": pair[0], "y": pair[1]}}, targets, {"all": np.arange(1)}, resamples=200)[
            ""
        ]
        covered += all(difference.low <= 0 <= difference.high for difference in found["all"].values())
    assert covered >= 34


def test_the_same_call_gives_the_same_interval() -> None:
    targets = (torch.rand(80, 3, generator=GENERATOR) < 0.3).to(torch.int8)
    scores = {"a": runs(1.0, 2, targets), "b": runs(0.5, 2, targets)}
    groups = {"all": np.arange(3)}
    first, again = (differences_to_best({"x": scores, "y": scores}, targets, groups, 50) for _ in range(2))
    assert first == again
    assert first["x"] == first["y"]


def test_mean_and_deviation() -> None:
    mean, deviation = mean_and_deviation([1.0, 2.0, 4.0])
    assert (mean, deviation) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1)))
    assert np.isnan(mean_and_deviation([1.0])[1])
