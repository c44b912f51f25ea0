"""What every metric shares: the check of its inputs, and what becomes of classes that nothing can be said of."""

from collections.abc import Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any, Literal, overload

import torch
from torch import Tensor

from rarecall.errors import OptionError, ShapeError, unknown_name

POLICIES = ("skip", "zero", "nan")


def check_inputs(name: str, values: Any, targets: Any) -> None:
    """Refuse what is no pair of equally shaped tensors (..., N, C) of finite floats and targets of 1, 0 and -1.

    Decisions may be true or false. Whole numbers are refused: halves between them and their negatives, which
    metrics are made of, may not exist in their type.

    Args:
        name: what the values are, in the plural: `scores`, `decisions`, `probabilities`.
        values: (..., N, C).
        targets: (..., N, C).

    Raises:
        ShapeError: with the place and the value.
    """
    if not (isinstance(values, Tensor) and isinstance(targets, Tensor)):
        kinds = f"{type(values).__name__} and {type(targets).__name__}"
        raise ShapeError(f"{name} and targets must be tensors, not {kinds}: pass torch.as_tensor(…)")
    if values.shape != targets.shape:
        raise ShapeError(f"{name} {tuple(values.shape)} and targets {tuple(targets.shape)} differ in shape")
    if values.ndim < 2:
        raise ShapeError(f"{name} {tuple(values.shape)} must have two dimensions or more: (…, samples, classes)")
    if not values.is_floating_point() and values.dtype != torch.bool:
        raise ShapeError(f"{name} are {values.dtype}: pass floats, such as {name}.float()")
    if values.numel():
        _require_finite(name, values)
        _require_labels(targets)


def check_finite(name: str, values: Any) -> None:
    """As `check_inputs`, for values that come without targets."""
    shape = values.shape if isinstance(values, Tensor) else ()
    check_inputs(name, values, torch.zeros((), dtype=torch.bool).expand(shape))


def check_thresholds(thresholds: Any, classes: int) -> None:
    """Refuse thresholds that are not one number, or one for each class, or that are NaN; ±∞ decide nothing or all.

    Raises:
        ShapeError: with their shape or the class.
    """
    values = torch.as_tensor(thresholds)
    if values.shape not in ((), (classes,)):
        raise ShapeError(f"thresholds {tuple(values.shape)} do not fit {classes} classes: pass one, or one for each")
    if values.isnan().any():
        raise ShapeError(f"the threshold of class {int(values.reshape(-1).isnan().nonzero()[0])} is NaN")


def check_groups(groups: Mapping[str, Any], classes: int) -> None:
    """Refuse groups of classes with numbers that no class has.

    Raises:
        ShapeError: with the group and the number.
    """
    for name, members in groups.items():
        numbers = torch.as_tensor(members)
        if not numbers.numel() or numbers.is_floating_point():
            raise ShapeError(f"group {name!r} must hold class numbers, not {members}")
        if numbers.min() < 0 or numbers.max() >= classes:
            wrong = numbers[(numbers < 0) | (numbers >= classes)][0].item()
            raise ShapeError(f"group {name!r} has class {wrong}: classes are numbered from 0 to {classes - 1}")


def _require_finite(name: str, values: Tensor) -> None:
    # The extremes of values with a NaN are NaN, and no mask as large as the values is made where all is well.
    if not values.is_floating_point() or bool(torch.stack(torch.aminmax(values)).isfinite().all()):
        return
    where = tuple((~values.isfinite()).nonzero()[0].tolist())
    kind = "NaN" if values[where].isnan() else "infinite"
    one = name.removesuffix("ies") + "y" if name.endswith("ies") else name.removesuffix("s")
    raise ShapeError(f"the {one} at {where} is {kind}: {name} must be finite numbers")


def _require_labels(targets: Tensor) -> None:
    if targets.dtype == torch.bool:
        return
    low, high = torch.aminmax(targets)
    if low >= -1 and high <= 1 and not targets.is_floating_point():
        return
    wrong = (targets != 0) & (targets != 1) & (targets != -1)
    if wrong.any():
        where = tuple(wrong.nonzero()[0].tolist())
        raise ShapeError(f"the target at {where} is {targets[where].item()}: it must be 1, 0 or -1")


def check_probabilities(probabilities: Any, targets: Any) -> None:
    """As `check_inputs`, and every probability must lie between 0 and 1.

    Raises:
        ShapeError: with the place and the value.
    """
    check_inputs("probabilities", probabilities, targets)
    if probabilities.dtype == torch.bool:
        raise ShapeError("probabilities are true or false: pass floats from 0 to 1")
    outside = (probabilities < 0) | (probabilities > 1)
    if outside.any():
        where = tuple(outside.nonzero()[0].tolist())
        raise ShapeError(
            f"the probability at {where} is {probabilities[where].item():g}, outside 0 to 1: pass logits.sigmoid()"
        )


@overload
def mean_of_present(values: Tensor, absent: str = ..., return_counts: Literal[False] = ...) -> Tensor: ...
@overload
def mean_of_present(values: Tensor, absent: str = ..., *, return_counts: Literal[True]) -> tuple[Tensor, Tensor]: ...
def mean_of_present(
    values: Tensor, absent: str = "skip", return_counts: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Mean over the last dimension, with NaN entries taken as the policy says.

    Args:
        values: (..., C), NaN where a class has nothing to be measured on.
        absent: `skip` leaves such classes out, `zero` counts them as 0, `nan` makes the mean NaN.
        return_counts: return also how many classes have a value.

    Returns:
        The leading shape, in the values' type; NaN if no class has a value under `skip`.

    Raises:
        OptionError: another policy.

    >>> mean_of_present(torch.tensor([0.5, torch.nan]), return_counts=True)
    (tensor(0.5000), tensor(1))
    """
    if absent not in POLICIES:
        raise OptionError(unknown_name("absent", absent, POLICIES))
    taken = values.nan_to_num(0.0) if absent == "zero" else values
    mean = taken.nanmean(-1) if absent == "skip" else taken.mean(-1)
    return (mean, (~values.isnan()).sum(-1)) if return_counts else mean


def is_number(value: Any) -> bool:
    """Whether an option is one finite number; true and false are none."""
    return not isinstance(value, bool) and isinstance(value, Real) and isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether an option is one whole number; true and false are none."""
    return not isinstance(value, bool) and isinstance(value, Integral)


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse an option that is no whole number of `least` or more.

    Raises:
        OptionError: with the name and the value.
    """
    if not is_whole(value) or value < least:
        raise OptionError(f"{name} is {value}: it must be a whole number of {least} or more")
