"""The compiled kernel gives what the formulas give, is taken where it can be, and nowhere else.

Without a compiler there is no kernel, and these tests are about the formulas alone.
"""

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from rarecall import losses
from rarecall.errors import ModelError
from rarecall.losses import _frequency, _gradient, _kernel, _torch_internals
from tests.block_sizes import block_sizes, working_on
from tests.loops import each
from tests.loss_cases import (
    CASES,
    CASES_BY_ENTRY,
    LAW,
    OCCURRENCES,
    REDUCTIONS,
    TOTAL,
    call,
    differentiable,
    function_of,
    gradient,
    hold_threads,
    named,
    needed,
    sample,
)

SHAPES = [(1, 1), (1, 7), (7, 1), (6, 4), (3, 1500), (40, 130), (300, 257)]
SOFT = (-1.0, 0.0, 0.0, 0.2, 0.5, 0.9, 1.0)
# Hard limits of temperatures and printed oddities are left to the formulas.
FORMULA_ONLY = [
    case for case in CASES if case[1].get("positive_temperature") == 0 or case[1].get("modulation") == "as-printed"
]
IN_KERNEL = [case for case in CASES if case not in FORMULA_ONLY]


@pytest.fixture
def formulas_only(monkeypatch):
    monkeypatch.setattr(_kernel, "LIBRARY", None)


two_threads = pytest.fixture(autouse=True, scope="module")(hold_threads(2))


def by_both(case, logits, targets, **more):
    """Value and gradient of single precision, and those of the formula in double."""
    single = call(case, logits.float(), targets, **more), gradient(case, logits.float(), targets, **more)
    double = call(case, logits.float().double(), targets, **more)
    return single, (double, gradient(case, logits.float().double(), targets, **more))


def assert_equal(single, double):
    torch.testing.assert_close(single[0].double(), double[0], rtol=1e-5, atol=1e-6)
    # A gradient is compared with the largest one of its batch: entries add up in another order.
    scale = double[1].abs().max().clamp(min=1e-6)
    torch.testing.assert_close(single[1].double() / scale, double[1] / scale, rtol=1e-4, atol=1e-5)


@each(case=CASES, shape=SHAPES, reduction=REDUCTIONS)
def test_value_and_gradient_are_those_of_the_formula(case, shape, reduction):
    logits, targets = sample(*shape, seed=len(str(case)), scale=3.0, labels=(-1, 0, 0, 0, 1))
    assert_equal(*by_both(case, logits, targets, reduction=reduction))


@each(case=CASES_BY_ENTRY)
def test_soft_targets_give_what_the_formula_gives(case):
    logits, targets = sample(20, 33, scale=3.0, labels=SOFT)
    assert_equal(*by_both(case, logits, targets))


@each(case=IN_KERNEL)
@LAW
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 9),
    classes=st.integers(1, 40),
    scale=st.sampled_from([0.1, 3.0, 20.0]),
)
def test_any_batch_gives_what_the_formula_gives(case, seed, rows, classes, scale):
    logits, targets = sample(rows, classes, seed=seed, scale=scale)
    assert_equal(*by_both(case, logits, targets))


@each(case=IN_KERNEL)
def test_equal_logits_give_what_the_formula_gives(case):
    logits, targets = torch.zeros(8, 12, dtype=torch.float64), sample(8, 12)[1]
    single, double = by_both(case, logits, targets)
    if case[0] == "large-loss":  # which of equal entries are chosen is open
        torch.testing.assert_close(single[0].double(), double[0], rtol=1e-5, atol=1e-6)
    else:
        assert_equal(single, double)


@pytest.mark.skipif(_kernel.LIBRARY is None, reason="there was no compiler when the package was installed")
@each(case=CASES)
def test_the_kernel_is_taken_where_it_can_be(case):
    logits, targets = sample(6, 4)
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pointwise", "ranking", "teach"):
            original = getattr(_kernel, name)
            patch.setattr(_kernel, name, lambda *args, own=original, **more: taken.append(1) or own(*args, **more))
        call(case, logits.float(), targets)
        assert bool(taken) == (case not in FORMULA_ONLY)
        taken.clear()
        call(case, logits, targets)  # double precision
        call(case, logits.float()[None], targets)  # leading dimensions
        torch.func.grad(lambda z: call(case, z, targets))(logits.float())
    assert not taken


@each(case=IN_KERNEL, reduction=REDUCTIONS)
def test_second_derivatives_are_those_of_the_formula(case, reduction):
    logits, targets = sample(5, 4)

    def second(z):
        z = z.detach().requires_grad_()
        (first,) = torch.autograd.grad(call(case, z, targets, reduction=reduction), z, create_graph=True)
        return torch.autograd.grad((first**2).sum(), z)[0]

    single, double = second(logits.float()).double(), second(logits)
    scale = double.abs().max().clamp(min=1e-6)
    torch.testing.assert_close(single / scale, double / scale, rtol=1e-3, atol=1e-4)


@each(case=IN_KERNEL, reduction=REDUCTIONS)
def test_a_second_backward_pass_gives_the_same_gradient(case, reduction):
    logits, targets = sample(5, 4)
    leaf = logits.float().requires_grad_()
    value = call(case, leaf, targets, reduction=reduction)
    first = torch.autograd.grad(value, leaf, retain_graph=True)[0].clone()
    again = torch.autograd.grad(value, leaf)[0]
    torch.testing.assert_close(again, first, rtol=1e-4, atol=1e-6)


@each(case=IN_KERNEL)
def test_what_comes_down_is_multiplied_in(case):
    logits, targets = sample(5, 4)
    leaf = logits.float().requires_grad_()
    (scaled,) = torch.autograd.grad(-3 * call(case, leaf, targets), leaf)
    torch.testing.assert_close(scaled, -3 * gradient(case, logits.float(), targets))


@each(case=IN_KERNEL)
def test_a_gradient_is_the_callers_own(case):
    """Nobody else holds it, so that changing it in place changes nothing."""
    logits, targets = sample(5, 4)
    leaf = logits.float().requires_grad_()
    value = call(case, leaf, targets)
    value.backward(retain_graph=True)
    kept = leaf.grad.clone()
    leaf.grad.zero_()
    leaf.grad = None
    value.backward()
    torch.testing.assert_close(leaf.grad, kept, rtol=1e-4, atol=1e-6)


@each(case=IN_KERNEL)
def test_strided_logits_and_targets_give_the_same(case):
    logits, targets = sample(6, 4)
    strided, wide = logits.float().mT.contiguous().mT, targets.float().repeat_interleave(2, 1)[:, ::2]
    assert torch.equal(call(case, strided, wide), call(case, logits.float(), targets))
    assert torch.equal(gradient(case, strided, wide), gradient(case, logits.float(), targets))


@each(case=IN_KERNEL)
def test_is_deterministic_and_independent_of_earlier_calls(case):
    logits, targets = sample(64, 300)
    first = call(case, logits.float(), targets), gradient(case, logits.float(), targets)
    call(case, 9 * logits.float(), targets)
    again = call(case, logits.float(), targets), gradient(case, logits.float(), targets)
    assert torch.equal(again[0], first[0])
    assert torch.equal(again[1], first[1])


@each(case=IN_KERNEL)
def test_not_a_number_is_not_hidden(case):
    logits, targets = sample(6, 4, labels=(0, 1))
    logits[2, 1] = torch.nan
    assert call(case, logits.float(), targets).isnan()
    assert call(case, logits, targets).isnan()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # of PyTorch's own forward-mode formulas
@each(case=CASES)
def test_forward_mode_gives_the_gradient_too(case):
    logits, targets = sample(5, 4)
    direction = sample(5, 4, seed=9)[0].float()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(logits.float(), direction)
        slope = torch.autograd.forward_ad.unpack_dual(call(case, dual, targets)).tangent
    expected = (gradient(case, logits.float(), targets) * direction).sum()
    torch.testing.assert_close(slope, expected, rtol=1e-3, atol=1e-5)


NAMES = ["focal", "asymmetric", "two-way", "dr", "gr", "circle"]


@pytest.mark.parametrize(
    "levels",
    [{}, {"RARECALL_KERNEL": "0"}, {"ATEN_CPU_CAPABILITY": "avx2"}, {"ATEN_CPU_CAPABILITY": "default"}],
    ids=str,
)
def test_every_level_of_vector_instructions_gives_the_same(levels):
    code = (
        "import torch; from rarecall import losses; torch.manual_seed(0);"
        "z, y = 3 * torch.randn(30, 70), (torch.rand(30, 70) < 0.1).float();"
        f"print([losses.build(name)(z, y).item() for name in {NAMES}])"
    )
    environment = {**os.environ, "RARECALL_KERNEL": "", **levels}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.stderr == ""
    torch.manual_seed(0)
    z, y = 3 * torch.randn(30, 70), (torch.rand(30, 70) < 0.1).float()
    assert json.loads(run.stdout) == pytest.approx([losses.build(name)(z, y).item() for name in NAMES], rel=1e-4)


# --- memory -------------------------------------------------------------------------------------------------


LEAN = ["focal", "asymmetric", "soft-selection", "distributionally-robust", "two-way"]


def peak_memory(name, rows, classes, dtype):
    """Most memory that a forward and backward pass holds besides its inputs, in sizes of the logits."""
    logits = torch.randn(rows, classes, dtype=dtype, requires_grad=True)
    targets = (torch.rand(rows, classes) < 0.05).to(dtype)
    with torch.profiler.profile(profile_memory=True) as profile:
        function_of(name)(logits, targets).backward()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / (logits.numel() * logits.element_size())


@pytest.mark.skipif(_kernel.LIBRARY is None, reason="there was no compiler when the package was installed")
@pytest.mark.parametrize("name", LEAN)
def test_forward_and_backward_hold_no_more_than_twice_the_logits(name):
    assert 1 <= peak_memory(name, 256, 512, torch.float32) <= 2


@pytest.mark.usefixtures("formulas_only")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", LEAN)
def test_formulas_of_large_batches_hold_no_more_than_twice_the_logits(name, dtype, monkeypatch):
    monkeypatch.setattr(_gradient, "ENTRIES_WORTH_BLOCKS", 1 << 17)
    assert 1 <= peak_memory(name, 256, 512, dtype) <= 2


# --- the formulas without a kernel, block by block ------------------------------------------------------------


@pytest.mark.usefixtures("formulas_only")
@each(case=CASES, reduction=REDUCTIONS)
def test_blocks_give_what_the_whole_gives(case, reduction):
    logits, targets = sample(61, 37, seed=7)
    whole = call(case, logits, targets, reduction=reduction), gradient(case, logits, targets, reduction=reduction)
    with working_on(block_sizes(losses), 1):
        blocks = call(case, logits, targets, reduction=reduction), gradient(case, logits, targets, reduction=reduction)
    torch.testing.assert_close(blocks, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("formulas_only")
@pytest.mark.parametrize("name", LEAN)
def test_blocks_can_be_differentiated_again_and_with_what_comes_down(name, monkeypatch):
    monkeypatch.setattr(_gradient, "ENTRIES_WORTH_BLOCKS", 1)
    logits, targets = sample(5, 4, seed=3)
    logits.requires_grad_()
    case = differentiable((name.replace("-", "_"), {}))
    # The first backward pass hands over what the blocks gave, the next ones compute the whole: other roundings.
    assert torch.autograd.gradcheck(lambda z: 3 * call(case, z, targets), logits, nondet_tol=1e-12)
    assert torch.autograd.gradgradcheck(lambda z: 3 * call(case, z, targets), logits)


@pytest.mark.usefixtures("formulas_only")
@pytest.mark.parametrize("name", LEAN)
def test_blocks_of_nothing_known_give_nothing(name, monkeypatch):
    monkeypatch.setattr(_gradient, "ENTRIES_WORTH_BLOCKS", 1)
    logits = torch.randn(30, 4, requires_grad=True)
    value = function_of(name)(logits, torch.full((30, 4), -1.0))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("ways", ["both", "class", "joint"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
def test_buckets_in_the_kernel_are_those_of_the_formula(ways, reduction):
    logits, targets = sample(43, 200, seed=5)
    targets[20:30] = targets[20:30].clamp(max=0)  # a bucket without a positive
    case = ("two_way", {"ways": ways, "bucket_size": 10})
    assert_equal(*by_both(case, logits, targets, reduction=reduction))


# --- the formulas without a kernel ----------------------------------------------------------------------------


@pytest.mark.usefixtures("formulas_only")
@each(case=CASES)
def test_formulas_hold_in_single_precision_without_the_kernel(case):
    logits, targets = sample(6, 4, scale=5.0)
    value = call(case, logits.float(), targets)
    torch.testing.assert_close(value.double(), call(case, logits.float().double(), targets), rtol=1e-5, atol=1e-6)


def test_counts_may_be_anything_that_holds_numbers():
    logits, targets = sample(6, 4)
    expected = losses.class_balanced(logits.float(), targets, positives=torch.tensor(OCCURRENCES), total=TOTAL)
    for counts in (OCCURRENCES, torch.tensor(OCCURRENCES, dtype=torch.float64), torch.tensor(OCCURRENCES)[None][0]):
        assert torch.equal(losses.class_balanced(logits.float(), targets, positives=counts, total=TOTAL), expected)


def test_weights_that_require_a_gradient_get_one():
    logits, targets = sample(6, 4)
    weight = torch.ones(4, requires_grad=True)
    losses.binary_cross_entropy(logits.float(), targets, pos_weight=weight).backward()
    terms = torch.where(targets > 0, F.softplus(-logits), 0.0).sum(0) / (targets >= 0).sum()
    torch.testing.assert_close(weight.grad.double(), terms, rtol=1e-5, atol=1e-6)


@each(case=IN_KERNEL)
def test_the_number_of_threads_does_not_change_a_bit(case):
    logits, targets = sample(70, 300)
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append((call(case, logits.float(), targets), gradient(case, logits.float(), targets)))
    torch.set_num_threads(2)
    for value, slope in results[1:]:
        assert torch.equal(value, results[0][0])
        assert torch.equal(slope, results[0][1])


# --- odd surroundings ---------------------------------------------------------------------------------------


@each(case=IN_KERNEL, default=[torch.bfloat16, torch.float64, "meta"])
def test_default_type_and_device_do_not_matter(case, default):
    logits, targets = sample(6, 900)
    expected = call(case, logits.float(), targets), gradient(case, logits.float(), targets)
    counts = needed(case[0], logits.float())
    try:
        torch.set_default_device(default) if default == "meta" else torch.set_default_dtype(default)
        leaf = logits.float().requires_grad_()
        value = function_of(case[0])(leaf, targets, **counts, **case[1])
        (slope,) = torch.autograd.grad(value, leaf)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(value, expected[0])
    assert torch.equal(slope, expected[1])


@each(case=IN_KERNEL)
def test_changing_the_targets_before_a_second_derivative_is_noticed(case):
    logits, targets = sample(5, 4)
    targets, leaf = targets.float(), logits.float().requires_grad_()
    value, expected = call(case, leaf, targets), gradient(case, logits.float(), targets)
    targets.zero_()
    try:
        (slope,) = torch.autograd.grad(value, leaf, create_graph=True)
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)  # noqa: PT017 - or it had a copy of them
    else:
        torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)


@each(case=IN_KERNEL)
def test_many_gradients_at_once(case):
    logits, targets = sample(5, 4)
    leaf = logits.float().requires_grad_()
    value = call(case, leaf, targets)
    (many,) = torch.autograd.grad(value, leaf, torch.tensor([1.0, -2.0, 0.5]), is_grads_batched=True)
    expected = gradient(case, logits.float(), targets)
    torch.testing.assert_close(many, torch.stack([expected, -2 * expected, 0.5 * expected]))


@pytest.mark.parametrize("name", ["focal", "two-way", "class-balanced", "role"])
def test_a_trace_holds_the_operations_and_not_the_number(name):
    logits, targets = sample(5, 4)
    graph = make_fx(lambda z: call((name, {}), z, targets))(logits.float())
    torch.testing.assert_close(graph(3 * logits.float()), call((name, {}), 3 * logits.float(), targets))


@pytest.mark.parametrize("mode", ["by_class", "average_n", "average_w", "min_n"])
def test_a_tensor_option_gets_its_gradient(mode):
    logits, targets = sample(6, 4)
    slopes = []
    for dtype in (torch.float32, torch.float64):
        beta = torch.tensor(0.9, dtype=dtype, requires_grad=True)
        call(("class-balanced", {"mode": mode, "beta": beta}), logits.to(dtype), targets).backward()
        slopes.append(beta.grad.double())
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("beta", [0.9999, 0.999999, 0.9999999])
def test_class_balanced_weights_hold_for_beta_near_one(beta):
    logits, targets = sample(6, 3)
    options = {"beta": beta, "positives": torch.tensor([3, 50, 800]), "total": 1000}
    single = losses.class_balanced(logits.float(), targets, **options)
    torch.testing.assert_close(single.double(), losses.class_balanced(logits, targets, **options), rtol=1e-5, atol=1e-7)


def test_estimates_of_another_type_or_shape_are_read_as_they_are():
    logits, targets = sample(6, 4)
    estimates = sample(3, 6, 4, seed=2)[0]
    for own, other in ((logits.float(), estimates[0]), (logits, estimates[0].float())):
        value = losses.role(own, targets, estimates=other, expected_positives=1.5)
        expected = losses.role(logits, targets, estimates=estimates[0], expected_positives=1.5)
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    many = losses.role(logits.float(), targets, estimates=estimates.float(), expected_positives=1.5)
    each = [losses.role(logits, targets, estimates=one, expected_positives=1.5) for one in estimates]
    torch.testing.assert_close(many.double(), torch.stack(each), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["softmax-regression", "lsep", "zlpr", "multi-similarity", "circle"])
@pytest.mark.parametrize("shape", [(200_000, 1), (1, 200_000)], ids=str)
def test_very_long_sets_lose_no_precision(name, shape):
    logits, targets = sample(*shape, labels=(-1, 0, 0, 1))
    way = "class" if shape[1] == 1 else "sample"
    single = call((name, {"ways": way}), logits.float(), targets)
    torch.testing.assert_close(
        single.double(), call((name, {"ways": way}), logits.float().double(), targets), rtol=1e-6, atol=1e-6
    )


@each(case=IN_KERNEL, odd=[torch.nan, 2.0])
def test_targets_that_are_no_labels_give_what_the_formula_gives(case, odd):
    logits, targets = sample(6, 4)
    targets = targets.double()
    targets[2, 1] = odd
    single, double = call(case, logits.float(), targets), call(case, logits, targets)
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_tiny_soft_targets_share_a_softmax_too():
    logits, targets = sample(6, 4, labels=(0, 1))
    expected = losses.softmax_regression(logits, targets)
    for dtype in (torch.float32, torch.float64):
        value = losses.softmax_regression(logits.to(dtype), 1e-8 * targets)
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_threshold_of_zero_corrects_every_logit():
    logits, targets = torch.tensor([[-1e4, -200.0, 3.0]]), torch.zeros(1, 3)
    expected = losses.splc(logits.double(), torch.ones(1, 3))
    for dtype in (torch.float32, torch.float64):
        value = losses.splc(logits.to(dtype), targets, threshold=0.0)
        torch.testing.assert_close(value.double(), expected)


@pytest.mark.skipif(_kernel.LIBRARY is None, reason="there was no compiler when the package was installed")
def test_a_library_of_another_source_is_left_out(monkeypatch):
    monkeypatch.delenv("RARECALL_KERNEL", raising=False)
    assert _kernel.load() is not None
    monkeypatch.setattr(_kernel, "source_of", lambda _: "another")
    with pytest.warns(UserWarning, match="was compiled from another losses.cpp"):
        assert _kernel.load() is None


@pytest.mark.skipif(_kernel.LIBRARY is None, reason="there was no compiler when the package was installed")
def test_a_library_with_other_cases_is_left_out(monkeypatch):
    monkeypatch.delenv("RARECALL_KERNEL", raising=False)
    swapped = IntEnum("EntryTerm", [case.name for case in reversed(_kernel.EntryTerm)], start=0)
    monkeypatch.setattr(_kernel, "CASES", (swapped, *_kernel.CASES[1:]))
    with pytest.warns(UserWarning, match="numbers its cases otherwise"):
        assert _kernel.load() is None


def test_a_kernel_can_be_required_and_turned_off(monkeypatch, tmp_path):
    monkeypatch.setenv("RARECALL_KERNEL", "require")
    with pytest.raises(ModelError, match="install with a C\\+\\+ compiler"):
        _kernel.load(tmp_path)
    monkeypatch.setenv("RARECALL_KERNEL", "0")
    assert _kernel.load() is None


@pytest.mark.parametrize("gone", ["_transforms_are_active", "_number_of_modes", "_is_zero", "forward_ad"])
def test_where_pytorch_does_not_tell_who_looks_on_a_loss_is_its_formula(gone, monkeypatch):
    silent = SimpleNamespace() if gone == "forward_ad" else _torch_internals.asked(SimpleNamespace(), gone)
    for case in CASES:
        logits, targets = (tensor.float() for tensor in sample(6, 4))
        with monkeypatch.context() as patch:
            patch.setattr(_kernel, "LIBRARY", None)
            expected = call(case, logits, targets), gradient(case, logits, targets)
        with monkeypatch.context() as patch:
            patch.setattr(_torch_internals, gone, silent)
            assert not _kernel.takes(logits, targets)
            assert torch.equal(call(case, logits, targets), expected[0]), named(case)
            assert torch.equal(gradient(case, logits, targets), expected[1]), named(case)


def test_where_pytorch_does_not_tell_versions_nothing_is_remembered(monkeypatch):
    assert _torch_internals.version_of(SimpleNamespace()) is None
    monkeypatch.setattr(_frequency, "version_of", lambda _: None)
    logits, targets, positives = torch.zeros(3, 2), torch.eye(3, 2), torch.tensor([1.0, 2.0])
    before = losses.reweighted_cross_entropy(logits, targets, positives=positives, total=9)
    positives.mul_(2)
    assert positives not in _frequency._REMEMBERED
    after = losses.reweighted_cross_entropy(logits, targets, positives=positives, total=9)
    torch.testing.assert_close(before, math.sqrt(2) * after)


def test_threads_of_python_may_call_it_at_once():
    logits, targets = sample(64, 300)
    expected = [gradient((name, {}), logits.float(), targets) for name in ("focal", "two-way")]
    with ThreadPoolExecutor(4) as pool:
        names = ["focal", "two-way"] * 20
        results = list(pool.map(lambda name: gradient((name, {}), logits.float(), targets), names))
    assert all(torch.equal(result, expected[place % 2]) for place, result in enumerate(results))


@each(case=CASES)
def test_the_formula_never_asks_the_host_for_a_number(case):
    """On a GPU every copy of a number to it, and every look at one, would make it wait."""

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            del types
            assert function not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
            assert function is not torch.ops.aten.lift_fresh.default
            return function(*args, **(kwargs or {}))

    logits, targets = sample(6, 4)
    options = needed(case[0], logits)
    with Watch():
        function_of(case[0])(logits, targets, **options, **case[1])
