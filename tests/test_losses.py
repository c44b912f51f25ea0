"""Laws that hold for every loss, and the limits and values that hold for one."""

import inspect
import itertools

import hypothesis.strategies as st
import jaxtyping
import pytest
import timm.loss
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from torch import Tensor

from rarecall import losses
from rarecall.errors import OptionError, ShapeError
from rarecall.losses import build
from tests import references

CASES = [
    ("binary-cross-entropy", {}),
    ("binary-cross-entropy", {"label_smoothing": 0.1}),
    ("focal", {}),
    ("focal", {"alpha": 0.25}),
    ("focal", {"alpha": 0.75, "gamma": 0.5}),
    ("focal", {"modulation": "as-printed"}),
    ("asymmetric", {}),
    ("asymmetric", {"gamma_pos": 1.0, "margin": 0.2, "detach_focusing": False}),
    ("asymmetric", {"gamma_pos": 0.5, "gamma_neg": 0.1, "margin": 0.0, "detach_focusing": False}),
    ("hill", {}),
    ("hill", {"margin": 0.0, "gamma": 1.0, "lamb": 2.0}),
    ("splc", {}),
    ("splc", {"threshold": 0.6, "margin": 0.5, "gamma": 1.0}),
    ("hard-selection", {}),
    ("hard-selection", {"beta": 1.0, "ratio": 0.5}),
    ("hard-selection", {"ratio": 1.0}),
    ("soft-selection", {}),
    ("soft-selection", {"beta": 1.0, "exponent": 0.5}),
    ("reweighted-cross-entropy", {}),
    ("reweighted-cross-entropy", {"power": 1.0, "gamma": 2.0, "balance": 3.0}),
    ("frequency-weighted-cross-entropy", {}),
    ("attribute-weighted-cross-entropy", {}),
    ("class-balanced", {}),
    ("class-balanced", {"mode": "average_n", "beta": 0.99}),
    ("class-balanced", {"mode": "average_w", "gamma": None}),
    ("class-balanced", {"mode": "min_n", "gamma": 1.0}),
    ("distribution-balanced", {}),
    ("distribution-balanced", {"gamma": None, "mu": 0.3, "negative_scale": 5.0}),
    ("ldam", {}),
    ("ldam", {"max_margin": 1.0, "scale": 2.0}),
    ("softmax-regression", {}),
    ("softmax-regression", {"ways": "class"}),
    ("softmax-regression", {"ways": "both"}),
    ("lsep", {}),
    ("lsep", {"ways": "class", "gamma": 5.0}),
    ("lsep", {"ways": "both", "gamma": 0.5}),
    ("zlpr", {}),
    ("zlpr", {"ways": "class"}),
    ("multi-similarity", {}),
    ("multi-similarity", {"ways": "both", "positive_temperature": 4.0, "negative_temperature": 0.5}),
    ("multi-similarity", {"ways": "class", "positive_temperature": 0.0}),
    ("circle", {}),
    ("circle", {"ways": "class", "margin": 0.4, "gamma": 8.0}),
    ("two-way", {}),
    ("two-way", {"ways": "sample"}),
    ("two-way", {"ways": "class", "positive_temperature": 0.5, "negative_temperature": 2.0}),
    ("two-way", {"ways": "joint", "bias": 0.5}),
    ("two-way", {"positive_temperature": 0.0}),
    ("two-way", {"positive_temperature": 0.0, "negative_temperature": 0.0, "bias": -1.0}),
    ("distributionally-robust", {}),
    ("distributionally-robust", {"negative_gamma": None}),
    ("distributionally-robust", {"gamma": 1.0, "negative_gamma": 2.0}),
    ("distributionally-robust", {"positive_gamma": 3.0}),
    ("distributionally-robust", {"negative_gamma": None, "positive_gamma": 2.0}),
    ("assume-negative", {}),
    ("assume-negative", {"label_smoothing": 0.1}),
    ("weak-assume-negative", {}),
    ("expected-positive", {}),
    ("entropy-maximization", {}),
    ("entropy-maximization", {"alpha": 0.2, "pseudo_weight": 0.02}),
    ("large-loss", {}),
    ("large-loss", {"delta": 0.1, "progress": 2.0}),
    ("large-loss", {"delta": 0.2, "scheme": "correct-temporarily"}),
    ("large-loss", {"delta": 0.1, "scheme": "correct-permanently"}),
    ("generalized-robust", {}),
    ("generalized-robust", {"w": 0.0, "mu": 0.5, "sigma": 2.0, "q2": 0.5, "q3": 1.5}),
    ("role", {}),
]
FOCUSED = ("binary-cross-entropy", "focal", "asymmetric", "hill", "splc", "hard-selection", "soft-selection")
BY_FREQUENCY = (
    "reweighted-cross-entropy",
    "frequency-weighted-cross-entropy",
    "attribute-weighted-cross-entropy",
    "class-balanced",
    "distribution-balanced",
    "ldam",
)
POINTWISE = FOCUSED + BY_FREQUENCY
RULES_BY_ENTRY = (
    "assume-negative",
    "weak-assume-negative",
    "entropy-maximization",
    "large-loss",
    "generalized-robust",
)
RULES = (*RULES_BY_ENTRY, "expected-positive", "role")  # unknown entries have a term of their own
BY_ENTRY = POINTWISE + RULES_BY_ENTRY
ONE_SHAPE = [
    case
    for case in CASES
    if case[0] not in ("expected-positive", "role")
    and case[1].get("ways", "both" if case[0] == "two-way" else "sample") in ("sample", "class")
]
REDUCTIONS = ("mean", "sum", "batchmean")

# Each numeric option, with values to be asked for in one call.
GRIDS = {
    ("binary-cross-entropy", "label_smoothing"): [0.0, 0.1, 0.3],
    ("focal", "alpha"): [0.25, 0.5, 1.0],
    ("focal", "gamma"): [0.0, 1.0, 2.5],
    ("asymmetric", "gamma_pos"): [0.0, 1.0, 2.0],
    ("asymmetric", "gamma_neg"): [0.0, 1.0, 4.0],
    ("asymmetric", "margin"): [0.0, 0.05, 0.3],
    ("hill", "margin"): [0.0, 1.0, 2.0],
    ("hill", "gamma"): [0.0, 1.0, 2.5],
    ("hill", "lamb"): [1.0, 1.5, 2.0],
    ("splc", "margin"): [0.0, 1.0, 2.0],
    ("splc", "gamma"): [0.0, 1.0, 2.5],
    ("splc", "threshold"): [0.4, 0.6, 0.9],
    ("hard-selection", "beta"): [0.0, 1.0, 10.0],
    ("soft-selection", "beta"): [0.0, 1.0, 10.0],
    ("soft-selection", "exponent"): [0.0, 2.0, 50.0],
    ("reweighted-cross-entropy", "power"): [0.0, 0.5, 1.0],
    ("reweighted-cross-entropy", "gamma"): [0.0, 1.0, 2.0],
    ("class-balanced", "beta"): [0.0, 0.9, 0.99],
    ("class-balanced", "gamma"): [0.0, 1.0, 2.0],
    ("class-balanced", "balance"): [1.0, 2.0, 3.0],
    ("distribution-balanced", "alpha"): [0.0, 0.1, 1.0],
    ("distribution-balanced", "beta"): [0.0, 1.0, 10.0],
    ("distribution-balanced", "mu"): [0.1, 0.2, 0.3],
    ("distribution-balanced", "negative_scale"): [1.0, 2.0, 5.0],
    ("distribution-balanced", "init_bias"): [0.0, 0.05, 0.5],
    ("distribution-balanced", "gamma"): [0.0, 1.0, 2.0],
    ("distribution-balanced", "balance"): [1.0, 2.0, 3.0],
    ("ldam", "max_margin"): [0.0, 0.5, 1.0],
    ("ldam", "scale"): [1.0, 10.0, 30.0],
    ("lsep", "gamma"): [0.5, 1.0, 5.0],
    ("multi-similarity", "positive_temperature"): [0.0, 0.5, 4.0],
    ("multi-similarity", "negative_temperature"): [0.0, 1.0, 2.0],
    ("circle", "margin"): [0.1, 0.25, 0.5],
    ("circle", "gamma"): [1.0, 8.0, 32.0],
    ("two-way", "positive_temperature"): [0.0, 0.5, 4.0],
    ("two-way", "negative_temperature"): [0.0, 1.0, 2.0],
    ("two-way", "bias"): [-1.0, 0.0, 0.5],
    ("distributionally-robust", "gamma"): [0.5, 1.0, 5.0],
    ("distributionally-robust", "negative_gamma"): [1.0, 7.0, 10.0],
    ("distributionally-robust", "positive_gamma"): [1.0, 2.0, 7.0],
    ("assume-negative", "label_smoothing"): [0.0, 0.1, 0.3],
    ("expected-positive", "expected_positives"): [0.0, 1.5, 3.0],
    ("entropy-maximization", "alpha"): [0.0, 0.1, 0.5],
    ("entropy-maximization", "pseudo_weight"): [0.0, 0.1, 0.5],
    ("generalized-robust", "w"): [0.0, 2.0, 10.0],
    ("generalized-robust", "b"): [-8.0, -2.0, 0.0],
    ("generalized-robust", "mu"): [0.5, 0.6, 0.8],
    ("generalized-robust", "sigma"): [0.5, 1.0, 2.0],
    ("generalized-robust", "q2"): [0.01, 0.5, 1.0],
    ("generalized-robust", "q3"): [0.5, 1.0, 1.5],
    ("role", "expected_positives"): [0.0, 1.5, 3.0],
}
# Numbers that decide how many entries are selected, which differs in shape from one problem to another.
NO_GRIDS = {
    ("hard-selection", "ratio"): [0.25, 0.5, 1.0],
    ("large-loss", "progress"): [0.0, 1.0, 3.0],
    ("large-loss", "delta"): [0.0, 0.1, 0.2],
    ("reweighted-cross-entropy", "balance"): [1.0, 2.0, 3.0],  # means nothing without gamma
}

LAW = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def named(case):
    name, options = case
    return f"{name}({', '.join(f'{option}={value}' for option, value in options.items())})"


every_case = pytest.mark.parametrize("case", CASES, ids=named)
every_case_with_terms = pytest.mark.parametrize("case", ONE_SHAPE, ids=named)
every_pointwise_case = pytest.mark.parametrize("case", [case for case in CASES if case[0] in POINTWISE], ids=named)
every_case_by_entry = pytest.mark.parametrize("case", [case for case in CASES if case[0] in BY_ENTRY], ids=named)
every_case_without_rule = pytest.mark.parametrize("case", [case for case in CASES if case[0] not in RULES], ids=named)
every_rule = pytest.mark.parametrize("case", [case for case in CASES if case[0] in RULES], ids=named)
every_name = pytest.mark.parametrize("name", losses.names())


def function_of(name):
    return getattr(losses, name.replace("-", "_"))


TOTAL = 40
OCCURRENCES = [9, 30, 2, 17]


def needed(name, logits):
    """The options that a loss cannot do without, for logits of any number of classes."""
    options = {}
    wanted = inspect.signature(function_of(name)).parameters
    if "positives" in wanted:
        classes = getattr(logits, "shape", (0,))[-1:]
        repeats = -(-classes[0] // len(OCCURRENCES)) if classes else 1
        options["positives"] = torch.tensor((OCCURRENCES * repeats)[: classes[0] if classes else 1])
    if "total" in wanted:
        options["total"] = TOTAL
    if "expected_positives" in wanted:
        options["expected_positives"] = 1.5
    if "estimates" in wanted:
        wide = torch.promote_types(logits.dtype, torch.float32) if logits.is_floating_point() else torch.float32
        options["estimates"] = 0.7 * logits.detach().to(wide) - 0.3
    return options


def call(case, logits, targets, **more):
    name, options = case
    return function_of(name)(logits, targets, **{**needed(name, logits), **options, **more})


def reference(case, logits, targets, **more):
    """The same in plain floats."""
    name, options = case
    held = {
        option: value.tolist() if isinstance(value, Tensor) else value for option, value in needed(name, logits).items()
    }
    function = getattr(references, name.replace("-", "_"))
    return function(logits.tolist(), targets.tolist(), **{**held, **options, **more})


def sample(*shape, seed=0, scale=2.0, labels=(-1, 0, 1)):
    """Float64 logits and targets of a shape."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
    drawn = torch.randint(len(labels), shape, generator=generator)
    return logits, torch.tensor(labels)[drawn]


def gradient(case, logits, targets, **more):
    leaf = logits.detach().requires_grad_()
    (result,) = torch.autograd.grad(call(case, leaf, targets, **more).sum(), leaf)
    return result


def close(actual, expected, rtol=1e-10, atol=1e-12):
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """These tensors are tiny: on a busy machine, threads that wait for each other take most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_type_checker():
    """Let a wrong call reach the function even where shapes are checked at run time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@st.composite
def batches(draw, bounds):
    """Logits of one of the dtypes up to its bound, the extremes included, and targets of any label."""
    dtype, bound = draw(st.sampled_from(sorted(bounds.items(), key=str)))
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    size = shape[0] * shape[1]
    special = [0.0, *(sign * size for sign in (1, -1) for size in (1e-3, 1.0, 12.0, 95.0, bound) if size <= bound)]
    value = st.sampled_from(special) | st.floats(-bound, bound, width=32)
    logits = draw(st.lists(value, min_size=size, max_size=size))
    targets = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=size, max_size=size))
    return torch.tensor(logits).to(dtype).reshape(shape), torch.tensor(targets).reshape(shape)


# --- the table ----------------------------------------------------------------------------------------------


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


def test_every_loss_belongs_to_one_of_the_four_ideas():
    margins = ("softmax-regression", "lsep", "zlpr", "multi-similarity", "circle", "two-way", "distributionally-robust")
    assert sorted([*POINTWISE, *margins, *RULES]) == losses.names()


def test_every_loss_is_public_under_the_name_of_its_function():
    assert {name.replace("-", "_") for name in losses.names()} <= set(losses.__all__)


# --- values -------------------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(6, 4), (1, 5), (5, 1)], ids=str)
def test_agrees_with_the_scalar_reference(case, reduction, shape):
    for seed in range(4):
        logits, targets = sample(*shape, seed=seed)
        expected = reference(case, logits, targets, reduction=reduction)
        close(call(case, logits, targets, reduction=reduction), expected)


@every_case_with_terms
def test_terms_agree_with_the_scalar_reference(case):
    logits, targets = sample(6, 4)
    targets[2] = targets[:, 1] = -1
    terms = call(case, logits, targets, reduction="none")
    close(terms.flatten(), reference(case, logits, targets, reduction="none"))


@every_case_with_terms
def test_terms_have_the_shape_of_entries_rows_or_columns(case):
    logits, targets = sample(3, 6, 4)
    by_column = case[0] == "distributionally-robust" or case[1].get("ways") == "class"
    expected = (3, 6, 4) if case[0] in BY_ENTRY else (3, 4) if by_column else (3, 6)
    assert call(case, logits, targets, reduction="none").shape == expected


@every_case_with_terms
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


@every_case_by_entry
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_soft_targets_agree_with_the_scalar_reference(case, reduction):
    logits, targets = sample(6, 4, labels=(-1.0, 0.0, 0.2, 0.5, 0.9, 1.0))
    expected = reference(case, logits, targets, reduction=reduction)
    close(call(case, logits, targets, reduction=reduction), expected)


@every_case
@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.float32, torch.float64], ids=str)
def test_targets_may_be_of_any_number_type(case, dtype):
    logits, targets = sample(6, 4)
    assert torch.equal(call(case, logits, targets.to(dtype)), call(case, logits, targets))


# --- laws ---------------------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("dim", [0, 1], ids=["samples", "classes"])
def test_order_does_not_matter(case, dim):
    logits, targets = sample(6, 4)
    order = torch.tensor([3, 0, 2, 1, 5, 4])[: logits.shape[dim]]
    options = needed(case[0], logits)
    counted = {"positives": options["positives"][order]} if dim == 1 and "positives" in options else {}
    shuffled = call(case, logits.index_select(dim, order), targets.index_select(dim, order), **counted)
    close(shuffled, call(case, logits, targets))


@every_case_without_rule
def test_unknown_entries_do_not_count_whatever_their_logits(case):
    logits, targets = sample(6, 4)
    unknown = targets < 0
    for other in (0.0, 1e4, -1e4):
        changed = logits.masked_fill(unknown, other)
        assert torch.equal(call(case, changed, targets), call(case, logits, targets))
        assert torch.equal(gradient(case, changed, targets), gradient(case, logits, targets))


@every_case_without_rule
@pytest.mark.parametrize("other", [float("inf"), -float("inf"), float("nan")])
def test_the_value_does_not_see_unknown_entries_that_are_not_finite(case, other):
    logits, targets = sample(6, 4)
    assert torch.equal(call(case, logits.masked_fill(targets < 0, other), targets), call(case, logits, targets))


@every_case_without_rule
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_unknown_entries_have_exactly_zero_gradient(case, reduction):
    logits, targets = sample(6, 4)
    grads = gradient(case, logits, targets, reduction=reduction)
    assert not grads[targets < 0].any()
    assert grads[targets >= 0].any()


@every_pointwise_case
def test_unknown_entries_have_exactly_zero_loss(case):
    logits, targets = sample(6, 4)
    assert not call(case, logits, targets, reduction="none")[targets < 0].any()


@every_case_without_rule
def test_samples_and_classes_that_are_all_unknown_change_nothing(case):
    logits, targets = sample(6, 4)
    classes = 0 if case[0] == "hard-selection" else 2  # which selects a share of all the classes, known or not
    wider = F.pad(logits, (0, classes, 0, 3), value=5.0)
    close(call(case, wider, F.pad(targets, (0, classes, 0, 3), value=-1)), call(case, logits, targets))


@every_case
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_leading_dimensions_are_independent_problems(case, reduction):
    logits, targets = sample(2, 3, 5, 4)
    at_once = call(case, logits, targets, reduction=reduction)
    one_by_one = [
        call(case, logits[i, j], targets[i, j], reduction=reduction) for i, j in itertools.product(range(2), range(3))
    ]
    close(at_once, torch.stack(one_by_one).reshape(2, 3))


@every_case
def test_leading_dimensions_broadcast(case):
    logits, targets = sample(3, 1, 5, 4)[0], sample(2, 5, 4)[1]
    expected = [[call(case, z[0], y) for y in targets] for z in logits]
    close(call(case, logits, targets), torch.stack([torch.stack(row) for row in expected]))


@pytest.mark.parametrize("option", GRIDS, ids=lambda option: ".".join(option))
def test_a_grid_of_an_option_in_one_call_equals_the_loop(option):
    name, option_name = option
    logits, targets = sample(6, 4)
    grid = torch.tensor(GRIDS[option], dtype=torch.float64)
    loop = [call((name, {option_name: value}), logits, targets) for value in GRIDS[option]]
    close(call((name, {option_name: grid}), logits, targets), torch.stack(loop))


@pytest.mark.parametrize("option", GRIDS, ids=lambda option: ".".join(option))
def test_a_grid_of_an_option_sends_each_problem_its_own_gradient(option):
    name, option_name = option
    logits, targets = sample(3, 6, 4)
    grid = torch.tensor(GRIDS[option], dtype=torch.float64)
    at_once = gradient((name, {option_name: grid}), logits, targets)
    loop = [
        gradient((name, {option_name: value}), *one) for *one, value in zip(logits, targets, GRIDS[option], strict=True)
    ]
    close(at_once, torch.stack(loop))


@pytest.mark.parametrize("option", GRIDS, ids=lambda option: ".".join(option))
def test_an_option_may_be_a_tensor_without_dimensions(option):
    name, option_name = option
    logits, targets = sample(6, 4)
    for value in GRIDS[option]:
        scalar = torch.tensor(value, dtype=torch.float64)
        expected = call((name, {option_name: value}), logits, targets)
        close(call((name, {option_name: scalar}), logits, targets), expected)


def test_two_options_with_different_leading_shapes_span_a_grid():
    logits, targets = sample(6, 4)
    alphas, gammas = torch.tensor([[0.25], [0.5]], dtype=torch.float64), torch.tensor([0.0, 2.0, 3.0])
    grid = losses.focal(logits, targets, alpha=alphas, gamma=gammas)
    assert grid.shape == (2, 3)
    close(grid[1, 2], losses.focal(logits, targets, alpha=0.5, gamma=3.0))


def moved_one_by_one(case, targets, label, step):
    """The loss before, and after each entry with a label was moved, over logits from -8 to 8."""
    logits = torch.linspace(-8, 8, targets.numel(), dtype=torch.float64)
    logits = logits[torch.randperm(targets.numel(), generator=torch.Generator().manual_seed(0))]
    places = (targets.flatten() == label).nonzero()[:, 0]
    moves = step * F.one_hot(places, targets.numel())
    after = call(case, (logits + moves).reshape(-1, *targets.shape), targets)
    return call(case, logits.reshape(targets.shape), targets), after


# Smoothed targets punish certainty, a penalty asks for so many positives and no more, and a softmax wants equal
# logits of all positives.
SMOOTHED = [("binary-cross-entropy", {"label_smoothing": 0.1}), ("assume-negative", {"label_smoothing": 0.1})]
PENALISED = [("expected-positive", {}), ("role", {})]
EQUALISING = [case for case in CASES if case[0] == "softmax-regression"]
RAISED_POSITIVE_MAY_COST = [*SMOOTHED, *PENALISED, *EQUALISING]
# The printed focal loss forgives a negative that is wrong for sure, and so does a corrected label.
FORGIVING = [
    ("focal", {"modulation": "as-printed"}),
    ("splc", {"threshold": 0.6, "margin": 0.5, "gamma": 1.0}),
    ("hill", {"margin": 0.0, "gamma": 1.0, "lamb": 2.0}),
]
RAISED_NEGATIVE_MAY_PAY = [*SMOOTHED, *PENALISED, *FORGIVING[:2]]


@pytest.mark.parametrize("case", [case for case in CASES if case not in RAISED_POSITIVE_MAY_COST], ids=named)
def test_raising_a_positive_never_raises_the_loss(case):
    before, after = moved_one_by_one(case, sample(7, 5)[1], label=1, step=0.7)
    assert (after <= before + 1e-12).all()
    assert (after < before).any()


@pytest.mark.parametrize("case", [case for case in CASES if case not in RAISED_NEGATIVE_MAY_PAY], ids=named)
def test_raising_a_negative_never_lowers_the_loss(case):
    before, after = moved_one_by_one(case, sample(7, 5)[1], label=0, step=0.7)
    assert (after >= before - 1e-12).all()
    assert (after > before).any()


@pytest.mark.parametrize("case", [*SMOOTHED, *EQUALISING], ids=named)
def test_raising_a_positive_may_cost(case):
    before, after = moved_one_by_one(case, sample(7, 5, labels=(0, 1))[1], label=1, step=0.7)
    assert (after > before).any()


@pytest.mark.parametrize("case", [*SMOOTHED, *FORGIVING[:2]], ids=named)
def test_raising_a_negative_may_pay(case):
    before, after = moved_one_by_one(case, sample(7, 5, labels=(0, 1))[1], label=0, step=0.7)
    assert (after < before).any()


@pytest.mark.parametrize("case", PENALISED, ids=named)
@pytest.mark.parametrize(("expected", "sign"), [(0.0, 1), (1.5, -1)], ids=["too many", "too few"])
def test_a_penalty_pulls_unknown_labels_towards_the_expected_number_of_positives(case, expected, sign):
    logits = torch.full((3, 5), -1.5, dtype=torch.float64)
    grads = gradient(
        (
            case[0],
            {"expected_positives": expected, "estimates": logits}
            if case[0] == "role"
            else {"expected_positives": expected},
        ),
        logits,
        torch.full((3, 5), -1),
    )
    assert (grads.sign() == sign).all()


@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "entropy-maximization"], ids=named)
def test_is_never_negative(case):
    for seed in range(5):
        assert call(case, *sample(6, 4, seed=seed, scale=6.0)) >= 0


def test_entropy_maximization_rewards_uncertainty():
    targets = torch.full((6, 4), -1)
    assert call(("entropy-maximization", {}), sample(6, 4)[0], targets) < 0


# --- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modulation", ["p_t", "as-printed"])
def test_focal_without_focusing_is_binary_cross_entropy(modulation):
    batch = sample(6, 4, scale=10.0)
    close(losses.focal(*batch, gamma=0.0, modulation=modulation), losses.binary_cross_entropy(*batch))


def test_focal_alpha_one_half_is_half_the_loss():
    batch = sample(6, 4)
    close(losses.focal(*batch, alpha=0.5), 0.5 * losses.focal(*batch))


def test_asymmetric_without_focusing_and_margin_is_binary_cross_entropy():
    batch = sample(6, 4, scale=10.0)
    actual = losses.asymmetric(*batch, gamma_pos=0.0, gamma_neg=0.0, margin=0.0)
    close(actual, losses.binary_cross_entropy(*batch))


def test_asymmetric_with_equal_focusing_and_no_margin_is_focal():
    batch = sample(6, 4)
    options = {"gamma_pos": 2.0, "gamma_neg": 2.0, "margin": 0.0, "detach_focusing": False}
    close(losses.asymmetric(*batch, **options), losses.focal(*batch, gamma=2.0))
    close(gradient(("asymmetric", options), *batch), gradient(("focal", {"gamma": 2.0}), *batch))


def test_asymmetric_drops_the_negatives_below_the_margin():
    logits = torch.tensor([[-3.0, -2.9]], dtype=torch.float64)  # p is 0.047 and 0.052
    terms = losses.asymmetric(logits, torch.zeros(1, 2), margin=0.05, reduction="none")
    grads = gradient(("asymmetric", {"margin": 0.05}), logits, torch.zeros(1, 2))
    assert (terms > 0).tolist() == [[False, True]]
    assert (grads > 0).tolist() == [[False, True]]


def test_asymmetric_focusing_is_a_constant_weight_in_the_gradient_when_detached():
    logits, targets = sample(6, 4, labels=(0, 1))
    p = logits.sigmoid()
    weight = torch.where(targets > 0, (1 - p) ** 1.5, p**3)
    options = {"gamma_pos": 1.5, "gamma_neg": 3.0, "margin": 0.0, "reduction": "sum"}
    close(gradient(("asymmetric", options), logits, targets), weight * (p - targets))


@pytest.mark.parametrize("ways", ["both", "sample", "class", "joint"])
@pytest.mark.parametrize("shift", [-30.0, 7.0])
def test_two_way_does_not_change_when_all_logits_are_shifted(ways, shift):
    logits, targets = sample(6, 4)
    close(losses.two_way(logits + shift, targets, ways=ways), losses.two_way(logits, targets, ways=ways))


@pytest.mark.parametrize("way", ["sample", "class"])
def test_two_way_does_not_change_when_one_row_or_column_is_shifted_along_its_way(way):
    logits, targets = sample(6, 4)
    shift = torch.zeros_like(logits)
    (shift[2] if way == "sample" else shift[:, 2]).fill_(3.0)
    close(losses.two_way(logits + shift, targets, ways=way), losses.two_way(logits, targets, ways=way))


def test_distributionally_robust_without_constraint_does_not_change_when_a_class_is_shifted():
    logits, targets = sample(6, 4)
    shift = torch.tensor([-9.0, 0.0, 2.0, 30.0])
    actual = losses.distributionally_robust(logits + shift, targets, negative_gamma=None)
    close(actual, losses.distributionally_robust(logits, targets, negative_gamma=None))


def test_distributionally_robust_rises_with_all_logits_because_of_the_constraint():
    logits, targets = sample(6, 4)
    before = losses.distributionally_robust(logits, targets)
    assert losses.distributionally_robust(logits + 1.0, targets) > before + 0.1


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_two_way_with_one_positive_per_row_is_softmax_cross_entropy(reduction):
    logits, _ = sample(6, 4)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    actual = losses.two_way(
        logits,
        F.one_hot(labels, 4),
        positive_temperature=1.0,
        negative_temperature=1.0,
        ways="sample",
        reduction=reduction,
    )
    close(actual, F.cross_entropy(logits, labels, reduction=reduction))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_two_way_by_class_is_by_sample_on_the_transpose(reduction):
    logits, targets = sample(6, 4)
    by_sample = losses.two_way(logits.mT, targets.mT, ways="sample", reduction=reduction)
    close(losses.two_way(logits, targets, ways="class", reduction=reduction), by_sample)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_two_way_is_the_loss_by_sample_plus_the_loss_by_class(reduction):
    batch = sample(6, 4)
    ways = [losses.two_way(*batch, ways=way, reduction=reduction) for way in ("sample", "class")]
    close(losses.two_way(*batch, reduction=reduction), sum(ways))


SHIFTABLE = ["softmax-regression", "lsep"]
ANCHORED = ["zlpr", "multi-similarity"]
ONE_WAY = [*SHIFTABLE, *ANCHORED, "circle"]


@pytest.mark.parametrize("name", SHIFTABLE)
@pytest.mark.parametrize("way", ["sample", "class"])
def test_what_compares_logits_alone_does_not_change_when_a_row_or_column_is_shifted(name, way):
    logits, targets = sample(6, 4)
    shift = torch.tensor([-9.0, 0.0, 2.0, 30.0, 1.0, -4.0])
    shift = shift[:, None] if way == "sample" else shift[:4]
    close(call((name, {"ways": way}), logits + shift, targets), call((name, {"ways": way}), logits, targets))


@pytest.mark.parametrize("name", ANCHORED)
def test_what_knows_zero_changes_when_all_logits_are_shifted(name):
    logits, targets = sample(6, 4)
    before = call((name, {}), logits, targets)
    assert all(abs(call((name, {}), logits + shift, targets) - before) > 0.1 for shift in (-3.0, 3.0))


@pytest.mark.parametrize("name", ONE_WAY)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_by_class_is_by_sample_on_the_transpose(name, reduction):
    logits, targets = sample(6, 4)
    by_sample = call((name, {}), logits.mT, targets.mT, reduction=reduction)
    close(call((name, {"ways": "class"}), logits, targets, reduction=reduction), by_sample)


@pytest.mark.parametrize("name", ONE_WAY)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_both_ways_are_the_sum_of_the_two(name, reduction):
    batch = sample(6, 4)
    ways = [call((name, {"ways": way}), *batch, reduction=reduction) for way in ("sample", "class")]
    both = call((name, {"ways": "both"}), *batch, reduction=reduction)
    close(both, sum(ways))


COLD = {"positive_temperature": 1.0, "negative_temperature": 1.0}


@pytest.mark.parametrize("way", ["sample", "class"])
def test_lsep_has_the_terms_of_the_two_way_loss_at_temperature_one(way):
    logits, targets = sample(6, 4)
    targets[2], targets[:, 1] = targets[2].clamp(max=0), 0  # a row and a column without a positive
    for reduction in ("none", "sum", "batchmean"):
        expected = losses.two_way(logits, targets, **COLD, ways=way, reduction=reduction)
        close(losses.lsep(logits, targets, ways=way, reduction=reduction), expected)


@pytest.mark.parametrize("way", ["sample", "class", "both"])
def test_lsep_has_the_mean_of_the_two_way_loss_where_every_set_has_a_positive(way):
    logits, targets = sample(6, 4)
    targets[:, 0] = targets[0] = 1
    close(losses.lsep(logits, targets, ways=way), losses.two_way(logits, targets, **COLD, ways=way))
    targets[2] = targets[:, 1] = 0  # a row counts now in one mean and not in the other, and so does a column
    assert losses.lsep(logits, targets, ways=way) < losses.two_way(logits, targets, **COLD, ways=way)


def test_lsep_by_class_is_the_distributionally_robust_loss_without_constraint():
    batch = sample(6, 4)
    expected = losses.distributionally_robust(*batch, gamma=5.0, negative_gamma=None)
    close(losses.lsep(*batch, gamma=5.0, ways="class"), expected)


def test_multi_similarity_at_temperature_one_is_zlpr():
    batch = sample(6, 4)
    close(losses.multi_similarity(*batch), losses.zlpr(*batch))


def test_zlpr_of_one_class_is_binary_cross_entropy():
    batch = sample(9, 1)
    close(losses.zlpr(*batch), losses.binary_cross_entropy(*batch))


def test_soft_selection_without_focus_is_hard_selection_of_everything():
    logits, _ = sample(6, 4)
    targets = F.one_hot(torch.tensor([0, 3, 1, 1, 2, 0]), 4)
    p = logits.sigmoid()
    expected = -p[targets > 0].log().mean() - 10 * (1 - p[targets == 0]).log().mean()
    close(losses.soft_selection(logits, targets, exponent=0.0), expected)
    # Hard selection divides by N k, positives among the candidates counted as zeros.
    hard = -p[targets > 0].log().mean() - 10 * (1 - p[targets == 0]).log().sum() / 24
    close(losses.hard_selection(logits, targets, ratio=1.0), hard)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reweighted-cross-entropy", {"power": 0.0}),
        ("class-balanced", {"beta": 0.0, "gamma": None}),
        ("class-balanced", {"beta": 0.0, "gamma": None, "mode": "average_w"}),
        ("ldam", {"max_margin": 0.0, "scale": 1.0}),
        ("distribution-balanced", {"beta": 0.0, "alpha": 0.5, "negative_scale": 1.0, "init_bias": 0.0, "gamma": None}),
        ("frequency-weighted-cross-entropy", {"positives": torch.full((4,), 20)}),
    ],
    ids=str,
)
def test_without_its_correction_a_loss_is_binary_cross_entropy(name, options):
    batch = sample(6, 4)
    close(call((name, options), *batch), losses.binary_cross_entropy(*batch))


@pytest.mark.parametrize("mode", ["average_n", "average_w", "min_n"])
def test_class_balanced_modes_agree_where_one_class_is_present_and_its_entry_asked_for(mode):
    logits, targets = sample(6, 4)[0], F.one_hot(torch.tensor([0, 3, 1, 1, 2, 0]), 4)
    by_class = call(("class-balanced", {"reduction": "none"}), logits, targets)
    by_row = call(("class-balanced", {"reduction": "none", "mode": mode}), logits, targets)
    close(by_row[targets > 0], by_class[targets > 0])


def test_rules_meet_where_they_must():
    logits, targets = sample(6, 4)
    complete = targets.clamp(min=0)
    cross_entropy = losses.binary_cross_entropy(logits, complete)
    close(losses.assume_negative(logits, targets), cross_entropy)
    close(losses.large_loss(logits, targets, progress=0.0), cross_entropy)
    close(losses.generalized_robust(logits, complete), cross_entropy)
    close(losses.entropy_maximization(logits, complete), cross_entropy)
    close(
        losses.weak_assume_negative(logits[:, :2], targets[:, :2]),
        losses.assume_negative(logits[:, :2], targets[:, :2]),
    )
    robust = losses.generalized_robust(logits, targets, b=-1e3, sigma=1e6, q3=1e-9)
    close(robust, cross_entropy, rtol=1e-6)


@pytest.mark.parametrize("q", [0.01, 0.7, 1.0, 1.5])
def test_generalized_robust_with_known_probability_mixes_two_robust_losses(q):
    logits = torch.linspace(-4, 4, 9, dtype=torch.float64)[None]
    p, unknown = logits.sigmoid(), torch.full((1, 9), -1)
    options = {"sigma": 1e9, "q2": q, "q3": q}
    close(losses.generalized_robust(logits, unknown, k=torch.ones(1, 9), **options), ((1 - p**q) / q).mean())
    close(losses.generalized_robust(logits, unknown, k=torch.zeros(1, 9), **options), ((1 - (1 - p) ** q) / q).mean())


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 7, 100])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ways", ["both", "class", "joint", "sample"])
def test_two_way_in_buckets_averages_what_devices_would_compute(rows, reduction, ways):
    logits, targets = sample(11, 4)
    targets[5:10] = targets[5:10].clamp(max=0)  # a bucket without a positive does not count
    across = "class" if ways == "both" else ways
    parts = [(logits[i : i + rows], targets[i : i + rows]) for i in range(0, 11, rows)]
    if ways == "sample":
        expected = losses.two_way(logits, targets, ways="sample", reduction=reduction)
    elif reduction == "mean":
        counted = [part for part in parts if (part[1] > 0).any()]
        expected = torch.stack([losses.two_way(*part, ways=across) for part in counted]).mean()
    else:
        total = sum(losses.two_way(*part, ways=across, reduction="sum") for part in parts)
        expected = total / 11 if reduction == "batchmean" else total
    if ways == "both":
        expected = expected + losses.two_way(logits, targets, ways="sample", reduction=reduction)
    close(losses.two_way(logits, targets, ways=ways, reduction=reduction, bucket_size=rows), expected)


def test_the_terms_of_buckets_are_those_of_their_columns():
    logits, targets = sample(7, 4)
    terms = losses.two_way(logits, targets, ways="class", reduction="none", bucket_size=3)
    assert terms.shape == (3, 4)
    close(terms[2], losses.two_way(logits[6:], targets[6:], ways="class", reduction="none"))


@pytest.mark.skipif(not hasattr(timm.loss, "TwoWayLoss"), reason="timm before 1.0.31 has no such losses")
def test_the_losses_that_timm_has_too_agree_with_it():
    logits, targets = sample(16, 6, labels=(0, 0, 1))
    targets[:, 0], targets[0] = 1, 1  # timm leaves nothing out of ZLPR's mean
    close(losses.two_way(logits.float(), targets), timm.loss.TwoWayLoss()(logits.float(), targets), rtol=1e-4)
    asymmetric = timm.loss.AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=0.05, reduction="sum")
    expected = asymmetric(logits, targets)
    close(losses.asymmetric(logits, targets, gamma_pos=1.0, reduction="sum"), expected, rtol=1e-6)
    close(losses.zlpr(logits.float(), targets), timm.loss.ZlprLoss()(logits.float(), targets), rtol=1e-4)


@pytest.mark.parametrize("option", ["positive_temperature", "negative_temperature"])
def test_temperature_zero_is_the_limit_of_small_temperatures(option):
    batch = sample(6, 4)
    limit = losses.two_way(*batch, **{option: 0.0})
    gaps = [abs(losses.two_way(*batch, **{option: small}) - limit) for small in (1.0, 0.1, 1e-3)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-6


def test_distributionally_robust_with_one_pair_is_its_softplus():
    logits = torch.tensor([[0.3], [-1.1]], dtype=torch.float64)
    targets = torch.tensor([[1], [0]])
    actual = losses.distributionally_robust(logits, targets, gamma=2.0, negative_gamma=None)
    close(actual, F.softplus(2.0 * (logits[1, 0] - logits[0, 0])))


# --- degenerate batches -------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("label", [1, 0, -1], ids=["all positive", "all negative", "all unknown"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (3, 3), (2, 20000)], ids=str)
def test_is_finite_when_all_labels_are_the_same(case, label, shape):
    logits, _ = sample(*shape)
    targets = torch.full(shape, label)
    assert call(case, logits, targets).isfinite()
    assert gradient(case, logits, targets).isfinite().all()


@every_case
@pytest.mark.parametrize("shape", [(1, 4), (5, 1), (2, 20000)], ids=str)
def test_is_finite_for_one_sample_one_class_and_very_many_classes(case, shape):
    batch = sample(*shape, seed=3)
    assert call(case, *batch).isfinite()
    assert gradient(case, *batch).isfinite().all()


@every_case_without_rule
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (0, 4), (3, 0), (0, 0)], ids=str)
def test_is_exactly_zero_where_nothing_is_known(case, reduction, shape):
    logits, targets = sample(*shape)[0], torch.full(shape, -1)
    assert call(case, logits, targets, reduction=reduction) == 0
    grads = gradient(case, logits, targets, reduction=reduction)
    assert grads.shape == shape
    assert not grads.any()


@every_case_without_rule
def test_one_problem_with_nothing_known_leaves_its_neighbours_as_they_are(case):
    logits, targets = sample(2, 6, 4)
    targets[0] = -1
    value = call(case, logits, targets)
    assert value[0] == 0
    close(value[1], call(case, logits[1], targets[1]))
    assert not gradient(case, logits, targets)[0].any()


@pytest.mark.parametrize("ways", ["both", "sample", "class", "joint"])
@pytest.mark.parametrize("label", [0, 1])
def test_two_way_learns_nothing_from_one_kind_of_label(ways, label):
    logits, targets = sample(4, 3)[0], torch.full((4, 3), label)
    assert losses.two_way(logits, targets, ways=ways) == 0
    assert not gradient(("two-way", {"ways": ways}), logits, targets).any()


def test_two_way_averages_over_the_rows_with_a_positive():
    logits = torch.tensor([[1.0, 0.0], [2.0, 3.0], [0.5, 0.1]], dtype=torch.float64)
    targets = torch.tensor([[1, 0], [0, 0], [1, 1]])  # the third counts, with value 0
    first = losses.two_way(logits[:1], targets[:1], ways="sample")
    close(losses.two_way(logits, targets, ways="sample"), first / 2)


def test_distributionally_robust_averages_over_the_columns_with_a_known_entry():
    logits = torch.tensor([[1.0, 0.2, 0.0], [2.0, 0.3, 0.0]], dtype=torch.float64)
    targets = torch.tensor([[1, 0, -1], [0, 0, -1]])  # the second has the constraint only
    terms = [losses.distributionally_robust(logits[:, [c]], targets[:, [c]]) for c in (0, 1)]
    assert terms[1] > 0
    close(losses.distributionally_robust(logits, targets), sum(terms) / 2)


@pytest.mark.parametrize("label", [0, 1])
def test_distributionally_robust_without_constraint_learns_nothing_from_one_kind_of_label(label):
    logits, targets = sample(4, 3)[0], torch.full((4, 3), label)
    assert losses.distributionally_robust(logits, targets, negative_gamma=None) == 0
    assert not gradient(("distributionally-robust", {"negative_gamma": None}), logits, targets).any()


# --- gradients and numbers ----------------------------------------------------------------------------------


# Constants in the gradient make it another than the value's; these have tests of their own.
PACED = ("circle", "generalized-robust", "role")


def differentiable(case):
    """The case with a gradient that is the derivative of the value."""
    name, options = case
    return (name, {**options, "detach_focusing": False}) if name == "asymmetric" else case


@pytest.mark.parametrize("case", [case for case in CASES if case[0] not in PACED], ids=named)
@pytest.mark.parametrize("ones", [False, True], ids=["mixed", "one row all positive"])
def test_gradient_and_second_derivative_are_those_of_the_value(case, ones):
    logits, targets = sample(3, 3, seed=1)
    if ones:
        targets[1] = 1
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: call(differentiable(case), z, targets), logits)
    assert torch.autograd.gradgradcheck(lambda z: call(differentiable(case), z, targets), logits)


def test_the_paces_of_the_circle_loss_are_constants_in_its_gradient():
    logits, targets = sample(3, 4)
    targets[:, 0], targets[:, 1] = 1, 0  # no empty sets
    paces = torch.where(targets > 0, (1.25 - logits.sigmoid()).clamp(min=0), (logits.sigmoid() + 0.25).clamp(min=0))

    def held(z):
        s = z.sigmoid()
        negatives = torch.where(targets == 0, 32 * paces * (s - 0.25), -torch.inf)
        positives = torch.where(targets > 0, -32 * paces * (s - 0.75), -torch.inf)
        return F.softplus(negatives.logsumexp(-1) + positives.logsumexp(-1)).mean()

    close(gradient(("circle", {}), logits, targets), torch.func.grad(held)(logits))


def test_the_estimates_of_the_generalized_robust_loss_are_constants_in_its_gradient():
    logits, targets = sample(3, 4)
    p = logits.sigmoid()
    k, v = torch.sigmoid(2 * p - 2), torch.exp(-((p - 0.8) ** 2) / 0.5)

    def held(z):
        p = z.sigmoid()
        robust = v * (k * (1 - p**0.01) / 0.01 + (1 - k) * p)
        return torch.where(targets < 0, robust, F.softplus(torch.where(targets > 0, -z, z))).mean()

    close(gradient(("generalized-robust", {}), logits, targets), torch.func.grad(held)(logits))


def test_role_stops_the_gradient_through_its_targets():
    logits, targets = sample(3, 4)
    estimates = logits.flip(0).clone()

    def held(z):
        own = F.binary_cross_entropy_with_logits(z, estimates.sigmoid())
        known = torch.where(targets >= 0, F.softplus(torch.where(targets > 0, -z, z)), 0.0).mean()
        return 0.5 * (own + known + ((z.sigmoid().sum(-1).mean() - 1.5) / 4) ** 2)

    options = {"estimates": estimates, "expected_positives": 1.5}
    close(gradient(("role", options), logits, targets), torch.func.grad(held)(logits))


EXTREME = {torch.float32: 1e4, torch.bfloat16: 1e4, torch.float16: 6e4}


@every_case
@LAW
@given(batch=batches(EXTREME))
def test_value_and_gradient_are_finite_at_extreme_logits(case, batch):
    for reduction in ("mean", "sum"):
        assert call(case, *batch, reduction=reduction).isfinite()
        assert gradient(case, *batch, reduction=reduction).isfinite().all()


@every_case
@LAW
@given(batch=batches({torch.float32: 50.0}))
def test_single_precision_is_close_to_double(case, batch):
    logits, targets = batch
    value = call(case, logits, targets)
    close(value.double(), call(case, logits.double(), targets), rtol=1e-5, atol=1e-6)


@every_case
@pytest.mark.parametrize("offset", [-48.0, 48.0])
def test_single_precision_is_close_to_double_when_all_logits_share_an_offset(case, offset):
    for seed in range(8):
        logits, targets = sample(6, 4, seed=seed, scale=0.5)
        logits = (logits + offset).float()
        value = call(case, logits, targets)
        close(value.double(), call(case, logits.double(), targets), rtol=1e-5, atol=1e-6)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_single(case, dtype):
    logits, targets = sample(6, 4)
    half = logits.to(dtype)
    value = call(case, half, targets)
    assert value.dtype == torch.float32
    assert torch.equal(value, call(case, half.float(), targets))
    assert gradient(case, half, targets).dtype == dtype


@every_case
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_no_gradient_is_recorded_where_none_is_wanted(case, context):
    logits, targets = sample(6, 4)
    with context():
        value = call(case, logits.clone().requires_grad_(), targets)
    assert not value.requires_grad
    close(value.clone(), call(case, logits, targets))


@every_case
def test_memory_layout_does_not_matter(case):
    logits, targets = sample(6, 4)
    strided, wide = logits.mT.contiguous().mT, targets.repeat_interleave(2, 1)[:, ::2]
    assert not strided.is_contiguous()
    assert not wide.is_contiguous()
    close(call(case, strided, wide), call(case, logits, targets))
    close(gradient(case, strided, wide), gradient(case, logits, targets))


@every_case
def test_inputs_are_left_as_they_were(case):
    logits, targets = sample(6, 4)
    kept = logits.clone(), targets.clone()
    gradient(case, logits, targets)
    assert torch.equal(logits, kept[0])
    assert torch.equal(targets, kept[1])


@every_case
def test_functional_gradient_is_the_gradient(case):
    logits, targets = sample(6, 4)
    close(torch.func.grad(lambda z: call(case, z, targets))(logits), gradient(case, logits, targets))


@every_case
def test_vmap_is_a_leading_dimension(case):
    logits, targets = sample(3, 6, 4)
    close(torch.func.vmap(lambda z, y: call(case, z, y))(logits, targets), call(case, logits, targets))


@every_case
def test_vmap_of_the_gradient_is_the_gradient_of_each_problem(case):
    logits, targets = sample(3, 6, 4)
    each = torch.func.vmap(torch.func.grad(lambda z, y: call(case, z, y)))(logits, targets)
    close(each, gradient(case, logits, targets))


# --- shapes and options -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_type_checker")
@every_name
@pytest.mark.parametrize(
    ("logits", "targets"),
    [((3, 4), (3, 5)), ((3, 4), (4, 3)), ((4,), (4,)), ((2, 3, 4), (3, 1)), ((2, 3, 4), (3, 3, 4))],
    ids=str,
)
def test_shapes_that_do_not_fit_are_named(name, logits, targets):
    with pytest.raises(ShapeError) as error:
        function_of(name)(torch.zeros(logits), torch.zeros(targets), **needed(name, torch.zeros(logits)))
    assert str(logits) in str(error.value)
    assert str(targets) in str(error.value)


@pytest.mark.usefixtures("no_type_checker")
@every_name
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool], ids=str)
def test_logits_that_are_labels_are_refused(name, dtype):
    with pytest.raises(ShapeError, match=str(dtype)):
        function_of(name)(torch.zeros(3, 4, dtype=dtype), torch.zeros(3, 4), **needed(name, torch.zeros(3, 4)))


@pytest.mark.usefixtures("no_type_checker")
@every_name
def test_an_unknown_reduction_is_refused_with_the_known_ones(name):
    with pytest.raises(OptionError, match=r"did you mean 'mean'\? Known: mean, sum, batchmean, none"):
        call((name, {}), *sample(3, 4), reduction="meen")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("binary-cross-entropy", {"label_smoothing": 0.6}, "label_smoothing=0.6: must be from 0 to 0.5"),
        ("binary-cross-entropy", {"label_smoothing": -0.1}, "label_smoothing=-0.1"),
        ("focal", {"alpha": 1.5}, "alpha=1.5: must be from 0 to 1"),
        ("focal", {"gamma": -1.0}, "gamma=-1.0: must be at least 0"),
        ("focal", {"gamma": float("nan")}, "gamma=nan"),
        ("focal", {"modulation": "printed"}, "did you mean 'as-printed'"),
        ("asymmetric", {"gamma_pos": -1.0}, "gamma_pos=-1.0"),
        ("asymmetric", {"gamma_neg": -1.0}, "gamma_neg=-1.0"),
        ("asymmetric", {"margin": 1.5}, "margin=1.5: must be from 0 to 1"),
        ("two-way", {"positive_temperature": -1.0}, "positive_temperature=-1.0"),
        ("two-way", {"negative_temperature": -1.0}, "negative_temperature=-1.0"),
        ("two-way", {"ways": "samples"}, "did you mean 'sample'"),
        ("two-way", {"reduction": "none"}, "reduction='none' with ways='both' has no shape"),
        ("two-way", {"reduction": "none", "ways": "joint"}, "reduction='none' with ways='joint' has no shape"),
        ("distributionally-robust", {"gamma": -1.0}, "gamma=-1.0"),
        ("distributionally-robust", {"negative_gamma": -1.0}, "negative_gamma=-1.0"),
        ("distributionally-robust", {"positive_gamma": -1.0}, "positive_gamma=-1.0"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_the_function_and_by_build(name, options, message):
    with pytest.raises(OptionError, match=message):
        function_of(name)(*sample(3, 4), **options)
    with pytest.raises(OptionError, match=message) as error:
        build(name, **options)
    assert str(error.value).startswith(f"{name}: ")
