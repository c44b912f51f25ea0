"""The other ranking metrics against scikit-learn and brute force, and every metric at once against each alone."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as peers
from torch import Tensor
from torchmetrics.functional.classification import binary_recall_at_fixed_precision

from rarecall import metrics
from rarecall.errors import OptionError, ShapeError
from rarecall.metrics import _places
from tests.test_metrics_laws import close, sample


def without_unknown(scores: Tensor, targets: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Targets and scores of each row, of its known entries."""
    pairs = zip(scores.double().numpy(), targets.numpy(), strict=True)
    return [(target[target >= 0] > 0, score[target >= 0]) for score, target in pairs]


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_roc_auc_is_that_of_scikit_learn(dtype: torch.dtype, decimals: int) -> None:
    for seed in range(5):
        scores, targets = sample(50, 6, seed=seed, decimals=decimals)
        scores = scores.to(dtype)
        expected = [peers.roc_auc_score(*pair) for pair in without_unknown(scores.T, targets.T)]
        close(metrics.roc_auc(scores, targets), torch.tensor(expected, dtype=torch.float64), 1e-12)


def test_roc_auc_needs_both_sides() -> None:
    scores, _ = sample(4, 3)
    targets = torch.tensor([[1, 0, 1], [1, 0, -1], [1, -1, 0], [-1, 0, 0]])
    assert metrics.roc_auc(scores, targets).isnan().tolist() == [True, True, False]


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
def test_coverage_and_ranking_loss_are_those_of_scikit_learn(decimals: int) -> None:
    for seed in range(5):
        scores, targets = sample(30, 8, seed=seed, decimals=decimals)
        pairs = [(target[None], score[None]) for target, score in without_unknown(scores, targets)]
        coverage = [peers.coverage_error(*pair) if pair[0].any() else math.nan for pair in pairs]
        losses = [peers.label_ranking_loss(*pair) if 0 < pair[0].mean() < 1 else math.nan for pair in pairs]
        close(metrics.coverage_error(scores, targets), torch.tensor(coverage, dtype=torch.float64))
        close(metrics.ranking_loss(scores, targets), torch.tensor(losses, dtype=torch.float64), 1e-12)


def test_means_of_whole_tables_are_those_of_scikit_learn() -> None:
    scores, targets = sample(60, 5)
    targets = targets.abs()
    targets[7] = 0
    known, ranked = targets.numpy(), scores.numpy()
    means = {
        peers.coverage_error: metrics.coverage_error(scores, targets),
        peers.label_ranking_loss: metrics.ranking_loss(scores, targets),
    }
    for peer, values in means.items():
        assert float(metrics.mean_of_present(values, "zero")) == pytest.approx(peer(known, ranked), abs=1e-12)
    rows = known.any(1)
    by_sample = metrics.mean_average_precision(scores, targets, way="sample")
    expected = peers.label_ranking_average_precision_score(known[rows], ranked[rows])
    assert float(by_sample) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("precision", [0.3, 0.6, 0.9, 1.0])
def test_recall_at_precision_is_the_best_of_all_thresholds(precision: float) -> None:
    for seed in range(10):
        scores, targets = sample(25, 4, seed=seed)
        found = metrics.recall_at_precision(scores, targets, precision)
        for place in range(4):
            own, wanted = scores[:, place], targets[:, place]
            best = 0.0
            for at in own[wanted >= 0].unique():
                decided = (own >= at) & (wanted >= 0)
                if (decided & (wanted > 0)).sum() >= precision * decided.sum():
                    best = max(best, float((decided & (wanted > 0)).sum() / (wanted > 0).sum().double()))
            assert float(found[place]) == pytest.approx(best, abs=1e-12)


def test_recall_at_precision_is_that_of_torchmetrics() -> None:
    scores, targets = sample(80, 5, decimals=8)
    targets = targets.abs()
    for place in range(5):
        own = scores[:, place].sigmoid(), targets[:, place]
        expected, _ = binary_recall_at_fixed_precision(*own, min_precision=0.7)
        found = metrics.recall_at_precision(own[0][:, None], own[1][:, None], 0.7)
        assert float(found) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("precision", [0.0, -1.0, 1.1, math.nan])
def test_a_precision_out_of_range_is_refused(precision: float) -> None:
    with pytest.raises(OptionError, match="above 0 and at most 1"):
        metrics.recall_at_precision(*sample(4, 2), precision)
    with pytest.raises(OptionError, match="above 0 and at most 1"):
        metrics.ranking_figures(*sample(4, 2), precision=precision)


@pytest.mark.parametrize("absent", ["skip", "zero", "nan"])
def test_everything_at_once_is_each_metric_alone(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, targets = sample(40, 6)
    targets[:, 2], targets[:, 4] = 0, 1
    targets[3] = -1
    decided = scores >= torch.linspace(-1, 1, 6)
    groups = {"all": np.arange(6), "rare": np.array([1, 2])}
    monkeypatch.setattr(_places, "BLOCK", 50)
    found = metrics.measure(
        scores, targets, torch.linspace(-1, 1, 6), probabilities=scores.sigmoid(), groups=groups, absent=absent
    )
    ap = metrics.average_precision(scores, targets)
    each = metrics.precision_recall_f1(decided, targets)
    averages = {
        average: metrics.precision_recall_f1(decided, targets, average=average, absent=absent, return_counts=True)
        for average in ("macro", "micro", "sample")
    }
    instance = metrics.instance_metrics(decided, targets)
    highest = metrics.top_k(scores, 5, targets=targets)
    by_class = {
        "ap": ap,
        "roc_auc": metrics.roc_auc(scores, targets),
        "recall_at_precision": metrics.recall_at_precision(scores, targets),
        "balanced_accuracy": metrics.balanced_accuracy(decided, targets),
        "ece": metrics.expected_calibration_error(scores.sigmoid(), targets),
        "brier": metrics.brier_score(scores.sigmoid(), targets),
        **vars(each),
    }
    for name, values in by_class.items():
        close(found.classes[name], values, 1e-12)
    own_best = metrics.fit_thresholds(scores, targets, min_positives=1)
    best = metrics.precision_recall_f1(scores >= own_best, targets).f1
    close(found.classes["f1_best_possible"], best, 1e-12)
    counts = metrics.confusion_counts(decided, targets)
    assert all(found.classes[name].tolist() == values.tolist() for name, values in vars(counts).items())

    def mean(values: Tensor) -> float:
        return float(metrics.mean_of_present(values, absent))

    figures = {
        "map_class": mean(ap),
        "map_all": mean(ap),
        "map_rare": mean(ap[[1, 2]]),
        "map_sample": float(metrics.mean_average_precision(scores, targets, "sample", absent)),
        **{name: mean(by_class[name]) for name in ("roc_auc", "recall_at_precision", "ece", "brier")},
        "coverage_error": mean(metrics.coverage_error(scores, targets)),
        "ranking_loss": mean(metrics.ranking_loss(scores, targets)),
        **{
            f"{average}_{name}": float(value)
            for average, (decisions, _) in averages.items()
            for name, value in vars(decisions).items()
        },
        "f1_of_macro": float(averages["macro"][0].f1_of_macro),
        **{f"instance_{name}": float(value) for name, value in vars(instance).items()},
        "accuracy": float(metrics.accuracy(decided, targets)),
        "hamming_loss": float(metrics.hamming_loss(decided, targets)),
        "subset_accuracy": float(metrics.subset_accuracy(decided, targets, absent=absent)),
        "mean_accuracy": float(metrics.mean_accuracy(decided, targets, absent=absent)),
        "top_5_recall": float(metrics.top_k_recall(scores, targets, 5)),
        "top_5_mean_accuracy": float(metrics.mean_accuracy(highest, targets, absent=absent)),
        "top_5_sample_accuracy": float(metrics.mean_accuracy(highest, targets, way="sample", absent=absent)),
    }
    assert found.figures == pytest.approx(figures, abs=1e-12, nan_ok=True)
    assert found.counted.keys() == found.figures.keys()
    assert (found.counted["map_class"], found.counted["roc_auc"], found.counted["map_rare"]) == (5, 4, 1)
    assert found.counted["sample_f1"] == averages["sample"][1]
    assert found.counted["subset_accuracy"] == 39
    assert found.counted["accuracy"] == (targets >= 0).sum()


@pytest.mark.parametrize(
    ("thresholds", "words"),
    [
        (torch.zeros(2), r"thresholds \(2,\) do not fit 3 classes"),
        (torch.zeros(5, 1), r"thresholds \(5, 1\) do not fit 3 classes"),
        (torch.zeros(1), r"thresholds \(1,\) do not fit 3 classes"),
        ([0.0, math.nan, 0.0], "the threshold of class 1 is NaN"),
    ],
)
def test_thresholds_of_other_classes_are_refused(thresholds: object, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        metrics.measure(*sample(5, 3), thresholds)
    if isinstance(thresholds, Tensor):
        with pytest.raises(ShapeError, match=words):
            metrics.summarise(*sample(5, 3), thresholds, {})


def test_thresholds_may_decide_nothing_or_everything() -> None:
    found = metrics.measure(*sample(5, 3), torch.tensor([math.inf, -math.inf, 0.0]))
    assert found.classes["true_positives"][0] == found.classes["false_positives"][0] == 0
    assert found.classes["true_negatives"][1] == found.classes["false_negatives"][1] == 0


@pytest.mark.parametrize(
    ("members", "words"),
    [([9], "group 'tail' has class 9"), ([-1], "group 'tail' has class -1"), ([], "must hold class numbers")],
)
def test_groups_of_other_classes_are_refused(members: list[int], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        metrics.measure(*sample(5, 3), groups={"tail": np.array(members, np.int64)})


def test_samples_of_one_class_each_have_a_top_1_accuracy() -> None:
    scores, _ = sample(30, 4)
    classes = torch.arange(30) % 4
    targets = torch.nn.functional.one_hot(classes, 4)
    found = metrics.ranking_figures(scores, targets)
    assert found.figures["top_1_accuracy"] == float(metrics.top_1_accuracy(scores, classes))
    assert found.counted["top_1_accuracy"] == 30
    for changed in (
        targets.masked_fill(torch.arange(30)[:, None] == 3, 0),
        targets.masked_fill(classes[:, None] < 1, -1),
    ):
        assert "top_1_accuracy" not in metrics.ranking_figures(scores, changed).figures


def test_whole_numbers_are_no_scores() -> None:
    scores, targets = sample(5, 3)
    with pytest.raises(ShapeError, match=r"scores are torch.int64: pass floats, such as scores.float\(\)"):
        metrics.average_precision(scores.long(), targets)
    with pytest.raises(ShapeError, match="probabilities are true or false"):
        metrics.brier_score(scores > 0, targets)
    with pytest.raises(ShapeError, match=r"\(2, 5, 3\) must be \(samples, classes\)"):
        metrics.measure(torch.zeros(2, 5, 3), torch.zeros(2, 5, 3))


def test_a_precision_that_is_met_exactly_is_met() -> None:
    targets = torch.zeros(100, 1)
    targets[:55] = 1
    found = metrics.recall_at_precision(torch.zeros(100, 1), targets, 0.55)  # 0.55 × 100 is a little above 55
    assert found.item() == 1


def test_measure_names_what_is_wrong() -> None:
    scores, targets = sample(5, 3)
    with pytest.raises(ShapeError, match=r"probability at .* outside 0 to 1: pass logits\.sigmoid"):
        metrics.measure(scores, targets, probabilities=scores * 9)
    with pytest.raises(OptionError, match="unknown absent 'skipp': did you mean 'skip'"):
        metrics.measure(scores, targets, absent="skipp")
