"""One optimiser step, the same for a head in memory and for a whole network on its device.

Parameter groups, the schedule, what the seed decides, rows -> loss, and what a loss remembers or learns.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from rarecall import losses
from rarecall.errors import OptionError
from rarecall.models import Classifier, parameter_groups
from rarecall.seeds import ORDER, STEP, stream
from rarecall.settings import Recipe, Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Stepper:
    """A network and its loss, trained a batch at a time.

    Attributes:
        network: that is trained.
        loss: bound to the labels of the training items; rows of a batch are numbers among these.
        optimizers: of the network, and of what the loss learns if that has its own.
        steps: an epoch.
    """

    def __init__(
        self, training: Training, network: Classifier, labels: Tensor, *, device: torch.device | None = None
    ) -> None:
        """Begin a training.

        Args:
            training: how.
            network: with its initial weights.
            labels: (N, C) of the training items.
            device: where the network is; default: the CPU.
        """
        self.training, self.network = training, network
        self.loss = losses.build(training.loss, labels=labels).to(device or torch.device("cpu"))
        self.steps = steps_per_epoch(training, len(labels))
        if (training.warmup_steps or 0) >= self.steps * training.epochs:
            raise OptionError(
                f"warmup_steps={training.warmup_steps}: must be below the {self.steps * training.epochs} steps of all"
            )
        self.optimizers = _optimizers(training, network, self.loss, fused=True)
        self.rates = [group["lr"] for group in self.optimizers[0].param_groups]
        self.random = training.dropout > 0 or network.backbone is not None  # in a forward pass
        self.forward: Callable[[Tensor], Tensor] = network
        self.backward: Callable[[Tensor], Any] = Tensor.backward
        self.stepping: list[Any] = self.optimizers
        self.fabric: Fabric | None = None

    def run_on(self, fabric: "Fabric") -> None:
        """Let Fabric place the network and set its precision."""
        if fabric.strategy.precision.state_dict():
            if len(self.optimizers) > 1:
                raise OptionError(
                    "loss_optimizer=authors: a scaler of float16 cannot serve two optimisers: pass --precision 32"
                )
            # A float16 scaler cannot undo its scale for a fused optimiser that is to be clipped.
            self.optimizers = _optimizers(self.training, self.network, self.loss, fused=False)
        self.fabric = fabric
        self.forward = fabric.setup_module(self.network)
        self.backward = fabric.backward
        self.stepping = [fabric.setup_optimizers(optimizer) for optimizer in self.optimizers]

    def begin_epoch(self, epoch: int) -> None:
        """Tell the loss how far the training is, at the start of an epoch counted from 1."""
        self.network.train()
        self.loss.set_progress((epoch - 1) / self.training.epochs, self.training.epochs)

    def value(self, step: int, inputs: Tensor, targets: Tensor, rows: Tensor, keep: Tensor | None = None) -> Tensor:
        """The loss of a batch at a step counted from 0, with its gradient.

        Args:
            step: decides the rates and the dropout.
            inputs: (N, ...) of the network.
            targets: (N, C) labels.
            rows: (N,) numbers among the training items.
            keep: (M,) places in the batch that the loss is shown; default: all.
        """
        if self.random:
            torch.manual_seed(stream(self.training.seed, STEP, step))
        factor = self.training.factor(step, self.steps)
        for group, rate in zip(self.optimizers[0].param_groups, self.rates, strict=True):  # authors' rates stand still
            group["lr"] = rate * factor
        for optimizer in self.stepping:
            optimizer.zero_grad(set_to_none=True)
        logits = self.forward(inputs)
        if keep is not None:
            logits, targets, rows = logits[keep], targets[keep], rows[keep]
        value: Tensor = self.loss(logits, targets, rows)
        self.backward(value)
        return value.detach()

    def gradient_norm(self) -> Tensor:
        """The norm of the network's gradient, before it is clipped if it is to be."""
        clip, parameters = self.training.clip, self.network.parameters()
        if clip is None:
            return get_total_norm([one.grad for one in parameters if one.grad is not None])
        if self.fabric is None:
            return clip_grad_norm_(parameters, clip)
        clipped = self.fabric.clip_gradients(
            self.forward, self.stepping[0], max_norm=clip, error_if_nonfinite=False  # type: ignore[arg-type]
        )  # fmt: skip
        return torch.zeros(()) if clipped is None else clipped

    def step(self) -> None:
        """Change the weights by the gradient."""
        for optimizer in self.stepping:
            optimizer.step()

    def end_epoch(self, logits_of_all: Callable[[], Tensor]) -> None:
        """Let the loss take note of the logits (N, C) of all training items, if it wants to know them."""
        if self.loss.needs_scores:
            self.loss.update(logits_of_all())


def steps_per_epoch(recipe: Recipe, items: int) -> int:
    """How many steps an epoch of so many items has.

    >>> recipe = Recipe(epochs=1, batch_size=4, drop_last=True, augmentation="none")
    >>> steps_per_epoch(recipe, 10), steps_per_epoch(recipe.model_copy(update={"drop_last": False}), 10)
    (2, 3)
    """
    size = min(recipe.batch_size, items)
    return items // size if recipe.drop_last else -(-items // size)


def batches_of(training: Training, items: int, epoch: int) -> Iterator[Tensor]:
    """The numbers of the items of each batch, in an order that the seed and the epoch alone decide."""
    generator = torch.Generator().manual_seed(stream(training.seed, ORDER, epoch))
    size = min(training.batch_size, items)
    yield from torch.randperm(items, generator=generator).split(size)[: steps_per_epoch(training, items)]


def _optimizers(training: Training, network: Classifier, loss: losses.Loss, fused: bool) -> list[torch.optim.Optimizer]:
    groups = parameter_groups(
        network, training.rate, training.rate_of_backbone(), training.weight_decay, decay=training.decay
    )
    own = loss.authors_optimizer(training.rate) if training.loss_optimizer == "authors" else None
    if own is None:
        groups += loss.parameter_groups(training.rate)
    return [_optimizer(training, groups, fused), *([own] if own else [])]


def _optimizer(training: Training, groups: list[dict[str, Any]], fused: bool) -> torch.optim.Optimizer:
    if training.optimizer == "sgd":
        nesterov = training.nesterov and training.momentum > 0
        return torch.optim.SGD(groups, lr=training.rate, momentum=training.momentum, nesterov=nesterov, fused=fused)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=training.rate, fused=fused)
