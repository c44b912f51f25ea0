"""Thresholds fitted on validation data, and an honest estimate of what they gain."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from statistics import stdev
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rarecall.errors import OptionError, ShapeError, unknown_name
from rarecall.metrics._blocks import BLOCK, class_blocks, count_positives, join_blocks
from rarecall.metrics._cuts import SortedScores, Worth, f1, reaches_recall, recall_if_precise
from rarecall.metrics._decisions import ConfusionCounts, confusion_counts, mean_decisions_of
from rarecall.metrics._shared import check_inputs, check_whole, is_number, is_whole
from rarecall.stratification import stratified_parts

Scores = Float[Tensor, "*batch samples classes"]
Targets = Shaped[Tensor, "*batch samples classes"]
PerClass = Float[Tensor, "*batch classes"]
Method = Literal["f1", "precision", "recall", "prevalence"]
Scope = Literal["class", "global"]

OPTIONS = ("method", "at", "scope", "min_positives", "shrinkage")
METHODS, SCOPES = ("f1", "precision", "recall", "prevalence"), ("class", "global")
SHRINKAGE = 2.0  # pseudo-positives that trainings and studies fit with; figures in `fit_thresholds`
NONE = 0.5  # entries that count where none is decided, in a geometric mean
LEAST = {"f1": 5, "precision": 0, "recall": 1, "prevalence": 1}
"""Positives that a class needs for a threshold of its own, without shrinkage."""


def fit_thresholds(
    scores: Scores,
    targets: Targets,
    *,
    method: Method = "f1",
    at: float | None = None,
    scope: Scope = "class",
    min_positives: int | None = None,
    shrinkage: float | None = None,
) -> PerClass:
    r"""Thresholds fitted on validation data: decide `score >= threshold`.

    A class with `min_positives` or more gets its own threshold; the others share the one that is fitted to the
    entries of all classes together, as if they were one class: for `f1` the one with the highest micro F1. It is
    there because the F1 of one or two positives says little; but it says nothing of the precision, the recall
    or the number that it comes to in a class. Nothing is assumed of the scale of the scores: ranking losses have
    no natural zero.

    | method | the threshold | where equally good |
    |---|---|---|
    | `f1` | maximises F1, `2 TP / (2 TP + FP + FN)` | the highest |
    | `precision` | reaches the precision `at` with the highest recall | the highest |
    | `recall` | is the highest that reaches the recall `at` | |
    | `prevalence` | decides as many entries as there are positives, or as near to it as ties allow | the lowest |

    With `shrinkage` m, a class with n positives of which its own optimum decides k entries, and the shared
    threshold s, decides `k^(n / (n + m)) s^(m / (n + m))`, their geometric mean with the weights n and m (none
    counts as one half). So a class with many positives keeps its optimum and a rare one goes towards the
    threshold of all. Only the order of the class's own scores counts, so that classes may differ in scale. With
    m = 2, macro F1 out of five folds was higher than by the default: by 1.7 points with linear heads on Corel5k
    (0.8 with the two-way loss), where most classes are rare, by 0.8 on thinned digits (0.2), and the same on
    PA-100K and scene. Trainings and studies fit with it (`SHRINKAGE`).

    Args:
        scores: (..., N, C), of the validation part; never of the part that is reported.
        targets: (..., N, C), 1 present, 0 absent, -1 unknown (left out).
        method: as in the table.
        at: the precision or recall to reach, above 0 and at most 1; for the methods of that name only.
        scope: `class`, or `global` for the shared threshold for all classes.
        min_positives: how many positives a class needs for a threshold of its own. Default for `f1` 5, our
            choice, or 1 with `shrinkage`, which guards rare classes itself; 1 for `recall` and `prevalence`; 0
            for `precision`, of which a class without positive can have none: nothing of it is decided.
        shrinkage: pseudo-positives m, 0 or more, for `f1` and the scope `class` only. Default None: none.

    Returns:
        (..., C) in the type of the scores, halfway between the lowest score that is decided positive and the
        next below; +∞, which decides nothing, where there is no positive at all and where no threshold reaches
        the precision `at`.

    Raises:
        OptionError: an unknown method or scope, a number out of range, or options that do not go together.
        ShapeError: the shapes differ, or a score is not finite.

    >>> scores, targets = torch.tensor([[3.0], [2.0], [1.0]]), torch.tensor([[1], [0], [1]])
    >>> fit_thresholds(scores, targets, min_positives=1)
    tensor([1.])
    >>> fit_thresholds(scores, targets, method="precision", at=0.9, min_positives=1)
    tensor([2.5000])

    Memory: a sorted copy of the scores, in float32 or wider, if any class shares a threshold; else that of a block.

    Reference: Z. Lipton et al., Optimal thresholding of classifiers to maximize F1 measure, ECML 2014.
    """
    check_inputs("scores", scores, targets)
    _check_options(method, at, scope, min_positives, shrinkage)
    if scope == "global":
        return _shared(scores, targets, method, at).expand(*scores.shape[:-2], scores.shape[-1]).clone()
    default = LEAST[method] if shrinkage is None else 1
    enough = count_positives(targets, -2) >= (default if min_positives is None else min_positives)
    if enough.all() and not shrinkage:
        return _own(scores, targets, method, at)
    shared = _shared(scores, targets, method, at)
    own = _own(scores, targets, method, at, shrinkage or 0.0, shared)
    return torch.where(enough, own, shared)


@dataclass(frozen=True)
class Gain:
    """Macro F1 at fitted thresholds, as it seems and as it is, from 0 to 1.

    Attributes:
        base: at the threshold that was given to compare with.
        apparent: at thresholds fitted to the same items, which is too high.
        honest: at thresholds fitted to the other folds, over the decisions of all folds together.
        fold_gains: the honest gain within each fold; NaN for a fold without a positive.
    """

    base: float
    apparent: float
    honest: float
    fold_gains: tuple[float, ...]

    @property
    def gain(self) -> float:
        """What fitted thresholds gain on items that they were not fitted to."""
        return self.honest - self.base

    @property
    def optimism(self) -> float:
        """How much of the apparent figure is owed to fitting and measuring on the same items."""
        return self.apparent - self.honest

    @property
    def spread(self) -> float:
        """Standard deviation of the gain over the folds that have a positive; NaN if there are not two."""
        gains = [gain for gain in self.fold_gains if gain == gain]
        return stdev(gains) if len(gains) > 1 else float("nan")


def cross_validated_gain(
    scores: Float[Tensor, "samples classes"],
    targets: Shaped[Tensor, "samples classes"],
    *,
    folds: int = 5,
    seed: int = 0,
    base: float = 0.0,
    **options: Any,
) -> Gain:
    """What fitted thresholds gain in macro F1, estimated by cross-validation on the validation data.

    The thresholds of each fold are fitted to the other folds. The folds deal out the positives of each class
    evenly, the rarest class first; within that the items are in a random order.

    Args:
        scores: (N, C), of the validation part.
        targets: (N, C), 1 present, 0 absent, -1 unknown (left out).
        folds: into how many parts, 2 to N. Default 5.
        seed: of the order of the items.
        base: the threshold to compare with. Default 0, a probability of one half if the scores are logits.
        options: of `fit_thresholds`.

    Returns:
        Macro F1 is over the classes with a positive; every figure is NaN if there is none.

    Raises:
        OptionError: `folds` out of range, a seed or base that is no such number, an unknown option, or as
            `fit_thresholds`.
        ShapeError: not (N, C), or as `fit_thresholds`.

    >>> scores, targets = torch.arange(8.0)[:, None], torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])[:, None]
    >>> gain = cross_validated_gain(scores, targets, folds=2, min_positives=1, seed=1)
    >>> gain.base, gain.apparent > gain.honest
    (0.6666666666666666, True)

    Memory: that of `fit_thresholds`, and one byte an entry for the targets of the other folds.

    Reference: G. Forman and M. Scholz, Apples-to-apples in cross-validation studies, SIGKDD Explorations 2010,
    on why F1 is taken over all folds together.
    """
    check_inputs("scores", scores, targets)
    if scores.ndim != 2:
        raise ShapeError(f"scores {tuple(scores.shape)} must be (samples, classes): pass one problem at a time")
    _check_folds(folds, seed, base, len(scores), options)
    fold = _folds(targets, folds, seed).to(scores.device)
    parts = [(fold == number).nonzero()[:, 0] for number in range(folds)]
    fitted = fit_thresholds(scores, targets, **options)
    apparent = [_counts_at(fitted, scores, targets, part) for part in parts]
    baseline = [_counts_at(base, scores, targets, part) for part in parts]
    honest = []
    for part in parts:
        others = targets.to(torch.int8, copy=True).index_fill_(0, part, -1)
        honest.append(_counts_at(fit_thresholds(scores, others, **options), scores, targets, part))
    fold_gains = (_macro_f1([after]) - _macro_f1([before]) for before, after in zip(baseline, honest, strict=True))
    return Gain(_macro_f1(baseline), _macro_f1(apparent), _macro_f1(honest), tuple(fold_gains))


def _check_folds(folds: Any, seed: Any, base: Any, samples: int, options: dict[str, Any]) -> None:
    if not is_whole(folds) or not 2 <= folds <= samples:
        raise OptionError(f"folds is {folds}: it must be a whole number from 2 to the number of samples, {samples}")
    if not is_whole(seed):
        raise OptionError(f"seed is {seed}: it must be a whole number")
    if not is_number(base):
        raise OptionError(f"base is {base}: it must be one finite number")
    for name in options:
        if name not in OPTIONS:
            raise OptionError(unknown_name("option", name, OPTIONS))


def _check_options(method: str, at: float | None, scope: str, min_positives: int | None, shrinkage: Any) -> None:
    if method not in METHODS:
        raise OptionError(unknown_name("method", method, METHODS))
    if scope not in SCOPES:
        raise OptionError(unknown_name("scope", scope, SCOPES))
    if (at is not None) != (method in ("precision", "recall")):
        advice = "leave it out" if at is not None else "say which value to reach, such as at=0.9"
        raise OptionError(f"method {method!r} with at={at}: {advice}")
    if at is not None and not (is_number(at) and 0 < at <= 1):
        raise OptionError(f"at is {at}: it must be above 0 and at most 1")
    if min_positives is not None:
        check_whole("min_positives", min_positives, 0)
    _check_shrinkage(method, scope, shrinkage)


def _check_shrinkage(method: str, scope: str, shrinkage: float | None) -> None:
    if shrinkage is None:
        return
    if not is_number(shrinkage) or shrinkage < 0:
        raise OptionError(f"shrinkage is {shrinkage}: it must be 0 or more")
    if method != "f1" or scope != "class":
        raise OptionError(f"shrinkage with method {method!r} and scope {scope!r}: it is for 'f1' and 'class' only")


def _shared(scores: Tensor, targets: Tensor, method: str, at: float | None) -> Tensor:
    """(..., 1), fitted to the entries of all classes."""
    return _own(scores.flatten(-2)[..., None], targets.flatten(-2)[..., None], method, at)


def _own(
    scores: Tensor,
    targets: Tensor,
    method: str,
    at: float | None,
    shrinkage: float = 0.0,
    shared: Tensor | None = None,
) -> Tensor:
    """(..., C), each class fitted for itself, or partly by what the shared threshold decides of it."""
    scores = scores.detach() if scores.is_floating_point() else scores.double()
    if not scores.numel():
        return scores.new_full((*scores.shape[:-2], scores.shape[-1]), torch.inf)
    fitted = []
    every = scores.new_zeros(()) if shared is None else shared[..., None, :]
    each = every.expand(*scores.shape[:-2], 1, scores.shape[-1])
    for rows, wanted, common in class_blocks(scores, targets, each):
        ranked = SortedScores.of(rows, wanted)
        decided = ranked.nearest(ranked.present) if method == "prevalence" else ranked.best(_worth(method, at or 0.0))
        if shrinkage:
            decided = ranked.nearest(_shrunk(ranked, decided, common.to(ranked.ordered.dtype), shrinkage))
        fitted.append(ranked.threshold(decided, scores.dtype))
    return join_blocks(fitted, scores.shape[:-2])


def _worth(method: str, at: float) -> Worth:
    """What cuts are worth to a method that looks for the best."""
    ways = {"precision": partial(recall_if_precise, precision=at), "recall": partial(reaches_recall, recall=at)}
    return ways.get(method, f1)


def _shrunk(ranked: SortedScores, decided: Tensor, shared: Tensor, pseudo: float) -> Tensor:
    """How many to decide: between the class's own optimum and what the shared threshold decides of the class."""
    by_shared = ranked.at_least(shared)[:, 0]
    weight = ranked.present / (ranked.present + pseudo)
    return (decided.clamp(min=NONE) ** weight * by_shared.clamp(min=NONE) ** (1 - weight)).round().long()


def _counts_at(thresholds: Tensor | float, scores: Tensor, targets: Tensor, samples: Tensor) -> ConfusionCounts:
    """What the thresholds decide of some samples, of which not many are copied at a time."""
    blocks = samples.split(max(BLOCK // max(scores.shape[1], 1), 1))
    return _sum(confusion_counts(scores[some] >= thresholds, targets[some]) for some in blocks)


def _sum(counts: Iterable[ConfusionCounts]) -> ConfusionCounts:
    every = zip(*(vars(part).values() for part in counts), strict=True)
    return ConfusionCounts(*(torch.stack(values).sum(0) for values in every))


def _macro_f1(counts: Iterable[ConfusionCounts]) -> float:
    return float(mean_decisions_of(_sum(counts)).f1)


def _folds(targets: Tensor, folds: int, seed: int) -> Tensor:
    """(N,), the fold of each item, in a random order within what stratification asks for."""
    return torch.from_numpy(stratified_parts((targets > 0).cpu().numpy(), [1 / folds] * folds, seed))
