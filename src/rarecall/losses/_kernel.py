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
_SIGNATURES = {
    "rarecall_pointwise": (
        [_INT, _POINTER, _POINTER, _LONG, _LONG, _POINTER, _POINTER, _POINTER, *[_FLOAT] * 4, _POINTER, _INT],
        ctypes.c_double,
    ),
    "rarecall_lse": ([_INT, _POINTER, _POINTER, _LONG, _LONG, _POINTER, _INT, _INT, _POINTER, _INT], None),
    "rarecall_lse_gradient": (
        [_INT, _POINTER, _POINTER, _LONG, _LONG, _POINTER, _INT, _INT, _POINTER, _POINTER, _POINTER, _INT],
        None,
    ),
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
) = range(9)
LINEAR, CIRCLE = range(2)
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
        classes: (5, C) options of the classes, of `class_options`, or None.
        rows: (N,) weights of the rows, or None.
        soft: what soft targets are weighed by besides.
    """

    loss: int
    options: Sequence[Option] = ()
    classes: Tensor | None = None
    rows: Tensor | None = None
    soft: float = 1.0


class Counts(NamedTuple):
    """Entries of a batch that are known, and the sum of their targets."""

    known: float
    present: float


def class_options(
    like: Tensor,
    *,
    weight_present: Tensor | float = 1.0,
    weight_absent: Tensor | float = 1.0,
    bias_present: Tensor | float = 0.0,
    bias_absent: Tensor | float = 0.0,
    rarity: Tensor | float = 0.0,
) -> Tensor | None:
    """Options of the classes, (5, C) from numbers and (1, C) tensors; None: they change nothing."""
    given = [weight_present, weight_absent, bias_present, bias_absent, rarity]
    if not any(isinstance(option, Tensor) for option in given):
        return None
    tensors = [option if isinstance(option, Tensor) else like.new_tensor(option) for option in given]
    rows = [tensor.squeeze(-2) if tensor.ndim > 1 else tensor for tensor in tensors]
    return torch.stack(torch.broadcast_tensors(*rows))


def takes(logits: Tensor, targets: Tensor, call: "Call | None", *options: object) -> bool:
    """Whether the kernel can compute this: plain float32 matrices on a CPU, plain numbers as options.

    Inside `torch.compile`, `torch.func` and forward-mode differentiation the formula itself is what is wanted.
    """
    if torch.compiler.is_compiling() or LIBRARY is None:
        return False
    if call is not None:
        options += tuple(call.options)
        if any(tensor is not None and tensor.requires_grad for tensor in (call.classes, call.rows)):
            return False
        if (call.classes is not None and call.classes.ndim != 2) or (call.rows is not None and call.rows.ndim != 1):
            return False
    return (
        type(logits) in (Tensor, nn.Parameter)
        and type(targets) is Tensor
        and logits.dtype == torch.float32
        and logits.device.type == targets.device.type == "cpu"
        and logits.ndim == 2
        and logits.shape == targets.shape
        and logits.numel() > 0
        and not targets.requires_grad
        and not any(isinstance(option, Tensor) for option in options)
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


def count(targets: Tensor) -> Counts:
    """Count the known entries and add up their targets."""
    counts = (ctypes.c_double * 2)()
    _library().rarecall_count(targets.data_ptr(), targets.numel(), counts, torch.get_num_threads())
    return Counts(counts[0], counts[1])


def pointwise(
    logits: Tensor,
    targets: Tensor,
    call: Call,
    scales: tuple[float, float, float],
    formula: Callable[[Tensor], Tensor],
) -> Tensor:
    """The sum of one term per entry, each times the scale of a present, an absent or an unknown one.

    `formula` is the same by differentiable operations, for whoever differentiates twice.
    """
    logits, targets = logits.contiguous(), targets.contiguous()

    def run(logits: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        gradient = torch.empty_like(logits) if wanted else None
        # Held by a name, so that they outlive the call.
        classes = None if call.classes is None else call.classes.to(torch.float32).contiguous()
        rows = None if call.rows is None else call.rows.to(torch.float32).contiguous()
        value = _library().rarecall_pointwise(
            call.loss,
            logits.data_ptr(),
            targets.data_ptr(),
            *logits.shape,
            _floats(call.options),
            _address(classes),
            _address(rows),
            *scales,
            call.soft,
            _address(gradient),
            torch.get_num_threads(),
        )
        return logits.new_tensor(value), gradient

    if not (logits.requires_grad and torch.is_grad_enabled()):
        return run(logits.detach(), False)[0]
    return cast("Tensor", _Entries.apply(logits, run, formula))


def log_sum_exps(
    logits: Tensor,
    targets: Tensor,
    score: int,
    options: Sequence[float],
    by_row: bool,
    by_column: bool,
    formula: Callable[[Tensor], Tensor],
) -> Tensor:
    """Log-sum-exp of the negatives' scores and of the positives', (2, N or C or N + C); -∞ of an empty set."""
    arguments = (targets.contiguous(), score, _floats(options), by_row, by_column, formula)
    return cast("Tensor", _LogSumExps.apply(logits.contiguous(), *arguments))


class _Entries(torch.autograd.Function):
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


class _LogSumExps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, *arguments: Any) -> Tensor:
        score, options, by_row, by_column, ctx.formula = arguments
        result = logits.new_empty(2, by_row * logits.shape[0] + by_column * logits.shape[1])
        ctx.call = (score, options, by_row, by_column)
        _library().rarecall_lse(
            score,
            logits.data_ptr(),
            targets.data_ptr(),
            *logits.shape,
            options,
            by_row,
            by_column,
            result.data_ptr(),
            torch.get_num_threads(),
        )
        ctx.save_for_backward(logits, targets, result)
        return result

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets, result = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _of_formula(ctx.formula, logits, incoming[0]), *[None] * 6
        score, options, by_row, by_column = ctx.call
        gradient, down = torch.empty_like(logits), incoming[0].contiguous()
        _library().rarecall_lse_gradient(
            score,
            logits.data_ptr(),
            targets.data_ptr(),
            *logits.shape,
            options,
            by_row,
            by_column,
            result.data_ptr(),
            down.data_ptr(),
            gradient.data_ptr(),
            torch.get_num_threads(),
        )
        return gradient, *[None] * 6


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
    return (_FLOAT * 8)(*(float(value) for value in values))


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
