"""Counts, precision, recall, F1, accuracies and top-k decisions against scikit-learn, torchmetrics and plain loops."""

import itertools
import math
from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from sklearn import metrics as scikit_learn
from torch import Tensor
from torchmetrics.functional import classification as torchmetrics

from rarecall.errors import OptionError, ShapeError
from rarecall.metrics import (
    _decisions,
    accuracy,
    balanced_accuracy,
    confusion_counts,
    hamming_loss,
    instance_metrics,
    mean_accuracy,
    precision_recall_f1,
    subset_accuracy,
    top_1_accuracy,
    top_k,
    top_k_recall,
)
from tests.test_metrics import close, sample

LAW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
NAN = math.nan
AVERAGES = ("macro", "micro", "sample")
SHAPES = [(1, 6), (4, 30), (200, 8)]


def decisions(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Decisions and three-valued targets, with a class that is absent, one never predicted, one unknown."""
    scores, targets = sample(*shape, seed=seed)
    decided = scores > 0.4
    targets[..., 0] = targets[..., 0].clamp(max=0)
    decided[..., 1] = False
    targets[..., 2] = -1
    targets[..., 0, :] = -1
    return decided, targets


def complete(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sparse decisions and targets without unknown ones: some classes and samples have nothing of either."""
    generator = torch.Generator().manual_seed(seed)
    decided, present = (torch.rand(shape, generator=generator) < 0.15 for _ in range(2))
    return decided, present.long()


def rows(decided: Tensor, targets: Tensor, way: str = "class") -> list[list[tuple[bool, int]]]:
    """The known decisions and targets of each class (or sample), with the unknown ones taken out by hand."""
    if way == "class":
        decided, targets = decided.T, targets.T
    return [
        [(d, t) for d, t in zip(ds, ts, strict=True) if t >= 0]
        for ds, ts in zip(decided.tolist(), targets.tolist(), strict=True)
    ]


def count(pairs: list[tuple[bool, int]]) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives and true negatives."""
    return tuple(pairs.count(pair) for pair in ((True, 1), (True, 0), (False, 1), (False, 0)))


def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else NAN


def mean(values: list[float]) -> float:
    return ratio(math.fsum(values), len(values))


FIGURES: dict[str, Callable[[Tensor, Tensor], list[Tensor]]] = {
    "confusion_counts": lambda d, t: list(vars(confusion_counts(d, t)).values()),
    "precision_recall_f1": lambda d, t: list(vars(precision_recall_f1(d, t)).values()),
    "accuracy of each": lambda d, t: [accuracy(d, t, average=None)],
    "balanced_accuracy": lambda d, t: [balanced_accuracy(d, t)],
}
MEANS: dict[str, Callable[[Tensor, Tensor], list[Tensor]]] = {
    **{
        f"{average} f1": lambda d, t, average=average: list(vars(precision_recall_f1(d, t, average=average)).values())
        for average in AVERAGES
    },
    **{f"{average} accuracy": lambda d, t, average=average: [accuracy(d, t, average=average)] for average in AVERAGES},
    "hamming_loss": lambda d, t: [hamming_loss(d, t)],
    "subset_accuracy": lambda d, t: [subset_accuracy(d, t)],
    "mean_accuracy": lambda d, t: [mean_accuracy(d, t)],
    "mean_accuracy by sample": lambda d, t: [mean_accuracy(d, t, way="sample")],
    "instance_metrics": lambda d, t: list(vars(instance_metrics(d, t)).values()),
}
BOTH = FIGURES | MEANS


def assert_all_close(actual: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(actual, expected, strict=True):
        close(one, other)


# --- laws of all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", BOTH.values(), ids=BOTH)
def test_decisions_on_unknown_labels_do_not_count(figure):
    decided, targets = decisions(30, 7)
    assert (targets < 0).sum() > 60
    assert_all_close(figure(torch.where(targets < 0, ~decided, decided), targets), figure(decided, targets))


@pytest.mark.parametrize("figure", BOTH.values(), ids=BOTH)
def test_the_order_of_samples_and_classes_changes_nothing_else(figure):
    decided, targets = decisions(30, 7)
    samples, classes = torch.randperm(30, generator=torch.Generator().manual_seed(0)), [3, 1, 6, 4, 0, 2, 5]
    expected = figure(decided, targets)
    if figure in FIGURES.values():
        expected = [values[classes] for values in expected]
    assert_all_close(figure(decided[samples][:, classes], targets[samples][:, classes]), expected)


@pytest.mark.parametrize("figure", BOTH.values(), ids=BOTH)
def test_leading_dimensions_are_problems_of_their_own(figure):
    decided, targets = decisions(2, 3, 20, 5)
    actual = figure(decided, targets)
    for i, j in itertools.product(range(2), range(3)):
        assert_all_close([values[i, j] for values in actual], figure(decided[i, j], targets[i, j]))


@pytest.mark.parametrize("figure", BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("entries", [1, 7, 64])
def test_blocks_of_any_size_give_the_same(figure, entries, monkeypatch):
    decided, targets = decisions(2, 23, 5)
    expected = figure(decided, targets)
    monkeypatch.setattr(_decisions, "BLOCK", entries)
    assert_all_close(figure(decided, targets), expected)


@pytest.mark.parametrize("shape", [(40, 3), (2, 40, 3), (40, 90), (1, 3)], ids=str)
def test_no_block_holds_more_than_the_limit_or_one_sample(shape, monkeypatch):
    monkeypatch.setattr(_decisions, "BLOCK", 60)
    decided, targets = decisions(*shape)
    sizes = [values.numel() for values, _ in _decisions.sample_blocks(decided, targets)]
    assert sum(sizes) == decided.numel()
    assert max(sizes) <= max(60, decided.numel() // shape[-2])
    assert len(sizes) <= math.ceil(decided.numel() / 60) * 2


@pytest.mark.parametrize("name", sorted(set(BOTH) - {"confusion_counts"}))
def test_figures_are_float64(name):
    assert {values.dtype for values in BOTH[name](*decisions(5, 4))} == {torch.float64}


@pytest.mark.parametrize("dtype", [torch.int8, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("figure", BOTH.values(), ids=BOTH)
def test_targets_of_any_number_type_and_any_layout_are_taken(figure, dtype):
    decided, targets = decisions(20, 6)
    strided = targets.mT.contiguous().mT.to(dtype)
    assert_all_close(figure(decided.mT.contiguous().mT, strided), figure(decided, targets))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 0, 3), (0, 4, 3)], ids=str)
@pytest.mark.parametrize("name", sorted(set(BOTH) - {"confusion_counts"}))
def test_of_nothing_every_figure_is_nan(name, shape):
    empty = torch.zeros(shape, dtype=torch.bool)
    for values in BOTH[name](empty, empty.long()):
        assert values.shape == ((*shape[:-2], shape[-1]) if name in FIGURES else shape[:-2])
        assert values.isnan().all()


@pytest.mark.parametrize("name", sorted(set(BOTH) - {"confusion_counts"}))
def test_without_a_known_label_every_figure_is_nan(name):
    for values in BOTH[name](torch.ones(4, 3, dtype=torch.bool), torch.full((4, 3), -1)):
        assert values.isnan().all()


@pytest.mark.parametrize("value", [0, 1])
def test_perfect_decisions_of_everything_present_or_absent(value):
    targets = torch.full((4, 3), value)
    decided = targets > 0
    assert accuracy(decided, targets) == subset_accuracy(decided, targets) == 1
    assert mean_accuracy(decided, targets).isnan()
    found = precision_recall_f1(decided, targets, average="macro", absent="zero")
    assert found.precision == found.recall == found.f1 == found.f1_of_macro == value
    found = instance_metrics(decided, targets)
    assert found.accuracy == found.precision == found.recall == found.f1 == value


# --- counts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["class", "sample"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_counts_are_those_of_a_plain_loop(shape, way):
    batch = decisions(*shape)
    counts = confusion_counts(*batch, way=way)
    actual = torch.stack(list(vars(counts).values()), -1)
    assert actual.dtype == torch.int64
    assert actual.tolist() == [list(count(pairs)) for pairs in rows(*batch, way)]
    assert counts.known.tolist() == [len(pairs) for pairs in rows(*batch, way)]


@pytest.mark.parametrize("way", ["class", "sample"])
def test_counts_are_those_of_scikit_learn(way):
    decided, targets = complete(40, 6)
    expected = scikit_learn.multilabel_confusion_matrix(targets.numpy(), decided.numpy(), samplewise=way == "sample")
    found = confusion_counts(decided, targets, way=way)
    order = (found.true_negatives, found.false_positives, found.false_negatives, found.true_positives)
    assert torch.stack(order, -1).tolist() == expected.reshape(-1, 4).tolist()


# --- precision, recall and F1 -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_precision_recall_and_f1_are_those_of_scikit_learn(shape):
    for seed in range(5):
        scores, targets = sample(*shape, seed=seed)
        decided = scores > 0.4
        actual = precision_recall_f1(decided, targets)
        for c in range(shape[1]):
            known = targets[:, c] >= 0
            if not known.any():
                continue
            truth, decision = targets[known, c].numpy() > 0, decided[known, c].numpy()
            expected = scikit_learn.precision_recall_fscore_support(
                truth, decision, average="binary", pos_label=True, zero_division=np.nan
            )[:3]
            close(actual.precision[c], expected[0])
            close(actual.recall[c], expected[1])
            if truth.any():
                close(actual.f1[c], expected[2])


def test_precision_is_nan_without_decision_and_recall_and_f1_without_positive():
    decided = torch.tensor([[False, True, False, True], [False, False, False, True]])
    targets = torch.tensor([[1, 0, 0, -1], [0, -1, 0, -1]])
    actual = precision_recall_f1(decided, targets)
    close(actual.precision, [NAN, 0.0, NAN, NAN])
    close(actual.recall, [0.0, NAN, NAN, NAN])
    close(actual.f1, [0.0, NAN, NAN, NAN])


def of_scikit_learn(decided, targets, average):
    name = {"sample": "samples"}.get(average, average)
    return scikit_learn.precision_recall_fscore_support(
        targets.numpy(), decided.numpy(), average=name, zero_division=0
    )[:3]


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("shape", [(3, 4), (12, 30), (60, 8)], ids=str)
def test_with_absent_as_zero_the_averages_are_those_of_scikit_learn(shape, average):
    for seed in range(8):
        decided, targets = complete(*shape, seed=seed)
        actual = precision_recall_f1(decided, targets, average=average, absent="zero")
        for value, expected in zip(vars(actual).values(), of_scikit_learn(decided, targets, average), strict=True):
            close(value, expected)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize(
    ("decided", "targets"),
    [
        ([[1, 1], [1, 0]], [[0, 0], [0, 0]]),
        ([[0, 0], [0, 0]], [[1, 0], [1, 1]]),
        ([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
        ([[1, 0], [0, 0]], [[0, 0], [1, 1]]),
        ([[1, 1], [1, 1]], [[1, 1], [1, 1]]),
    ],
    ids=["no positive", "no decision", "neither", "no hit", "all"],
)
def test_corners_are_those_of_scikit_learn(decided, targets, average):
    batch = torch.tensor(decided) > 0, torch.tensor(targets)
    actual = precision_recall_f1(*batch, average=average, absent="zero")
    for value, expected in zip(vars(actual).values(), of_scikit_learn(*batch, average), strict=True):
        close(value, expected)


def test_classes_or_samples_without_a_positive_are_left_out():
    decided, targets = complete(12, 10)
    targets[:, 3], targets[5] = 0, 0
    for average, has in (("macro", (targets > 0).any(0)), ("sample", (targets > 0).any(1))):
        assert 0 < has.sum() < len(has)
        kept = (decided[:, has], targets[:, has]) if average == "macro" else (decided[has], targets[has])
        actual, counts = precision_recall_f1(decided, targets, average=average, return_counts=True)
        assert counts == has.sum()
        for value, expected in zip(vars(actual).values(), of_scikit_learn(*kept, average), strict=True):
            close(value, expected)
        assert precision_recall_f1(decided, targets, average=average, absent="nan").f1.isnan()


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_averages_over_known_labels_are_those_of_torchmetrics(average):
    for seed in range(5):
        scores, targets = sample(50, 6, seed=seed)
        found = precision_recall_f1(scores > 0.4, targets, average=average)
        options = {"num_labels": 6, "average": average, "ignore_index": -1}
        decided = (scores > 0.4).long()
        close(found.precision, torchmetrics.multilabel_precision(decided, targets, **options), 1e-6)
        close(found.recall, torchmetrics.multilabel_recall(decided, targets, **options), 1e-6)
        close(found.f1, torchmetrics.multilabel_f1_score(decided, targets, **options), 1e-6)


def test_micro_without_a_positive_is_as_absent_says():
    batch = torch.tensor([[True, False]]), torch.tensor([[0, -1]])
    found, counts = precision_recall_f1(*batch, average="micro", return_counts=True)
    assert found.precision.isnan()
    assert found.recall.isnan()
    assert found.f1.isnan()
    assert counts == 0
    assert precision_recall_f1(*batch, average="micro", absent="zero").precision == 0


def test_counts_of_an_average():
    decided, targets = decisions(2, 9, 5)
    for average, expected in (("macro", (targets > 0).any(-2).sum(-1)), ("sample", (targets > 0).any(-1).sum(-1))):
        _, counts = precision_recall_f1(decided, targets, average=average, return_counts=True)
        assert counts.tolist() == expected.tolist()
    of_each, counts = precision_recall_f1(decided, targets, return_counts=True)
    assert counts.tolist() == (~of_each.recall.isnan()).sum(-1).tolist()
    assert precision_recall_f1(decided, targets, average="micro", return_counts=True)[1].tolist() == [1, 1]


def test_the_two_macro_f1_by_hand():
    decided = torch.tensor([[True, True, False], [False, True, False], [False, True, False]])
    targets = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 0, 0]])
    found = precision_recall_f1(decided, targets, average="macro")
    close(found.f1, (1 / 2 + 1 / 2 + 0) / 3)
    precision, recall = (1 + 1 / 3 + 0) / 3, (1 / 3 + 1 + 0) / 3
    close(found.f1_of_macro, 2 * precision * recall / (precision + recall))


def test_the_harmonic_mean_of_nothing_hit_is_zero_and_of_each_class_its_f1():
    nothing_hit = precision_recall_f1(torch.tensor([[True], [False]]), torch.tensor([[0], [1]]), average="macro")
    assert nothing_hit.f1_of_macro == 0
    of_each = precision_recall_f1(*decisions(40, 6))
    known = ~of_each.f1_of_macro.isnan()
    assert known.any()
    close(of_each.f1_of_macro[known], of_each.f1[known])


@LAW
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 10_000))
def test_the_harmonic_mean_of_the_means_is_never_below_the_mean_of_the_harmonic_means(classes, samples, seed):
    scores, targets = sample(samples, classes, seed=seed)
    found = precision_recall_f1(scores > 0, targets, average="macro", absent="zero")
    assert found.f1_of_macro >= found.f1 - 1e-12


# --- example-based figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 4), (12, 30), (60, 8)], ids=str)
def test_example_based_figures_are_those_of_scikit_learn(shape):
    for seed in range(5):
        decided, targets = complete(*shape, seed=seed)
        found = instance_metrics(decided, targets)
        options = {"average": "samples", "zero_division": 0}
        arrays = targets.numpy(), decided.numpy()
        precision = scikit_learn.precision_score(*arrays, **options)
        recall = scikit_learn.recall_score(*arrays, **options)
        close(found.accuracy, scikit_learn.jaccard_score(*arrays, **options))
        close(found.precision, precision)
        close(found.recall, recall)
        close(found.f1, 2 * precision * recall / (precision + recall) if precision + recall else 0.0)


def test_example_based_figures_of_known_labels_are_those_of_a_plain_loop():
    batch = decisions(40, 6)
    counts = [count(pairs) for pairs in rows(*batch, "sample") if pairs]
    assert len(counts) < 40
    found = instance_metrics(*batch)
    close(found.accuracy, mean([hit / max(hit + wrong + missed, 1) for hit, wrong, missed, _ in counts]))
    close(found.precision, mean([hit / max(hit + wrong, 1) for hit, wrong, _, _ in counts]))
    close(found.recall, mean([hit / max(hit + missed, 1) for hit, _, missed, _ in counts]))


# --- accuracy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_accuracy_is_the_share_of_known_entries_that_are_right(shape):
    batch = decisions(*shape)
    right = [[d == (t > 0) for d, t in pairs] for pairs in rows(*batch)]
    by_sample = [[d == (t > 0) for d, t in pairs] for pairs in rows(*batch, "sample")]
    close(accuracy(*batch), mean(list(itertools.chain(*right))))
    close(accuracy(*batch, average=None), [mean(values) for values in right])
    close(accuracy(*batch, average="macro"), mean([mean(values) for values in right if values]))
    close(accuracy(*batch, average="sample"), mean([mean(values) for values in by_sample if values]))


def test_accuracies_of_complete_labels_are_those_of_scikit_learn():
    for seed in range(5):
        decided, targets = complete(30, 7, seed=seed)
        arrays = targets.numpy(), decided.numpy()
        for average in AVERAGES:
            close(accuracy(decided, targets, average=average), 1 - scikit_learn.hamming_loss(*arrays))
            close(hamming_loss(decided, targets, average=average), scikit_learn.hamming_loss(*arrays))
        close(subset_accuracy(decided, targets), scikit_learn.accuracy_score(*arrays))


def test_accuracy_of_known_labels_is_that_of_torchmetrics():
    scores, targets = sample(50, 6)
    decided, options = scores > 0, {"num_labels": 6, "ignore_index": -1}
    for average, theirs in (("micro", "micro"), ("macro", "macro"), (None, "none")):
        expected = torchmetrics.multilabel_accuracy(decided.long(), targets, average=theirs, **options)
        close(accuracy(decided, targets, average=average), expected, 1e-6)


def test_subset_accuracy_takes_the_samples_with_a_known_label():
    batch = decisions(40, 5)
    exact = [all(d == (t > 0) for d, t in pairs) for pairs in rows(*batch, "sample") if pairs]
    assert len(exact) < 40
    assert any(exact)
    share, counts = subset_accuracy(*batch, return_counts=True)
    close(share, sum(exact) / len(exact))
    assert counts == len(exact)
    close(subset_accuracy(*batch, absent="zero"), sum(exact) / 40)
    assert subset_accuracy(*batch, absent="nan").isnan()


def test_accuracy_counts_and_policies():
    batch = decisions(40, 5)
    known = [pairs for pairs in rows(*batch) if pairs]
    assert len(known) == 4
    value, counts = accuracy(*batch, average="macro", return_counts=True)
    assert counts == 4
    close(accuracy(*batch, average="macro", absent="zero"), value * 4 / 5)
    close(hamming_loss(*batch, average="macro", absent="zero"), 1 - value * 4 / 5)
    assert accuracy(*batch, average="macro", absent="nan").isnan()
    assert accuracy(*batch, return_counts=True)[1] == 1


@pytest.mark.parametrize("way", ["class", "sample"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_balanced_accuracy_is_that_of_scikit_learn_where_both_sides_are(shape, way):
    batch = decisions(*shape)
    actual = balanced_accuracy(*batch, way=way)
    for value, pairs in zip(actual, rows(*batch, way), strict=True):
        sides = {t for _, t in pairs}
        if sides == {0, 1}:
            decided, targets = zip(*pairs, strict=True)
            close(value, scikit_learn.balanced_accuracy_score(targets, [int(d) for d in decided]))
        else:
            assert value.isnan()


@pytest.mark.parametrize("way", ["class", "sample"])
def test_mean_accuracy_is_the_mean_of_the_balanced_ones(way):
    batch = decisions(40, 8)
    values = []
    for hit, wrong, missed, rejected in (count(pairs) for pairs in rows(*batch, way)):
        values.append((ratio(hit, hit + missed) + ratio(rejected, rejected + wrong)) / 2)
    both = [value for value in values if not math.isnan(value)]
    assert 0 < len(both) < len(values)
    found, counts = mean_accuracy(*batch, way=way, return_counts=True)
    close(found, mean(both))
    assert counts == len(both)
    close(mean_accuracy(*batch, way=way, absent="zero"), sum(both) / len(values))
    assert mean_accuracy(*batch, way=way, absent="nan").isnan()


@pytest.mark.parametrize("value", [True, False])
def test_deciding_everything_alike_has_a_balanced_accuracy_of_one_half(value):
    _, targets = sample(60, 4)
    assert balanced_accuracy(torch.full((60, 4), value), targets).tolist() == [0.5] * 4


# --- the k highest ------------------------------------------------------------------------------------------


def highest(scores, targets, k):
    """The k highest known entries of one row, the first of equal ones first."""
    known = [place for place, target in enumerate(targets) if target >= 0]
    chosen = sorted(known, key=lambda place: (-scores[place], place))[:k]
    return [place in chosen for place in range(len(scores))]


@pytest.mark.parametrize("k", [1, 2, 5, 40])
@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("shape", [(1, 7), (12, 30), (40, 3)], ids=str)
def test_the_k_highest_are_those_of_a_plain_loop(shape, decimals, k):
    scores, targets = sample(*shape, decimals=decimals)
    known, everything = targets.tolist(), torch.zeros(shape).tolist()
    expected = [highest(*row, k) for row in zip(scores.tolist(), known, strict=True)]
    assert top_k(scores, k, targets=targets).tolist() == expected
    expected = [highest(*row, k) for row in zip(scores.tolist(), everything, strict=True)]
    assert top_k(scores, k).tolist() == expected
    expected = [highest(*row, k) for row in zip(scores.T.tolist(), targets.T.tolist(), strict=True)]
    assert top_k(scores, k, way="class", targets=targets).T.tolist() == expected


@LAW
@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 10_000))
def test_as_many_are_decided_as_asked_for_or_as_are_known(k, samples, classes, seed):
    scores, targets = sample(samples, classes, seed=seed, decimals=0)
    for way, dim in (("sample", 1), ("class", 0)):
        decided = top_k(scores, k, way=way, targets=targets)
        assert not decided[targets < 0].any()
        assert decided.sum(dim).tolist() == (targets >= 0).sum(dim).clamp(max=k).tolist()


@pytest.mark.parametrize("way", ["sample", "class"])
def test_the_k_highest_of_problems_of_their_own_and_of_blocks(way, monkeypatch):
    scores, targets = sample(2, 3, 9, 4, decimals=0)
    monkeypatch.setattr(_decisions, "BLOCK", 5)
    decided = top_k(scores, 2, way=way, targets=targets)
    monkeypatch.undo()
    for i, j in itertools.product(range(2), range(3)):
        assert decided[i, j].equal(top_k(scores[i, j], 2, way=way, targets=targets[i, j]))


def test_the_k_highest_of_scores_that_carry_a_gradient():
    scores, _ = sample(5, 4)
    assert top_k(scores.clone().requires_grad_(), 2).equal(top_k(scores, 2))


@pytest.mark.parametrize("average", AVERAGES)
def test_top_k_recall_is_the_recall_of_those_decisions(average):
    scores, targets = sample(30, 12)
    targets[:, 3], targets[4] = 0, -1
    chosen = [highest(*row, 3) for row in zip(scores.tolist(), targets.tolist(), strict=True)]
    way = "sample" if average == "sample" else "class"
    counts = [count(pairs) for pairs in rows(torch.tensor(chosen), targets, way)]
    if average == "micro":
        counts = [tuple(map(sum, zip(*counts, strict=True)))]
    recalls = [hit / (hit + missed) for hit, _, missed, _ in counts if hit + missed]
    actual, present = top_k_recall(scores, targets, 3, average=average, return_counts=True)
    close(actual, mean(recalls))
    assert present == len(recalls)
    close(top_k_recall(scores, targets, 3, average=average, absent="zero"), sum(recalls) / len(counts))


def test_top_k_recall_of_each_class_rises_to_one_with_k():
    scores, targets = sample(30, 6)
    before = torch.zeros(6, dtype=torch.float64)
    for k in range(1, 7):
        recall = top_k_recall(scores, targets, k, average=None)
        assert (recall >= before).all()
        before = recall
    assert before.tolist() == [1.0] * 6


def test_top_1_accuracy_is_that_of_scikit_learn():
    for seed in range(5):
        scores, _ = sample(40, 5, seed=seed, decimals=0)
        classes = torch.randint(0, 5, (40,), generator=torch.Generator().manual_seed(seed))
        expected = scikit_learn.accuracy_score(classes.numpy(), scores.numpy().argmax(1))
        close(top_1_accuracy(scores, classes), expected)
        with_unknown = torch.cat([classes, torch.full((7,), -1)])
        close(top_1_accuracy(torch.cat([scores, scores[:7]]), with_unknown), expected)


def test_top_1_accuracy_keeps_leading_dimensions_and_is_nan_without_a_class():
    scores, _ = sample(2, 3, 8, 4)
    classes = torch.randint(0, 4, (2, 3, 8), generator=torch.Generator().manual_seed(0))
    classes[0, 1] = -1
    actual = top_1_accuracy(scores, classes)
    assert actual[0, 1].isnan()
    close(actual[1, 2], top_1_accuracy(scores[1, 2], classes[1, 2]))
    assert actual[1, 2] == (scores[1, 2].argmax(1) == classes[1, 2]).sum() / 8
    for shape in ((0, 3), (2, 0, 3)):
        empty = top_1_accuracy(torch.zeros(shape), torch.zeros(shape[:-1], dtype=torch.long))
        assert empty.shape == shape[:-2]
        assert empty.isnan().all()


def test_top_1_accuracy_is_the_accuracy_of_the_highest_class():
    scores, _ = sample(40, 5, decimals=0)
    classes = torch.arange(40) % 5
    targets = torch.nn.functional.one_hot(classes, 5)
    close(top_1_accuracy(scores, classes), top_k_recall(scores, targets, 1))


# --- errors -------------------------------------------------------------------------------------------------


def test_unknown_options_are_refused_with_the_known_ones():
    decided, targets = decisions(4, 3)
    for function in (precision_recall_f1, accuracy, hamming_loss):
        with pytest.raises(OptionError, match=r"unknown average 'samples': did you mean 'sample'\? Known: macro, "):
            function(decided, targets, average="samples")
        with pytest.raises(OptionError, match=r"unknown absent 'zeros': did you mean 'zero'\?"):
            function(decided, targets, average="macro", absent="zeros")
    for function in (confusion_counts, balanced_accuracy, mean_accuracy):
        with pytest.raises(OptionError, match=r"unknown way 'clas': did you mean 'class'\?"):
            function(decided, targets, way="clas")
    for function in (subset_accuracy, mean_accuracy):
        with pytest.raises(OptionError, match=r"unknown absent 'skipped': did you mean 'skip'\?"):
            function(decided, targets, absent="skipped")
    with pytest.raises(OptionError, match=r"unknown way 'image': Known: class, sample"):
        top_k(torch.zeros(4, 3), 1, way="image")


@pytest.mark.parametrize("k", [0, -1, 1.5, None])
def test_a_k_that_is_no_whole_number_is_refused(k):
    with pytest.raises(OptionError, match=rf"k={k}: it must be a whole number of 1 or more"):
        top_k(torch.zeros(4, 3), k)
    with pytest.raises(OptionError, match=rf"k={k}: it must be a whole number of 1 or more"):
        top_k_recall(torch.zeros(4, 3), torch.zeros(4, 3), k)


@pytest.mark.parametrize("figure", BOTH.values(), ids=BOTH)
def test_what_is_no_pair_of_decisions_and_targets_is_refused(figure):
    decided, targets = decisions(4, 3)
    with pytest.raises(ShapeError, match=r"decisions \(4, 3\) and targets \(3, 4\) differ in shape"):
        figure(decided, targets.T)
    with pytest.raises(ShapeError, match=r"decisions must be true or false, not torch\.float32: pass scores >= "):
        figure(decided.float(), targets)
    with pytest.raises(ShapeError, match="must be tensors, not list and Tensor"):
        figure(decided.tolist(), targets)
    targets[2, 1] = 2
    with pytest.raises(ShapeError, match=r"the target at \(2, 1\) is 2: it must be 1, 0 or -1"):
        figure(decided, targets)


def test_scores_that_have_no_order_are_refused():
    scores = torch.zeros(4, 3)
    scores[2, 1] = NAN
    for refused in (
        lambda: top_k(scores, 1),
        lambda: top_k(scores, 1, targets=torch.zeros(4, 3)),
        lambda: top_k_recall(scores, torch.zeros(4, 3), 1),
        lambda: top_1_accuracy(scores, torch.zeros(4, dtype=torch.long)),
    ):
        with pytest.raises(ShapeError, match=r"the score at \(2, 1\) is NaN"):
            refused()
    with pytest.raises(ShapeError, match="must be tensors, not list"):
        top_k([[1.0]], 1)
    with pytest.raises(ShapeError, match=r"scores \(3,\) must have two dimensions or more"):
        top_k(torch.zeros(3), 1)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (torch.tensor([0, 3, 1, 1]), r"the class at \(1,\) is 3: it must be from 0 to 2, or -1"),
        (torch.tensor([0, 1, -2, 1]), r"the class at \(2,\) is -2"),
        (torch.tensor([0, 1]), r"classes must be whole numbers \(4,\), one a sample, not torch\.int64 \(2,\)"),
        (torch.zeros(4), r"not torch\.float32 \(4,\)"),
        ([0, 1, 1, 1], "not list"),
    ],
    ids=["too high", "too low", "too few", "floating", "list"],
)
def test_classes_that_do_not_fit_are_refused(classes, message):
    with pytest.raises(ShapeError, match=message):
        top_1_accuracy(torch.zeros(4, 3), classes)
