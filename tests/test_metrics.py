"""Ranking metrics and decisions, held against scikit-learn, scalar references and brute force."""

import itertools
import math

import hypothesis.strategies as st
import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from sklearn.metrics import average_precision_score

from rarecall import metrics
from rarecall.errors import OptionError, ShapeError
from tests import references

LAW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
NAN, INF = math.nan, math.inf


def column(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)[:, None]


def labels(*values):
    return torch.tensor(values)[:, None]


def sample(*shape, seed=0, decimals=1):
    """Float64 scores with heavy ties and three-valued targets."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(*shape, generator=generator, dtype=torch.float64).round(decimals=decimals)
    return scores, torch.randint(-1, 2, shape, generator=generator)


def close(actual, expected, tolerance=1e-12):
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def by_scikit_learn(scores, targets):
    """Average precision of each class with the unknown entries taken out by hand."""
    values = []
    for score, target in zip(scores.double().T.numpy(), targets.T.numpy(), strict=True):
        known = target >= 0
        positive = target[known] > 0
        values.append(average_precision_score(positive, score[known]) if positive.any() else NAN)
    return values


@pytest.fixture
def no_type_checker():
    """Let a wrong call reach the function even where shapes are checked at run time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@st.composite
def rankings(draw, values):
    """One class's scores, with ties, and targets with at least one positive."""
    pairs = draw(st.lists(st.tuples(values, st.sampled_from([-1, 0, 1])), min_size=1, max_size=12))
    scores, targets = zip(*pairs, strict=True)
    assume(1 in targets)
    return column(*scores, dtype=torch.float64), labels(*targets)


# --- average precision --------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("shape", [(1, 5), (2, 40), (17, 20), (400, 12)], ids=str)
def test_average_precision_is_that_of_scikit_learn(shape, decimals):
    for seed in range(5):
        scores, targets = sample(*shape, seed=seed, decimals=decimals)
        close(metrics.average_precision(scores, targets), by_scikit_learn(scores, targets))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_average_precision_takes_any_floating_scores_and_gives_float64(dtype):
    scores, targets = sample(60, 8)
    scores = scores.to(dtype)
    actual = metrics.average_precision(scores, targets)
    assert actual.dtype == torch.float64
    close(actual, by_scikit_learn(scores, targets))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float32], ids=str)
def test_average_precision_takes_targets_of_any_number_type(dtype):
    scores, targets = sample(30, 4)
    actual = metrics.average_precision(scores, targets.to(dtype))
    close(actual, metrics.average_precision(scores, targets))


def test_average_precision_without_positive_is_nan():
    scores, _ = sample(3, 3)
    targets = torch.tensor([[0, -1, 0], [0, -1, -1], [0, -1, 1]])
    close(metrics.average_precision(scores, targets).isnan(), torch.tensor([True, True, False]))


def test_average_precision_without_negative_is_one():
    scores, _ = sample(7, 2)
    targets = torch.tensor([[1, 1], [1, -1], [1, -1], [1, 1], [1, -1], [1, 1], [1, 1]])
    assert metrics.average_precision(scores, targets).tolist() == [1.0, 1.0]


def test_average_precision_of_a_single_sample_is_one_or_nan():
    actual = metrics.average_precision(torch.tensor([[0.3, 0.3, 0.3]]), torch.tensor([[1, 0, -1]]))
    close(actual, [1.0, NAN, NAN])


def test_average_precision_of_equal_scores_is_the_prevalence():
    actual = metrics.average_precision(torch.zeros(5, 1), labels(1, 0, -1, 0, 1))
    close(actual, [0.5])


def test_average_precision_of_the_worst_order():
    actual = metrics.average_precision(column(4.0, 3.0, 2.0, 1.0), labels(0, 0, 1, 1))
    close(actual, [(1 / 3 + 2 / 4) / 2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_average_precision_places_the_largest_and_smallest_numbers_at_the_ends(dtype):
    most, least = torch.finfo(dtype).max, torch.finfo(dtype).smallest_normal
    values = [most, most, least, 0.0, -most, -most, most, -least]
    for targets in ([1, 0, 1, 0, 1, 0, -1, -1], [0, 0, 1, 0, 1, 1, -1, 1], [1, 1, -1, 1, 0, 0, 0, -1]):
        actual = metrics.average_precision(column(*values, dtype=dtype), labels(*targets))
        close(actual, [references.average_precision(values, targets)])


def test_average_precision_takes_unknown_entries_out_whatever_they_score():
    scores, targets = sample(30, 6)
    expected = metrics.average_precision(scores, targets)
    for other in (1e300, -1e300, 0.0):
        close(metrics.average_precision(scores.masked_fill(targets < 0, other), targets), expected)


def test_average_precision_keeps_leading_dimensions():
    scores, targets = sample(2, 3, 20, 4)
    actual = metrics.average_precision(scores, targets)
    assert actual.shape == (2, 3, 4)
    for i in range(2):
        for j in range(3):
            close(actual[i, j], metrics.average_precision(scores[i, j], targets[i, j]))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 0, 3), (0, 4, 3)], ids=str)
def test_average_precision_of_nothing_is_nan_for_each_class(shape):
    actual = metrics.average_precision(torch.zeros(shape), torch.zeros(shape))
    assert actual.shape == (*shape[:-2], shape[-1])
    assert actual.isnan().all()


def test_average_precision_does_not_depend_on_the_order_of_samples_or_classes():
    scores, targets = sample(30, 5)
    samples, classes = torch.randperm(30, generator=torch.Generator().manual_seed(0)), [3, 1, 4, 0, 2]
    actual = metrics.average_precision(scores[samples][:, classes], targets[samples][:, classes])
    close(actual, metrics.average_precision(scores, targets)[classes])


def test_average_precision_takes_scores_that_carry_a_gradient_and_any_layout():
    scores, targets = sample(30, 5)
    strided = scores.mT.contiguous().mT.requires_grad_()
    actual = metrics.average_precision(strided, targets.repeat_interleave(2, 0)[::2])
    assert not actual.requires_grad
    close(actual, metrics.average_precision(scores, targets))


def test_average_precision_leaves_its_input_as_it_was():
    scores, targets = sample(30, 5)
    kept = scores.clone(), targets.clone()
    metrics.average_precision(scores, targets)
    assert torch.equal(scores, kept[0])
    assert torch.equal(targets, kept[1])


@LAW
@given(rankings(st.integers(-4, 4).map(float) | st.floats(-1e9, 1e9) | st.sampled_from([0.0, -0.0, 5e-324])))
def test_average_precision_is_the_mean_precision_at_the_positives(ranking):
    scores, targets = ranking
    expected = references.average_precision(scores[:, 0].tolist(), targets[:, 0].tolist())
    close(metrics.average_precision(scores, targets), [expected])


@LAW
@given(rankings(st.integers(-20, 20).map(float)))
def test_average_precision_is_above_zero_and_at_most_one(ranking):
    (value,) = metrics.average_precision(*ranking).tolist()
    assert 0 < value <= 1


@LAW
@given(rankings(st.integers(-20, 20).map(lambda value: value / 4)))
def test_average_precision_depends_on_the_order_of_the_scores_only(ranking):
    scores, targets = ranking
    expected = metrics.average_precision(scores, targets)
    for increasing in (torch.sigmoid, torch.exp, torch.atan, lambda score: 1e6 * score**3 - 7):
        close(metrics.average_precision(increasing(scores), targets), expected)


@LAW
@given(rankings(st.integers(-5, 5).map(float)))
def test_raising_a_positive_to_the_top_never_lowers_average_precision(ranking):
    scores, targets = ranking
    before = metrics.average_precision(scores, targets)
    for place in (targets[:, 0] > 0).nonzero()[:, 0]:
        raised = scores.clone()
        raised[place] = 6.0
        assert metrics.average_precision(raised, targets) >= before - 1e-12


def test_a_score_that_is_nan_is_refused_with_its_place():
    scores = torch.zeros(4, 3)
    scores[2, 1] = NAN
    with pytest.raises(ShapeError, match=r"the score at \(2, 1\) is NaN"):
        metrics.average_precision(scores, torch.zeros(4, 3))


# --- mean average precision ---------------------------------------------------------------------------------


def with_absent_classes():
    scores, targets = sample(12, 6)
    targets[:, 1], targets[:, 4], targets[3] = 0, -1, 0
    return scores, targets


def test_mean_average_precision_is_the_mean_over_the_classes_with_a_positive():
    scores, targets = with_absent_classes()
    values = [value for value in by_scikit_learn(scores, targets) if not math.isnan(value)]
    assert len(values) == 4
    close(metrics.mean_average_precision(scores, targets), sum(values) / 4)


def test_mean_average_precision_by_sample_ranks_the_classes_of_each_sample():
    scores, targets = with_absent_classes()
    values = [value for value in by_scikit_learn(scores.T, targets.T) if not math.isnan(value)]
    assert 0 < len(values) < 12
    close(metrics.mean_average_precision(scores, targets, way="sample"), sum(values) / len(values))


@pytest.mark.parametrize("way", ["class", "sample"])
def test_absent_may_count_as_zero_or_make_the_mean_nan(way):
    scores, targets = with_absent_classes()
    mean, present = metrics.mean_average_precision(scores, targets, way=way, return_counts=True)
    everything = 6 if way == "class" else 12
    as_zero = metrics.mean_average_precision(scores, targets, way=way, absent="zero")
    close(as_zero, mean * present / everything)
    assert metrics.mean_average_precision(scores, targets, way=way, absent="nan").isnan()


@pytest.mark.parametrize("absent", ["skip", "zero", "nan"])
def test_the_policies_agree_where_every_class_has_a_positive(absent):
    scores, targets = sample(40, 5)
    expected = metrics.average_precision(scores, targets).mean()
    close(metrics.mean_average_precision(scores, targets, absent=absent), expected)


@pytest.mark.parametrize("absent", ["skip", "zero", "nan"])
def test_counts_are_those_of_classes_or_samples_with_a_positive(absent):
    scores, targets = with_absent_classes()
    for way, dim in (("class", 0), ("sample", 1)):
        mean, counts = metrics.mean_average_precision(scores, targets, way, absent, return_counts=True)
        assert counts == (targets > 0).any(dim).sum()
        close(mean, metrics.mean_average_precision(scores, targets, way, absent))


@pytest.mark.parametrize("way", ["class", "sample"])
def test_mean_average_precision_without_any_positive(way):
    batch = torch.zeros(4, 3), torch.tensor([0, -1, 0]).expand(4, 3)
    mean, counts = metrics.mean_average_precision(*batch, way=way, return_counts=True)
    assert mean.isnan()
    assert counts == 0
    assert metrics.mean_average_precision(*batch, way=way, absent="zero") == 0
    assert metrics.mean_average_precision(*batch, way=way, absent="nan").isnan()


@pytest.mark.parametrize("way", ["class", "sample"])
def test_mean_average_precision_keeps_leading_dimensions(way):
    scores, targets = sample(2, 3, 9, 4)
    targets[0, 0] = 0
    means, counts = metrics.mean_average_precision(scores, targets, way=way, return_counts=True)
    assert means.shape == counts.shape == (2, 3)
    assert means[0, 0].isnan()
    assert counts[0, 0] == 0
    close(means[1, 2], metrics.mean_average_precision(scores[1, 2], targets[1, 2], way=way))


def test_mean_of_present_takes_nan_as_the_policy_says():
    values = torch.tensor([[0.5, NAN, 1.0], [0.2, 0.4, 0.6]], dtype=torch.float64)
    close(metrics.mean_of_present(values), [0.75, 0.4])
    close(metrics.mean_of_present(values, "zero"), [0.5, 0.4])
    close(metrics.mean_of_present(values, "nan"), [NAN, 0.4])


def test_an_unknown_way_or_policy_is_refused_with_the_known_ones():
    batch = sample(4, 3)
    with pytest.raises(OptionError, match=r"did you mean 'sample'\? Known: class, sample"):
        metrics.mean_average_precision(*batch, way="samples")
    for refused in (metrics.mean_average_precision, lambda *_, absent: metrics.mean_of_present(batch[0], absent)):
        with pytest.raises(OptionError, match=r"did you mean 'zero'\? Known: skip, zero, nan"):
            refused(*batch, absent="zeros")


# --- thresholds ---------------------------------------------------------------------------------------------


def assert_best(scores, targets, thresholds):
    """Each threshold reaches the highest F1 that any cut of its class reaches."""
    for c, threshold in enumerate(thresholds.tolist()):
        class_scores, class_targets = scores[:, c].tolist(), targets[:, c].tolist()
        if 1 in class_targets:
            reached = references.f1_at(threshold, class_scores, class_targets)
            assert reached == pytest.approx(references.best_f1(class_scores, class_targets), abs=1e-9)


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("shape", [(1, 5), (5, 30), (60, 10)], ids=str)
def test_thresholds_reach_the_best_f1_of_all_cuts(shape, decimals):
    for seed in range(3):
        scores, targets = sample(*shape, seed=seed, decimals=decimals)
        assert_best(scores, targets, metrics.fit_thresholds(scores, targets, min_positives=1))


@LAW
@given(rankings(st.integers(-3, 3).map(float) | st.floats(-100, 100)))
def test_a_threshold_reaches_the_best_f1_of_any_ranking(ranking):
    assert_best(*ranking, metrics.fit_thresholds(*ranking, min_positives=1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("low", [0.5, 1.0, -1.0, 0.0])
def test_thresholds_part_scores_that_are_neighbouring_numbers(dtype, low):
    numbers = [torch.tensor(low, dtype=dtype)]
    for _ in range(3):
        numbers.append(torch.nextafter(numbers[-1], torch.tensor(INF, dtype=dtype)))
    for below, above in itertools.pairwise(numbers):
        scores, targets = torch.stack([above, below])[:, None], labels(1, 0)
        assert_best(scores, targets, metrics.fit_thresholds(scores, targets, min_positives=1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
def test_thresholds_part_the_largest_scores_of_a_type(dtype):
    largest = torch.finfo(dtype).max
    for sign, expected in ((1, [True, False]), (-1, [False, True])):
        scores = column(sign * largest, sign * largest * 0.75, dtype=dtype)
        thresholds = metrics.fit_thresholds(scores, labels(*map(int, expected)), min_positives=1)
        assert (scores >= thresholds)[:, 0].tolist() == expected


def test_a_threshold_lies_halfway_to_the_next_lower_score():
    scores = torch.tensor([[0.9, 5.0], [0.8, 4.0], [0.2, 1.0], [0.1, -3.0]])
    targets = torch.tensor([[1, 1], [1, 0], [0, 0], [0, 0]])
    close(metrics.fit_thresholds(scores, targets, min_positives=1), [0.5, 4.5], tolerance=1e-6)


def test_a_threshold_below_which_nothing_known_lies_is_the_lowest_score():
    scores, targets = column(3.0, 2.0, 1.0), labels(1, 1, -1)
    assert metrics.fit_thresholds(scores, targets, min_positives=1).tolist() == [2.0]


def test_a_threshold_does_not_part_equal_scores():
    scores, targets = column(2.0, 2.0, 2.0, 2.0, 1.0), labels(1, 0, 1, 1, 0)
    assert metrics.fit_thresholds(scores, targets, min_positives=1).tolist() == [1.5]


def test_without_any_positive_nothing_is_decided():
    for label in (0, -1):
        thresholds = metrics.fit_thresholds(sample(4, 3)[0], torch.full((4, 3), label))
        assert thresholds.tolist() == [INF, INF, INF]


def test_a_class_without_positive_shares_a_threshold_or_has_none():
    scores, targets = torch.tensor([[2.0, 2.0], [1.0, 1.0]]), torch.tensor([[1, 0], [0, 0]])
    assert metrics.fit_thresholds(scores, targets, min_positives=0).tolist() == [1.5, INF]
    assert metrics.fit_thresholds(scores, targets, min_positives=1)[0] == 1.5
    assert metrics.fit_thresholds(scores, targets, min_positives=1)[1].isfinite()


@pytest.mark.parametrize("least", [1, 3, 5, 100])
def test_scarce_classes_share_the_threshold_that_is_best_over_all_entries(least):
    scores, targets = sample(20, 6)
    targets[2:, 0] = 0
    targets[0, 0] = targets[1, 1] = 1
    own = metrics.fit_thresholds(scores, targets, min_positives=1)
    shared = metrics.fit_thresholds(scores.reshape(-1, 1), targets.reshape(-1, 1), min_positives=1)
    enough = (targets > 0).sum(0) >= least
    assert torch.equal(metrics.fit_thresholds(scores, targets, min_positives=least), torch.where(enough, own, shared))


def test_a_class_needs_five_positives_for_its_own_threshold_by_default():
    scores, targets = sample(20, 6)
    targets[:, :2] = 0
    targets[:4, 0] = targets[:5, 1] = 1
    thresholds = metrics.fit_thresholds(scores, targets)
    assert thresholds[0] == metrics.fit_thresholds(scores, targets, min_positives=21)[0]
    assert thresholds[0] != metrics.fit_thresholds(scores, targets, min_positives=1)[0]
    assert thresholds[1] == metrics.fit_thresholds(scores, targets, min_positives=1)[1]


def test_thresholds_do_not_depend_on_the_scores_of_unknown_entries():
    scores, targets = sample(30, 6)
    expected = metrics.fit_thresholds(scores, targets)
    for other in (50.0, -50.0):
        close(metrics.fit_thresholds(scores.masked_fill(targets < 0, other), targets), expected)


def test_thresholds_of_shifted_scores_are_shifted():
    scores, targets = sample(30, 6)
    close(metrics.fit_thresholds(scores + 8, targets), metrics.fit_thresholds(scores, targets) + 8)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)], ids=str)
def test_without_samples_or_classes_nothing_is_decided(shape):
    assert metrics.fit_thresholds(torch.zeros(shape), torch.zeros(shape)).tolist() == [INF] * shape[1]


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_type_checker")
@pytest.mark.parametrize(
    ("function", "first"),
    [
        (metrics.average_precision, torch.zeros(3, 4)),
        (metrics.mean_average_precision, torch.zeros(3, 4)),
        (metrics.fit_thresholds, torch.zeros(3, 4)),
        (metrics.precision_recall_f1, torch.zeros(3, 4, dtype=torch.bool)),
    ],
)
@pytest.mark.parametrize("shape", [(4, 3), (3, 1), (1, 4)], ids=str)
def test_shapes_that_differ_are_named(function, first, shape):
    with pytest.raises(ShapeError) as error:
        function(first, torch.zeros(shape))
    assert "(3, 4)" in str(error.value)
    assert str(shape) in str(error.value)
