"""A value that is computed together with its gradient: by the compiled kernel, or by the formula block by block."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from rarecall.losses._torch_internals import is_memory, is_observed

Formula = Callable[[Tensor], Tensor]
Part = Callable[[Tensor, Tensor], Tensor]
ENTRIES_WORTH_BLOCKS = 1 << 20  # below that, the calls cost more than memory is worth
BLOCKS = 24  # a formula holds up to 20 matrices of the size of its block, so less than one of all logits


def is_plain(logits: Tensor, targets: Tensor) -> bool:
    """Whether these are matrices as such, whose loss nobody wants to see made.

    Inside `torch.compile`, `torch.func`, traces and forward-mode differentiation the formula itself is wanted.
    """
    return (
        not torch.compiler.is_compiling()
        and type(logits) in (Tensor, nn.Parameter)
        and type(targets) is Tensor
        and logits.ndim == 2
        and logits.shape == targets.shape
        and logits.dtype == targets.dtype
        and logits.device == targets.device
        and not targets.requires_grad
        and not is_observed()
        and is_memory(logits)
        and is_memory(targets)
    )


def pays_in_blocks(logits: Tensor, targets: Tensor) -> bool:
    """Whether the matrices are so large that temporaries of their size are better done without."""
    return logits.numel() >= ENTRIES_WORTH_BLOCKS and is_plain(logits, targets)


def in_blocks(logits: Tensor, targets: Tensor, parts: Iterable[tuple[int, Part]], formula: Formula) -> Tensor:
    """The sum of parts of a loss, each of which is a sum over rows or over columns, computed some of these at a time.

    It holds the gradient and the temporaries of one block. `parts` are the dimension a part can be cut along and
    what gives its value for a block of logits and targets; `formula` is all of them for all logits.
    """

    def run(logits: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
        gradient = torch.zeros_like(logits) if wanted else None
        value = logits.new_zeros(())
        for dim, part in parts:
            for start in range(0, logits.shape[dim], length := -(-logits.shape[dim] // BLOCKS)):
                size = min(length, logits.shape[dim] - start)
                block = logits.narrow(dim, start, size).detach().requires_grad_(wanted)
                with torch.set_grad_enabled(wanted):
                    term = part(block, targets.narrow(dim, start, size))
                value += term.detach()
                if gradient is not None:
                    gradient.narrow(dim, start, size).add_(*torch.autograd.grad(term, block))
        return value, gradient

    return differentiable(logits, [targets], run, formula)


def differentiable(logits: Tensor, given: Sequence[Tensor], run: Callable[..., Any], formula: Formula) -> Tensor:
    """What `run` gives for the logits and whether a gradient is wanted: the value, and that gradient.

    `formula` is the same by differentiable operations, and `given` the tensors it depends on besides.
    """
    logits = logits.contiguous()
    if not (logits.requires_grad and torch.is_grad_enabled()):
        return cast("Tensor", run(logits.detach(), False)[0])
    return cast("Tensor", _WithGradient.apply(logits, run, formula, *given))


class _WithGradient(torch.autograd.Function):
    """A value that was computed together with its gradient.

    The first backward pass hands the gradient over, so that no second matrix is needed. What comes later, and what
    is to be differentiated again, is computed anew by the formula; `given` are the tensors it depends on, which
    are saved so that a change in place is noticed.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, run: Callable[..., Any], formula: Formula, *given: Tensor) -> Tensor:
        value, ctx.gradient = run(logits, True)
        ctx.formula = formula
        ctx.save_for_backward(logits, *given)
        return cast("Tensor", value)

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
        logits, *given = ctx.saved_tensors
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None or torch.is_grad_enabled():
            gradient = _of_formula(ctx.formula, logits, incoming[0])
        else:
            gradient = _scaled(gradient, incoming[0])
        return gradient, *[None] * (2 + len(given))


def _scaled(gradient: Tensor, incoming: Tensor) -> Tensor:
    try:
        if gradient.device.type != "cpu":  # whose numbers the host would have to wait for
            return gradient.mul_(incoming)
        factor = incoming.item()
    except RuntimeError:  # many at once
        return gradient * incoming
    return gradient if factor == 1 else gradient.mul_(factor)


def _of_formula(formula: Formula, logits: Tensor, incoming: Tensor) -> Tensor:
    """The gradient by differentiable operations."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        leaf = logits if again else logits.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(formula(leaf), leaf, incoming, create_graph=again)
    return gradient
