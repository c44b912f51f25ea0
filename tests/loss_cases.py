"""Every loss with options to test it with, and what tests of losses share."""

import inspect

import jaxtyping
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

from rarecall import losses
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


POINTWISE_CASES = [case for case in CASES if case[0] in POINTWISE]
CASES_BY_ENTRY = [case for case in CASES if case[0] in BY_ENTRY]
CASES_WITHOUT_RULE = [case for case in CASES if case[0] not in RULES]


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


# Of the forty items that a built loss is bound to, and the numbers of those in a batch.
LABELS = sample(40, 4, seed=5)[1].to(torch.int8)
ROWS = torch.tensor([3, 0, 7, 9, 12, 39])


def gradient(case, logits, targets, **more):
    leaf = logits.detach().requires_grad_()
    (result,) = torch.autograd.grad(call(case, leaf, targets, **more).sum(), leaf)
    return result


def close(actual, expected, rtol=1e-10, atol=1e-12):
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol)


def differentiable(case):
    """The case with a gradient that is the derivative of the value."""
    name, options = case
    return (name, {**options, "detach_focusing": False}) if name == "asymmetric" else case


def hold_threads(number):
    """What a fixture does that holds the number of threads: tiny tensors wait for them most of the time."""

    def hold():
        before = torch.get_num_threads()
        torch.set_num_threads(number)
        yield
        torch.set_num_threads(before)

    return hold


def without_type_checker():
    """What a fixture does that lets a wrong call reach the function even where shapes are checked at run time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
