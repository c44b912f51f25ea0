"""Thresholds fitted on validation data, and an honest estimate of what they gain."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import stdev
from typing import Any, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from rarecall.errors import OptionError, ShapeError, unknown_name
from rarecall.metrics._decisions import precision_recall_f1
from rarecall.metrics._places import sort_rows
from rarecall.metrics._shared import check_inputs

Scores = Float[Tensor, "*batch samples classes"]
Targets = Shaped[Tensor, "*batch samples classes"]
PerClass = Float[Tensor, "*batch classes"]
Method = Literal["f1", "precision", "recall", "prevalence"]
Scope = Literal["class", "global"]

METHODS, SCOPES = ("f1", "precision", "recall", "prevalence"), ("class", "global")
SHRINKAGE = 2.0  # pseudo-positives that trainings and studies fit with; figures in `fit_thresholds`
NONE = 0.5  # entries that count where none is decided, in a geometric mean
BLOCK = 1 << 22
"""Entries that are sorted or fitted at once, so that the extra memory does not grow with the classes."""


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

    A class with `min_positives` or more gets its own threshold; the others share the one that is fitted to all
    entries, because a threshold fitted on one or two positives only fits them. Nothing is assumed of the scale
    of the scores: ranking losses have no natural zero.

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
        scope: `class`, or `global` for one threshold for all classes.
        min_positives: how many positives a class needs for a threshold of its own. Default 5, our choice; with
            `shrinkage`, which guards rare classes itself, 1.
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

    Reference: Z. Lipton et al., Optimal thresholding of classifiers to maximize F1 measure, ECML 2014.
    """
    check_inputs("scores", scores, targets)
    _check_options(method, at, scope, min_positives, shrinkage)
    if scope == "global":
        return _shared(scores, targets, method, at).expand(*scores.shape[:-2], scores.shape[-1]).clone()
    least = (1 if shrinkage is not None else 5) if min_positives is None else min_positives
    enough = (targets > 0).sum(-2) >= least
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
        OptionError: `folds` out of range, or as `fit_thresholds`.
        ShapeError: not (N, C), or as `fit_thresholds`.

    >>> scores, targets = torch.arange(8.0)[:, None], torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])[:, None]
    >>> gain = cross_validated_gain(scores, targets, folds=2, min_positives=1)
    >>> gain.base, gain.apparent > gain.honest
    (0.6666666666666666, True)

    Reference: G. Forman and M. Scholz, Apples-to-apples in cross-validation studies, SIGKDD Explorations 2010,
    on why F1 is taken over all folds together.
    """
    check_inputs("scores", scores, targets)
    if scores.ndim != 2:
        raise ShapeError(f"scores {tuple(scores.shape)} must be (samples, classes): pass one problem at a time")
    if not 2 <= folds <= len(scores):
        raise OptionError(f"folds is {folds}: it must be from 2 to the number of samples, {len(scores)}")
    fold = _stratified_folds(targets > 0, folds, seed).to(scores.device)
    parts = [fold == number for number in range(folds)]
    honest = torch.empty_like(targets, dtype=torch.bool)
    for held_out in parts:
        fitted = fit_thresholds(scores[~held_out], targets[~held_out], **options)
        honest[held_out] = scores[held_out] >= fitted
    baseline, apparent = scores >= base, scores >= fit_thresholds(scores, targets, **options)
    fold_gains = (_macro_f1(honest[part], targets[part]) - _macro_f1(baseline[part], targets[part]) for part in parts)
    return Gain(
        _macro_f1(baseline, targets), _macro_f1(apparent, targets), _macro_f1(honest, targets), tuple(fold_gains)
    )


def class_blocks(*tensors: Tensor, entries: int = BLOCK) -> Iterator[tuple[Tensor, ...]]:
    """Tensors (..., N, C) as rows (classes, N), with some classes of every leading problem at a time.

    A block has `entries` or fewer, though one class at least.
    """
    width = max(entries // max(tensors[0].shape[:-1].numel(), 1), 1)
    for parts in zip(*(tensor.split(width, -1) for tensor in tensors), strict=True):
        yield tuple(part.mT.contiguous().flatten(0, -2) for part in parts)


def join_blocks(blocks: list[Tensor], lead: torch.Size) -> Tensor:
    """What was found for the rows of each block of `class_blocks`, (classes, ...), as (*lead, C, ...)."""
    return torch.cat([block.unflatten(0, (*lead, -1)) for block in blocks], len(lead))


def sorted_where(chosen: Tensor, rows: Tensor) -> Tensor:
    """The chosen values of each row in ascending order, filled up with +∞; float32 or float64."""
    wide = rows if rows.dtype == torch.float64 else rows.float()
    values = torch.where(chosen, wide, torch.inf)
    sort_rows(values)
    return values


def _check_options(method: str, at: float | None, scope: str, min_positives: int | None, shrinkage: Any) -> None:
    if method not in METHODS:
        raise OptionError(unknown_name("method", method, METHODS))
    if scope not in SCOPES:
        raise OptionError(unknown_name("scope", scope, SCOPES))
    if (at is not None) != (method in ("precision", "recall")):
        advice = "leave it out" if at is not None else "say which value to reach, such as at=0.9"
        raise OptionError(f"method {method!r} with at={at}: {advice}")
    if at is not None and not 0 < at <= 1:
        raise OptionError(f"at is {at}: it must be above 0 and at most 1")
    if min_positives is not None and min_positives < 0:
        raise OptionError(f"min_positives is {min_positives}: it must be 0 or more")
    _check_shrinkage(method, scope, shrinkage)


def _check_shrinkage(method: str, scope: str, shrinkage: float | None) -> None:
    if shrinkage is None:
        return
    if not 0 <= shrinkage < float("inf"):
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
        ranked = _rank(rows, wanted)
        if method == "prevalence":
            decided = _nearest_cut(ranked, ranked.present)
        else:
            decided = _best_cut(ranked, CRITERIA[method], at or 0.0)
        if shrinkage:
            decided = _nearest_cut(ranked, _shrunk(ranked, decided, common.to(ranked.ordered.dtype), shrinkage))
        fitted.append(_threshold(ranked, decided, scores.dtype))
    return join_blocks(fitted, scores.shape[:-2])


@dataclass(frozen=True)
class _Ranked:
    """The scores of some classes in order; a cut is named by how many known entries lie above it."""

    ordered: Float[Tensor, "rows samples"]  # ascending; unknown entries are +∞, so they stand last
    positive: Float[Tensor, "rows most"]  # the positives' scores, ascending, filled up with +∞
    known: Int[Tensor, " rows"]
    present: Int[Tensor, " rows"]


def _rank(rows: Tensor, wanted: Tensor) -> _Ranked:
    present = (wanted > 0).sum(1)
    most = max(int(present.max()), 1)
    positive = sorted_where(wanted > 0, rows)[:, :most].contiguous()
    return _Ranked(sorted_where(wanted >= 0, rows), positive, (wanted >= 0).sum(1), present)


def _best_cut(ranked: _Ranked, criterion: Callable[..., Tensor], at: float) -> Tensor:
    """(rows,), how many entries the best cut decides; of equally good ones the highest.

    A cut below a negative is never better than the one above it, so only the positives' scores are tried.
    """
    cuts = ranked.positive.flip(1)
    decided = ranked.known[:, None] - torch.searchsorted(ranked.ordered, cuts)
    hits = ranked.present[:, None] - torch.searchsorted(ranked.positive, cuts)
    value = criterion(hits.double(), decided.double(), ranked.present[:, None].double(), at)
    best = value.argmax(1, keepdim=True)
    return torch.where(value.gather(1, best) > 0, decided.gather(1, best), 0)[:, 0]


def _f1(hits: Tensor, decided: Tensor, present: Tensor, _: float) -> Tensor:
    return 2 * hits / (decided + present)


def _recall_at_precision(hits: Tensor, decided: Tensor, _: Tensor, at: float) -> Tensor:
    return torch.where(hits / decided >= at, hits, 0.0)


def _reaches_recall(hits: Tensor, _: Tensor, present: Tensor, at: float) -> Tensor:
    return (hits / present >= at).double()


CRITERIA = {"f1": _f1, "precision": _recall_at_precision, "recall": _reaches_recall}


def _shrunk(ranked: _Ranked, decided: Tensor, shared: Tensor, pseudo: float) -> Tensor:
    """How many to decide: between the class's own optimum and what the shared threshold decides of the class."""
    by_shared = ranked.known - torch.searchsorted(ranked.ordered, shared)[:, 0]
    weight = ranked.present / (ranked.present + pseudo)
    return (decided.clamp(min=NONE) ** weight * by_shared.clamp(min=NONE) ** (1 - weight)).round().long()


def _nearest_cut(ranked: _Ranked, wanted: Tensor) -> Tensor:
    """(rows,), how many entries the cut decides that is nearest to `wanted`; ties cannot be parted."""
    last = (ranked.known - wanted).clamp(max=ranked.ordered.shape[1] - 1)[:, None]
    score = ranked.ordered.gather(1, last)
    with_ties = ranked.known - torch.searchsorted(ranked.ordered, score)[:, 0]
    without = (ranked.known - torch.searchsorted(ranked.ordered, score, right=True)[:, 0]).clamp(min=0)
    nearest = torch.where(with_ties - wanted <= wanted - without, with_ties, without)
    return torch.where(wanted > 0, nearest, 0)


def _threshold(ranked: _Ranked, decided: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows,), the score halfway between the lowest decided entry and the next below, in the type of the scores."""
    last, ordered = (ranked.known - decided)[:, None], ranked.ordered
    at = ordered.gather(1, last.clamp(max=ordered.shape[1] - 1)).to(dtype)
    below = torch.where(last > 0, ordered.gather(1, (last - 1).clamp(min=0)), -torch.inf).to(dtype)
    halfway = at / 2 + below / 2
    exact = (halfway > below) & (halfway <= at)  # not so between neighbouring numbers, nor where nothing is below
    return torch.where(decided > 0, torch.where(exact, halfway, at)[:, 0], torch.inf)


def _macro_f1(decided: Tensor, targets: Tensor) -> float:
    return float(precision_recall_f1(decided, targets, average="macro").f1)


def _stratified_folds(positive: Tensor, folds: int, seed: int) -> Tensor:
    """(N,), the fold of each item: each class's positives dealt out evenly, those of the rarest class first.

    The classes go one after the other, because where the next one's positives go depends on where those of the
    rarer ones went; nothing else is a loop.
    """
    shuffled = torch.randperm(len(positive), generator=torch.Generator().manual_seed(seed))
    order = positive.sum(0).argsort(stable=True).cpu()
    positive = positive.cpu()[shuffled][:, order].T.contiguous()
    fold = torch.full((len(shuffled),), -1)
    for members in (*positive, torch.ones_like(fold, dtype=torch.bool)):
        left = (members & (fold < 0)).nonzero()[:, 0]
        if len(left):
            dealt = torch.bincount(fold[members & (fold >= 0)], minlength=folds)
            size = torch.bincount(fold[fold >= 0], minlength=folds)
            fold[left] = _deal(dealt, size, len(left))
    result = torch.empty_like(fold)
    result[shuffled] = fold
    return result


def _deal(dealt: Tensor, size: Tensor, number: int) -> Tensor:
    """(number,) folds, each time one that has the fewest so far and, of those, one that is smallest."""
    smallest_first = size.argsort(stable=True)
    level = dealt[smallest_first][:, None] + torch.arange(number)
    places = level.flatten().argsort(stable=True)[:number]
    return smallest_first[places // number]
