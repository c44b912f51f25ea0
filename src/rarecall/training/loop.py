"""The training loop: one network, one loss, one seed; continued at any step as if it had never stopped.

Lightning's Fabric places the network on its device and sets its precision. The loop is written out, because
everything random in it comes from the seed and the step alone: a checkpoint then needs no generator's state,
and a training that was killed ends with the same bits as one that was not.
"""

import hashlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from rarecall import losses
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, listing
from rarecall.files import write_text
from rarecall.models import Classifier, parameter_groups, resolve_device
from rarecall.seeds import STEP, stream
from rarecall.training import checkpoints
from rarecall.training.checkpoints import Progress
from rarecall.training.config import Training
from rarecall.training.guards import (
    NotFiniteError,
    deterministic,
    end_workers,
    memory_in_words,
    own_generators,
    single_items_in_words,
    stop_request,
    workers_in_words,
)
from rarecall.training.listener import Listener
from rarecall.training.loading import Batch, Order, batches, default_workers
from rarecall.training.validation import Validation, rank

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.wrappers import _FabricOptimizer

CHECKPOINT_SECONDS = 600.0
LOG_EVERY = 10  # steps
MOST_UNREADABLE = 64  # one after the other, before it is called a fault of the disk


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes:
        network: with the weights of the best epoch, in eval mode.
        history: one row for each epoch.
        epoch: the best one, from 1; 0 if none was finished.
        diverged: whether training ended at a number that is not finite.
        unreadable: training images that could not be read since the training was last started, and why.
    """

    network: Classifier
    history: list[dict[str, float]]
    epoch: int
    diverged: bool = False
    unreadable: dict[str, str] = field(default_factory=dict)


def fit(
    training: Training,
    table: LabelTable,
    network: Classifier,
    folder: Path,
    listener: Listener,
    *,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    forgiving: bool = False,
) -> Fitted:
    """Train the network on the train part; the validation part picks the epoch.

    Args:
        training: how.
        table: images or features, labels and a complete split.
        network: with its initial weights.
        folder: where checkpoints are; what is there is continued.
        listener: told of each step and epoch.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that decode and augment images; default: one for each core beside a GPU, else one.
        checkpoint_seconds: how often a checkpoint is written, besides at the end of each epoch.
        forgiving: keep the best epoch so far if the loss is no longer finite, instead of raising.

    Raises:
        TrainingError: the loss is no longer finite, the memory is too small, or a worker died.
        OptionError: a device that is not there.
    """
    fabric = _fabric(training, device)
    with deterministic(fabric.device), own_generators(fabric.device), memory_in_words(training):
        loop = _Loop(training, table, network, folder, listener, fabric, workers, checkpoint_seconds, forgiving)
        try:
            return loop.run()
        except NotFiniteError:
            if not forgiving:
                raise
            return loop.fitted(diverged=True)


class _Loop:
    def __init__(
        self,
        training: Training,
        table: LabelTable,
        network: Classifier,
        folder: Path,
        listener: Listener,
        fabric: "Fabric",
        workers: int | None,
        checkpoint_seconds: float,
        forgiving: bool,
    ) -> None:
        self.training, self.table, self.folder, self.listener = training, table, folder, listener
        self.fabric, self.checkpoint_seconds, self.forgiving = fabric, checkpoint_seconds, forgiving
        self.network = network.to(fabric.device)
        self.loss = losses.build(training.loss, labels=table.labels[table.part("train")]).to(fabric.device)
        # A float16 scaler cannot undo its scale for a fused optimiser that is to be clipped.
        self.scaled = bool(fabric.strategy.precision.state_dict())
        self.plain = _optimizer(training, network, fused=not self.scaled)
        self.wrapped = fabric.setup_module(network)
        self.optimizer = cast("_FabricOptimizer", fabric.setup_optimizers(self.plain))
        self.rates = [group["lr"] for group in self.plain.param_groups]
        self.loader: DataLoader[Batch] = batches(
            table,
            network.architecture.image_size if network.backbone else None,
            training,
            default_workers(fabric.device) if workers is None else workers,
            pin=fabric.device.type == "cuda",
        )
        assert isinstance(self.loader.sampler, Order)
        self.order = self.loader.sampler
        self.steps = len(self.order)  # an epoch
        key = hashlib.sha256(f"{training.model_dump_json()} {table.fingerprint()}".encode()).hexdigest()[:16]
        self.progress = self._restore(key)
        self.validation = Validation(training, table)
        self.unreadable: dict[int, str] = {}
        self.unreadable_in_a_row = 0

    def run(self) -> Fitted:
        """Do what is left."""
        with stop_request() as stop_requested, workers_in_words(stop_requested), single_items_in_words():
            try:
                for epoch in range(len(self.progress.history) + 1, self.training.epochs + 1):
                    if self._lost_patience():
                        break
                    self._train_epoch(epoch, stop_requested)
                    self._end_epoch(epoch)
                    if stop_requested.is_set():
                        raise KeyboardInterrupt
            finally:
                end_workers(self.loader)
        return self.fitted()

    def fitted(self, diverged: bool = False) -> Fitted:
        """The network with the weights of the best epoch, or its present ones if no epoch was finished."""
        self.network.load_state_dict(self.progress.best or self.network.state_dict())
        unreadable = {self.table.items[row]: reason for row, reason in self.unreadable.items()}
        return Fitted(self.network.eval(), self.progress.history, self.progress.best_epoch, diverged, unreadable)

    def _restore(self, key: str) -> Progress:
        progress, damaged = checkpoints.restore(self.folder, key, self.network, self.plain)
        if damaged:
            before = f"step {progress.step}" if progress else "the start"
            self.listener.say("warning", f"checkpoint damaged ({listing(damaged)}): going on from {before}")
        elif progress and len(progress.history) < self.training.epochs:
            self.listener.say("note", f"going on from step {progress.step}")
        if progress and progress.scaler:
            self.fabric.strategy.precision.load_state_dict(progress.scaler)
        return progress or Progress(key)

    def _save(self) -> None:
        self.progress.scaler = self.fabric.strategy.precision.state_dict()
        checkpoints.save(self.folder, self.progress, self.network, self.plain)

    def _train_epoch(self, epoch: int, stop_requested: threading.Event) -> None:
        self.order.epoch, self.order.start = epoch, self.progress.step - (epoch - 1) * self.steps
        self.network.train()
        self.loss.set_progress((epoch - 1) / self.training.epochs, self.training.epochs)
        saved = time.monotonic()
        if self.order.start == self.steps:
            return
        for batch in self.loader:
            self._report_unreadable(batch)
            self._step(self.fabric.to_device(batch))
            self.listener.step(self.progress.step, self.steps * self.training.epochs)
            if stop_requested.is_set():
                self._save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > self.checkpoint_seconds:
                self._save()
                saved = time.monotonic()

    def _step(self, batch: Batch) -> None:
        step = self.progress.step
        torch.manual_seed(stream(self.training.seed, STEP, step))  # for dropout
        factor = self.training.factor(step, self.steps)
        for group, rate in zip(self.plain.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        value = self.loss(*_readable(batch, self.wrapped(batch.inputs)))
        self.fabric.backward(value)
        mean, norm = float(value.detach()), self._gradient_norm()
        if not np.isfinite(mean) or not (np.isfinite(norm) or self.scaled):  # the scaler leaves out such a step
            self._not_finite(batch, mean, norm)
        self.optimizer.step()
        self.progress.step += 1
        self.progress.loss_sum += mean
        if self.progress.step % LOG_EVERY == 0:
            self.listener.log({"loss": mean, "rate": self.rates[-1] * factor}, self.progress.step)

    def _gradient_norm(self) -> float:
        """The norm of the gradient, before it is clipped if it is to be."""
        if self.training.clip is not None:
            clipped = self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=self.training.clip, error_if_nonfinite=False
            )
            return float(clipped) if clipped is not None else 0.0
        gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    def _end_epoch(self, epoch: int) -> None:
        progress = self.progress
        try:
            figures = self.validation(self.network, self.loss)
        except NotFiniteError:
            if not self.forgiving:
                checkpoints.write(self.folder / "not-finite.safetensors", progress, self.network, self.plain)
            raise
        row = {"epoch": epoch, "step": progress.step, "train_loss": progress.loss_sum / self.steps, **figures}
        better = not progress.history or rank(row, self.training) > rank(
            progress.history[progress.best_epoch - 1], self.training
        )
        progress.history.append(row)
        progress.loss_sum = 0.0
        if better:
            progress.best_epoch = epoch
            progress.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
        self._save()
        self.listener.log({name: value for name, value in row.items() if name not in ("epoch", "step")}, progress.step)
        self.listener.epoch(progress.history, progress.best_epoch, self.training.epochs)

    def _lost_patience(self) -> bool:
        since = len(self.progress.history) - self.progress.best_epoch
        return self.training.patience is not None and since >= self.training.patience

    def _report_unreadable(self, batch: Batch) -> None:
        none_readable = len(batch.unreadable) == len(batch.rows)
        self.unreadable_in_a_row = self.unreadable_in_a_row + len(batch.rows) if none_readable else 0
        if self.unreadable_in_a_row >= min(MOST_UNREADABLE, self.steps * self.order.batch_size):
            row, reason = next(iter(batch.unreadable.items()))
            raise DataError(
                f"none of the last {self.unreadable_in_a_row} images can be read ({self.table.items[row]}: {reason}): "
                "check the disk, and what 'rarecall audit' says of the data"
            )
        for row, reason in batch.unreadable.items():
            if row not in self.unreadable:
                self.unreadable[row] = reason
                self.listener.say(
                    "warning", f"{self.table.items[row]}: {reason}: its labels are unknown in this training"
                )

    def _not_finite(self, batch: Batch, value: float, norm: float) -> None:
        """Keep what is needed to understand it, and stop before the weights are changed."""
        names = [self.table.items[row] for row in batch.rows]
        step = self.progress.step + 1
        if not self.forgiving:
            checkpoints.write(self.folder / "not-finite.safetensors", self.progress, self.network, self.plain)
            write_text(self.folder / "not-finite-items.txt", "".join(name + "\n" for name in names))
        raise NotFiniteError(
            f"{self.training.loss}: the loss is {value:g} and its gradient's norm {norm:g} at step {step} "
            f"(epoch {(step - 1) // self.steps + 1}) on {listing(names, 3)}: the batch's items and the weights and "
            f"moments before it are in {self.folder} as "
            "not-finite-items.txt and not-finite.safetensors: try a lower --rate, or --clip 1, with another --out"
        )


def _readable(batch: Batch, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and targets of the images that could be read: a rule for unknown labels would learn from the others."""
    if not batch.unreadable:
        return logits, batch.targets
    places = [place for place, row in enumerate(batch.rows) if int(row) not in batch.unreadable]
    return logits[places], batch.targets[places]


def _optimizer(training: Training, network: Classifier, fused: bool) -> torch.optim.Optimizer:
    groups = parameter_groups(network, training.rate, training.rate_of_backbone(), training.weight_decay)
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.rate, momentum=0.9, nesterov=True)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=training.rate, fused=fused)


def _fabric(training: Training, device: str) -> "Fabric":
    from lightning.fabric import Fabric  # loads all of Lightning, which studies of heads do not need

    on_gpu = resolve_device(device).type == "cuda"
    precision: Any = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}.get(training.precision)
    if precision is None:
        half = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "16-mixed"
        precision = half if on_gpu else "32-true"
    if precision == "16-mixed" and not on_gpu:
        raise OptionError("--precision 16: float16 needs a GPU: use 32 or bf16")
    return Fabric(accelerator="cuda" if on_gpu else "cpu", devices=1, precision=precision)
