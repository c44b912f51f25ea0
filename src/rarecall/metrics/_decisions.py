"""Decisions: what is counted of them against known labels, and the figures that follow from the counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from rarecall.errors import OptionError, ShapeError, unknown_name
from rarecall.metrics._shared import check_inputs, mean_of_present

BLOCK = 1 << 22  # entries that are looked at at a time: bounds the extra memory
WAYS = {"class": -2, "sample": -1}  # the dimension that is counted or ranked along
AVERAGES = ("macro", "micro", "sample")

Decided = Bool[Tensor, "*batch samples classes"]
Scores = Float[Tensor, "*batch samples classes"]
Targets = Shaped[Tensor, "*batch samples classes"]


# --- counts -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfusionCounts:
    """How many known entries of each class (or sample) were decided rightly and wrongly, (..., C) int64.

    Attributes:
        true_positives: present and predicted.
        false_positives: absent and predicted.
        false_negatives: present and not predicted.
        true_negatives: absent and not predicted.
    """

    true_positives: Int[Tensor, "*batch classes"]
    false_positives: Int[Tensor, "*batch classes"]
    false_negatives: Int[Tensor, "*batch classes"]
    true_negatives: Int[Tensor, "*batch classes"]

    @property
    def predicted(self) -> Int[Tensor, "*batch classes"]:
        """Known entries that are predicted."""
        return self.true_positives + self.false_positives

    @property
    def present(self) -> Int[Tensor, "*batch classes"]:
        """Entries that are known to be present."""
        return self.true_positives + self.false_negatives

    @property
    def absent(self) -> Int[Tensor, "*batch classes"]:
        """Entries that are known to be absent."""
        return self.true_negatives + self.false_positives

    @property
    def right(self) -> Int[Tensor, "*batch classes"]:
        """Known entries that are decided rightly."""
        return self.true_positives + self.true_negatives

    @property
    def known(self) -> Int[Tensor, "*batch classes"]:
        """Known entries."""
        return self.present + self.absent

    def pooled(self) -> "ConfusionCounts":
        """The counts of all classes together, (..., 1)."""
        return ConfusionCounts(*(values.sum(-1, keepdim=True) for values in vars(self).values()))


def confusion_counts(decided: Decided, targets: Targets, *, way: str = "class") -> ConfusionCounts:
    """True and false positives and negatives among the known entries.

    Args:
        decided: (..., N, C), true where the class is predicted.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        way: `class` counts over the samples of each class, `sample` over the classes of each sample. Default
            `class`.

    Returns:
        Counts of shape (..., C), or (..., N) by sample.

    Raises:
        OptionError: another `way`.
        ShapeError: the shapes differ, a decision is not true or false, or a target not 1, 0 or -1.

    >>> decided = torch.tensor([[True], [True], [False], [True]])
    >>> counts = confusion_counts(decided, torch.tensor([[1], [0], [1], [-1]]))
    >>> counts.true_positives, counts.false_positives, counts.false_negatives, counts.true_negatives
    (tensor([1]), tensor([1]), tensor([1]), tensor([0]))
    """
    check_way(way)
    _check_decisions(decided, targets)
    blocks = [_counts_of_block(*block, WAYS[way]) for block in sample_blocks(decided, targets)]
    counts = torch.stack(blocks).sum(0) if way == "class" else torch.cat(blocks, -1).long()
    hits, predicted, present, known = counts
    return ConfusionCounts(hits, predicted - hits, present - hits, known - predicted - present + hits)


def _counts_of_block(decided: Tensor, targets: Tensor, along: int) -> Int[Tensor, "4 *rest"]:
    """Hits, predicted, present and known entries."""
    present, known = targets > 0, targets >= 0
    masks = (decided & present, decided & known, present, known)
    return torch.stack([mask.sum(along, dtype=torch.int32) for mask in masks])  # int64 takes twice the time


def sample_blocks(values: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Some samples of both at a time."""
    rows = max(1, BLOCK * values.shape[-2] // max(1, values.numel()))
    return zip(values.split(rows, -2), targets.split(rows, -2), strict=True)


# --- precision, recall and F1 -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decisions:
    """Precision, recall and F1: float64, (..., C) of each class or (...) of an average.

    Attributes:
        precision: TP / (TP + FP).
        recall: TP / (TP + FN).
        f1: 2 TP / (2 TP + FP + FN); of an average, the mean of the classes' (or samples') F1.
    """

    precision: Float[Tensor, "*values"]
    recall: Float[Tensor, "*values"]
    f1: Float[Tensor, "*values"]

    @property
    def f1_of_macro(self) -> Float[Tensor, "*values"]:
        """Harmonic mean of the precision and the recall held here, `2 P R / (P + R)`, 0 where both are 0.

        With `average="macro"` it is the other figure that goes by the name of macro F1: never below `f1`, and
        far above it where classes trade precision for recall in different ways.

        >>> decided = torch.tensor([[True, True], [False, True]])
        >>> found = precision_recall_f1(decided, torch.tensor([[1, 1], [1, 0]]), average="macro")
        >>> round(float(found.f1), 4), float(found.f1_of_macro)
        (0.6667, 0.75)

        Reference: J. Opitz and S. Burst, Macro F1 and macro F1, arXiv 1911.03347, 2019.
        """
        return _harmonic_mean(self.precision, self.recall)


@overload
def precision_recall_f1(
    decided: Decided,
    targets: Targets,
    *,
    average: str | None = ...,
    absent: str = ...,
    return_counts: Literal[False] = ...,
) -> Decisions: ...
@overload
def precision_recall_f1(
    decided: Decided, targets: Targets, *, average: str | None = ..., absent: str = ..., return_counts: Literal[True]
) -> tuple[Decisions, Tensor]: ...
def precision_recall_f1(
    decided: Decided,
    targets: Targets,
    *,
    average: str | None = None,
    absent: str = "skip",
    return_counts: bool = False,
) -> Decisions | tuple[Decisions, Tensor]:
    """Precision, recall and F1 over the known labels, of each class or averaged.

    Of each class (`average=None`) precision is NaN where nothing was predicted, recall and F1 where nothing is
    present; F1 is 0 where a present class was never hit. In an average a class (or sample) with a positive that
    was never predicted has precision 0, as with scikit-learn's `zero_division=0`; one without a positive counts
    as `absent` says, in all three figures, whatever was predicted of it. With `absent="zero"` the averages are
    scikit-learn's `macro`, `micro` and `samples` with `zero_division=0`.

    Args:
        decided: (..., N, C), true where the class is predicted.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        average: None gives each class; `macro` the mean over the classes, `sample` over the samples, `micro`
            one figure of all entries together. Default None.
        absent: what a class (`macro`), a sample (`sample`) or a whole table (`micro`) without a known positive
            is: `skip` leaves it out, `zero` counts it as 0, `nan` makes the figures NaN. Default `skip`.
        return_counts: return also how many classes or samples have a known positive (`micro`: 1 or 0).

    Raises:
        OptionError: another `average` or `absent`.
        ShapeError: as `confusion_counts`.

    >>> decided = torch.tensor([[True, False], [True, False], [False, False]])
    >>> targets = torch.tensor([[1, 1], [0, 0], [-1, 0]])
    >>> precision_recall_f1(decided, targets).precision
    tensor([0.5000,    nan], dtype=torch.float64)
    >>> precision_recall_f1(decided, targets, average="macro").precision
    tensor(0.2500, dtype=torch.float64)

    Reference: scikit-learn user guide, section on precision, recall and F-measures.
    """
    counts = _counts_for(average, decided, targets)
    found = decisions_of(counts) if average is None else mean_decisions_of(counts, absent)
    return (found, (counts.present > 0).sum(-1)) if return_counts else found


def decisions_of(counts: ConfusionCounts) -> Decisions:
    """Precision, recall and F1 of each class (or sample) from its counts, as `precision_recall_f1` gives them."""
    hits, predicted, present = counts.true_positives.double(), counts.predicted, counts.present
    f1 = torch.where(present > 0, 2 * hits / (predicted + present), torch.nan)
    return Decisions(hits / predicted, hits / present, f1)


def mean_decisions_of(counts: ConfusionCounts, absent: str = "skip") -> Decisions:
    """Their means over the last dimension, as the averages of `precision_recall_f1`."""
    of_each = decisions_of(counts)
    # Never predicted is precision 0 where there was something to predict; else nothing is said of precision either.
    precision = torch.where(counts.present > 0, of_each.precision.nan_to_num(0.0), torch.nan)
    return Decisions(*(mean_of_present(values, absent) for values in (precision, of_each.recall, of_each.f1)))


@dataclass(frozen=True)
class InstanceMetrics:
    """Example-based figures of attribute recognition, (...) float64, from 0 to 1.

    Attributes:
        accuracy: mean of `|predicted ∩ present| / |predicted ∪ present|`.
        precision: mean of `|predicted ∩ present| / |predicted|`.
        recall: mean of `|predicted ∩ present| / |present|`.
        f1: harmonic mean of the two means.
    """

    accuracy: Float[Tensor, "*batch"]
    precision: Float[Tensor, "*batch"]
    recall: Float[Tensor, "*batch"]
    f1: Float[Tensor, "*batch"]


def instance_metrics(decided: Decided, targets: Targets) -> InstanceMetrics:
    """Accuracy, precision, recall and F1 of the labels of each sample, as in pedestrian attribute recognition.

    0/0 counts as 0, as in the field's evaluation code: a sample without a present label adds 0 to all three
    means, even where rightly nothing was predicted. F1 is the harmonic mean of the mean precision and the mean
    recall, not the mean of the samples' F1: that is `precision_recall_f1(…, average="sample").f1`.

    Args:
        decided: (..., N, C), true where the class is predicted.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out); samples without a known label are
            left out.

    Returns:
        Figures of the leading shape; NaN if no sample has a known label.

    Raises:
        ShapeError: as `confusion_counts`.

    >>> found = instance_metrics(torch.tensor([[True, True, False]]), torch.tensor([[1, 0, 0]]))
    >>> float(found.accuracy), float(found.precision), float(found.recall)
    (0.5, 0.5, 1.0)

    Reference: D. Li et al., A richly annotated dataset for pedestrian attribute recognition, arXiv 1603.07054,
    2016.
    """
    return instance_metrics_of(confusion_counts(decided, targets, way="sample"))


def instance_metrics_of(counts: ConfusionCounts) -> InstanceMetrics:
    """The figures of `instance_metrics` from the counts of each sample."""
    hits, predicted, present = counts.true_positives.double(), counts.predicted, counts.present
    union = predicted + counts.false_negatives
    accuracy, precision, recall = (
        torch.where(counts.known > 0, hits / of.clamp(min=1), torch.nan).nanmean(-1)
        for of in (union, predicted, present)
    )
    return InstanceMetrics(accuracy, precision, recall, _harmonic_mean(precision, recall))


def _harmonic_mean(precision: Tensor, recall: Tensor) -> Tensor:
    both = precision + recall
    return torch.where(both == 0, 0.0, 2 * precision * recall / both)


# --- accuracy -----------------------------------------------------------------------------------------------


@overload
def accuracy(
    decided: Decided,
    targets: Targets,
    *,
    average: str | None = ...,
    absent: str = ...,
    return_counts: Literal[False] = ...,
) -> Tensor: ...
@overload
def accuracy(
    decided: Decided, targets: Targets, *, average: str | None = ..., absent: str = ..., return_counts: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def accuracy(
    decided: Decided,
    targets: Targets,
    *,
    average: str | None = "micro",
    absent: str = "skip",
    return_counts: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Share of the known entries that are decided rightly (Hamming accuracy).

    Where positives are rare it says little: deciding that nothing is ever present scores one minus their share.

    Args:
        decided: (..., N, C), true where the class is predicted.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        average: `micro` takes all entries together, `macro` the mean over the classes, `sample` over the
            samples; None gives each class. Default `micro`. Without unknown entries the three are the same.
        absent: what a class (or sample) without a known entry is (one without positives has an accuracy):
            `skip` leaves it out, `zero` counts it as 0, `nan` makes the mean NaN. Default `skip`.
        return_counts: return also how many classes or samples have a known entry (`micro`: 1 or 0).

    Returns:
        The leading shape, float64, from 0 to 1; (..., C) of each class, NaN where nothing is known.

    Raises:
        OptionError: another `average` or `absent`.
        ShapeError: as `confusion_counts`.

    >>> accuracy(torch.tensor([[True, True, False]]), torch.tensor([[1, 0, -1]]))
    tensor(0.5000, dtype=torch.float64)

    Reference: G. Tsoumakas and I. Katakis, Multi-label classification: an overview, IJDWM 2007.
    """
    counts = _counts_for(average, decided, targets)
    values = counts.right.double() / counts.known
    mean = values if average is None else mean_of_present(values, absent)
    return (mean, (counts.known > 0).sum(-1)) if return_counts else mean


def hamming_loss(decided: Decided, targets: Targets, *, average: str | None = "micro", absent: str = "skip") -> Tensor:
    """Share of the known entries that are decided wrongly: one minus `accuracy`, with its options and errors.

    >>> hamming_loss(torch.tensor([[True, True, False, False]]), torch.tensor([[1, 0, 0, 0]]))
    tensor(0.2500, dtype=torch.float64)
    """
    return 1 - accuracy(decided, targets, average=average, absent=absent)


@overload
def subset_accuracy(
    decided: Decided, targets: Targets, *, absent: str = ..., return_counts: Literal[False] = ...
) -> Tensor: ...
@overload
def subset_accuracy(
    decided: Decided, targets: Targets, *, absent: str = ..., return_counts: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def subset_accuracy(
    decided: Decided, targets: Targets, *, absent: str = "skip", return_counts: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Share of the samples with every known label decided rightly (exact match).

    Args:
        decided: (..., N, C), true where the class is predicted.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        absent: what a sample without a known label is: `skip` leaves it out, `zero` counts it as 0, `nan`
            makes the share NaN. Default `skip`.
        return_counts: return also how many samples have a known label.

    Returns:
        The leading shape, float64, from 0 to 1; NaN if no sample has a known label under `skip`.

    Raises:
        OptionError: another `absent`.
        ShapeError: as `confusion_counts`.

    >>> subset_accuracy(torch.tensor([[True, False], [True, True]]), torch.tensor([[1, -1], [1, 0]]))
    tensor(0.5000, dtype=torch.float64)

    Reference: scikit-learn's `accuracy_score` of multi-label targets.
    """
    counts = confusion_counts(decided, targets, way="sample")
    mean = mean_of_present(all_right(counts), absent)
    return (mean, (counts.known > 0).sum(-1)) if return_counts else mean


def all_right(counts: ConfusionCounts) -> Float[Tensor, "*batch samples"]:
    """Whether every known label of each sample is right, 1 or 0, NaN where nothing is known."""
    return torch.where(counts.known > 0, (counts.right == counts.known).double(), torch.nan)


def balanced_accuracy(decided: Decided, targets: Targets, *, way: str = "class") -> Float[Tensor, "*batch values"]:
    """Mean of the true positive rate and the true negative rate, `(TP / (TP + FN) + TN / (TN + FP)) / 2`.

    Chance, and deciding everything alike, is 0.5 however rare the class. Where a side is missing there is
    nothing to balance and the value is NaN (scikit-learn's `balanced_accuracy_score` then takes the other side
    alone).

    Args:
        decided: (..., N, C), true where the class is predicted.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        way: `class` gives one value for each class, `sample` one for each sample. Default `class`.

    Returns:
        (..., C), or (..., N) by sample, float64; NaN without a known positive or without a known negative.

    Raises:
        OptionError: another `way`.
        ShapeError: as `confusion_counts`.

    >>> balanced_accuracy(torch.tensor([[True], [False], [True]]), torch.tensor([[1], [0], [0]]))
    tensor([0.7500], dtype=torch.float64)

    Reference: K. Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010.
    """
    return balanced_accuracy_of(confusion_counts(decided, targets, way=way))


def balanced_accuracy_of(counts: ConfusionCounts) -> Float[Tensor, "*batch classes"]:
    """The figures of `balanced_accuracy` from their counts."""
    hits, rejected = counts.true_positives.double(), counts.true_negatives.double()
    return (hits / counts.present + rejected / counts.absent) / 2


@overload
def mean_accuracy(
    decided: Decided, targets: Targets, *, way: str = ..., absent: str = ..., return_counts: Literal[False] = ...
) -> Tensor: ...
@overload
def mean_accuracy(
    decided: Decided, targets: Targets, *, way: str = ..., absent: str = ..., return_counts: Literal[True]
) -> tuple[Tensor, Tensor]: ...
def mean_accuracy(
    decided: Decided, targets: Targets, *, way: str = "class", absent: str = "skip", return_counts: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Mean of the balanced accuracies: the mA of pedestrian attribute recognition.

    Args:
        decided: (..., N, C), true where the class is predicted.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        way: `class` takes the mean over the classes, `sample` over the samples. Default `class`.
        absent: what a class (or sample) without a known positive or without a known negative is: `skip` leaves
            it out, `zero` counts it as 0, `nan` makes the mean NaN. Default `skip`.
        return_counts: return also how many classes (or samples) have both.

    Returns:
        The leading shape, float64, from 0 to 1; NaN if nothing has both under `skip`.

    Raises:
        OptionError: another `way` or `absent`.
        ShapeError: as `confusion_counts`.

    >>> mean_accuracy(torch.tensor([[True, True], [True, False]]), torch.tensor([[1, 1], [0, 0]]))
    tensor(0.7500, dtype=torch.float64)

    Reference: D. Li et al., A richly annotated dataset for pedestrian attribute recognition, arXiv 1603.07054,
    2016.
    """
    values = balanced_accuracy(decided, targets, way=way)
    mean = mean_of_present(values, absent)
    return (mean, (~values.isnan()).sum(-1)) if return_counts else mean


# --- checks -------------------------------------------------------------------------------------------------


def _check_decisions(decided: Any, targets: Any) -> None:
    check_inputs("decisions", decided, targets)
    if decided.dtype != torch.bool:
        raise ShapeError(f"decisions must be true or false, not {decided.dtype}: pass scores >= thresholds")


def check_way(way: str) -> None:
    if way not in WAYS:
        raise OptionError(unknown_name("way", way, WAYS))


def _counts_for(average: str | None, decided: Tensor, targets: Tensor) -> ConfusionCounts:
    """The counts whose figures the average is the mean of."""
    if average is not None and average not in AVERAGES:
        raise OptionError(unknown_name("average", average, AVERAGES))
    counts = confusion_counts(decided, targets, way="sample" if average == "sample" else "class")
    return counts.pooled() if average == "micro" else counts
