"""Laws that hold for every loss: order, unknown entries, leading dimensions, grids of options, and what pulls where."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from rarecall import losses
from tests.loops import each
from tests.loss_cases import (
    CASES,
    CASES_WITHOUT_RULE,
    GRIDS,
    POINTWISE_CASES,
    REDUCTIONS,
    call,
    close,
    gradient,
    hold_threads,
    needed,
    sample,
)

one_thread = pytest.fixture(autouse=True, scope="module")(hold_threads(1))


@each(case=CASES, dim=[0, 1])
def test_order_does_not_matter(case, dim):
    logits, targets = sample(6, 4)
    order = torch.tensor([3, 0, 2, 1, 5, 4])[: logits.shape[dim]]
    options = needed(case[0], logits)
    counted = {"positives": options["positives"][order]} if dim == 1 and "positives" in options else {}
    shuffled = call(case, logits.index_select(dim, order), targets.index_select(dim, order), **counted)
    close(shuffled, call(case, logits, targets))


@each(case=CASES_WITHOUT_RULE)
def test_unknown_entries_do_not_count_whatever_their_logits(case):
    logits, targets = sample(6, 4)
    unknown = targets < 0
    for other in (0.0, 1e4, -1e4):
        changed = logits.masked_fill(unknown, other)
        assert torch.equal(call(case, changed, targets), call(case, logits, targets))
        assert torch.equal(gradient(case, changed, targets), gradient(case, logits, targets))


@each(case=CASES_WITHOUT_RULE, other=[float("inf"), -float("inf"), float("nan")])
def test_the_value_does_not_see_unknown_entries_that_are_not_finite(case, other):
    logits, targets = sample(6, 4)
    assert torch.equal(call(case, logits.masked_fill(targets < 0, other), targets), call(case, logits, targets))


@each(case=CASES_WITHOUT_RULE, reduction=REDUCTIONS)
def test_unknown_entries_have_exactly_zero_gradient(case, reduction):
    logits, targets = sample(6, 4)
    grads = gradient(case, logits, targets, reduction=reduction)
    assert not grads[targets < 0].any()
    assert grads[targets >= 0].any()


@each(case=POINTWISE_CASES)
def test_unknown_entries_have_exactly_zero_loss(case):
    logits, targets = sample(6, 4)
    assert not call(case, logits, targets, reduction="none")[targets < 0].any()


@each(case=CASES_WITHOUT_RULE)
def test_samples_and_classes_that_are_all_unknown_change_nothing(case):
    logits, targets = sample(6, 4)
    classes = 0 if case[0] == "hard-selection" else 2  # which selects a share of all the classes, known or not
    wider = F.pad(logits, (0, classes, 0, 3), value=5.0)
    close(call(case, wider, F.pad(targets, (0, classes, 0, 3), value=-1)), call(case, logits, targets))


@each(case=CASES, reduction=REDUCTIONS)
def test_leading_dimensions_are_independent_problems(case, reduction):
    logits, targets = sample(2, 3, 5, 4)
    at_once = call(case, logits, targets, reduction=reduction)
    one_by_one = [
        call(case, logits[i, j], targets[i, j], reduction=reduction) for i, j in itertools.product(range(2), range(3))
    ]
    close(at_once, torch.stack(one_by_one).reshape(2, 3))


@each(case=CASES)
def test_leading_dimensions_broadcast(case):
    logits, targets = sample(3, 1, 5, 4)[0], sample(2, 5, 4)[1]
    expected = [[call(case, z[0], y) for y in targets] for z in logits]
    close(call(case, logits, targets), torch.stack([torch.stack(row) for row in expected]))


@each(option=GRIDS)
def test_a_grid_of_an_option_in_one_call_equals_the_loop(option):
    name, option_name = option
    logits, targets = sample(6, 4)
    grid = torch.tensor(GRIDS[option], dtype=torch.float64)
    loop = [call((name, {option_name: value}), logits, targets) for value in GRIDS[option]]
    close(call((name, {option_name: grid}), logits, targets), torch.stack(loop))


@each(option=GRIDS)
def test_a_grid_of_an_option_sends_each_problem_its_own_gradient(option):
    name, option_name = option
    logits, targets = sample(3, 6, 4)
    grid = torch.tensor(GRIDS[option], dtype=torch.float64)
    at_once = gradient((name, {option_name: grid}), logits, targets)
    loop = [
        gradient((name, {option_name: value}), *one) for *one, value in zip(logits, targets, GRIDS[option], strict=True)
    ]
    close(at_once, torch.stack(loop))


@each(option=GRIDS)
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


@each(case=[case for case in CASES if case not in RAISED_POSITIVE_MAY_COST])
def test_raising_a_positive_never_raises_the_loss(case):
    before, after = moved_one_by_one(case, sample(7, 5)[1], label=1, step=0.7)
    assert (after <= before + 1e-12).all()
    assert (after < before).any()


@each(case=[case for case in CASES if case not in RAISED_NEGATIVE_MAY_PAY])
def test_raising_a_negative_never_lowers_the_loss(case):
    before, after = moved_one_by_one(case, sample(7, 5)[1], label=0, step=0.7)
    assert (after >= before - 1e-12).all()
    assert (after > before).any()


@each(case=[*SMOOTHED, *EQUALISING])
def test_raising_a_positive_may_cost(case):
    before, after = moved_one_by_one(case, sample(7, 5, labels=(0, 1))[1], label=1, step=0.7)
    assert (after > before).any()


@each(case=[*SMOOTHED, *FORGIVING[:2]])
def test_raising_a_negative_may_pay(case):
    before, after = moved_one_by_one(case, sample(7, 5, labels=(0, 1))[1], label=0, step=0.7)
    assert (after < before).any()


@pytest.mark.parametrize(("expected", "sign"), [(0.0, 1), (1.5, -1)], ids=["too many", "too few"])
@each(case=PENALISED)
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


@each(case=[case for case in CASES if case[0] != "entropy-maximization"])
def test_is_never_negative(case):
    for seed in range(5):
        assert call(case, *sample(6, 4, seed=seed, scale=6.0)) >= 0


def test_entropy_maximization_rewards_uncertainty():
    targets = torch.full((6, 4), -1)
    assert call(("entropy-maximization", {}), sample(6, 4)[0], targets) < 0
