"""Resamples, intervals and differences, against what they must equal and how often they must cover."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from rarecall import metrics, statistics
from rarecall.errors import OptionError, ShapeError
from rarecall.labels import HEAD_POSITIVES, MEDIUM_POSITIVES, tiers
from rarecall.statistics import _bootstrap as bootstrap
from rarecall.statistics import _resampled as resampled
from rarecall.statistics import (
    bootstrap_interval,
    bootstrap_weights,
    differences_to_best,
    resampled_average_precision,
)
from tests.block_sizes import block_sizes, working_on


def sample(rows: int = 60, classes: int = 5, seed: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores with many ties, and targets with unknowns."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, classes, generator=generator).round(decimals=1)
    targets = (torch.rand(rows, classes, generator=generator) < 0.2).to(torch.int8)
    targets[torch.rand(rows, classes, generator=generator) < 0.1] = -1
    return scores, targets


def drawn(rows: int, resamples: int, seed: int = 0) -> torch.Tensor:
    """Whole-number weights."""
    return torch.from_numpy(np.random.default_rng(seed).multinomial(rows, np.full(rows, 1 / rows), size=resamples).T)


def runs(quality: float, seeds: int, targets: torch.Tensor, seed: int = 0) -> list[torch.Tensor]:
    """Scores that know `quality` of the targets."""
    generator = torch.Generator().manual_seed(seed)
    return [quality * targets + torch.randn(targets.shape, generator=generator) for _ in range(seeds)]


# --- average precision of resamples ------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (60, 5), (500, 7)], ids=str)
def test_drawing_every_item_once_is_the_average_precision_itself(shape: tuple[int, int], decimals: int) -> None:
    scores, targets = sample(*shape)
    scores = scores.double().round(decimals=decimals)
    found = resampled_average_precision(scores, targets, torch.ones(shape[0], 1))[0]
    expected = metrics.average_precision(scores, targets)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_a_resample_is_the_average_precision_of_the_drawn_items() -> None:
    scores, targets = sample()
    weights = drawn(60, 8)
    found = resampled_average_precision(scores, targets, weights)
    for draw in range(8):
        rows = torch.repeat_interleave(torch.arange(60), weights[:, draw])
        for place in range(5):
            known = targets[rows, place] >= 0
            truth, ranked = targets[rows, place][known], scores[rows, place][known]
            if (truth > 0).any():
                assert found[draw, place].item() == pytest.approx(average_precision_score(truth, ranked), abs=1e-12)
            else:
                assert found[draw, place].isnan()


SIZES = block_sizes(statistics)


def of_blocks() -> tuple[torch.Tensor, ...]:
    """What is computed in blocks: of classes, of resamples, and of items."""
    scores, targets = sample(40, 11)
    weights = bootstrap_weights(targets, 150, stratified=True)
    return (
        resampled_average_precision(scores, targets, drawn(40, 150)),
        weights,
        torch.tensor(bootstrap._strata(targets)),
    )


@pytest.mark.parametrize("entries", [1, 100, 130])
def test_blocks_of_any_size_change_nothing(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of_blocks()
    monkeypatch.setattr(resampled, "_FEWEST_RESAMPLES", 7)  # below which no block goes
    for sizes in (SIZES, *([one] for one in SIZES)):
        with working_on(sizes, entries):
            torch.testing.assert_close(of_blocks(), whole, rtol=1e-14, atol=1e-14, equal_nan=True)


def test_every_size_of_a_block_is_used() -> None:
    for size in SIZES:
        with working_on([size], None), pytest.raises(TypeError):
            of_blocks()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_no_bit_and_are_as_many_as_before(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, targets, weights = *sample(400, 11), drawn(400, 900)
    before, expected = torch.get_num_threads(), resampled_average_precision(scores, targets, weights)
    torch.set_num_threads(threads)
    try:
        for shared in (1, 2**23):
            monkeypatch.setattr(resampled, "_SHARED", shared)
            assert torch.equal(resampled_average_precision(scores, targets, weights), expected)
            assert torch.get_num_threads() == threads
        monkeypatch.setattr(resampled, "_average_precision", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            resampled_average_precision(scores, targets, weights)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_type_of_whole_weights_changes_nothing() -> None:
    scores, targets = sample()
    weights = drawn(60, 20)
    found = [
        resampled_average_precision(scores, targets, weights.to(kind)).nan_to_num()
        for kind in (torch.uint8, torch.int64, torch.float64)
    ]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_classes_may_be_permuted_and_items_too() -> None:
    scores, targets = sample(50, 6)
    weights = drawn(50, 9)
    found = resampled_average_precision(scores, targets, weights).nan_to_num()
    generator = torch.Generator().manual_seed(1)
    columns, rows = torch.randperm(6, generator=generator), torch.randperm(50, generator=generator)
    assert torch.equal(resampled_average_precision(scores[:, columns], targets[:, columns], weights).nan_to_num(),
                       found[:, columns])  # fmt: skip
    again = resampled_average_precision(scores[rows], targets[rows], weights[rows]).nan_to_num()
    torch.testing.assert_close(again, found, rtol=1e-14, atol=1e-14)


def test_edges_have_defined_results() -> None:
    none = torch.zeros(4, 2, dtype=torch.int8)
    weights = torch.ones(4, 3)
    assert resampled_average_precision(torch.zeros(4, 2), none, weights).isnan().all()
    assert resampled_average_precision(torch.zeros(4, 2), none - 1, weights).isnan().all()
    assert (resampled_average_precision(torch.rand(4, 2), none + 1, weights) == 1).all()
    assert resampled_average_precision(torch.zeros(4, 0), torch.zeros(4, 0), weights).shape == (3, 0)
    assert resampled_average_precision(torch.zeros(4, 2), none, weights[:, :0]).shape == (0, 2)
    assert resampled_average_precision(torch.rand(4, 2), none + 1, 0 * weights).isnan().all()


def test_wrong_resamples_are_refused() -> None:
    scores, targets = sample()
    for weight in (-1.0, torch.nan):
        weights = torch.ones(60, 2)
        weights[7, 1] = weight
        with pytest.raises(ShapeError, match=f"a weight is {weight:g}: .* 0 or more"):
            resampled_average_precision(scores, targets, weights)
    with pytest.raises(ShapeError, match="of the same samples"):
        resampled_average_precision(scores, targets, torch.ones(59, 2))
    with pytest.raises(ShapeError, match="is NaN"):
        resampled_average_precision(scores * torch.nan, targets, torch.ones(60, 2))


# --- draws -------------------------------------------------------------------------------------------------


def test_plain_draws_take_as_many_items_as_there_are() -> None:
    weights = bootstrap_weights(torch.zeros(300, 2), 200)
    assert weights.dtype == torch.uint8
    assert (weights.sum(0) == 300).all()
    # Of N draws of N items, the number of an item is binomial: variance 1 - 1/N.
    assert weights.double().var().item() == pytest.approx(1 - 1 / 300, rel=0.03)
    assert torch.equal(weights, bootstrap_weights(torch.zeros(300, 2), 200))
    assert not torch.equal(weights, bootstrap_weights(torch.zeros(300, 2), 200, seed=1))


def rare_targets() -> torch.Tensor:
    """Classes with 1, 2, 3, 12 and 60 positives, some of them on the same items, and unknown labels."""
    targets = torch.zeros(200, 6, dtype=torch.int8)
    for place, (start, size) in enumerate([(0, 1), (0, 2), (10, 3), (8, 12), (100, 60)]):
        targets[start : start + size, place] = 1
    targets[150:, 2] = -1
    return targets


def test_stratified_draws_keep_every_rare_class() -> None:
    targets = rare_targets()
    positive = (targets > 0).float().T
    stratified = positive @ bootstrap_weights(targets, 500, stratified=True)
    plain = positive @ bootstrap_weights(targets, 500).float()
    assert (stratified[:5] > 0).all()
    assert (plain[:3] == 0).any(1).all()
    assert (stratified[0] == 1).all()  # a lone item is in every resample


def test_strata_are_the_rarest_rare_class_of_each_item() -> None:
    targets = rare_targets()
    strata = bootstrap._strata(targets)
    # Item 0 is of class 0 (1 positive) rather than 1 (2); items 10 to 12 of class 2 (3) rather than 3 (12).
    assert [strata[row] for row in (0, 1, 10, 8)] == [0, 1, 2, 3]
    assert set(strata[100:160]) == set(strata[160:]) == {4}  # 60 positives are not rare


def test_strata_are_of_the_classes_that_labels_call_tail() -> None:
    targets = torch.zeros(100, 2, dtype=torch.int8)
    targets[:MEDIUM_POSITIVES, 0] = 1
    targets[50 : 50 + MEDIUM_POSITIVES - 1, 1] = 1
    strata = bootstrap._strata(targets)
    assert strata[0] == strata[99] != strata[50]
    assert tiers((targets > 0).sum(0).numpy()) == ["medium", "tail"]


def test_the_page_names_the_limits_of_the_tiers() -> None:
    docs = Path(__file__).parents[1] / "docs"
    assert (
        f"tail class it is positive for (fewer than {MEDIUM_POSITIVES} positives)"
        in (docs / "statistics.md").read_text()
    )
    limits = f"head from {HEAD_POSITIVES} training positives, medium from {MEDIUM_POSITIVES}, tail below"
    assert limits in (docs / "metrics.md").read_text()


def test_stratified_draws_have_the_variance_of_a_mean() -> None:
    # 8 positives of one rare class: the mean of a figure over them has variance s²/n, not s²(n-1)/n².
    targets = torch.zeros(100, 1, dtype=torch.int8)
    targets[:8] = 1
    figure = torch.randn(8, generator=torch.Generator().manual_seed(0))
    weights = bootstrap_weights(targets, 20_000, stratified=True)[:8]
    means = (weights * figure[:, None]).sum(0) / 8
    assert means.var().item() == pytest.approx(figure.var().item() / 8, rel=0.05)
    torch.testing.assert_close(weights.sum(0), torch.full((20_000,), 8.0))


@pytest.mark.parametrize(
    ("targets", "resamples", "error", "words"),
    [
        (torch.zeros(3, 2), 0, OptionError, "resamples must be 1 or more"),
        (torch.zeros(0, 2), 5, ShapeError, "1 sample or more"),
    ],
)
def test_draws_that_cannot_be(targets: torch.Tensor, resamples: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        bootstrap_weights(targets, resamples)


# --- one model ---------------------------------------------------------------------------------------------


def test_the_interval_lies_around_the_mean_average_precision() -> None:
    scores, targets = sample(200, 4)
    found = bootstrap_interval(scores, targets, {"all": np.arange(4), "one": np.array([2])}, resamples=200)
    ap = metrics.average_precision(scores, targets)
    assert found["all"].mean == pytest.approx(ap.mean().item())
    assert found["one"].mean == pytest.approx(ap[2].item())
    for interval in found.values():
        assert 0 <= interval.low < interval.mean < interval.high <= 1


def test_the_interval_is_that_of_the_resamples_moved_by_the_bias_of_their_mean() -> None:
    scores, targets = sample(80, 5)
    good = scores + 4 * targets
    groups = {"all": np.arange(5), "two": np.array([0, 3])}
    moved, clipped = 0, 0
    for kind in (scores, good):
        found = bootstrap_interval(kind, targets, groups, resamples=200, seed=3)
        drawn_ap = resampled_average_precision(kind, targets, bootstrap_weights(targets, 200, seed=3)).numpy()
        for group, members in groups.items():
            means = np.nanmean(drawn_ap[:, members], 1)
            plain = np.quantile(means, [0.025, 0.975])
            expected = plain + metrics.average_precision(kind, targets)[members].mean().item() - means.mean()
            assert [found[group].low, found[group].high] == pytest.approx(np.minimum(expected, 1), abs=1e-9)
            moved += abs(found[group].low - plain[0]) > 0.005
            clipped += expected[1] > 1
    assert moved
    assert clipped


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([0, 5], "group 'tail' has class 5: give class numbers from 0 to 4"),
        ([-1], "group 'tail' has class -1"),
        ([True, False, True, False, False], "group 'tail' has class True"),
    ],
)
def test_a_group_of_classes_that_are_not_there_is_refused(members: list, words: str) -> None:
    scores, targets = sample()
    groups = {"all": np.arange(5), "tail": np.array(members)}
    with pytest.raises(ShapeError, match=words):
        bootstrap_interval(scores, targets, groups, resamples=5)
    with pytest.raises(ShapeError, match=words):
        differences_to_best({"x": {"a": [scores], "b": [scores]}}, targets, groups, 5)


def test_a_group_without_a_class_has_no_interval() -> None:
    scores, targets = sample()
    found = bootstrap_interval(scores, targets, {"none": np.array([])}, resamples=5)["none"]
    assert np.isnan([found.mean, found.low, found.high]).all()


def test_a_group_without_a_positive_has_no_interval() -> None:
    found = bootstrap_interval(torch.rand(5, 2), torch.tensor([[1, 0]] * 5), {"x": np.array([1])}, resamples=9)["x"]
    assert np.isnan([found.mean, found.low, found.high]).all()


def test_a_higher_confidence_is_a_wider_interval() -> None:
    scores, targets = sample(200, 4)
    narrow, wide = (
        bootstrap_interval(scores, targets, {"all": np.arange(4)}, resamples=300, confidence=confidence)["all"]
        for confidence in (0.8, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high
    with pytest.raises(OptionError, match="confidence must lie between 0 and 1, not 95"):
        bootstrap_interval(scores, targets, {}, confidence=95)


def test_the_interval_of_one_model_covers_about_as_often_as_it_says() -> None:
    covered, figures, intervals = 0, [], []
    for trial in range(150):
        generator = torch.Generator().manual_seed(trial)
        targets = (torch.rand(150, 6, generator=generator) < 0.08).to(torch.int8)
        scores = 1.5 * targets + torch.randn(targets.shape, generator=generator)
        found = bootstrap_interval(scores, targets, {"all": np.arange(6)}, resamples=150)["all"]
        figures.append(found.mean)
        intervals.append(found)
    covered = sum(interval.low <= np.mean(figures) <= interval.high for interval in intervals)
    assert 0.86 <= covered / 150 <= 0.99


# --- differences -------------------------------------------------------------------------------------------


def test_a_clear_difference_is_told_from_none() -> None:
    targets = (torch.rand(300, 4, generator=torch.Generator().manual_seed(0)) < 0.3).to(torch.int8)
    good = runs(2.0, 3, targets, 1)
    nearly = [scores + 0.01 * torch.randn(scores.shape) for scores in good]
    scores = {"good": good, "nearly": nearly, "poor": runs(0.3, 3, targets, 2)}
    found = differences_to_best({"x": scores}, targets, {"all": np.arange(4), "one": np.array([2])}, 200)["x"]
    best = max(found["all"], key=lambda loss: found["all"][loss].mean)
    assert best in ("good", "nearly")
    assert (found["all"][best].mean, found["all"][best].low, found["all"][best].high) == (0, 0, 0)
    other = ({"good", "nearly"} - {best}).pop()
    assert found["all"][other].high >= 0
    assert found["all"]["poor"].high < -0.1
    assert set(found) == {"all", "one"}


@pytest.mark.parametrize(("stratified", "least"), [(False, 0.88), (True, 0.82)])
def test_the_interval_covers_the_difference_about_as_often_as_it_says(stratified: bool, least: float) -> None:
    covered = 0
    for trial in range(150):
        generator = torch.Generator().manual_seed(trial)
        targets = (torch.rand(150, 4, generator=generator) < 0.06).to(torch.int8)
        # Two losses of the same true quality: the true difference is 0.
        pair = [[1.5 * targets + torch.randn(targets.shape, generator=generator)] for _ in range(2)]
        compared = {"": {"x": pair[0], "y": pair[1]}}
        found = differences_to_best(compared, targets, {"all": np.arange(4)}, 150, stratified=stratified)[""]
        covered += all(difference.low <= 0 <= difference.high for difference in found["all"].values())
    assert least <= covered / 150 < 1


def test_what_all_seeds_share_cancels() -> None:
    # The losses differ by the same on every seed, though the seeds themselves lie far apart.
    targets = (torch.rand(100, 1, generator=torch.Generator().manual_seed(3)) < 0.5).to(torch.int8)
    seeds = [quality * targets + torch.randn(targets.shape) for quality in (0.0, 1.0, 4.0)]
    found = differences_to_best({"": {"a": seeds, "b": [2 * run for run in seeds]}}, targets, {"all": np.arange(1)}, 99)
    assert all((value.low, value.high) == (0, 0) for value in found[""]["all"].values())


def test_the_same_call_gives_the_same_interval() -> None:
    targets = (torch.rand(80, 3, generator=torch.Generator().manual_seed(0)) < 0.3).to(torch.int8)
    scores = {"a": runs(1.0, 2, targets, 1), "b": runs(0.5, 2, targets, 2)}
    groups = {"all": np.arange(3)}
    first, again = (differences_to_best({"x": scores, "y": scores}, targets, groups, 50) for _ in range(2))
    assert first == again
    assert first["x"] == first["y"]


def test_the_seeds_of_a_resample_are_the_same_on_every_machine() -> None:
    golden = [[1, 2, 2], [2, 2, 0], [1, 0, 2], [0, 1, 2]]
    assert bootstrap._drawn_seeds(3, 4, 0)[..., 0].tolist() == golden
    assert bootstrap._drawn_seeds(3, 4, 1)[..., 0].tolist() != golden
    drawn_of_two = bootstrap._drawn_seeds(2, 1000, 0)
    assert set(drawn_of_two.flat) == {0, 1}
    assert drawn_of_two.mean() == pytest.approx(0.5, abs=0.05)


def test_losses_with_different_seeds_are_no_pairs() -> None:
    scores, targets = sample()
    with pytest.raises(OptionError, match="different numbers of seeds"):
        differences_to_best({"x": {"a": [scores], "b": [scores, scores]}}, targets, {"all": np.arange(5)})
