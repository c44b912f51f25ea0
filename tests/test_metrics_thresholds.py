"""Thresholds and their honest gain, held against brute force over every cut, loops and laws."""

import itertools
import math

import hypothesis.strategies as st
import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from rarecall.errors import OptionError, ShapeError
from rarecall.metrics import _blocks as blocks
from rarecall.metrics import _thresholds as module
from rarecall.metrics._thresholds import Gain, cross_validated_gain, fit_thresholds

LAW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
NAN, INF = math.nan, math.inf
EVERY_WAY = [
    {"method": "f1"},
    {"method": "f1", "shrinkage": 2.0},
    {"method": "precision", "at": 0.6},
    {"method": "recall", "at": 0.6},
    {"method": "prevalence"},
    {"method": "f1", "scope": "global"},
    {"method": "precision", "at": 0.4, "scope": "global"},
]
OWN = [{**way, "min_positives": 1} for way in EVERY_WAY]


def sample(*shape, seed=0, decimals=1):
    """Float64 scores with ties and three-valued targets."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(*shape, generator=generator, dtype=torch.float64).round(decimals=decimals)
    return scores, torch.randint(-1, 2, shape, generator=generator)


def long_tail(samples=400, classes=12, seed=0):
    """Scores that say something of the targets, whose classes are ever rarer."""
    generator = torch.Generator().manual_seed(seed)
    share = 0.4 * 0.65 ** torch.arange(classes)
    targets = (torch.rand(samples, classes, generator=generator) < share).long()
    return targets * 1.5 + torch.randn(samples, classes, generator=generator) - 1, targets


def column(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)[:, None]


def labels(*values):
    return torch.tensor(values)[:, None]


def work_on(monkeypatch, entries):
    """Let the blocks have so many entries."""
    for place in (blocks, module):
        monkeypatch.setattr(place, "BLOCK", entries)


def known_pairs(scores, targets):
    return [pair for pair in zip(scores.tolist(), targets.tolist(), strict=True) if pair[1] >= 0]


def cuts(pairs):
    """(decided, hits) of every cut that a threshold can make, from the highest down; the first decides nothing."""
    found = [(0, 0)]
    for score in sorted({score for score, _ in pairs}, reverse=True):
        above = [target for other, target in pairs if other >= score]
        found.append((len(above), sum(above)))
    return found


def best_f1_cut(pairs):
    present = sum(target for _, target in pairs)
    return max(cuts(pairs)[1:], key=lambda cut: 2 * cut[1] / (cut[0] + present))


def nearest_cut(pairs, wanted):
    return min(reversed(cuts(pairs)), key=lambda cut: abs(cut[0] - wanted))


def expected_cut(pairs, way, shared):
    """What `fit_thresholds` says it does, for the known (score, target) pairs of one class.

    `shared` is the threshold that fits all classes together.
    """
    present = sum(target for _, target in pairs)
    method, at = way["method"], way.get("at")
    if not present and (not pairs or "shrinkage" not in way):
        return 0, 0
    if method == "precision":
        reaching = [cut for cut in cuts(pairs)[1:] if cut[1] / cut[0] >= at]
        return max(reaching, key=lambda cut: (cut[1], -cut[0]), default=(0, 0))
    if method == "recall":
        return next(cut for cut in cuts(pairs) if cut[1] / present >= at)
    if method == "prevalence":
        return nearest_cut(pairs, present)
    if "shrinkage" in way:
        decided, _ = best_f1_cut(pairs)
        weight = present / (present + way["shrinkage"])
        by_shared = max(0.5, sum(score >= shared for score, _ in pairs))
        return nearest_cut(pairs, round(decided**weight * by_shared ** (1 - weight)))
    return best_f1_cut(pairs)


def cut_at(threshold, pairs):
    decided = [target for score, target in pairs if score >= threshold]
    return len(decided), sum(decided)


def decisions(scores, targets, **options):
    """The decisions on the known entries, which is all that a threshold is for."""
    return (scores >= fit_thresholds(scores, targets, **options)[..., None, :]) & (targets >= 0)


@pytest.fixture
def no_type_checker():
    """Let a wrong call reach the function even where shapes are checked at run time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@st.composite
def rankings(draw):
    """One class's scores with ties, and targets."""
    pairs = draw(st.lists(st.tuples(st.integers(-4, 4), st.sampled_from([-1, 0, 1])), min_size=1, max_size=14))
    scores, targets = zip(*pairs, strict=True)
    return column(*scores, dtype=torch.float64), labels(*targets)


# --- each method against every cut --------------------------------------------------------------------------


@pytest.mark.parametrize("way", OWN[:5], ids=str)
@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("shape", [(1, 6), (4, 30), (50, 6)], ids=str)
def test_a_class_is_cut_where_the_definition_says(shape, decimals, way):
    for seed in range(3):
        scores, targets = sample(*shape, seed=seed, decimals=decimals)
        thresholds = fit_thresholds(scores, targets, **{**way, "min_positives": 0})
        shared = float(fit_thresholds(scores, targets, scope="global")[0])
        for c, threshold in enumerate(thresholds.tolist()):
            pairs = known_pairs(scores[:, c], targets[:, c])
            assert cut_at(threshold, pairs) == expected_cut(pairs, way, shared)


@LAW
@given(rankings(), st.sampled_from(OWN[:5]))
def test_any_ranking_is_cut_where_the_definition_says(ranking, way):
    (threshold,) = fit_thresholds(*ranking, **{**way, "min_positives": 0}).tolist()
    pairs = known_pairs(ranking[0][:, 0], ranking[1][:, 0])
    shared = float(fit_thresholds(*ranking, scope="global"))
    assert cut_at(threshold, pairs) == expected_cut(pairs, way, shared)


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_the_precision_and_the_recall_asked_for_are_reached(at):
    scores, targets = long_tail()
    decided = decisions(scores, targets, method="recall", at=at, min_positives=1)
    hits = (decided & (targets > 0)).sum(0)
    assert (hits >= at * targets.sum(0)).all()
    decided = decisions(scores, targets, method="precision", at=at, min_positives=1)
    assert ((decided & (targets > 0)).sum(0) >= at * decided.sum(0)).all()


def test_a_share_that_is_reached_exactly_is_enough():
    scores, targets = torch.arange(10.0).flip(0)[:, None], labels(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    assert fit_thresholds(scores, targets, method="recall", at=0.9).tolist() == [0.5]
    scores, targets = column(*range(10, 0, -1)), labels(1, 1, 1, 1, 1, 1, 1, 1, 0, 1)
    assert fit_thresholds(scores, targets, method="precision", at=0.9).tolist() == [1.0]


def test_precision_takes_the_highest_recall_even_past_a_dip():
    scores, targets = column(*range(9, 0, -1)), labels(1, 0, 0, 1, 1, 1, 1, 0, 0)
    decided = decisions(scores, targets, method="precision", at=0.7, min_positives=1)
    assert decided[:, 0].tolist() == [True] * 7 + [False] * 2


def test_a_precision_out_of_reach_decides_nothing():
    scores, targets = column(3.0, 2.0, 1.0), labels(0, 1, 0)
    assert fit_thresholds(scores, targets, method="precision", at=0.9, min_positives=1).tolist() == [INF]


def test_of_equally_good_thresholds_for_f1_the_highest_is_taken():
    scores, targets = column(4.0, 3.0, 2.0, 1.0), labels(1, 0, 0, 1)  # 2/3 for one decided and for four
    assert fit_thresholds(scores, targets, min_positives=1).tolist() == [3.5]


def test_prevalence_decides_as_many_as_there_are():
    scores, targets = long_tail()
    decided = decisions(scores, targets, method="prevalence", min_positives=1)
    assert torch.equal(decided.sum(0), targets.sum(0))


def test_prevalence_decides_nothing_where_ties_would_decide_far_too_many():
    scores, targets = torch.zeros(9, 1), labels(1, 0, 0, 0, 0, 0, 0, 0, 0)
    assert fit_thresholds(scores, targets, method="prevalence", min_positives=1).tolist() == [INF]


def test_a_threshold_lies_halfway_to_the_next_lower_score():
    scores, targets = column(8.0, 6.0, 3.0, -1.0), labels(1, 1, 0, 0)
    for way in OWN[:5]:
        assert fit_thresholds(scores, targets, **way).tolist() == [4.5]
    assert fit_thresholds(scores, targets, method="recall", at=0.5, min_positives=1).tolist() == [7.0]


# --- types, blocks, shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("low", [0.5, 1.0, -1.0, 0.0])
def test_neighbouring_numbers_are_parted_in_the_type_of_the_scores(dtype, low):
    numbers = [torch.tensor(low, dtype=dtype)]
    for _ in range(3):
        numbers.append(torch.nextafter(numbers[-1], torch.tensor(INF, dtype=dtype)))
    for below, above in itertools.pairwise(numbers):
        scores = torch.stack([above, below])[:, None]
        for way in OWN[:5]:
            thresholds = fit_thresholds(scores, labels(1, 0), **way)
            assert thresholds.dtype == dtype
            assert (scores >= thresholds)[:, 0].tolist() == [True, False]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_numbers_of_a_type_are_parted(sign):
    largest = torch.finfo(torch.float32).max
    scores = column(sign * largest, sign * largest * 0.75)
    thresholds = fit_thresholds(scores, labels(int(sign > 0), int(sign < 0)), min_positives=1)
    assert (scores >= thresholds)[:, 0].tolist() == [sign > 0, sign < 0]
    assert sign < 0 or thresholds.tolist() == pytest.approx([largest * 0.875])


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
@pytest.mark.parametrize("decimals", [1, 8], ids=["ties", "no ties"])
def test_blocks_do_not_change_the_thresholds(decimals, way, monkeypatch):
    scores, targets = sample(2, 30, 7, decimals=decimals)
    expected = fit_thresholds(scores, targets, **way)
    for entries in (1, 7, 100, 300):
        work_on(monkeypatch, entries)
        assert torch.equal(fit_thresholds(scores, targets, **way), expected)


def test_blocks_do_not_change_the_gain(monkeypatch):
    scores, targets = long_tail(60, 5)
    targets[::4, 2] = -1
    expected = cross_validated_gain(scores, targets, shrinkage=2.0)
    for entries in (1, 23, 100):
        work_on(monkeypatch, entries)
        assert cross_validated_gain(scores, targets, shrinkage=2.0) == expected


def test_positives_are_counted_along_any_dimension(monkeypatch):
    _, targets = sample(3, 8, 5)
    for entries in (1, 20, 1000):
        work_on(monkeypatch, entries)
        for dim in (0, 1, -1):
            assert torch.equal(blocks.count_positives(targets, dim), (targets > 0).sum(dim))
    assert blocks.count_positives(torch.zeros(0, 4), 0).tolist() == [0] * 4
    assert blocks.count_positives(torch.zeros(3, 0), 1).tolist() == [0] * 3


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_leading_dimensions_are_problems_of_their_own(way):
    scores, targets = sample(2, 3, 25, 4)
    actual = fit_thresholds(scores, targets, **way)
    assert actual.shape == (2, 3, 4)
    for i in range(2):
        for j in range(3):
            assert torch.equal(actual[i, j], fit_thresholds(scores[i, j], targets[i, j], **way))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_without_samples_or_classes_nothing_is_decided(shape, way):
    thresholds = fit_thresholds(torch.zeros(shape), torch.zeros(shape), **way)
    assert thresholds.shape == (*shape[:-2], shape[-1])
    assert (thresholds == INF).all()


# --- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
@pytest.mark.parametrize("label", [0, -1])
def test_without_any_positive_nothing_is_decided(way, label):
    assert fit_thresholds(sample(4, 3)[0], torch.full((4, 3), label), **way).tolist() == [INF] * 3


@pytest.mark.parametrize("way", OWN, ids=str)
def test_where_everything_is_positive_the_decisions_are_right(way):
    scores = sample(12, 2, decimals=8)[0]
    decided = decisions(scores, torch.ones(12, 2), **way)
    if way["method"] != "recall":
        assert decided.all()
    else:
        assert decided.sum(0).tolist() == [8, 8]  # the fewest that are 0.6 of 12


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_unknown_entries_are_as_if_they_were_not_there(way):
    scores, targets = sample(40, 5)
    expected = fit_thresholds(scores, targets, **way)
    for other in (50.0, -50.0):
        assert torch.equal(fit_thresholds(scores.masked_fill(targets < 0, other), targets, **way), expected)
    scores, targets = torch.cat([scores, scores[:9]]), torch.cat([targets, torch.full((9, 5), -1)])
    assert torch.equal(fit_thresholds(scores, targets, **way), expected)


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_the_order_of_samples_and_classes_does_not_matter(way):
    scores, targets = sample(30, 5)
    samples, classes = torch.randperm(30, generator=torch.Generator().manual_seed(0)), [3, 1, 4, 0, 2]
    actual = fit_thresholds(scores[samples][:, classes], targets[samples][:, classes], **way)
    assert torch.equal(actual, fit_thresholds(scores, targets, **way)[classes])


@pytest.mark.parametrize("way", [way for way in OWN if way.get("scope") is None], ids=str)
def test_only_the_order_of_a_class_counts_for_its_decisions(way):
    scores, targets = sample(40, 6)
    targets[0] = 1  # no class shares
    other = scores.exp() * torch.tensor([1, 10, 100, 1e3, 1e4, 1e5]) - 7
    assert torch.equal(decisions(other, targets, **way), decisions(scores, targets, **way))


@pytest.mark.parametrize("way", EVERY_WAY, ids=str)
def test_thresholds_of_shifted_scores_are_shifted(way):
    scores, targets = sample(30, 6)
    torch.testing.assert_close(fit_thresholds(scores + 8, targets, **way), fit_thresholds(scores, targets, **way) + 8)


def test_input_with_a_gradient_stays_as_it_was():
    scores, targets = sample(30, 4)
    kept, learning = (scores.clone(), targets.clone()), scores.clone().requires_grad_()
    assert not fit_thresholds(learning, targets).requires_grad
    fit_thresholds(scores, targets)
    assert torch.equal(scores, kept[0])
    assert torch.equal(targets, kept[1])


# --- scarce classes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [way for way in EVERY_WAY[:5] if "shrinkage" not in way], ids=str)
@pytest.mark.parametrize("least", [1, 3, 5, 100])
def test_scarce_classes_share_the_threshold_of_all_entries(way, least):
    scores, targets = sample(20, 6)
    targets[2:, 0] = 0
    targets[0, 0] = targets[1, 1] = 1
    own = fit_thresholds(scores, targets, **way, min_positives=1)
    shared = fit_thresholds(scores.reshape(-1, 1), targets.reshape(-1, 1), **way, min_positives=1)
    enough = (targets > 0).sum(0) >= least
    assert torch.equal(fit_thresholds(scores, targets, **way, min_positives=least), torch.where(enough, own, shared))


def test_a_threshold_of_its_own_takes_five_positives_or_one_with_shrinkage():
    scores, targets = sample(20, 3, decimals=8)
    targets[:, :2], targets[:, 2] = 0, 1
    targets[:4, 0] = targets[:5, 1] = 1
    own, shared = (fit_thresholds(scores, targets, min_positives=least) for least in (1, 21))
    assert fit_thresholds(scores, targets)[0] == shared[0] != own[0]
    assert fit_thresholds(scores, targets)[1] == own[1] != shared[1]
    assert fit_thresholds(scores, targets, shrinkage=1e-9).tolist() == own.tolist()


@pytest.mark.parametrize(
    "way", [{"method": "precision", "at": 0.8}, {"method": "recall", "at": 0.8}, {"method": "prevalence"}]
)
def test_what_is_asked_of_a_class_is_fitted_to_it_from_one_positive(way):
    scores, targets = sample(20, 4, decimals=8)
    targets = torch.zeros_like(targets)
    targets[0, 0] = targets[1:3, 1] = targets[:9, 2] = targets[:9, 3] = 1
    alone = [fit_thresholds(scores[:, c, None], targets[:, c, None], **way) for c in range(4)]
    assert torch.equal(fit_thresholds(scores, targets, **way), torch.cat(alone))


def test_no_class_is_decided_below_the_precision_that_was_asked_for():
    scores, targets = long_tail()
    targets[3:, 4] = 0
    targets[:, 5] = 0
    decided = decisions(scores, targets, method="precision", at=0.8)
    assert ((decided & (targets > 0)).sum(0) >= 0.8 * decided.sum(0)).all()
    assert not decided[:, 5].any()


def test_the_global_threshold_has_the_highest_micro_f1():
    scores, targets = long_tail(100, 5)
    (best, *_) = fit_thresholds(scores, targets, scope="global")

    def micro_f1(threshold):
        decided = scores >= threshold
        return float(2 * (decided & (targets > 0)).sum() / (decided.sum() + targets.sum()))

    assert micro_f1(best) == max(micro_f1(threshold) for threshold in scores.flatten())


def test_a_global_threshold_is_that_of_all_entries_as_one_class():
    scores, targets = sample(30, 5)
    for way in ({"method": "f1"}, {"method": "precision", "at": 0.5}, {"method": "prevalence"}):
        one = fit_thresholds(scores.reshape(-1, 1), targets.reshape(-1, 1), **way)
        assert torch.equal(fit_thresholds(scores, targets, **way, scope="global"), one.expand(5))


def test_a_class_without_positive_shares_the_global_threshold_under_shrinkage():
    scores, targets = sample(30, 4)
    targets[:, 2] = 0
    thresholds = fit_thresholds(scores, targets, shrinkage=2)
    assert thresholds[2] == fit_thresholds(scores, targets, scope="global")[2]


def test_shrinkage_goes_from_the_best_f1_to_the_shared_threshold():
    scores, targets = long_tail()
    targets[0] = 1
    best = decisions(scores, targets, min_positives=1)
    assert torch.equal(decisions(scores, targets, shrinkage=0), best)
    shared = decisions(scores, targets, scope="global").sum(0)
    found = decisions(scores, targets, shrinkage=1e9).sum(0)
    assert (found[shared > 0] == shared[shared > 0]).all()
    assert not torch.equal(best.sum(0), shared)
    counts = torch.stack([decisions(scores, targets, shrinkage=m).sum(0) for m in (0, 1, 2, 5, 20, 100, 1e9)])
    towards = (counts[-1] - counts[0]).sign()
    assert ((counts.diff(dim=0) * towards) >= 0).all()


def test_shrinkage_moves_the_rare_more_than_the_frequent():
    rows = torch.arange(1000.0).flip(0)[:, None]
    targets = torch.zeros(1000, 2, dtype=torch.long)
    targets[3, 0] = 1  # one positive behind three negatives: F1 decides 4
    targets[:400, 1] = torch.tensor([0, 0, 0, 1]).repeat(100)  # a hundred likewise: F1 decides 400
    decided = decisions(rows.expand(-1, 2), targets, shrinkage=3).sum(0)
    # Together, 400 of the second and 400 of the first are decided: 101 hits of 800 beat any higher cut.
    shared = decisions(rows.expand(-1, 2), targets, scope="global").sum(0).tolist()
    expected = [round(4**0.25 * shared[0] ** 0.75), round(400 ** (100 / 103) * shared[1] ** (3 / 103))]
    assert decided.tolist() == expected
    assert abs(expected[0] - 4) / 4 > abs(expected[1] - 400) / 400


# --- the honest gain ----------------------------------------------------------------------------------------


def by_hand(scores, targets, fold, **options):
    """Out-of-fold macro F1 by a loop over folds, classes and entries."""
    decided = [[False] * scores.shape[1] for _ in range(len(scores))]
    for number in set(fold.tolist()):
        fitted = fit_thresholds(scores[fold != number], targets[fold != number], **options)
        for i in (fold == number).nonzero()[:, 0].tolist():
            for c in range(scores.shape[1]):
                decided[i][c] = scores[i, c] >= fitted[c]
    return macro_f1(decided, targets)


def macro_f1(decided, targets):
    values = []
    for c in range(targets.shape[1]):
        pairs = [(row[c], target[c]) for row, target in zip(decided, targets.tolist(), strict=True) if target[c] >= 0]
        present = sum(target for _, target in pairs)
        if present:
            hits = sum(target for decision, target in pairs if decision)
            values.append(2 * hits / (sum(bool(decision) for decision, _ in pairs) + present))
    return sum(values) / len(values)


@pytest.mark.parametrize("options", [{}, {"shrinkage": 2.0}, {"method": "recall", "at": 0.8}], ids=str)
def test_the_gain_is_what_a_loop_over_the_folds_finds(options):
    scores, targets = long_tail(150, 5)
    targets[::7, 1] = -1
    gain = cross_validated_gain(scores, targets, folds=4, seed=3, base=0.3, **options)
    fold = module._folds(targets, 4, 3)
    fitted = fit_thresholds(scores, targets, **options)
    assert gain.honest == pytest.approx(by_hand(scores, targets, fold, **options))
    assert gain.base == pytest.approx(macro_f1((scores >= 0.3).tolist(), targets))
    assert gain.apparent == pytest.approx(macro_f1((scores >= fitted).tolist(), targets))
    for number, fold_gain in enumerate(gain.fold_gains):
        part = fold == number
        held_out = scores[part] >= fit_thresholds(scores[~part], targets[~part], **options)
        before = macro_f1((scores[part] >= 0.3).tolist(), targets[part])
        assert fold_gain == pytest.approx(macro_f1(held_out.tolist(), targets[part]) - before)
    assert len(gain.fold_gains) == 4


def test_on_noise_the_apparent_gain_is_not_honest():
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.randn(200, 20, generator=generator), (torch.rand(200, 20, generator=generator) < 0.04)
    gain = cross_validated_gain(scores, targets.long(), min_positives=1)
    assert gain.optimism > 0.05
    assert gain.apparent > gain.base


def test_where_the_scores_are_only_shifted_the_gain_is_honest():
    scores, targets = long_tail(600, 4)
    gain = cross_validated_gain(scores - 3, targets)
    assert gain.gain > 0.3
    assert gain.optimism < 0.05
    assert min(gain.fold_gains) > 0


def test_gain_optimism_and_spread_follow_from_the_figures():
    gain = Gain(0.2, 0.7, 0.5, (0.1, NAN, 0.5))
    assert gain.gain == pytest.approx(0.3)
    assert gain.optimism == pytest.approx(0.2)
    assert gain.spread == pytest.approx(math.sqrt(0.08))
    assert math.isnan(Gain(0.2, 0.7, 0.5, (0.1, NAN)).spread)


@pytest.mark.parametrize("kind", [torch.float32, torch.int8, torch.uint8, torch.bool], ids=str)
def test_the_gain_does_not_depend_on_the_type_of_the_targets(kind):
    scores, targets = long_tail(60, 4)
    kept = targets.to(kind)
    assert cross_validated_gain(scores, kept) == cross_validated_gain(scores, targets)
    assert torch.equal(kept, targets.to(kind))


def test_the_gain_depends_on_its_seed_only():
    scores, targets = long_tail(100, 6)
    first, again, other = (cross_validated_gain(scores, targets, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.fold_gains != other.fold_gains
    assert first.base == other.base


def test_without_a_positive_the_gain_is_nan():
    gain = cross_validated_gain(torch.randn(10, 3), torch.zeros(10, 3))
    assert math.isnan(gain.gain)
    assert math.isnan(gain.spread)


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "precison", "at": 0.9}, "unknown method 'precison': did you mean 'precision'"),
        ({"scope": "clas"}, "unknown scope 'clas': did you mean 'class'"),
        ({"method": "precision"}, "method 'precision' with at=None: say which value"),
        ({"method": "recall"}, "method 'recall' with at=None: say which value"),
        ({"at": 0.9}, "method 'f1' with at=0.9: leave it out"),
        ({"method": "recall", "at": 0.0}, "at is 0.0: it must be above 0"),
        ({"method": "recall", "at": 1.1}, "at is 1.1"),
        ({"method": "recall", "at": NAN}, "at is nan"),
        ({"min_positives": -1}, "min_positives is -1"),
        ({"shrinkage": -1}, "shrinkage is -1"),
        ({"shrinkage": NAN}, "shrinkage is nan"),
        ({"shrinkage": INF}, "shrinkage is inf"),
        ({"method": "recall", "at": "0.9"}, "at is 0.9: it must be above 0"),
        ({"min_positives": 2.5}, "min_positives is 2.5: it must be a whole number of 0 or more"),
        ({"min_positives": True}, "min_positives is True"),
        ({"shrinkage": "2"}, "shrinkage is 2: it must be 0 or more"),
        ({"shrinkage": 2, "method": "prevalence"}, "it is for 'f1' and 'class' only"),
        ({"shrinkage": 2, "scope": "global"}, "it is for 'f1' and 'class' only"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_type_checker")
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(OptionError) as error:
        fit_thresholds(*sample(6, 3), **options)
    assert words in str(error.value)
    with pytest.raises(OptionError):
        cross_validated_gain(*sample(6, 3), folds=2, **options)


@pytest.mark.usefixtures("no_type_checker")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folds": "3"}, "folds is 3: it must be a whole number from 2 to the number of samples, 6"),
        ({"seed": 0.5}, "seed is 0.5: it must be a whole number"),
        ({"base": NAN}, "base is nan: it must be one finite number"),
        ({"base": -INF}, "base is -inf: it must be one finite number"),
        ({"base": None}, "base is None: it must be one finite number"),
        ({"base": torch.zeros(3)}, "it must be one finite number"),
        ({"shrinkge": 2.0}, "unknown option 'shrinkge': did you mean 'shrinkage'?"),
    ],
    ids=str,
)
def test_options_of_the_gain_that_cannot_be_are_refused(options, words):
    with pytest.raises(OptionError) as error:
        cross_validated_gain(*sample(6, 3), **{"folds": 2, **options})
    assert words in str(error.value)


@pytest.mark.usefixtures("no_type_checker")
@pytest.mark.parametrize("folds", [-1, 0, 1, 7, 2.0, True])
def test_folds_are_two_or_more_and_no_more_than_samples(folds):
    with pytest.raises(OptionError, match=f"folds is {folds}: .* 6"):
        cross_validated_gain(*sample(6, 3), folds=folds)


@pytest.mark.usefixtures("no_type_checker")
def test_inputs_that_do_not_fit_are_refused():
    scores, targets = sample(6, 3)
    for function in (fit_thresholds, cross_validated_gain):
        with pytest.raises(ShapeError, match="differ in shape"):
            function(scores, targets[:, :2])
        with pytest.raises(ShapeError, match=r"at \(2, 1\) is NaN"):
            function(scores.clone().index_put_((torch.tensor(2), torch.tensor(1)), torch.tensor(NAN).double()), targets)
        with pytest.raises(ShapeError, match="must be 1, 0 or -1"):
            function(scores, targets + 1)
    with pytest.raises(ShapeError, match="one problem at a time"):
        cross_validated_gain(scores[None], targets[None])
