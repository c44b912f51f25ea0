"""Degenerate batches, gradients, extreme numbers, types and transforms."""

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from rarecall import losses
from tests.loops import each
from tests.loss_cases import (
    CASES,
    CASES_WITHOUT_RULE,
    LAW,
    REDUCTIONS,
    call,
    close,
    differentiable,
    gradient,
    hold_threads,
    sample,
)

one_thread = pytest.fixture(autouse=True, scope="module")(hold_threads(1))


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


# --- degenerate batches ------------------------------------------------------------------------------------------


@each(case=CASES, label=[1, 0, -1], shape=[(1, 1), (1, 4), (5, 1), (3, 3), (2, 20000)])
def test_is_finite_when_all_labels_are_the_same(case, label, shape):
    logits, _ = sample(*shape)
    targets = torch.full(shape, label)
    assert call(case, logits, targets).isfinite()
    assert gradient(case, logits, targets).isfinite().all()


@each(case=CASES, shape=[(1, 4), (5, 1), (2, 20000)])
def test_is_finite_for_one_sample_one_class_and_very_many_classes(case, shape):
    batch = sample(*shape, seed=3)
    assert call(case, *batch).isfinite()
    assert gradient(case, *batch).isfinite().all()


@each(case=CASES_WITHOUT_RULE, reduction=REDUCTIONS, shape=[(3, 4), (1, 1), (0, 4), (3, 0), (0, 0)])
def test_is_exactly_zero_where_nothing_is_known(case, reduction, shape):
    logits, targets = sample(*shape)[0], torch.full(shape, -1)
    assert call(case, logits, targets, reduction=reduction) == 0
    grads = gradient(case, logits, targets, reduction=reduction)
    assert grads.shape == shape
    assert not grads.any()


@each(case=CASES_WITHOUT_RULE)
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


# --- gradients and numbers ---------------------------------------------------------------------------------------


# Constants in the gradient make it another than the value's; these have tests of their own.
PACED = ("circle", "generalized-robust", "role")


@each(case=[case for case in CASES if case[0] not in PACED], ones=[False, True])
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


@each(case=CASES)
@LAW
@given(batch=batches(EXTREME))
def test_value_and_gradient_are_finite_at_extreme_logits(case, batch):
    for reduction in ("mean", "sum"):
        assert call(case, *batch, reduction=reduction).isfinite()
        assert gradient(case, *batch, reduction=reduction).isfinite().all()


@each(case=CASES)
@LAW
@given(batch=batches({torch.float32: 50.0}))
def test_single_precision_is_close_to_double(case, batch):
    logits, targets = batch
    value = call(case, logits, targets)
    close(value.double(), call(case, logits.double(), targets), rtol=1e-5, atol=1e-6)


@each(case=CASES, offset=[-48.0, 48.0])
def test_single_precision_is_close_to_double_when_all_logits_share_an_offset(case, offset):
    for seed in range(8):
        logits, targets = sample(6, 4, seed=seed, scale=0.5)
        logits = (logits + offset).float()
        value = call(case, logits, targets)
        close(value.double(), call(case, logits.double(), targets), rtol=1e-5, atol=1e-6)


@each(case=CASES, dtype=[torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(case, dtype):
    logits, targets = sample(6, 4)
    half = logits.to(dtype)
    value = call(case, half, targets)
    assert value.dtype == torch.float32
    assert torch.equal(value, call(case, half.float(), targets))
    assert gradient(case, half, targets).dtype == dtype


@each(case=CASES, context=[torch.no_grad, torch.inference_mode])
def test_no_gradient_is_recorded_where_none_is_wanted(case, context):
    logits, targets = sample(6, 4)
    with context():
        value = call(case, logits.clone().requires_grad_(), targets)
    assert not value.requires_grad
    close(value.clone(), call(case, logits, targets))


@each(case=CASES)
def test_memory_layout_does_not_matter(case):
    logits, targets = sample(6, 4)
    strided, wide = logits.mT.contiguous().mT, targets.repeat_interleave(2, 1)[:, ::2]
    assert not strided.is_contiguous()
    assert not wide.is_contiguous()
    close(call(case, strided, wide), call(case, logits, targets))
    close(gradient(case, strided, wide), gradient(case, logits, targets))


@each(case=CASES)
def test_inputs_are_left_as_they_were(case):
    logits, targets = sample(6, 4)
    kept = logits.clone(), targets.clone()
    gradient(case, logits, targets)
    assert torch.equal(logits, kept[0])
    assert torch.equal(targets, kept[1])


@each(case=CASES)
def test_functional_gradient_is_the_gradient(case):
    logits, targets = sample(6, 4)
    close(torch.func.grad(lambda z: call(case, z, targets))(logits), gradient(case, logits, targets))


@each(case=CASES)
def test_vmap_is_a_leading_dimension(case):
    logits, targets = sample(3, 6, 4)
    close(torch.func.vmap(lambda z, y: call(case, z, y))(logits, targets), call(case, logits, targets))


@each(case=CASES)
def test_vmap_of_the_gradient_is_the_gradient_of_each_problem(case):
    logits, targets = sample(3, 6, 4)
    each = torch.func.vmap(torch.func.grad(lambda z, y: call(case, z, y)))(logits, targets)
    close(each, gradient(case, logits, targets))
