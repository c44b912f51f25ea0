"""Losses by name: `build("focal(gamma=1.0)")` is a module that calls the function with those options."""

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rarecall.errors import OptionError, unknown_name
from rarecall.losses import _margin, _pointwise

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        _pointwise.binary_cross_entropy,
        _pointwise.focal,
        _pointwise.asymmetric,
        _margin.two_way,
        _margin.distributionally_robust,
    )
}
SHORT_NAMES = {
    "cross-entropy": "binary-cross-entropy",
    "bce": "binary-cross-entropy",
    "asl": "asymmetric",
    "dr": "distributionally-robust",
}


class Loss(nn.Module):
    """A loss function with its options bound; tensor options are buffers and move with `.to()`."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.name = name
        self.options = dict(options)
        for option, value in options.items():
            if isinstance(value, Tensor):
                self.register_buffer(option, value)

    def all_options(self) -> dict[str, Any]:
        """The options with the defaults of those that were not given."""
        parameters = list(inspect.signature(FUNCTIONS[self.name]).parameters.values())[2:]
        return {parameter.name: self.options.get(parameter.name, parameter.default) for parameter in parameters}

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of (..., N, C) logits and targets."""
        options = {
            option: getattr(self, option) if isinstance(value, Tensor) else value
            for option, value in self.options.items()
        }
        return FUNCTIONS[self.name](logits, targets, **options)

    def __repr__(self) -> str:
        return expression(self.name, self.options)


def names() -> list[str]:
    """Every loss that can be built.

    >>> "two-way" in names()
    True
    """
    return sorted(FUNCTIONS)


def build(name: str, **options: Any) -> Loss:
    """Build a loss by its name; options stand in the call, in the name, or in both.

    Args:
        name: kebab-case of the function's name, alone or as an expression with options.
        options: the function's keyword options.

    Raises:
        OptionError: an unknown loss or option, or a value out of its range.

    >>> build("two-way(positive_temperature=2.0)")
    two-way(positive_temperature=2.0)
    >>> build("focal", gamma=1.0)(torch.zeros(1, 2), torch.tensor([[1, 0]]))
    tensor(0.3466)
    """
    name, written = _parse(name)
    options = {**written, **options}
    known = list(inspect.signature(FUNCTIONS[name]).parameters)[2:]
    for option in options:
        if option not in known:
            raise OptionError(f"{name}: {unknown_name('option', option, known)}")
    module = Loss(name, options)
    # Tensor options have shapes that only the caller knows; the others are tried at once.
    plain = {option: value for option, value in options.items() if not isinstance(value, Tensor)}
    try:
        FUNCTIONS[name](torch.zeros(1, 1), torch.zeros(1, 1), **plain)
    except OptionError as error:
        raise OptionError(f"{name}: {error}") from None
    except (TypeError, AttributeError):
        raise OptionError(f"{expression(name, options)}: an option has a value of the wrong type") from None
    return module


def expression(name: str, options: Mapping[str, Any]) -> str:
    """The text that `build` takes.

    >>> expression("focal", {"gamma": 1.0})
    'focal(gamma=1.0)'
    """
    written = ", ".join(f"{option}={value!r}" for option, value in options.items())
    return f"{name}({written})" if written else name


def _parse(text: str) -> tuple[str, dict[str, Any]]:
    name, bracket, rest = (part.strip() for part in text.partition("("))
    name = SHORT_NAMES.get(name, name)
    if name not in FUNCTIONS:
        raise OptionError(unknown_name("loss", name, names()))
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        options = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        if len(options) < len(call.keywords):
            raise ValueError
        return name, options
    except (SyntaxError, ValueError, TypeError):
        raise OptionError(f"cannot read the loss {text!r}: write options as in 'focal(gamma=1.0, alpha=0.5)'") from None
