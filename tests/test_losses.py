"""Every loss is listed, and gives the values of its scalar reference and of its authors."""

import inspect

import pytest
import torch

from rarecall import losses
from tests import references
from tests.loops import each
from tests.loss_cases import (
    BY_ENTRY,
    CASES,
    CASES_BY_ENTRY,
    GRIDS,
    NO_GRIDS,
    ONE_SHAPE,
    POINTWISE,
    REDUCTIONS,
    RULES,
    call,
    close,
    function_of,
    hold_threads,
    needed,
    reference,
    sample,
)

one_thread = pytest.fixture(autouse=True, scope="module")(hold_threads(1))

# --- the table ---------------------------------------------------------------------------------------------------


def test_every_loss_is_in_the_table_of_cases_with_its_defaults():
    assert sorted(name for name, options in CASES if not options) == losses.names()


def test_every_option_with_a_number_is_in_the_table_of_grids():
    numeric = {
        (name, parameter.name)
        for name in losses.names()
        for parameter in inspect.signature(function_of(name)).parameters.values()
        if isinstance(parameter.default, float)
    }
    assert numeric <= set(GRIDS) | set(NO_GRIDS)


def test_the_cases_give_every_loss_what_it_cannot_do_without():
    for name in losses.names():
        parameters = list(inspect.signature(function_of(name)).parameters.values())[2:]
        without_default = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
        assert set(needed(name, torch.zeros(3, 4))) == without_default, name


def test_every_loss_belongs_to_one_of_the_four_ideas():
    margins = ("softmax-regression", "lsep", "zlpr", "multi-similarity", "circle", "two-way", "distributionally-robust")
    assert sorted([*POINTWISE, *margins, *RULES]) == losses.names()


def test_every_loss_is_public_under_the_name_of_its_function():
    assert {name.replace("-", "_") for name in losses.names()} <= set(losses.__all__)


# --- values ------------------------------------------------------------------------------------------------------


@each(case=CASES, reduction=REDUCTIONS, shape=[(6, 4), (1, 5), (5, 1)])
def test_agrees_with_the_scalar_reference(case, reduction, shape):
    for seed in range(4):
        logits, targets = sample(*shape, seed=seed)
        expected = reference(case, logits, targets, reduction=reduction)
        close(call(case, logits, targets, reduction=reduction), expected)


@each(case=ONE_SHAPE)
def test_terms_agree_with_the_scalar_reference(case):
    logits, targets = sample(6, 4)
    targets[2] = targets[:, 1] = -1
    terms = call(case, logits, targets, reduction="none")
    close(terms.flatten(), reference(case, logits, targets, reduction="none"))


@each(case=ONE_SHAPE)
def test_terms_have_the_shape_of_entries_rows_or_columns(case):
    logits, targets = sample(3, 6, 4)
    by_column = case[0] == "distributionally-robust" or case[1].get("ways") == "class"
    expected = (3, 6, 4) if case[0] in BY_ENTRY else (3, 4) if by_column else (3, 6)
    assert call(case, logits, targets, reduction="none").shape == expected


@each(case=ONE_SHAPE)
def test_sum_and_batchmean_are_the_terms_added_up(case):
    logits, targets = sample(6, 4)
    total = call(case, logits, targets, reduction="none").sum()
    close(call(case, logits, targets, reduction="sum"), total)
    close(call(case, logits, targets, reduction="batchmean"), total / 6)


OCCURRENCES_OF_VALUES = {"positives": torch.tensor([50, 10, 5]), "total": 100}
VOC = {**OCCURRENCES_OF_VALUES, "mu": 0.3, "negative_scale": 5.0}
COCO = {**OCCURRENCES_OF_VALUES, "mu": 0.2, "negative_scale": 2.0}
ROBUST = {"w": 0.0, "b": -2.0, "mu": 0.5 + 0.3 / 8, "sigma": 2.0 - 1.5 / 8, "q2": 0.01, "q3": 1.0}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("binary-cross-entropy", {}, 0.286114),
        ("focal", {"alpha": 0.25, "gamma": 2.0}, 0.014674),
        ("focal", {"gamma": 2.0}, 0.028019),
        ("asymmetric", {"gamma_neg": 4.0, "gamma_pos": 1.0, "margin": 0.05, "reduction": "sum"}, 0.235993),
        ("asymmetric", {"gamma_neg": 4.0, "gamma_pos": 0.0, "margin": 0.05, "reduction": "sum"}, 0.807555),
        ("two-way", {"positive_temperature": 4.0, "negative_temperature": 1.0}, 0.671803),
        ("distributionally-robust", {"gamma": 1.0, "negative_gamma": 1.0}, 0.364061),
        ("distributionally-robust", {"gamma": 5.0, "negative_gamma": 7.0}, 0.010225),
        ("distributionally-robust", {"gamma": 5.0, "negative_gamma": 10.0}, 0.002257),
        ("distribution-balanced", VOC, 0.028985),
        ("distribution-balanced", COCO, 0.034255),
        ("distribution-balanced", {**VOC, "gamma": None}, 0.132023),
        ("distribution-balanced", {**COCO, "gamma": None}, 0.165183),
        ("hard-selection", {"beta": 1.0, "ratio": 0.5}, 0.661142),
        ("soft-selection", {"beta": 1.0, "exponent": 2.0}, 0.298151),
        ("hill", {"reduction": "sum"}, 0.736297),
        ("splc", {"reduction": "sum"}, 0.559678),
        ("splc", {"reduction": "sum", "threshold": 0.6}, 0.559678),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_gives_the_value_of_the_authors_code(name, options, expected, dtype):
    logits = torch.tensor([[2.0, -1.0, 0.5], [-0.5, 1.5, -2.0]], dtype=dtype)
    targets = torch.tensor([[1, 0, 1], [0, 1, 0]])
    close(function_of(name)(logits, targets, **options), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "expected", "epsilon"),
    [
        ("assume-negative", {}, 0.369432, 2e-5),
        ("assume-negative", {"label_smoothing": 0.1}, 0.477762, 2e-5),
        ("weak-assume-negative", {}, 0.212076, 2e-5),
        ("expected-positive", {"expected_positives": 1.5}, 0.054928, 2e-5),
        ("entropy-maximization", {"alpha": 0.2}, -0.021052, 2e-5),
        ("generalized-robust", ROBUST, 0.352213, 1e-6),
        ("generalized-robust", {**ROBUST, "w": 6 / 8, "mu": 0.65, "sigma": 1.25}, 0.353462, 1e-6),
        ("generalized-robust", {**ROBUST, "w": 14 / 8, "mu": 0.8, "sigma": 0.5}, 0.273348, 1e-6),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_gives_the_value_of_the_authors_code_for_single_positives(name, options, expected, epsilon, dtype):
    """Within the epsilon that the authors add inside a logarithm, and the rounding of the printed value."""
    logits = torch.tensor([[2.0, -1.0, 0.5], [-0.5, 1.5, -2.0]], dtype=dtype)
    targets = torch.tensor([[1, -1, -1], [-1, 1, -1]])
    close(function_of(name)(logits, targets, **options), expected, rtol=0, atol=epsilon + 1e-6)


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "none"])
def test_pos_weight_weighs_the_positives_of_each_class(reduction):
    logits, targets = sample(6, 3)
    weight = [0.5, 1.0, 4.0]
    expected = references.binary_cross_entropy(
        logits.tolist(), targets.tolist(), pos_weight=weight, label_smoothing=0.1, reduction=reduction
    )
    actual = losses.binary_cross_entropy(
        logits, targets, pos_weight=torch.tensor(weight), label_smoothing=0.1, reduction=reduction
    )
    close(actual.flatten() if reduction == "none" else actual, expected)


def test_pos_weight_may_differ_between_leading_problems():
    logits, targets = sample(2, 5, 3)
    weight = torch.tensor([[0.5, 1.0, 4.0], [2.0, 3.0, 1.0]])
    expected = [
        losses.binary_cross_entropy(*one, pos_weight=w) for *one, w in zip(logits, targets, weight, strict=True)
    ]
    close(losses.binary_cross_entropy(logits, targets, pos_weight=weight), torch.stack(expected))


def test_a_grid_of_pos_weights_on_one_batch_equals_the_loop():
    logits, targets = sample(5, 3)
    weights = torch.tensor([[0.5, 1.0, 4.0], [2.0, 3.0, 1.0]])
    expected = [losses.binary_cross_entropy(logits, targets, pos_weight=weight) for weight in weights]
    close(losses.binary_cross_entropy(logits, targets, pos_weight=weights), torch.stack(expected))


@each(case=CASES_BY_ENTRY, reduction=REDUCTIONS)
def test_soft_targets_agree_with_the_scalar_reference(case, reduction):
    logits, targets = sample(6, 4, labels=(-1.0, 0.0, 0.2, 0.5, 0.9, 1.0))
    expected = reference(case, logits, targets, reduction=reduction)
    close(call(case, logits, targets, reduction=reduction), expected)


@each(case=CASES, dtype=[torch.int8, torch.int32, torch.float32, torch.float64])
def test_targets_may_be_of_any_number_type(case, dtype):
    logits, targets = sample(6, 4)
    assert torch.equal(call(case, logits, targets.to(dtype)), call(case, logits, targets))
