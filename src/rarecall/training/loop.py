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
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, listing
from rarecall.files import write_text
from rarecall.inference.scoring import default_batch, score_table
from rarecall.listener import Listener
from rarecall.models import Classifier, resolve_device
from rarecall.settings import Training
from rarecall.training import checkpoints
from rarecall.training.checkpoints import Progress
from rarecall.training.guards import (
    deterministic,
    memory_in_words,
    own_generators,
    single_items_in_words,
    stop_request,
    workers_in_words,
)
from rarecall.training.loading import Batch, Batches, default_workers
from rarecall.training.step import Stepper
from rarecall.training.validation import NotFiniteError, Validation, require_positives

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECKPOINT_SECONDS = 600.0
LOG_EVERY = 10  # steps
MOST_UNREADABLE = 64  # one after the other, before it is called a fault of the disk


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes:
        network: with the weights of the epoch that is kept, in eval mode.
        history: one row for each epoch.
        epoch: the one that is kept, from 1; 0 if none was finished.
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
        self.network, self.train_rows = network.to(fabric.device), table.part("train")
        self.batches = Batches(
            table,
            network.architecture.image_size if network.backbone else None,
            training,
            default_workers(fabric.device) if workers is None else workers,
            pin=fabric.device.type == "cuda",
        )
        self.stepper = Stepper(training, network, self.batches.labels, device=fabric.device)
        self.stepper.run_on(fabric)
        self.steps = self.stepper.steps
        self.validation = Validation(training, table)
        key = hashlib.sha256(f"{training.model_dump_json()} {table.fingerprint()}".encode()).hexdigest()[:16]
        self.progress = self._restore(key)
        self.unreadable: dict[str, str] = {}
        self.unreadable_in_a_row = 0

    def run(self) -> Fitted:
        """Do what is left."""
        with stop_request() as stop_requested, workers_in_words(stop_requested), single_items_in_words():
            try:
                for epoch in range(len(self.progress.history) + 1, self.training.epochs + 1):
                    if self.validation.lost_patience(self.progress.history):
                        self.listener.say("note", f"stopped after epoch {epoch - 1}: {self._patience()}")
                        break
                    self._train_epoch(epoch, stop_requested)
                    self._end_epoch(epoch)
                    if stop_requested.is_set():
                        raise KeyboardInterrupt
            finally:
                self.batches.close()
        return self.fitted()

    def fitted(self, diverged: bool = False) -> Fitted:
        """The network with the weights of the epoch that is kept, or its present ones if none was finished."""
        self.network.load_state_dict(self.progress.best or self.network.state_dict())
        progress = self.progress
        return Fitted(self.network.eval(), progress.history, progress.best_epoch, diverged, self.unreadable)

    def _patience(self) -> str:
        """Why a training without a better epoch is over."""
        gain = f" by more than {self.training.tolerance:g}" if self.training.tolerance else ""
        return f"{self.training.patience} epochs without a better {self.training.metric}{gain}"

    def _restore(self, key: str) -> Progress:
        progress, damaged = checkpoints.restore(self.folder, key, self.stepper)
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
        checkpoints.save(self.folder, self.progress, self.stepper)

    def _train_epoch(self, epoch: int, stop_requested: threading.Event) -> None:
        done = self.progress.step - (epoch - 1) * self.steps
        self.stepper.begin_epoch(epoch)
        saved = time.monotonic()
        if done == self.steps:
            return
        for batch in self.batches.epoch(epoch, done):
            self._report_unreadable(batch)
            self._step(batch)
            self.listener.progress("steps", self.progress.step, self.steps * self.training.epochs)
            if stop_requested.is_set():
                self._save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > self.checkpoint_seconds:
                self._save()
                saved = time.monotonic()

    def _step(self, batch: Batch) -> None:
        step, stepper = self.progress.step, self.stepper
        inputs, targets, rows, keep = self.fabric.to_device((batch.inputs, batch.targets, batch.rows, batch.readable))
        mean, norm = float(stepper.value(step, inputs, targets, rows, keep)), float(stepper.gradient_norm())
        scaled = bool(self.fabric.strategy.precision.state_dict())
        if not np.isfinite(mean) or not (np.isfinite(norm) or scaled):  # the scaler leaves out such a step
            self._not_finite(batch, mean, norm)
        stepper.step()
        self.progress.step += 1
        self.progress.loss_sum += mean
        if self.progress.step % LOG_EVERY == 0:
            rate = self.training.rate * self.training.factor(step, self.steps)
            self.listener.log({"loss": mean, "rate": rate}, self.progress.step)

    def _end_epoch(self, epoch: int) -> None:
        progress = self.progress
        self.stepper.end_epoch(lambda: score_table(self.network, self.table, self.train_rows)[0])
        row = {"epoch": epoch, "step": progress.step, "train_loss": progress.loss_sum / self.steps, **self._figures()}
        progress.history.append(row)
        progress.loss_sum = 0.0
        if self.validation.best(progress.history) == epoch:
            progress.best_epoch = epoch
            progress.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
        self._save()
        self.listener.log({name: value for name, value in row.items() if name not in ("epoch", "step")}, progress.step)
        best = progress.best_epoch if self.training.select == "best" else None
        part = {"part": "validation", "test": "test", "none": None}[self.training.val]
        self.listener.epoch(progress.history, best, self.training.epochs, part)

    def _figures(self) -> dict[str, float]:
        """The validation figures of the epoch; none where there is no part to choose on."""
        rows = self.validation.rows
        if not len(rows):
            return {}
        size = min(self.training.batch_size, default_batch(self.network))
        logits, targets, _ = score_table(self.network, self.table, rows, size)
        require_positives(targets, self.table.source)
        try:
            return self.validation.figures(logits, targets, self.stepper.loss)
        except NotFiniteError:
            if not self.forgiving:
                checkpoints.write(self.folder / "not-finite.safetensors", self.progress, self.stepper)
            raise

    def _items(self, rows: Any) -> list[str]:
        """The names of training items."""
        return [self.table.items[self.train_rows[row]] for row in rows]

    def _report_unreadable(self, batch: Batch) -> None:
        none_readable = len(batch.unreadable) == len(batch.rows)
        self.unreadable_in_a_row = self.unreadable_in_a_row + len(batch.rows) if none_readable else 0
        names = self._items(batch.rows[list(batch.unreadable)].tolist())
        if self.unreadable_in_a_row >= min(
            MOST_UNREADABLE, self.steps * min(self.training.batch_size, len(self.train_rows))
        ):
            raise DataError(
                f"none of the last {self.unreadable_in_a_row} images can be read ({names[0]}: {batch.unreadable[0]}): "
                "check the disk, and what 'rarecall audit' says of the data"
            )
        for name, reason in zip(names, batch.unreadable.values(), strict=True):
            if name not in self.unreadable:
                self.unreadable[name] = reason
                self.listener.say("warning", f"{name}: {reason}: its labels are unknown in this training")

    def _not_finite(self, batch: Batch, value: float, norm: float) -> None:
        """Keep what is needed to understand it, and stop before the weights are changed."""
        names = self._items(batch.rows.tolist())
        step = self.progress.step + 1
        if not self.forgiving:
            checkpoints.write(self.folder / "not-finite.safetensors", self.progress, self.stepper)
            write_text(self.folder / "not-finite-items.txt", "".join(name + "\n" for name in names))
        raise NotFiniteError(
            f"{self.training.loss}: the loss is {value:g} and its gradient's norm {norm:g} at step {step} "
            f"(epoch {(step - 1) // self.steps + 1}) on {listing(names, 3)}: the batch's items and the weights and "
            f"moments before it are in {self.folder} as "
            "not-finite-items.txt and not-finite.safetensors: try a lower --rate, or --clip 1, with another --out"
        )


def _fabric(training: Training, device: str) -> "Fabric":
    from lightning_fabric import Fabric  # which studies of heads do not need

    on_gpu = resolve_device(device).type == "cuda"
    precision: Any = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}.get(training.precision)
    if precision is None:
        half = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "16-mixed"
        precision = half if on_gpu else "32-true"
    if precision == "16-mixed" and not on_gpu:
        raise OptionError("--precision 16: float16 needs a GPU: use 32 or bf16")
    return Fabric(accelerator="cuda" if on_gpu else "cpu", devices=1, precision=precision)
