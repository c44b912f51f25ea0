"""Losses by name: `build("focal(gamma=1.0)")`, sums of them, and their canonical text."""

import ast
from typing import Any

import torch
from torch import Tensor

from rarecall.errors import OptionError, unknown_name
from rarecall.losses._modules import (
    COUNTED,
    FUNCTIONS,
    PER_CLASS,
    FunctionLoss,
    Loss,
    WeightedSum,
    expression,
    label_tensor,
    missing,
    parameters_of,
    unknown_option,
)
from rarecall.losses._shared import LabelsLike
from rarecall.losses._stateful import MODULES

SHORT_NAMES = {
    "cross-entropy": "binary-cross-entropy",
    "bce": "binary-cross-entropy",
    "erm": "binary-cross-entropy",
    "logistic-regression": "binary-cross-entropy",
    "asl": "asymmetric",
    "dr": "distributionally-robust",
    "db": "distribution-balanced",
    "cb": "class-balanced",
    "rw": "reweighted-cross-entropy",
    "softmax": "softmax-regression",
    "hs-lr": "hard-selection",
    "ss-lr": "soft-selection",
    "gr": "generalized-robust",
    "an": "assume-negative",
    "wan": "weak-assume-negative",
    "epr": "expected-positive",
    "em": "entropy-maximization",
}
HELD = ("estimates",)  # by the module itself
# Every kind of label, to try a loss on.
TRIAL = torch.tensor([[1], [0], [-1]], device="cpu")


def names() -> list[str]:
    """Every loss that can be built.

    >>> "two-way" in names()
    True
    """
    return sorted(FUNCTIONS)


def build(name: str, *, labels: LabelsLike | None = None, check: bool = False, **options: Any) -> Loss:
    """Build a loss by its name; options stand in the call, in the name, or in both.

    Args:
        name: kebab-case of the function's name, alone, as an expression with options, or several of them added
            up, each perhaps times a number: `"distributionally-robust + 0.5 * focal(gamma=1.0)"`.
        labels: (items, classes) training labels, as a table has them. Losses that count positives or remember
            items take what they need from it.
        check: look at every batch and name the first logit that is not finite, the first target that is no
            label, and a positive of a class that is counted as having none. Off by default: a GPU has to wait.
        options: the function's keyword options; not for a sum.

    Raises:
        OptionError: an unknown loss or option, a value out of its range, or counts that are missing.
        ShapeError: labels that are not a matrix of 1, 0 and -1.

    >>> build("two-way(positive_temperature=2.0)")
    two-way(positive_temperature=2.0)
    >>> build("focal", gamma=1.0)(torch.zeros(1, 2), torch.tensor([[1, 0]]))
    tensor(0.3466)
    >>> build("class-balanced + 2 * dr", labels=torch.tensor([[1, 0], [0, 1]]))
    class-balanced + 2 * distributionally-robust
    """
    if not isinstance(name, str):
        raise OptionError(f"{name!r} is no name of a loss: pass one of losses.names()")
    table = None if labels is None else label_tensor(labels)
    parts = _parse(name)
    if len(parts) == 1 and parts[0][0] == 1:
        _, own, written = parts[0]
        return _one(own, {**written, **options}, table, check)
    if options:
        raise OptionError(f"{name!r} is a sum: write options in it, as in 'two-way + focal(gamma=1.0)'")
    return WeightedSum([(weight, _one(own, written, table, check)) for weight, own, written in parts])


def preview(text: str) -> Loss:
    """Build a loss on placeholder labels, to check its text and to look at it before there are data.

    Raises:
        OptionError: an unknown loss or option, or a value out of its range.

    >>> preview("dr+0.5*db( gamma = 1.0 )")
    distributionally-robust + 0.5 * distribution-balanced(gamma=1.0)
    """
    return build(text, labels=TRIAL)


def _one(name: str, options: dict[str, Any], labels: Tensor | None, check: bool) -> FunctionLoss:
    kind = MODULES.get(name, FunctionLoss)
    known = [option for option in dict.fromkeys([*parameters_of(name), *kind.own_options]) if option not in HELD]
    for option in options:
        if option not in known:
            raise unknown_option(name, option, known)
    needed = [option for option in missing(name, options) if option not in (*kind.own_options, *HELD)]
    if labels is not None:
        needed = [option for option in needed if option not in COUNTED]
    if needed:
        what = " and ".join(needed)
        how = "pass labels=table.labels, or give them" if set(needed) <= set(COUNTED) else f"give {needed[0]}="
        raise OptionError(f"{name} needs {what}: {how}")
    try:
        _try(name, options, kind)
        return kind(name, options, labels, check)
    except OptionError as error:
        text = str(error)
        raise OptionError(text if text.startswith(name) else f"{name}: {text}") from None
    except (TypeError, AttributeError, RuntimeError, OverflowError) as error:
        raise OptionError(f"{expression(name, options)}: an option has a value of the wrong type") from error


def _try(name: str, options: dict[str, Any], kind: type[FunctionLoss]) -> None:
    """Compute it once on three items of one class with the plain options, so that a wrong one is refused at once."""
    plain = {
        option: value for option, value in options.items() if not isinstance(value, Tensor) and option not in PER_CLASS
    }
    module = kind(name, plain, TRIAL)
    module.set_progress(0.5, 10)
    logits = torch.zeros(TRIAL.shape, device="cpu")
    module(logits, TRIAL, torch.arange(len(TRIAL), device="cpu"))
    module.update(logits)


def _parse(text: str) -> list[tuple[float, str, dict[str, Any]]]:
    """The parts of a sum, each with its weight, name and options."""
    return [_parse_part(part, text) for part in _split(text)]


def _split(text: str) -> list[str]:
    """Split at the plus signs that stand outside brackets and strings."""
    parts, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
            exponent = text[max(place - 2, 0) : place].lstrip("0123456789.") in ("e", "E")  # of a number like 1e+06
            if letter == "+" and depth == 0 and not exponent:
                parts.append(text[start:place])
                start = place + 1
    return [*parts, text[start:]]


def _parse_part(part: str, text: str) -> tuple[float, str, dict[str, Any]]:
    weight = 1.0
    before, star, after = part.partition("*")
    if star and "(" not in before:
        try:
            weight, part = float(before), after
        except ValueError:
            raise OptionError(f"cannot read the loss {text!r}: write weights as in '0.5 * focal'") from None
        if not 0 < weight < float("inf"):
            raise OptionError(f"weight {weight:g} in {text!r}: must be above 0")
    name, bracket, rest = (piece.strip() for piece in part.partition("("))
    name = SHORT_NAMES.get(name, name)
    if not name:
        raise OptionError(f"cannot read the loss {text!r}: write a sum as in '0.5 * focal + two-way'")
    if name not in FUNCTIONS:
        raise OptionError(unknown_name("loss", name, names()))
    if not bracket:
        return weight, name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        if any(keyword.arg is None for keyword in call.keywords):
            raise ValueError
        options = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        if len(options) < len(call.keywords):
            raise ValueError
        return weight, name, options
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise OptionError(f"cannot read the loss {text!r}: write options as in 'focal(gamma=1.0, alpha=0.5)'") from None
