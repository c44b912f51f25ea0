"""Laws that every metric keeps, and a test that none is missing from the list."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass

import pytest
import torch
from torch import Tensor

from rarecall import metrics
from rarecall.errors import ShapeError
from tests.block_sizes import block_sizes, working_on
from tests.loops import each

Call = Callable[[Tensor, Tensor], object]


@dataclass(frozen=True)
class Case:
    """A metric as a function of scores and targets.

    Attributes:
        call: the function.
        of: what its values belong to: `class`, `sample` or nothing for the whole.
        takes: what it makes of the scores first: `scores`, `decisions` or `probabilities`.
        ties_by_place: whether the order of samples and classes matters where scores are equal.
    """

    call: Call
    of: str
    takes: str = "scores"
    ties_by_place: bool = False


def decided(call: Call, of: str) -> Case:
    return Case(lambda scores, targets: call(scores >= 0, targets), of, "decisions")


def likely(call: Call, of: str) -> Case:
    return Case(lambda scores, targets: call(scores.sigmoid(), targets), of, "probabilities")


def by_average(function: Callable[..., object], *averages: str | None) -> dict[str, Case]:
    return {
        f"{function.__name__}, {average}": decided(
            lambda d, y, average=average: function(d, y, average=average), "class" if average is None else ""
        )
        for average in averages
    }


CASES = {
    "average_precision": Case(metrics.average_precision, "class"),
    "mean_average_precision": Case(metrics.mean_average_precision, ""),
    "mean_average_precision, sample": Case(lambda s, y: metrics.mean_average_precision(s, y, way="sample"), ""),
    "roc_auc": Case(metrics.roc_auc, "class"),
    "recall_at_precision": Case(lambda s, y: metrics.recall_at_precision(s, y, 0.6), "class"),
    "coverage_error": Case(metrics.coverage_error, "sample"),
    "ranking_loss": Case(metrics.ranking_loss, "sample"),
    **by_average(metrics.precision_recall_f1, None, "macro", "micro", "sample"),
    **by_average(metrics.accuracy, None, "macro", "micro", "sample"),
    **by_average(metrics.hamming_loss, None, "macro", "micro", "sample"),
    "confusion_counts": decided(metrics.confusion_counts, "class"),
    "confusion_counts, sample": decided(lambda d, y: metrics.confusion_counts(d, y, way="sample"), "sample"),
    "subset_accuracy": decided(metrics.subset_accuracy, ""),
    "balanced_accuracy": decided(metrics.balanced_accuracy, "class"),
    "balanced_accuracy, sample": decided(lambda d, y: metrics.balanced_accuracy(d, y, way="sample"), "sample"),
    "mean_accuracy": decided(metrics.mean_accuracy, ""),
    "instance_metrics": decided(metrics.instance_metrics, ""),
    "top_k_recall": Case(lambda s, y: metrics.top_k_recall(s, y, 2), "", ties_by_place=True),
    "brier_score": likely(metrics.brier_score, "class"),
    "expected_calibration_error": likely(metrics.expected_calibration_error, "class"),
    "reliability": likely(lambda p, y: metrics.reliability(p, y, bins=3), "class"),
    "fit_thresholds": Case(metrics.fit_thresholds, "class"),
    "fit_temperature": Case(metrics.fit_temperature, ""),
    "fit_platt": Case(lambda s, y: metrics.fit_platt(s, y), "class"),
}
# Of one table only, of another shape, or made of the metrics above; each has tests of its own.
OTHERS = {
    "calibration_figures", "cross_validated_gain", "cumulative_matching", "decision_figures", "mean_of_present",
    "measure", "ranking_figures", "summarise", "top_1_accuracy", "top_k",
}  # fmt: skip


def sample(*shape: int, seed: int = 0, decimals: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(-1, 2, shape, generator=generator)
    return (torch.randn(*shape, generator=generator).double() + targets).round(decimals=decimals), targets


def flat(value: object) -> list[Tensor]:
    """The tensors of a result, a record or one."""
    return [torch.as_tensor(part) for part in vars(value).values()] if is_dataclass(value) else [torch.as_tensor(value)]


def close(actual: object, expected: object, tolerance: float = 1e-9) -> None:
    for one, other in zip(flat(actual), flat(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, equal_nan=True, check_dtype=False)


def picked(value: object, places: Tensor, dim: int = -1) -> list[Tensor]:
    """Some classes' (or samples') part of a result; bins stand behind the classes."""
    return [part.index_select(dim, places) for part in flat(value)]


def test_every_metric_is_listed() -> None:
    functions = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
    assert functions == {name.split(",")[0] for name in CASES} | OTHERS


@each(name=CASES)
def test_the_order_of_samples_does_not_matter(name: str) -> None:
    case, (scores, targets) = CASES[name], sample(40, 6, decimals=8 if CASES[name].ties_by_place else 1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    actual, expected = case.call(scores[order], targets[order]), case.call(scores, targets)
    if case.of == "sample":
        for one, other in zip(flat(actual), picked(expected, order), strict=True):
            close(one, other)
    else:
        close(actual, expected)


@each(name=CASES)
def test_the_order_of_classes_does_not_matter(name: str) -> None:
    case, (scores, targets) = CASES[name], sample(40, 6, decimals=8 if CASES[name].ties_by_place else 1)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    actual, expected = case.call(scores[:, order], targets[:, order]), case.call(scores, targets)
    if case.of == "class":
        dim = -2 if name == "reliability" else -1
        for one, other in zip(flat(actual), picked(expected, order, dim), strict=True):
            close(one, other)
    else:
        close(actual, expected)


@each(name=CASES)
def test_what_an_unknown_entry_scores_does_not_matter(name: str) -> None:
    case, (scores, targets) = CASES[name], sample(40, 6)
    expected = case.call(scores, targets)
    for other in (-30.0, 0.0, 30.0):
        close(case.call(scores.masked_fill(targets < 0, other), targets), expected)


@each(name=CASES)
def test_a_sample_of_unknown_labels_changes_nothing(name: str) -> None:
    case, (scores, targets) = CASES[name], sample(40, 6)
    expected = case.call(scores, targets)
    longer = torch.cat([scores, torch.randn(3, 6).double()]), torch.cat([targets, torch.full((3, 6), -1)])
    actual = case.call(*longer)
    if case.of == "sample":
        for one, other in zip(picked(actual, torch.arange(40)), flat(expected), strict=True):
            close(one, other)
    else:
        close(actual, expected)


@each(name=[name for name, case in CASES.items() if case.of == "class" and "fit" not in name])
def test_a_class_is_what_its_known_entries_say(name: str) -> None:
    case, (scores, targets) = CASES[name], sample(40, 4)
    whole = flat(case.call(scores, targets))
    for place in range(4):
        known = targets[:, place] >= 0
        alone = flat(case.call(scores[known, place, None], targets[known, place, None]))
        dim = -2 if name == "reliability" else -1
        for one, other in zip(whole, alone, strict=True):
            close(one.select(dim, place), other.select(dim, 0))


@each(name=CASES)
def test_leading_dimensions_are_a_loop(name: str) -> None:
    case, (scores, targets) = CASES[name], sample(2, 3, 20, 4)
    whole = flat(case.call(scores, targets))
    for i in range(2):
        for j in range(3):
            for one, other in zip(whole, flat(case.call(scores[i, j], targets[i, j])), strict=True):
                close(one[i, j], other)


@each(dtype=[torch.float32, torch.float16, torch.bfloat16], name=CASES)
def test_the_type_of_scores_and_targets_does_not_matter(name: str, dtype: torch.dtype) -> None:
    case, (scores, targets) = CASES[name], sample(40, 6)
    scores = scores.to(dtype)
    # Probabilities are rounded to the type, whatever else is computed in float64.
    tolerance = 10 * torch.finfo(dtype).eps if case.takes == "probabilities" else 1e-9
    expected = case.call(scores.double(), targets)
    for wanted in (targets.to(torch.int8), targets.float()):
        close(case.call(scores, wanted), expected, max(tolerance, tolerance_of(name, dtype)))


def tolerance_of(name: str, dtype: torch.dtype) -> float:
    """Thresholds come in the type of the scores, so that halfway is rounded to it; fits iterate in float64."""
    return 0.02 if name.startswith("fit") and dtype != torch.float32 else 1e-6


@each(name=CASES)
def test_nothing_is_measured_without_entries(name: str) -> None:
    call = CASES[name].call
    for shape in ((0, 3), (3, 0), (2, 0, 3)):
        for value in flat(call(torch.zeros(shape), torch.zeros(shape, dtype=torch.int8))):
            assert not value.numel() or not value.is_floating_point() or not value.isfinite().any() or "fit" in name


@each(name=CASES)
def test_wrong_inputs_are_named(name: str) -> None:
    case, call, (scores, targets) = CASES[name], CASES[name].call, sample(5, 3)
    with pytest.raises(ShapeError, match=r"\(5, 3\).*\(5, 2\).*differ"):
        call(scores, targets[:, :2])
    with pytest.raises(ShapeError, match=r"target at \(2, 1\) is 2"):
        call(scores, targets.masked_fill(torch.arange(15).reshape(5, 3) == 7, 2))
    if case.takes == "decisions":
        return  # which are true or false
    for value, word in ((math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite")):
        bad = scores.clone()
        bad[2, 1] = value
        if case.takes == "probabilities" and word == "infinite":
            continue  # whose sigmoid is a probability
        with pytest.raises(ShapeError, match=rf"at \(2, 1\) is {word}"):
            call(bad, targets)


def ranked_people(distances: Tensor, targets: Tensor) -> object:
    numbers = (torch.arange(size) % 5 for size in distances.shape * 2)
    people = dict(
        zip(("query_identities", "gallery_identities", "query_cameras", "gallery_cameras"), numbers, strict=True)
    )
    people["query_cameras"] = people["query_cameras"] + 9
    return vars(metrics.cumulative_matching(distances - targets, **people))


def everything(scores: Tensor, targets: Tensor) -> object:
    groups = {"some": torch.tensor([0, 2]).numpy()}
    return vars(metrics.measure(scores, targets, probabilities=scores.sigmoid(), groups=groups))


def collected(scores: Tensor, targets: Tensor) -> object:
    collector = metrics.Collector(scores.shape[1], memory_limit=500)
    for batch in zip(scores.split(7), targets.split(7), torch.randperm(len(scores)).split(7), strict=True):
        collector.update(*batch)
    return collector.compute()


# What is computed in blocks of its own, besides the metrics above.
IN_BLOCKS: dict[str, Callable[[Tensor, Tensor], object]] = {
    **{name: case.call for name, case in CASES.items()},
    "collector": collected,
    "cross_validated_gain": lambda s, y: vars(metrics.cross_validated_gain(s, y, shrinkage=2.0)),
    "cumulative_matching": ranked_people,
    "measure": everything,
    "top_k": lambda s, y: metrics.top_k(s, 2, targets=y),
}
SIZES = block_sizes(metrics)


def alike(actual: object, expected: object) -> None:
    pair = (vars(value) if is_dataclass(value) else value for value in (actual, expected))
    torch.testing.assert_close(*pair, rtol=1e-9, atol=1e-9, equal_nan=True)


@each(name=IN_BLOCKS)
def test_blocks_do_not_matter(name: str) -> None:
    call, batch = IN_BLOCKS[name], sample(40, 6)
    expected = call(*batch)
    for sizes, entries in ((SIZES, 1), (SIZES, 50), (SIZES, 300), *(([one], 50) for one in SIZES)):
        with working_on(sizes, entries):
            alike(call(*batch), expected)


def test_every_size_of_a_block_decides_something_that_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for module, constant in SIZES:
        with working_on([(module, constant)], None):
            assert any(fails(call) for call in IN_BLOCKS.values()), f"{module.__name__}.{constant}: add a case for it"


def fails(call: Callable[[Tensor, Tensor], object]) -> bool:
    try:
        call(*sample(40, 6))
    except TypeError:
        return True
    return False
