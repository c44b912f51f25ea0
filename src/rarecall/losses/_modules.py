"""Losses as modules: a function with its options bound, what it counts on a data set, and how far training is."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from rarecall.errors import OptionError, ShapeError, unknown_name
from rarecall.losses import _frequency, _margin, _pointwise, _unknown
from rarecall.losses._shared import LabelsLike, Reduction, prepare

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        _pointwise.binary_cross_entropy,
        _pointwise.focal,
        _pointwise.asymmetric,
        _pointwise.hill,
        _pointwise.splc,
        _pointwise.hard_selection,
        _pointwise.soft_selection,
        _frequency.reweighted_cross_entropy,
        _frequency.frequency_weighted_cross_entropy,
        _frequency.attribute_weighted_cross_entropy,
        _frequency.class_balanced,
        _frequency.distribution_balanced,
        _frequency.ldam,
        _margin.softmax_regression,
        _margin.lsep,
        _margin.zlpr,
        _margin.distributionally_robust,
        _margin.two_way,
        _margin.multi_similarity,
        _margin.circle,
        _unknown.assume_negative,
        _unknown.weak_assume_negative,
        _unknown.expected_positive,
        _unknown.entropy_maximization,
        _unknown.large_loss,
        _unknown.generalized_robust,
        _unknown.role,
    )
}
COUNTED = ("positives", "total")
PER_CLASS = (*COUNTED, "pos_weight")


class Loss(nn.Module):
    """A loss with everything bound but logits and targets.

    Attributes:
        reduction: how the terms are put together.
        needs_rows: whether `forward` has to be told which training items the batch holds.
        needs_scores: whether `update` has to be given the logits of all training items after each epoch.
        about_unknown: whether unknown entries have a term of their own.
    """

    reduction: Reduction = "mean"
    needs_rows: bool = False
    needs_scores: bool = False
    about_unknown: bool = False

    def forward(self, logits: Tensor, targets: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the loss of (..., N, C) logits and targets; `rows` are the numbers (N,) of the training items."""
        raise NotImplementedError

    def meaning(self) -> Any:
        """What the loss is, however it was written: equal for equal losses."""
        raise NotImplementedError

    def set_progress(self, fraction: float, epochs: int | None = None) -> None:
        """Say how much of the training is done: (e - 1) / T at the start of epoch e of T = `epochs`."""

    def update(self, logits: Tensor) -> None:
        """Take note of the logits of all training items, (N, C), at the end of an epoch."""

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """Groups for an optimiser that trains the network at `rate`: what the loss itself learns, if anything."""
        parameters = list(self.parameters())
        return [{"params": parameters, "lr": 10 * rate, "weight_decay": 0.0}] if parameters else []

    def authors_optimizer(self, rate: float) -> torch.optim.Optimizer | None:
        """The optimiser that the loss's authors train what it learns with, beside a network's at `rate`; or None."""
        parameters = list(self.parameters())
        return torch.optim.Adam(parameters, lr=10 * rate) if parameters else None


class FunctionLoss(Loss):
    """A loss function with its options; tensor options are buffers and move with `.to()`."""

    own_options: ClassVar[Mapping[str, Any]] = {}  # of the module, besides the function's

    def __init__(
        self, name: str, options: Mapping[str, Any], labels: Tensor | None = None, check: bool = False
    ) -> None:
        super().__init__()
        self.name, self.options, self.check = name, dict(options), check
        self.reduction = options.get("reduction", "mean")
        self.about_unknown = FUNCTIONS[name].__module__ == _unknown.__name__
        self.buffer_names = [
            option for option, value in options.items() if option in PER_CLASS or torch.is_tensor(value)
        ]
        for option in self.buffer_names:
            self.register_buffer(option, _numbers(name, option, options[option]))
        if labels is not None:
            counts = {"positives": (labels > 0).sum(0), "total": (labels >= 0).sum(0)}
            for option in COUNTED:
                if option in parameters_of(name) and option not in options:
                    self.register_buffer(option, counts[option].float())
                    self.buffer_names.append(option)
        if "positives" in self.buffer_names:
            positives = self.get_buffer("positives")
            like = torch.zeros(1, positives.shape[-1] if positives.ndim else 1, device="cpu")
            total = self.get_buffer("total") if "total" in self.buffer_names else torch.tensor(torch.inf, device="cpu")
            # Placeholder labels have one class; the logits will tell whether the counts fit.
            if positives.device.type == "cpu" and (total.ndim == 0 or total.shape == positives.shape):
                _frequency.class_counts(like, positives, total)

    def all_options(self) -> dict[str, Any]:
        """The options with the defaults of those that were not given; counts of a data set are left out."""
        known = {option: parameter.default for option, parameter in parameters_of(self.name).items()}
        known |= self.own_options
        given = {option: value for option, value in known.items() if value is not inspect.Parameter.empty}
        return {**given, **self.options}

    def meaning(self) -> Any:
        """What the loss is, however it was written: equal for equal losses."""
        options = self.all_options().items()
        return self.name, {option: value.tolist() if isinstance(value, Tensor) else value for option, value in options}

    def arguments(self) -> dict[str, Any]:
        """What the function is called with at present."""
        own = {option: value for option, value in self.options.items() if option not in self.own_options}
        return {**own, **{option: getattr(self, option) for option in self.buffer_names}}

    def forward(self, logits: Tensor, targets: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the loss of (..., N, C) logits and targets; `rows` are the numbers (N,) of the training items."""
        if self.check:
            self.examine(logits, targets)
        return self.compute(logits, targets, rows)

    def compute(self, logits: Tensor, targets: Tensor, rows: Tensor | None) -> Tensor:  # noqa: ARG002 - of others
        """The loss of a batch that was looked at if it was to be."""
        return FUNCTIONS[self.name](logits, targets, **self.arguments())

    def examine(self, logits: Tensor, targets: Tensor) -> None:
        """Refuse logits that are not finite, labels that are none, and positives of a class that has none."""
        prepare(logits, targets)
        for kind, tensor, wrong, wanted in (
            ("logits", logits, ~logits.isfinite(), "a finite number: lower the learning rate, or look at the input"),
            ("targets", targets, _no_label(targets), "1, 0, -1 or between 0 and 1"),
        ):
            if wrong.any():
                place = wrong.nonzero()[0].tolist()
                raise ShapeError(f"{self.name}: {kind}{place} is {tensor[tuple(place)].item():g}: must be {wanted}")
        positives = getattr(self, "positives", None)
        if positives is not None and positives.shape == targets.shape[-1:]:
            wrong = (targets > 0).flatten(0, -2).any(0) & (positives == 0)
            if wrong.any():
                c = int(wrong.nonzero()[0])
                raise OptionError(f"{self.name}: class {c} is present in the batch, but positives[{c}] is 0")

    def __repr__(self) -> str:
        return expression(self.name, self.options)


class WeightedSum(Loss):
    """Losses added up, each times a number."""

    def __init__(self, parts: list[tuple[float, Loss]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _ in parts]
        self.parts = nn.ModuleList(part for _, part in parts)
        # Of parts that differ, whichever is not the mean.
        self.reduction = next((part.reduction for _, part in parts if part.reduction != "mean"), "mean")
        if len({part.reduction == "none" for _, part in parts}) > 1:
            raise OptionError(f"{self}: parts with reduction='none' have another shape than the others")
        self.needs_rows = any(part.needs_rows for _, part in parts)
        self.needs_scores = any(part.needs_scores for _, part in parts)
        self.about_unknown = any(part.about_unknown for _, part in parts)

    def forward(self, logits: Tensor, targets: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the loss of (..., N, C) logits and targets; `rows` are the numbers (N,) of the training items."""
        values = [part(logits, targets, rows) for part in self.losses()]
        total = torch.zeros((), dtype=values[0].dtype, device=logits.device)
        for weight, value in zip(self.weights, values, strict=True):
            total = total + (value if weight == 1 else weight * value)
        return total

    def meaning(self) -> Any:
        """What the loss is, however it was written: equal for equal losses."""
        return [(weight, part.meaning()) for weight, part in zip(self.weights, self.losses(), strict=True)]

    def authors_optimizer(self, rate: float) -> torch.optim.Optimizer | None:
        """The optimiser of the one part that learns something.

        Raises:
            OptionError: several do, with an optimiser each.
        """
        own = [optimizer for part in self.losses() if (optimizer := part.authors_optimizer(rate)) is not None]
        if len(own) > 1:
            raise OptionError(f"{self}: its parts have optimisers of their own: pass --loss-optimizer shared")
        return own[0] if own else None

    def losses(self) -> list[Loss]:
        """The parts."""
        return cast("list[Loss]", list(self.parts))

    def set_progress(self, fraction: float, epochs: int | None = None) -> None:
        """Say how much of the training is done: (e - 1) / T at the start of epoch e of T = `epochs`."""
        for part in self.losses():
            part.set_progress(fraction, epochs)

    def update(self, logits: Tensor) -> None:
        """Take note of the logits of all training items, (N, C), at the end of an epoch."""
        for part in self.losses():
            part.update(logits)

    def __repr__(self) -> str:
        short = (f"{weight:g}" if float(f"{weight:g}") == weight else repr(weight) for weight in self.weights)
        written = zip(self.weights, short, self.losses(), strict=True)
        return " + ".join(repr(part) if weight == 1 else f"{text} * {part!r}" for weight, text, part in written)


def parameters_of(name: str) -> dict[str, inspect.Parameter]:
    """The options of a loss function by their names."""
    return dict(list(inspect.signature(FUNCTIONS[name]).parameters.items())[2:])


def expression(name: str, options: Mapping[str, Any]) -> str:
    """The text that `build` takes.

    >>> expression("focal", {"gamma": 1.0})
    'focal(gamma=1.0)'
    """
    written = ", ".join(f"{option}={value!r}" for option, value in options.items())
    return f"{name}({written})" if written else name


def label_tensor(labels: LabelsLike) -> Tensor:
    """A label matrix as a tensor.

    Raises:
        ShapeError: it is not a matrix of 1, 0 and -1.
    """
    try:
        tensor = labels.detach().cpu() if isinstance(labels, Tensor) else torch.from_numpy(np.array(labels))
    except (TypeError, ValueError):
        tensor = torch.zeros(0, device="cpu")
    if tensor.ndim != 2:
        raise ShapeError("labels must be a matrix (items, classes) of 1, 0 and -1: pass labels=table.labels")
    wrong = _no_label(tensor) | (tensor != tensor.round())
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        raise ShapeError(f"labels{place} is {tensor[tuple(place)].item():g}: must be 1, 0 or -1")
    return tensor


def _no_label(targets: Tensor) -> Tensor:
    wide = targets.to(torch.float32)  # an unsigned -1 is 255
    return ~((wide == -1) | ((wide >= 0) & (wide <= 1)))


def _numbers(name: str, option: str, value: Any) -> Tensor:
    try:
        return (
            value.detach().clone()
            if isinstance(value, Tensor)
            else torch.as_tensor(value, dtype=torch.float32, device="cpu")
        )
    except (TypeError, ValueError, RuntimeError):
        raise OptionError(f"{expression(name, {option: value})}: an option has a value of the wrong type") from None


def missing(name: str, given: Mapping[str, Any]) -> list[str]:
    """Options that a loss cannot do without and that are not given."""
    return [
        option
        for option, parameter in parameters_of(name).items()
        if parameter.default is inspect.Parameter.empty and option not in given
    ]


def unknown_option(name: str, option: str, known: list[str]) -> OptionError:
    """The error for an option that a loss does not have."""
    return OptionError(f"{name}: {unknown_name('option', option, known)}")
