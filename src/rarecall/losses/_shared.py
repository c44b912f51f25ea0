"""What every loss shares: its inputs, its options and its reductions."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rarecall.errors import OptionError, ShapeError, unknown_name

Reduction = Literal["mean", "sum", "batchmean", "none"]
REDUCTIONS = ("mean", "sum", "batchmean", "none")
UNKNOWNS = ("ignore", "absent")

Logits = Float[Tensor, "*#batch samples classes"]
Targets = Shaped[Tensor, "*#batch samples classes"]
Option = float | Float[Tensor, "..."]
PerClass = Shaped[Tensor, "..."] | Sequence[float]
Total = PerClass | int | float
LabelsLike = Any  # a label matrix as a tensor, an array or nested lists


def prepare(logits: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Check the two and return them as floats of at least single precision.

    Half-precision logits are computed in float32, where an exponent of 6e4 still has a logarithm.
    """
    if not (isinstance(logits, Tensor) and isinstance(targets, Tensor)):
        kinds = f"{type(logits).__name__} and {type(targets).__name__}"
        raise ShapeError(f"logits and targets must be tensors, not {kinds}: pass torch.as_tensor(…)")
    if logits.ndim >= 2 and logits.shape == targets.shape and logits.dtype == targets.dtype == torch.float32:
        return logits, targets  # as they mostly are, and at 80 classes the time to say so is felt
    if logits.ndim < 2 or targets.ndim < 2 or logits.shape[-2:] != targets.shape[-2:]:
        raise ShapeError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} must end in the same (samples, classes)"
        )
    fits = (a == b or 1 in (a, b) for a, b in zip(logits.shape[:-2][::-1], targets.shape[:-2][::-1], strict=False))
    if logits.shape != targets.shape and not all(fits):
        raise ShapeError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} have leading dimensions that do not fit"
        )
    if not logits.is_floating_point():
        raise ShapeError(f"logits are {logits.dtype}: pass floating-point logits, not labels or decisions")
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(wide), targets.to(wide)


def take_unknown(targets: Tensor, unknown: str) -> Tensor:
    """The targets, with unknown entries as absent ones if that is asked for."""
    check_choice("unknown", unknown, UNKNOWNS)
    return targets.clamp(min=0) if unknown == "absent" else targets


def spread(option: Option) -> Option:
    """Let an option of the leading shape broadcast against (..., samples, classes)."""
    return option[..., None, None] if isinstance(option, Tensor) and option.ndim else option


def per_class(name: str, value: Any, like: Tensor) -> Tensor:
    """An option with one number for each class, as (..., 1, C) of the logits' type.

    Raises:
        ShapeError: it has another number of classes.
        OptionError: it is not a tensor or a list of numbers.
    """
    try:
        values = value if isinstance(value, Tensor) else torch.as_tensor(value)
        values = values.to(like.device, like.dtype)
    except (TypeError, ValueError, RuntimeError):
        raise OptionError(f"{name}={value!r}: must be one number for each class") from None
    if values.ndim and values.shape[-1] != like.shape[-1]:
        raise ShapeError(f"{name} has {values.shape[-1]} classes, the logits {like.shape[-1]}")
    return values[..., None, :] if values.ndim else values.expand(1, like.shape[-1])


def require(condition: bool, name: str, value: object, wanted: str) -> None:
    """Refuse an option's value. Tensor options are not looked at, which would make a GPU wait."""
    if not condition:
        raise OptionError(f"{name}={value!r}: must be {wanted}")


def check_number(name: str, value: Any) -> None:
    """Refuse what is neither a finite number nor a tensor."""
    if not isinstance(value, Tensor):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        require(number and math.isfinite(value), name, value, "a finite number")


def check_range(name: str, value: Any, low: float, high: float = math.inf, above: bool = False) -> None:
    """Refuse a number outside [low, high], or at `low` itself if it must be above it. None and tensors may pass."""
    if value is None or isinstance(value, Tensor):
        return
    check_number(name, value)
    if not (low <= value <= high) or (above and value == low):  # only then is the text worth its time
        lower = f"above {low:g}" if above else f"at least {low:g}"
        require(False, name, value, lower if high == math.inf else f"from {low:g} to {high:g}")


def check_choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Refuse a word that is not among the known ones."""
    if value not in known:
        raise OptionError(unknown_name(name, str(value), known))


def weight_of(reduction: str, number: float, samples: int) -> float:
    """What each of so many counted terms is multiplied by."""
    return {"mean": 1 / max(number, 1), "sum": 1.0, "batchmean": 1 / max(samples, 1)}[reduction]


def reduce_terms(terms: Tensor, counted: Tensor, dims: tuple[int, ...], samples: int, reduction: str) -> Tensor:
    """Reduce `terms` over `dims`, taking only those that are `counted`; nothing counted gives exactly 0."""
    check_choice("reduction", reduction, REDUCTIONS)
    terms = torch.where(counted, terms, 0.0)
    if reduction == "none":
        return terms
    total = terms.sum(dims)
    if reduction == "sum":
        return total
    if reduction == "batchmean":
        return total / max(samples, 1)
    return total / counted.expand(terms.shape).sum(dims).clamp(min=1)
