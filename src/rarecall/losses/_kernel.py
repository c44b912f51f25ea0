"""The compiled kernel: single precision on a CPU, value and gradient in one pass.

It is an addition that may be missing: every loss is defined by differentiable tensor operations, and takes the
kernel only where it gives the same. `build_kernel.py` at the top of the project compiles it when the package is
installed, if there is a compiler.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from rarecall.losses._shared import Option

_POINTER, _LONG, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float
_BATCH = [_POINTER, _POINTER, _LONG, _LONG]  # logits, targets, rows, columns
_SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "rarecall_pointwise": (
        [_INT, *_BATCH, _POINTER, _POINTER, _POINTER, _POINTER, _INT, *[_FLOAT] * 4, _POINTER, _INT],
        ctypes.c_double,
    ),
    "rarecall_ranking": (
        [_INT, _INT, _INT, *_BATCH, _POINTER, _INT, _INT, _INT, ctypes.c_double, _POINTER, _POINTER, _INT],
        ctypes.c_double,
    ),
    "rarecall_ranking_gradient": (
        [_INT, _INT, _INT, *_BATCH, _POINTER, _INT, _INT, _POINTER, _POINTER, _POINTER, _INT],
        None,
    ),
    "rarecall_probability": ([_POINTER, _LONG, _POINTER, _INT], ctypes.c_double),
    "rarecall_believe": ([_POINTER, _POINTER, _LONG, _LONG, _FLOAT, _POINTER, _INT], None),
    "rarecall_select": ([*_BATCH, _LONG, _POINTER, _INT], None),
    "rarecall_count": ([_POINTER, _LONG, _POINTER, _INT], None),
}
# In the order of losses.cpp.
(
    CROSS_ENTROPY,
    FOCAL,
    ASYMMETRIC,
    HILL,
    SHIFTED_FOCAL,
    REBALANCED,
    GENERALIZED_ROBUST,
    ENTROPY,
    PROBABILITY,
    SELECTED,
    EXPECTED,
    SHIFTED,
) = range(12)
LINEAR, CIRCLE = range(2)
MARGIN, SEPARATE, CONSTRAINED, SOFTMAX = range(4)
LEVELS = {"avx512": ("avx512", "avx2"), "avx2": ("avx2",)}  # of vector instructions, the best first


def load(folder: Path = Path(__file__).parent) -> ctypes.CDLL | None:
    """The kernel for this processor, or None."""
    capability = torch.backends.cpu.get_cpu_capability().lower()
    libraries = [folder / f"_kernel_{level}.so" for level in LEVELS.get(capability, ("default",))]
    library = next((library for library in libraries if library.exists()), None)
    if os.environ.get("RARECALL_KERNEL") == "0" or library is None:
        return None
    try:
        loaded = ctypes.CDLL(str(library))
        for name, (arguments, result) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.argtypes, function.restype = arguments, result
    except (OSError, AttributeError):  # of another platform or another version
        return None
    return loaded


LIBRARY = load()


class Call(NamedTuple):
    """A pointwise loss as the kernel knows it.

    Attributes:
        loss: its number.
        options: its numbers; a tensor among them rules the kernel out.
        classes: weight if present, weight if absent, bias if present, bias if absent and rarity of each class,
            (1, C) each, or None for 1, 1, 0, 0, 0.
        rows: (N, 1) weights of the rows, or None.
        extras: (N, C) a number for each entry, or None.
        factor: what every term is multiplied by.
        soft: what terms with soft targets are multiplied by besides.
    """

    loss: int
    options: Sequence[Option] = ()
    classes: Sequence[Tensor | None] = (None,) * 5
    rows: Tensor | None = None
    extras: Tensor | None = None
    factor: Option = 1.0
    soft: Option = 1.0


class Ranking(NamedTuple):
    """A loss over rows or columns as the kernel knows it.

    Attributes:
        kind: what is made of the log-sum-exps.
        factors: of negatives and positives, for each pair; or gamma and margin of the circle loss.
        temperatures: that the log-sum-exps of negatives and of positives are multiplied by.
        bias: added to their sum.
        second: whether the second pair's negatives and positives take part.
        needs_positive: only rows and columns with a positive count.
        score: what is exponentiated.
    """

    kind: int
    factors: Sequence[Option]
    temperatures: tuple[Option, Option] = (1.0, 1.0)
    bias: Option = 0.0
    second: tuple[bool, bool] = (False, False)
    needs_positive: bool = False
    score: int = LINEAR


class Counts(NamedTuple):
    """Of a batch: entries that are known, the sum of their targets, and how many of these are soft."""

    known: float
    present: float
    soft: float


def takes(logits: Tensor, targets: Tensor, call: Call | Ranking | None = None) -> bool:
    """Whether the kernel can compute this: plain float32 matrices on a CPU, plain numbers as options.

    Inside `torch.compile`, `torch.func` and forward-mode differentiation the formula itself is what is wanted.
    """
    if torch.compiler.is_compiling() or LIBRARY is None:
        return False
    return (
        type(logits) in (Tensor, nn.Parameter)
        and type(targets) is Tensor
        and logits.dtype == targets.dtype == torch.float32
        and logits.device.type == targets.device.type == "cpu"
        and logits.ndim == 2
        and logits.shape == targets.shape
        and logits.numel() > 0
        and not targets.requires_grad
        and not (call and _has_tensors(call, len(logits)))
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


def can_look_at(*tensors: Tensor) -> bool:
    """Whether the numbers are at hand: on a CPU, and not traced."""
    return (
        not torch.compiler.is_compiling()
        and all(tensor.device.type == "cpu" for tensor in tensors)
        and not torch._C._are_functorch_transforms_active()
    )


def _has_tensors(call: Call | Ranking, rows: int) -> bool:
    """Whether there is an option that the kernel cannot take."""
    if isinstance(call, Ranking):
        numbers = (*call.factors, *call.temperatures, call.bias)
        return any(isinstance(number, Tensor) for number in numbers) or 0 in call.temperatures
    if any(isinstance(number, Tensor) for number in (*call.options, call.factor, call.soft)):
        return True
    given = [*(tensor for tensor in call.classes if tensor is not None)]
    wrong = call.rows is not None and call.rows.shape != (rows, 1)
    return wrong or any(tensor.requires_grad or tensor.ndim != 2 or len(tensor) != 1 for tensor in given)


def count(targets: Tensor) -> Counts:
    """Count the known entries, add up their targets, and count those between 0 and 1."""
    targets, counts = targets.contiguous(), (ctypes.c_double * 3)()
    _library().rarecall_count(targets.data_ptr(), targets.numel(), counts, torch.get_num_threads())
    return Counts(*counts)


def pointwise(
    logits: Tensor,
    targets: Tensor,
    call: Call,
    scales: tuple[float, float, float],
    hard: bool,
    formula: Callable[[Tensor], Tensor],
    plus: float = 0.0,
) -> Tensor:
    """The sum of one term per entry, each times the scale of a present, an absent or an unknown one.

    `hard` says that no target is soft. `formula` is the same by differentiable operations, for whoever
    differentiates twice. `plus` is added to the value.
    """
    targets = targets.contiguous()
    # Held by a name, so that they outlive the call.
    classes = [None if row is None else row.to(torch.float32).contiguous() for row in call.classes]
    rows = None if call.rows is None else call.rows.to(torch.float32).contiguous()
    extras = None if call.extras is None else call.extras.contiguous()
    addresses = (_POINTER * 5)(*(_address(row) for row in classes))

    def run(logits: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        gradient = torch.empty_like(logits) if wanted else None
        value = _library().rarecall_pointwise(
            call.loss,
            logits.data_ptr(),
            targets.data_ptr(),
            *logits.shape,
            _floats(call.options),
            addresses,
            _address(rows),
            _address(extras),
            hard,
            *(scale * call.factor for scale in scales),
            call.soft,
            _address(gradient),
            torch.get_num_threads(),
        )
        return torch.tensor(value + plus, dtype=torch.float32), gradient

    return _differentiable(logits.contiguous(), run, formula)


def total_probability(logits: Tensor) -> float:
    """The sum of the sigmoids."""
    logits = logits.detach().contiguous()
    return float(_library().rarecall_probability(logits.data_ptr(), logits.numel(), None, torch.get_num_threads()))


def probability(logits: Tensor) -> tuple[Tensor, float]:
    """The sigmoids and their sum."""
    logits = logits.detach().contiguous()
    result = torch.empty_like(logits)
    total = _library().rarecall_probability(
        logits.data_ptr(), logits.numel(), result.data_ptr(), torch.get_num_threads()
    )
    return result, float(total)


def believe(logits: Tensor, targets: Tensor, number: int, value: float) -> Tensor:
    """Unknown entries as absent ones, but the `number` of them with the largest logits as `value`."""
    logits, targets = logits.detach().contiguous(), targets.contiguous()
    result = torch.empty_like(targets)
    _library().rarecall_believe(
        logits.data_ptr(),
        targets.data_ptr(),
        targets.numel(),
        number,
        value,
        result.data_ptr(),
        torch.get_num_threads(),
    )
    return result


def ranking(
    logits: Tensor, targets: Tensor, call: Ranking, ways: str, reduction: str, formula: Callable[[Tensor], Tensor]
) -> Tensor:
    """A loss over rows, columns or both; `formula` is the same by differentiable operations."""
    targets = targets.contiguous()
    by_row, by_column = ways != "class", ways in ("class", "both")
    sets = by_row * targets.shape[0] + by_column * targets.shape[1]
    pairs = len(call.factors) // 2
    weight = {"mean": 0.0, "sum": 1.0, "batchmean": 1 / targets.shape[0]}[reduction]
    first = (*call.factors, 0.0, 0.0)[:4]
    options = _floats((*first, *call.temperatures, call.bias, *call.second))
    batch = (targets.data_ptr(), *targets.shape, options, by_row, by_column)

    def run(logits: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        # Log-sum-exps and the derivatives by them; the softmax has a third row for what comes down to its targets.
        lse, down = torch.empty(max(2 * pairs, 3), sets), torch.empty(max(2 * pairs, 3), sets)
        value = _library().rarecall_ranking(
            call.kind,
            call.score,
            pairs,
            logits.data_ptr(),
            *batch,
            call.needs_positive,
            weight,
            lse.data_ptr(),
            down.data_ptr(),
            torch.get_num_threads(),
        )
        gradient = torch.empty_like(logits) if wanted else None
        if gradient is not None:
            _library().rarecall_ranking_gradient(
                call.kind,
                call.score,
                pairs,
                logits.data_ptr(),
                *batch,
                lse.data_ptr(),
                down.data_ptr(),
                gradient.data_ptr(),
                torch.get_num_threads(),
            )
        return torch.tensor(value, dtype=torch.float32), gradient

    return _differentiable(logits.contiguous(), run, formula)


def select(logits: Tensor, targets: Tensor, number: int) -> Tensor:
    """For each row, how much of each entry is among the `number` largest absent terms, (N, C)."""
    logits, targets = logits.detach().contiguous(), targets.contiguous()
    chosen = torch.empty_like(logits)
    _library().rarecall_select(
        logits.data_ptr(), targets.data_ptr(), *logits.shape, number, chosen.data_ptr(), torch.get_num_threads()
    )
    return chosen


def _differentiable(logits: Tensor, run: Callable[..., Any], formula: Callable[[Tensor], Tensor]) -> Tensor:
    if not (logits.requires_grad and torch.is_grad_enabled()):
        return cast("Tensor", run(logits.detach(), False)[0])
    return cast("Tensor", _WithGradient.apply(logits, run, formula))


class _WithGradient(torch.autograd.Function):
    """A value that was computed together with its gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, run: Callable[..., Any], formula: Callable[[Tensor], Tensor]) -> Tensor:
        value, ctx.gradient = run(logits, True)
        ctx.formula = formula
        ctx.save_for_backward(logits)
        return cast("Tensor", value)

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None or torch.is_grad_enabled():  # a second time, or to be differentiated again
            return _of_formula(ctx.formula, ctx.saved_tensors[0], incoming[0]), None, None
        if float(incoming[0].detach()) != 1:
            gradient.mul_(incoming[0])
        return gradient, None, None


def _of_formula(formula: Callable[[Tensor], Tensor], logits: Tensor, incoming: Tensor) -> Tensor:
    """The gradient by differentiable operations."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = logits if again else logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(formula(leaf), leaf, incoming, create_graph=again)
    return gradient


def _library() -> ctypes.CDLL:
    assert LIBRARY is not None
    return LIBRARY


def _floats(values: Sequence[Option]) -> Any:
    return (_FLOAT * 16)(*(float(value + 0.0) for value in values))  # a number, not the text of one


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
