"""Every metric at once: one sort for each class, one for each sample, and two counts of the decisions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from rarecall.errors import ShapeError
from rarecall.metrics import _ranking as ranking
from rarecall.metrics._calibration import brier_score, expected_calibration_error
from rarecall.metrics._decisions import (
    all_right,
    balanced_accuracy_of,
    confusion_counts,
    decisions_of,
    instance_metrics_of,
    mean_decisions_of,
)
from rarecall.metrics._places import Measure, of_each_ranking
from rarecall.metrics._shared import check_groups, check_inputs, check_thresholds, mean_of_present
from rarecall.metrics._top_k import top_1_accuracy, top_k

Scores = Float[Tensor, "samples classes"]
Targets = Shaped[Tensor, "samples classes"]
PerClass = Float[Tensor, " classes"]
FEW = 5  # of the highest
Groups = Mapping[str, Int[np.ndarray, " members"]]


@dataclass(frozen=True)
class Measured:
    """Figures of one set of scores.

    Attributes:
        classes: of each class, (C,) float64 by name, NaN where nothing can be said.
        figures: of the whole by name, NaN where nothing can be said.
        counted: over how many classes, samples or entries each figure was taken.
    """

    classes: dict[str, PerClass] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)

    def __or__(self, other: "Measured") -> "Measured":
        """Both together."""
        return Measured(self.classes | other.classes, self.figures | other.figures, self.counted | other.counted)


def measure(
    scores: Scores,
    targets: Targets,
    thresholds: PerClass | float = 0.0,
    *,
    probabilities: Scores | None = None,
    groups: Groups | None = None,
    absent: str = "skip",
) -> Measured:
    """Every metric that fits: `ranking_figures`, `decision_figures` and, given probabilities, `calibration_figures`.

    Args:
        scores: (N, C), higher for what is more likely present.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        thresholds: (C,) or one for all; the decision is `score >= threshold`. Default 0, half of a logit.
        probabilities: (N, C) from 0 to 1. Default None: without the figures of calibration.
        groups: class numbers by name, whose mean average precision is wanted too.
        absent: what a class (or sample) of which nothing can be said is in a mean: `skip`, `zero` or `nan`.

    Raises:
        OptionError: another `absent`.
        ShapeError: shapes that do not fit, a score that is not finite, a target that is not 1, 0 or -1, or a
            probability outside 0 to 1.

    >>> found = measure(torch.tensor([[2.0], [1.0], [-1.0]]), torch.tensor([[1], [0], [1]]))
    >>> round(found.figures["map_class"], 3), found.figures["macro_recall"], found.counted["map_class"]
    (0.833, 0.5, 1)
    """
    check_thresholds(thresholds, scores.shape[-1])
    found = ranking_figures(scores, targets, groups=groups, absent=absent)
    found |= decision_figures(scores >= torch.as_tensor(thresholds, device=scores.device), targets, absent=absent)
    return found if probabilities is None else found | calibration_figures(probabilities, targets, absent=absent)


def ranking_figures(
    scores: Scores, targets: Targets, *, groups: Groups | None = None, precision: float = 0.9, absent: str = "skip"
) -> Measured:
    """Every metric of the order of the scores; each is sorted once among its class and once among its sample.

    Args:
        scores: (N, C), only their order counts.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        groups: as in `measure`.
        precision: of `recall_at_precision`. Default 0.9.
        absent: as in `measure`.

    Returns:
        Of each class: `ap`, `roc_auc`, `recall_at_precision`, `f1_best_possible` (at the best threshold for these
        very items). Of the whole: `map_class`, `map_<group>`, `roc_auc` and `recall_at_precision`, means over
        classes; `map_sample`, `coverage_error` and `ranking_loss`, means over samples. With more than five classes,
        of the five highest of each sample, as on DeepFashion: `top_5_recall` of all labels together, and the
        balanced accuracies `top_5_mean_accuracy` over classes and `top_5_sample_accuracy` over samples. Where every
        sample has exactly one class: `top_1_accuracy`.

    Raises:
        OptionError, ShapeError: as `measure`, and a precision outside 0 to 1.
    """
    check_inputs("scores", scores, targets)
    _check_one_table(scores)
    ranking.check_precision(precision)
    check_groups(groups or {}, scores.shape[-1])
    of_class: dict[str, Measure] = {
        "ap": ranking.precision_averaged,
        "roc_auc": ranking.pairs_won,
        "recall_at_precision": partial(ranking.recall_held, precision=precision),
        "f1_best_possible": ranking.best_f1,
    }
    of_sample: dict[str, Measure] = {
        "map_sample": ranking.precision_averaged,
        "coverage_error": ranking.coverage,
        "ranking_loss": ranking.pairs_not_won,
    }
    classes = dict(zip(of_class, of_each_ranking(list(of_class.values()), scores, targets), strict=True))
    samples = dict(zip(of_sample, of_each_ranking(list(of_sample.values()), scores, targets, "sample"), strict=True))
    means = {"map_class": classes["ap"], **{name: classes[name] for name in ("roc_auc", "recall_at_precision")}}
    means |= {f"map_{name}": classes["ap"][torch.as_tensor(rows)] for name, rows in (groups or {}).items()}
    return Measured(classes) | _means(means | samples, absent) | _of_the_highest(scores, targets, absent)


def _of_the_highest(scores: Scores, targets: Targets, absent: str) -> Measured:
    """Figures of the five highest classes of each sample, and of the highest where each sample is of one class."""
    found = Measured()
    if scores.shape[1] > FEW:
        decided = top_k(scores, FEW, targets=targets)
        by_class, by_sample = (confusion_counts(decided, targets, way=way) for way in ("class", "sample"))
        pooled = by_class.pooled()
        found |= _figures("", {"top_5_recall": decisions_of(pooled).recall}, pooled.present)
        balanced = {"top_5_mean_accuracy": by_class, "top_5_sample_accuracy": by_sample}
        found |= _means({name: balanced_accuracy_of(counts) for name, counts in balanced.items()}, absent)
    if len(targets) and bool((targets >= 0).all()) and bool((torch.count_nonzero(targets > 0, 1) == 1).all()):
        found |= _figures("", {"top_1_accuracy": top_1_accuracy(scores, (targets > 0).int().argmax(1))}, len(targets))
    return found


def decision_figures(decided: Bool[Tensor, "samples classes"], targets: Targets, *, absent: str = "skip") -> Measured:
    """Every metric of decisions, from two counts of them: by class and by sample.

    Args:
        decided: (N, C), true where the class is predicted.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        absent: as in `measure`.

    Returns:
        Of each class: `precision`, `recall`, `f1`, `balanced_accuracy` and the four counts. Of the whole:
        precision, recall and F1 as `macro_…`, `micro_…` and `sample_…`; `f1_of_macro`; `mean_accuracy`,
        `instance_accuracy`, `instance_precision`, `instance_recall`, `instance_f1`; `accuracy`, `hamming_loss`
        and `subset_accuracy`.

    Raises:
        OptionError, ShapeError: as `measure`.
    """
    by_class, by_sample = (confusion_counts(decided, targets, way=way) for way in ("class", "sample"))
    pooled, balanced = by_class.pooled(), balanced_accuracy_of(by_class)
    macro = mean_decisions_of(by_class, absent)
    instance = instance_metrics_of(by_sample)
    right = pooled.right.double() / pooled.known
    classes = {**vars(decisions_of(by_class)), "balanced_accuracy": balanced}
    classes |= {name: values.double() for name, values in vars(by_class).items()}
    return (
        Measured(classes)
        | _figures("macro_", vars(macro) | {"f1_of_macro": macro.f1_of_macro}, torch.count_nonzero(by_class.present))
        | _figures("micro_", vars(mean_decisions_of(pooled, absent)), pooled.known)
        | _figures("sample_", vars(mean_decisions_of(by_sample, absent)), torch.count_nonzero(by_sample.present))
        | _figures("instance_", vars(instance), torch.count_nonzero(by_sample.known))
        | _figures("", {"accuracy": right, "hamming_loss": 1 - right}, pooled.known)
        | _means({"mean_accuracy": balanced, "subset_accuracy": all_right(by_sample)}, absent)
    )


def calibration_figures(probabilities: Scores, targets: Targets, *, absent: str = "skip") -> Measured:
    """How far probabilities are from frequencies.

    Args:
        probabilities: (N, C), from 0 to 1.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        absent: as in `measure`.

    Returns:
        `ece` (expected calibration error) and `brier`, of each class and as means over the classes.

    Raises:
        OptionError, ShapeError: as `measure`.
    """
    classes = {
        "ece": expected_calibration_error(probabilities, targets), "brier": brier_score(probabilities, targets)
    }  # fmt: skip
    return Measured(classes) | _means(classes, absent)


def _check_one_table(values: Tensor) -> None:
    if values.ndim != 2:
        raise ShapeError(f"{tuple(values.shape)} must be (samples, classes): measure one table at a time")


def _means(values: Mapping[str, Tensor], absent: str) -> Measured:
    """The mean of each, and over how many it was taken."""
    found = {name: mean_of_present(own, absent, return_counts=True) for name, own in values.items()}
    return Measured(
        figures={name: float(mean) for name, (mean, _) in found.items()},
        counted={name: int(counted) for name, (_, counted) in found.items()},
    )


def _figures(prefix: str, values: Mapping[str, Tensor], over: Tensor | int) -> Measured:
    """Figures that were taken over so many classes, samples or entries."""
    names = {name: name if name == "f1_of_macro" else prefix + name for name in values}
    return Measured(
        figures={names[name]: float(value) for name, value in values.items()},
        counted=dict.fromkeys(names.values(), int(over)),
    )
