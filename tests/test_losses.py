"""Laws that hold for every loss, and the limits and values that hold for one."""

import copy
import inspect
import itertools
import pickle

import hypothesis.strategies as st
import jaxtyping
import pytest
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
]
POINTWISE = ("binary-cross-entropy", "focal", "asymmetric")
ONE_SHAPE = [case for case in CASES if case[0] != "two-way" or case[1].get("ways") in ("sample", "class")]
REDUCTIONS = ("mean", "sum", "batchmean")

# Each numeric option, with values to be asked for in one call.
GRIDS = {
    ("binary-cross-entropy", "label_smoothing"): [0.0, 0.1, 0.3],
    ("focal", "alpha"): [0.25, 0.5, 1.0],
    ("focal", "gamma"): [0.0, 1.0, 2.5],
    ("asymmetric", "gamma_pos"): [0.0, 1.0, 2.0],
    ("asymmetric", "gamma_neg"): [0.0, 1.0, 4.0],
    ("asymmetric", "margin"): [0.0, 0.05, 0.3],
    ("two-way", "positive_temperature"): [0.0, 0.5, 4.0],
    ("two-way", "negative_temperature"): [0.0, 1.0, 2.0],
    ("two-way", "bias"): [-1.0, 0.0, 0.5],
    ("distributionally-robust", "gamma"): [0.5, 1.0, 5.0],
    ("distributionally-robust", "negative_gamma"): [1.0, 7.0, 10.0],
    ("distributionally-robust", "positive_gamma"): [1.0, 2.0, 7.0],
}

LAW = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def named(case):
    name, options = case
    return f"{name}({', '.join(f'{option}={value}' for option, value in options.items())})"


every_case = pytest.mark.parametrize("case", CASES, ids=named)
every_case_with_terms = pytest.mark.parametrize("case", ONE_SHAPE, ids=named)
every_pointwise_case = pytest.mark.parametrize("case", [case for case in CASES if case[0] in POINTWISE], ids=named)
every_name = pytest.mark.parametrize("name", losses.names())


def function_of(name):
    return getattr(losses, name.replace("-", "_"))


def call(case, logits, targets, **more):
    name, options = case
    return function_of(name)(logits, targets, **options, **more)


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
    assert numeric <= set(GRIDS)


def test_every_loss_is_public_under_the_name_of_its_function():
    assert {name.replace("-", "_") for name in losses.names()} <= set(losses.__all__)


# --- values -------------------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(6, 4), (1, 5), (5, 1)], ids=str)
def test_agrees_with_the_scalar_reference(case, reduction, shape):
    reference = getattr(references, case[0].replace("-", "_"))
    for seed in range(4):
        logits, targets = sample(*shape, seed=seed)
        expected = reference(logits.tolist(), targets.tolist(), **case[1], reduction=reduction)
        close(call(case, logits, targets, reduction=reduction), expected)


@every_case_with_terms
def test_terms_agree_with_the_scalar_reference(case):
    reference = getattr(references, case[0].replace("-", "_"))
    logits, targets = sample(6, 4)
    targets[2] = targets[:, 1] = -1
    terms = call(case, logits, targets, reduction="none")
    close(terms.flatten(), reference(logits.tolist(), targets.tolist(), **case[1], reduction="none"))


@every_case_with_terms
def test_terms_have_the_shape_of_entries_rows_or_columns(case):
    logits, targets = sample(3, 6, 4)
    by_column = case[0] == "distributionally-robust" or case[1].get("ways") == "class"
    expected = (3, 6, 4) if case[0] in POINTWISE else (3, 4) if by_column else (3, 6)
    assert call(case, logits, targets, reduction="none").shape == expected


@every_case_with_terms
def test_sum_and_batchmean_are_the_terms_added_up(case):
    logits, targets = sample(6, 4)
    total = call(case, logits, targets, reduction="none").sum()
    close(call(case, logits, targets, reduction="sum"), total)
    close(call(case, logits, targets, reduction="batchmean"), total / 6)


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
    ],
)
def test_gives_the_value_of_the_authors_code(name, options, expected):
    logits = torch.tensor([[2.0, -1.0, 0.5], [-0.5, 1.5, -2.0]], dtype=torch.float64)
    targets = torch.tensor([[1, 0, 1], [0, 1, 0]])
    close(function_of(name)(logits, targets, **options), expected, rtol=0, atol=1e-6)


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


@every_pointwise_case
def test_soft_targets_agree_with_the_scalar_reference(case):
    reference = getattr(references, case[0].replace("-", "_"))
    logits, targets = sample(6, 4, labels=(-1.0, 0.0, 0.2, 0.5, 0.9, 1.0))
    close(call(case, logits, targets), reference(logits.tolist(), targets.tolist(), **case[1]))


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
    shuffled = call(case, logits.index_select(dim, order), targets.index_select(dim, order))
    close(shuffled, call(case, logits, targets))


@every_case
def test_unknown_entries_do_not_count_whatever_their_logits(case):
    logits, targets = sample(6, 4)
    unknown = targets < 0
    for other in (0.0, 1e4, -1e4):
        changed = logits.masked_fill(unknown, other)
        assert torch.equal(call(case, changed, targets), call(case, logits, targets))
        assert torch.equal(gradient(case, changed, targets), gradient(case, logits, targets))


@every_case
@pytest.mark.parametrize("other", [float("inf"), -float("inf"), float("nan")])
def test_the_value_does_not_see_unknown_entries_that_are_not_finite(case, other):
    logits, targets = sample(6, 4)
    assert torch.equal(call(case, logits.masked_fill(targets < 0, other), targets), call(case, logits, targets))


@every_case
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


@every_case
def test_samples_and_classes_that_are_all_unknown_change_nothing(case):
    logits, targets = sample(6, 4)
    wider = F.pad(logits, (0, 2, 0, 3), value=5.0)
    close(call(case, wider, F.pad(targets, (0, 2, 0, 3), value=-1)), call(case, logits, targets))


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


RAISED_POSITIVE_MAY_COST = [("binary-cross-entropy", {"label_smoothing": 0.1})]
RAISED_NEGATIVE_MAY_PAY = [*RAISED_POSITIVE_MAY_COST, ("focal", {"modulation": "as-printed"})]


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


def test_label_smoothing_punishes_certainty():
    before, after = moved_one_by_one(RAISED_POSITIVE_MAY_COST[0], sample(7, 5)[1], label=1, step=0.7)
    assert (after > before).any()


def test_focal_as_printed_rewards_a_negative_that_is_wrong_for_sure():
    before, after = moved_one_by_one(RAISED_NEGATIVE_MAY_PAY[1], sample(7, 5)[1], label=0, step=0.7)
    assert (after < before).any()


@every_case
def test_is_never_negative(case):
    for seed in range(5):
        assert call(case, *sample(6, 4, seed=seed, scale=6.0)) >= 0


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


@every_case
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (0, 4), (3, 0), (0, 0)], ids=str)
def test_is_exactly_zero_where_nothing_is_known(case, reduction, shape):
    logits, targets = sample(*shape)[0], torch.full(shape, -1)
    assert call(case, logits, targets, reduction=reduction) == 0
    grads = gradient(case, logits, targets, reduction=reduction)
    assert grads.shape == shape
    assert not grads.any()


@every_case
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


def differentiable(case):
    """The case with a gradient that is the derivative of the value."""
    name, options = case
    return (name, {**options, "detach_focusing": False}) if name == "asymmetric" else case


@every_case
@pytest.mark.parametrize("ones", [False, True], ids=["mixed", "one row all positive"])
def test_gradient_and_second_derivative_are_those_of_the_value(case, ones):
    logits, targets = sample(3, 3, seed=1)
    if ones:
        targets[1] = 1
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: call(differentiable(case), z, targets), logits)
    assert torch.autograd.gradgradcheck(lambda z: call(differentiable(case), z, targets), logits)


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
    ("logits", "targets"), [((3, 4), (3, 5)), ((3, 4), (4, 3)), ((4,), (4,)), ((2, 3, 4), (3, 1))], ids=str
)
def test_shapes_that_do_not_fit_are_named(name, logits, targets):
    with pytest.raises(ShapeError) as error:
        function_of(name)(torch.zeros(logits), torch.zeros(targets))
    assert str(logits) in str(error.value)
    assert str(targets) in str(error.value)


@pytest.mark.usefixtures("no_type_checker")
@every_name
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool], ids=str)
def test_logits_that_are_labels_are_refused(name, dtype):
    with pytest.raises(ShapeError, match=str(dtype)):
        function_of(name)(torch.zeros(3, 4, dtype=dtype), torch.zeros(3, 4))


@pytest.mark.usefixtures("no_type_checker")
@every_name
def test_an_unknown_reduction_is_refused_with_the_known_ones(name):
    with pytest.raises(OptionError, match=r"did you mean 'mean'\? Known: mean, sum, batchmean, none"):
        function_of(name)(*sample(3, 4), reduction="meen")


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


# --- build --------------------------------------------------------------------------------------------------


@every_case
def test_a_built_loss_is_the_function_with_its_options(case):
    batch = sample(6, 4)
    assert torch.equal(build(case[0], **case[1])(*batch), call(case, *batch))


@every_case
def test_a_built_loss_reads_like_the_call_that_builds_it(case):
    module = build(case[0], **case[1])
    again = build(repr(module))
    assert repr(again) == repr(module)
    assert torch.equal(again(*sample(6, 4)), module(*sample(6, 4)))


def test_repr_is_the_name_with_the_options_given():
    assert repr(build("two-way")) == "two-way"
    assert repr(build("focal", gamma=1.0, alpha=0.5)) == "focal(gamma=1.0, alpha=0.5)"
    assert repr(build("two-way(ways='sample')")) == "two-way(ways='sample')"


@pytest.mark.parametrize(
    "text", ["focal(gamma=1.0,alpha=0.5)", " focal ( gamma = 1.0, alpha = 0.5 ) ", "focal(alpha=0.5, gamma=1.0,)"]
)
def test_options_may_stand_in_the_name(text):
    assert build(text).options == {"gamma": 1.0, "alpha": 0.5}


def test_options_in_the_call_add_to_and_override_those_in_the_name():
    module = build("focal(gamma=1.0, alpha=0.5)", gamma=3.0, reduction="sum")
    assert module.options == {"gamma": 3.0, "alpha": 0.5, "reduction": "sum"}


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("bce", "binary-cross-entropy"),
        ("cross-entropy", "binary-cross-entropy"),
        ("asl", "asymmetric"),
        ("dr", "distributionally-robust"),
    ],
)
def test_short_names_stand_for_the_full_ones(short, name):
    assert repr(build(short)) == name
    assert build(f"{short}(reduction='sum')").name == name


def test_an_unknown_loss_is_refused_with_the_nearest_and_the_known_ones():
    known = ", ".join(losses.names())
    with pytest.raises(OptionError) as error:
        build("two-wya")
    assert str(error.value) == f"unknown loss 'two-wya': did you mean 'two-way'? Known: {known}"


def test_an_unknown_option_is_refused_with_the_nearest_and_the_known_ones():
    with pytest.raises(OptionError) as error:
        build("focal", gama=1.0)
    known = "alpha, gamma, modulation, reduction"
    assert str(error.value) == f"focal: unknown option 'gama': did you mean 'gamma'? Known: {known}"


@every_name
@pytest.mark.parametrize("option", ["logits", "targets"])
def test_the_tensors_are_not_options(name, option):
    with pytest.raises(OptionError, match=f"unknown option '{option}'"):
        build(name, **{option: torch.zeros(1, 1)})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focal", {"gamma": "high"}),
        ("focal", {"gamma": None}),
        ("focal", {"gamma": [1.0, 2.0]}),
        ("focal", {"modulation": 3}),
        ("binary-cross-entropy", {"pos_weight": 2.0}),
        ("binary-cross-entropy", {"pos_weight": [1.0, 2.0]}),
        ("asymmetric", {"margin": None}),
        ("two-way", {"bias": "0"}),
        ("two-way", {"ways": None}),
        ("distributionally-robust", {"positive_gamma": "7"}),
        ("two-way", {"reduction": 1}),
    ],
)
def test_an_option_of_the_wrong_type_is_refused_with_the_whole_expression(name, options):
    with pytest.raises(OptionError) as error:
        build(name, **options)
    ((option, value),) = options.items()
    assert str(error.value) == f"{name}({option}={value!r}): an option has a value of the wrong type"


@pytest.mark.parametrize(
    "text",
    [
        "focal(gamma=1.0",
        "focal(gamma)",
        "focal(1.0)",
        "focal(gamma=open('x'))",
        "focal(gamma=1.0) + 1",
        "focal(gamma=1.0).name",
        "focal(gamma=1.0)(alpha=0.5)",
        "focal(gamma=1.0, gamma=2.0)",
        "focal(gamma={[]: 1})",
        "focal(",
    ],
)
def test_an_expression_that_is_not_one_call_with_plain_values_is_refused(text):
    with pytest.raises(OptionError, match="cannot read the loss"):
        build(text)


def test_tensor_options_are_buffers_that_move_and_convert_with_the_module():
    module = build("focal", gamma=torch.tensor([0.0, 2.0]), alpha=0.25)
    assert list(module.state_dict()) == ["gamma"]
    assert module.to(torch.float64).gamma.dtype == torch.float64
    assert module.to("meta").gamma.device.type == "meta"


def test_tensor_options_may_be_on_another_device_from_the_start():
    module = build("focal", gamma=torch.ones(2, device="meta"), alpha=torch.ones(2, device="meta"))
    assert module(torch.zeros(3, 4, device="meta"), torch.zeros(3, 4, device="meta")).shape == (2,)


def test_the_loss_is_computed_with_the_buffer_as_it_stands():
    batch = sample(6, 4)
    module = build("focal", gamma=torch.tensor(2.0))
    module.load_state_dict({"gamma": torch.tensor(0.0)})
    close(module(*batch), losses.binary_cross_entropy(*batch))


def test_the_loss_is_computed_with_the_buffer_after_it_moved():
    batch = sample(6, 4)
    module = build("two-way", positive_temperature=torch.tensor([1.0, 2.0])).to(torch.float64)
    module.positive_temperature.mul_(2)
    close(module(*batch), losses.two_way(*batch, positive_temperature=torch.tensor([2.0, 4.0])))


@every_case
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_built_loss_can_be_copied_and_pickled(case, copied):
    module = build(case[0], **case[1])
    twin = copied(module)
    assert repr(twin) == repr(module)
    assert torch.equal(twin(*sample(6, 4)), module(*sample(6, 4)))


def test_a_copy_has_its_own_tensor_options():
    module = build("binary-cross-entropy", pos_weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    twin = copy.deepcopy(module)
    twin.pos_weight.zero_()
    assert isinstance(module.pos_weight, Tensor)
    assert module.pos_weight.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert twin(*sample(6, 4)) < module(*sample(6, 4))
