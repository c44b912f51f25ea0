"""Losses that change over the epochs, remember training items, or learn something themselves."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rarecall.errors import OptionError, ShapeError
from rarecall.labels import UNKNOWN
from rarecall.losses import _kernel, _unknown
from rarecall.losses._modules import FunctionLoss
from rarecall.losses._shared import check_number, check_range, require


class Scheduled(FunctionLoss):
    """A loss with options that depend on how much of the training is done."""

    fraction: float = 0.0
    epochs: int | None = None

    def set_progress(self, fraction: float, epochs: int | None = None) -> None:
        """Say how much of the training is done: (e - 1) / T at the start of epoch e of T = `epochs`.

        Raises:
            OptionError: a fraction outside [0, 1].
        """
        check_number("fraction", fraction)
        check_range("fraction", fraction, 0.0, 1.0)
        require(epochs is None or (isinstance(epochs, int) and epochs >= 1), "epochs", epochs, "a number of epochs")
        self.fraction, self.epochs = fraction, epochs


class Remembering(FunctionLoss):
    """A loss that knows something of each training item."""

    def rows_of(self, logits: Tensor, rows: Tensor | None, items: int) -> Tensor:
        """The numbers of the batch's items, checked."""
        rows = None if rows is None else torch.as_tensor(rows)
        if rows is not None and (rows.is_floating_point() or rows.dtype == torch.bool):
            raise ShapeError(f"{self.name}: rows are {rows.dtype}: pass the item numbers as integers")
        if rows is None or rows.shape != logits.shape[:-1] or logits.ndim != 2:
            given = "no rows" if rows is None else f"rows of shape {tuple(rows.shape)}"
            raise ShapeError(
                f"{self.name}: {given} for logits {tuple(logits.shape)}: pass rows=, the (N,) item numbers"
            )
        if _kernel.can_look_at(rows) and len(rows) and (rows.min() < 0 or rows.max() >= items):
            raise ShapeError(f"{self.name}: rows from {rows.min()} to {rows.max()}: there are {items} training items")
        return rows.long()


class GeneralizedRobust(Scheduled):
    """`generalized_robust` whose w, b, μ and σ move linearly over the epochs.

    An option given as a pair moves from the first to the second number; one number stands still. By the epochs
    e = 1 to T of `set_progress`, after `warmup` epochs n, w and b are at max(e - n - 1, 0) / (T - n) of the way
    and μ and σ at max(e - n, 0) / (T - n), as in the authors' code. Without the number of epochs all are at the
    fraction itself. With `k="learned"` the probability is one logistic of the score for each class that the
    optimiser trains, from weight 0 and bias -2 (the authors take SGD at 0.1, momentum 0.9, weight decay 1e-3).
    """

    own_options: ClassVar[Mapping[str, Any]] = {
        "w": (0.0, 2.0),
        "b": (-2.0, -2.0),
        "mu": (0.5, 0.8),
        "sigma": (2.0, 0.5),
        "k": None,
        "warmup": 0,
    }

    def __init__(
        self, name: str, options: Mapping[str, Any], labels: Tensor | None = None, check: bool = False
    ) -> None:
        super().__init__(name, options, labels, check)
        self.moving = {option: value for option, value in self.all_options().items() if option in self.own_options}
        for option in ("w", "b", "mu", "sigma"):
            value = self.moving[option]
            pair = value if isinstance(value, tuple | list) else (value, value)
            numbers = isinstance(value, Tensor) or (
                len(pair) == 2 and all(isinstance(end, int | float) for end in pair)
            )
            require(numbers, option, value, "one number, or two between which it moves")
        nothing = torch.zeros(1, 1, device="cpu")
        for end in (0.0, 1.0):
            ways = {option: _between(self.moving[option], end) for option in ("w", "b", "mu", "sigma")}
            _unknown.generalized_robust(nothing, nothing, **ways)
        check_warmup(self.moving["warmup"])
        require(self.moving["k"] in (None, "learned"), "k", self.moving["k"], "None or 'learned'")
        if self.moving["k"] == "learned":
            if labels is None:
                raise OptionError(
                    "generalized-robust(k='learned') has parameters for each class: pass labels=table.labels"
                )
            self.k_weight = nn.Parameter(torch.zeros(labels.shape[1], device="cpu"))
            self.k_bias = nn.Parameter(torch.full((labels.shape[1],), -2.0, device="cpu"))

    def arguments(self) -> dict[str, Any]:
        """What the function is called with at present."""
        first = second = self.fraction
        if self.epochs is not None:
            warmup = self.moving["warmup"]
            epoch = round(self.fraction * self.epochs) + 1
            length = max(self.epochs - warmup, 1)
            first = min(max(epoch - warmup - 1, 0) / length, 1.0)
            second = min(max(epoch - warmup, 0) / length, 1.0)
        ways = {"w": first, "b": first, "mu": second, "sigma": second}
        return {**super().arguments(), **{option: _between(self.moving[option], way) for option, way in ways.items()}}

    def compute(self, logits: Tensor, targets: Tensor, rows: Tensor | None) -> Tensor:
        """The loss of a batch; the probability is learnt or follows from the score."""
        if self.moving["k"] is None:
            return super().compute(logits, targets, rows)
        k = torch.sigmoid(self.k_weight * torch.sigmoid(logits.detach()) + self.k_bias)
        return _unknown.generalized_robust(logits, targets, **self.arguments(), k=k)


class SelfPaced(Scheduled):
    """`splc` that corrects labels from the second epoch on; its threshold is 0.6 if none is given (the authors')."""

    own_options: ClassVar[Mapping[str, Any]] = {"threshold": 0.6}

    def __init__(
        self, name: str, options: Mapping[str, Any], labels: Tensor | None = None, check: bool = False
    ) -> None:
        super().__init__(name, options, labels, check)
        check_range("threshold", self.all_options()["threshold"], 0.0, 1.0)

    def arguments(self) -> dict[str, Any]:
        """What the function is called with at present."""
        return {**super().arguments(), "threshold": self.all_options()["threshold"] if self.fraction > 0 else None}


class LargeLoss(Scheduled, Remembering):
    """`large_loss` that knows the epoch, and which labels it has corrected for good.

    `progress` is the fraction done times `epochs` (10 if `set_progress` is not told). With the scheme
    `correct-permanently` it holds one bit for each label and has to be told the rows of the batch.
    """

    own_options: ClassVar[Mapping[str, Any]] = {"progress": None}
    corrected: Tensor

    def __init__(
        self, name: str, options: Mapping[str, Any], labels: Tensor | None = None, check: bool = False
    ) -> None:
        super().__init__(name, options, labels, check)
        self.needs_rows = self.all_options()["scheme"] == "correct-permanently"
        if self.needs_rows:
            if labels is None:
                raise OptionError("large-loss(scheme='correct-permanently') remembers labels: pass labels=table.labels")
            self.register_buffer("corrected", torch.zeros(labels.shape, dtype=torch.bool, device="cpu"))

    def arguments(self) -> dict[str, Any]:
        """What the function is called with at present."""
        fixed = self.options.get("progress")
        moving = self.fraction * (self.epochs or 10)
        return {**super().arguments(), "progress": moving if fixed is None else fixed}

    def compute(self, logits: Tensor, targets: Tensor, rows: Tensor | None) -> Tensor:
        """The loss of (N, C) logits and targets of the items `rows`."""
        if not self.needs_rows:
            return super().compute(logits, targets, rows)
        rows = self.rows_of(logits, rows, len(self.corrected))
        targets = torch.where(self.corrected[rows] & (targets < 0), torch.ones_like(targets), targets)
        if self.training and self.fraction > 0:
            share = self.all_options()["delta"]
            if torch.is_grad_enabled():  # a look at the loss changes nothing
                self.corrected[rows] |= _unknown.largest_losses(logits, targets, share)
            return super().compute(logits, targets, rows)
        return _unknown.assume_negative(logits, targets, reduction=self.reduction)


class EntropyMaximization(Scheduled, Remembering):
    """`entropy_maximization`, with asymmetric pseudo-labels if they are asked for.

    With `pseudo_labels=True`, `update` takes the logits of all training items after each epoch from `warmup` on,
    and makes of each class's lowest-scored unknown labels, ⌊0.9 · unknown / (T - warmup)⌋ in each epoch, soft
    negatives at their present score. `forward` then has to be told the rows of the batch.
    """

    own_options: ClassVar[Mapping[str, Any]] = {"pseudo_labels": False, "share": 0.9, "warmup": 1}
    unknown: Tensor
    soft: Tensor

    def __init__(
        self, name: str, options: Mapping[str, Any], labels: Tensor | None = None, check: bool = False
    ) -> None:
        super().__init__(name, options, labels, check)
        own = self.all_options()
        require(isinstance(own["pseudo_labels"], bool), "pseudo_labels", own["pseudo_labels"], "True or False")
        check_number("share", own["share"])
        check_range("share", own["share"], 0.0, 1.0)
        check_warmup(own["warmup"])
        self.needs_rows = self.needs_scores = own["pseudo_labels"]
        if self.needs_rows:
            if labels is None:
                raise OptionError("entropy-maximization(pseudo_labels=True) remembers labels: pass labels=table.labels")
            self.register_buffer("unknown", labels < 0)
            self.register_buffer("soft", torch.full(labels.shape, float(UNKNOWN), device="cpu"))

    def update(self, logits: Tensor) -> None:
        """Make soft negatives of the lowest-scored unknown labels, given the logits of all items, (N, C).

        Raises:
            ShapeError: the logits are not those of all training items.
        """
        if not self.needs_scores:
            return
        if logits.shape != self.soft.shape:
            raise ShapeError(
                f"{self.name}: logits {tuple(logits.shape)} for training items and classes {tuple(self.soft.shape)}"
            )
        own, epochs = self.all_options(), self.epochs or 10
        if round(self.fraction * epochs) + 1 < own["warmup"]:
            return
        scores = logits.detach().to(self.soft).sigmoid().clamp(1e-6, 1 - 1e-6)
        candidates = torch.where(self.unknown & (self.soft < 0), scores, torch.inf)
        numbers = (own["share"] * self.unknown.sum(0) / max(epochs - own["warmup"], 1)).floor().long()
        place = candidates.argsort(0).argsort(0)
        chosen = (place < numbers) & candidates.isfinite()
        self.soft[chosen] = scores[chosen]

    def compute(self, logits: Tensor, targets: Tensor, rows: Tensor | None) -> Tensor:
        """The loss of (N, C) logits and targets of the items `rows`."""
        if self.needs_rows:
            soft = self.soft[self.rows_of(logits, rows, len(self.soft))]
            targets = torch.where(targets < 0, soft, targets.to(soft.dtype))
        return super().compute(logits, targets, rows)


class Role(Remembering):
    """`role` with the estimated labels of all training items as its parameters.

    They start uniform within ±logit(0.6), and at 0.995 for what is observed as present (0.005 as absent). An
    optimiser should train them at ten times the network's rate (the authors').
    """

    own_options: ClassVar[Mapping[str, Any]] = {"seed": 0}
    needs_rows = True

    def __init__(
        self, name: str, options: Mapping[str, Any], labels: Tensor | None = None, check: bool = False
    ) -> None:
        super().__init__(name, options, labels, check)
        if labels is None:
            raise OptionError("role learns an estimate of every label: pass labels=table.labels")
        seed = self.all_options()["seed"]
        require(isinstance(seed, int) and seed >= 0, "seed", seed, "a whole number of at least 0")
        generator = torch.Generator("cpu").manual_seed(seed)
        start = math.log(0.6 / 0.4) * (2 * torch.rand(labels.shape, generator=generator, device="cpu") - 1)
        certain = math.log(0.995 / 0.005)
        start = torch.where(labels == 1, certain, torch.where(labels == 0, -certain, start))
        self.estimates = nn.Parameter(start)

    def compute(self, logits: Tensor, targets: Tensor, rows: Tensor | None) -> Tensor:
        """The loss of (N, C) logits and targets of the items `rows`."""
        # Whose gradient is written by rows, where that of indexing is put together entry by entry.
        estimates = F.embedding(self.rows_of(logits, rows, len(self.estimates)), self.estimates)
        return _unknown.role(logits, targets, estimates=estimates, **self.arguments())


MODULES: dict[str, type[FunctionLoss]] = {
    "generalized-robust": GeneralizedRobust,
    "splc": SelfPaced,
    "large-loss": LargeLoss,
    "entropy-maximization": EntropyMaximization,
    "role": Role,
}


def check_warmup(epochs: Any) -> None:
    """Refuse what is no number of epochs."""
    require(isinstance(epochs, int) and epochs >= 0, "warmup", epochs, "a number of epochs")


def _between(value: Any, way: float) -> Any:
    if not isinstance(value, tuple | list):
        return value
    first, last = value
    return first + (last - first) * way
