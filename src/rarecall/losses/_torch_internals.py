"""What PyTorch tells only under private names, asked in this one place.

Where a later PyTorch has no such name, the careful answer stands for it: that somebody looks on, that a tensor is no
plain memory, that it may have been changed. A loss is then its formula and remembers nothing, which is right
everywhere and only slower.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


def asked(owner: Any, name: str) -> Callable[..., Any]:
    """A private function of PyTorch, or where there is none, one that always says yes."""
    function: Callable[..., Any] = getattr(owner, name, _yes)
    return function


def _yes(*_: Any) -> bool:
    return True


_transforms_are_active = asked(torch._C, "_are_functorch_transforms_active")
_number_of_modes = asked(torch._C, "_len_torch_dispatch_stack")
_is_zero = asked(Tensor, "_is_zerotensor")


def is_observed() -> bool:
    """Whether something wants to see the operations: a transform, a trace, a mode, forward-mode derivatives."""
    return bool(
        _transforms_are_active()
        or torch.jit.is_tracing()
        or _number_of_modes()
        or getattr(forward_ad, "_current_level", 0) >= 0
    )


def is_memory(tensor: Tensor) -> bool:
    """Whether the numbers stand in memory as they are, neither made of nothing nor to be negated when read."""
    return not (_is_zero(tensor) or tensor.is_neg())


def version_of(tensor: Tensor) -> int | None:
    """How often the tensor was changed in place; None: nobody knows."""
    version: int | None = getattr(tensor, "_version", None)
    return version
