"""The training loop: one network, one loss, one seed; continued at any step as if it had never stopped.

Lightning's Fabric places the network on its device and sets its precision. The loop is written out, because
everything random in it comes from the seed and the step alone: a checkpoint then needs no generator's state,
and a training that was killed ends with the same bits as one that was not.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from rarecall import losses, metrics
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, TrainingError, listing
from rarecall.files import write_text
from rarecall.inference.scoring import score_table
from rarecall.labels import UNKNOWN, count, measured_groups
from rarecall.models import Classifier, parameter_groups, resolve_device
from rarecall.seeds import STEP, stream
from rarecall.training import checkpoints
from rarecall.training.checkpoints import Progress
from rarecall.training.config import Training
from rarecall.training.loading import Batch, Order, batches, default_workers

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.wrappers import _FabricOptimizer

CHECKPOINT_SECONDS = 600.0
LOG_EVERY = 10  # steps


class Listener(Protocol):
    """What is told of a training while it runs."""

    def step(self, done: int, total: int) -> None:
        """So many steps of all are done."""

    def epoch(self, history: list[dict[str, float]], best_epoch: int, epochs: int) -> None:
        """An epoch has ended; the last row of the history is its own."""

    def say(self, kind: str, sentence: str) -> None:
        """A `warning` or a `note`."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Figures of a step or an epoch."""


class Silent:
    """A listener that does nothing; a base for those that care for a part."""

    def step(self, done: int, total: int) -> None:
        """Do nothing."""

    def epoch(self, history: list[dict[str, float]], best_epoch: int, epochs: int) -> None:
        """Do nothing."""

    def say(self, kind: str, sentence: str) -> None:
        """Do nothing."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes:
        network: with the weights of the best epoch, in eval mode.
        history: one row for each epoch.
        epoch: the best one, from 1; 0 if none was finished.
        diverged: whether training ended at a number that is not finite.
    """

    network: Classifier
    history: list[dict[str, float]]
    epoch: int
    diverged: bool = False


class NotFiniteError(TrainingError):
    """The loss or the logits are no longer finite numbers."""


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
    with _deterministic(fabric.device), torch.random.fork_rng(), _memory_in_words(training), _workers_in_words():
        loop = _Loop(training, table, network, folder, listener, fabric, workers, checkpoint_seconds)
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
    ) -> None:
        self.training, self.table, self.folder, self.listener = training, table, folder, listener
        self.fabric, self.checkpoint_seconds = fabric, checkpoint_seconds
        self.network = network.to(fabric.device)
        self.loss = losses.build(training.loss).to(fabric.device)
        self.plain = _optimizer(training, network)
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
        self.progress = self._restore()
        self.validation = _Validation(training, table, listener)
        self.unreadable: set[int] = set()

    def run(self) -> Fitted:
        """Do what is left."""
        with _stop_request() as stop_requested:
            for epoch in range(len(self.progress.history) + 1, self.training.epochs + 1):
                if self._lost_patience():
                    break
                self._train_epoch(epoch, stop_requested)
                self._end_epoch(epoch)
                if stop_requested.is_set():
                    raise KeyboardInterrupt
        return self.fitted()

    def fitted(self, diverged: bool = False) -> Fitted:
        """The network with the weights of the best epoch, or its present ones if no epoch was finished."""
        self.network.load_state_dict(self.progress.best or self.network.state_dict())
        return Fitted(self.network.eval(), self.progress.history, self.progress.best_epoch, diverged)

    def _restore(self) -> Progress:
        progress, damaged = checkpoints.restore(self.folder, self.network, self.plain)
        if damaged:
            before = f"step {progress.step}" if progress else "the start"
            self.listener.say("warning", f"checkpoint damaged ({listing(damaged)}): going on from {before}")
        elif progress and len(progress.history) < self.training.epochs:
            self.listener.say("note", f"going on from step {progress.step}")
        if progress and progress.scaler:
            self.fabric.strategy.precision.load_state_dict(progress.scaler)
        return progress or Progress()

    def _save(self) -> None:
        self.progress.scaler = self.fabric.strategy.precision.state_dict()
        checkpoints.save(self.folder, self.progress, self.network, self.plain)

    def _train_epoch(self, epoch: int, stop_requested: threading.Event) -> None:
        self.order.epoch, self.order.start = epoch, self.progress.step - (epoch - 1) * self.steps
        self.network.train()
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
        value = self.loss(self.wrapped(batch.inputs), batch.targets)
        self.fabric.backward(value)
        mean = float(value.detach())
        if not np.isfinite(mean):
            self._not_finite(batch, mean)
        if self.training.clip is not None:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.training.clip)
        self.optimizer.step()
        self.progress.step += 1
        self.progress.loss_sum += mean
        if self.progress.step % LOG_EVERY == 0:
            self.listener.log({"loss": mean, "rate": self.rates[-1] * factor}, self.progress.step)

    def _end_epoch(self, epoch: int) -> None:
        progress = self.progress
        figures = self.validation(self.network, self.loss)
        row = {"epoch": epoch, "step": progress.step, "train_loss": progress.loss_sum / self.steps, **figures}
        better = not progress.history or _rank(row, self.training) > _rank(
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
        if len(batch.unreadable) == len(batch.rows) > 1:
            row, reason = next(iter(batch.unreadable.items()))
            raise DataError(
                f"none of the {len(batch.rows)} images of a batch can be read ({self.table.items[row]}: {reason}): "
                "check the disk, and what 'rarecall audit' says of the data"
            )
        for row, reason in batch.unreadable.items():
            if row not in self.unreadable:
                self.unreadable.add(row)
                self.listener.say(
                    "warning", f"{self.table.items[row]}: {reason}: its labels are unknown in this training"
                )

    def _not_finite(self, batch: Batch, value: float) -> None:
        """Keep what is needed to understand it, and stop before the weights are changed."""
        names = [self.table.items[row] for row in batch.rows]
        step = self.progress.step + 1
        checkpoints.write(self.folder.parent / "not-finite.safetensors", self.progress, self.network, self.plain)
        write_text(self.folder.parent / "not-finite-items.txt", "".join(name + "\n" for name in names))
        raise NotFiniteError(
            f"{self.training.loss}: the loss is {value} at step {step} (epoch {(step - 1) // self.steps + 1}) on "
            f"{listing(names, 3)}: the batch's items and the state before it are in {self.folder.parent} as "
            "not-finite-items.txt and not-finite.safetensors: try a lower --rate, or --clip 1, with another --out"
        )


class _Validation:
    """The figures of the validation part; an image that cannot be read counts as unlabelled."""

    def __init__(self, training: Training, table: LabelTable, listener: Listener) -> None:
        self.table, self.listener, self.metric = table, listener, training.metric
        self.rows = table.part("val")
        positives = count(table.labels[table.part("train")]).present
        self.groups = measured_groups(table.labels[self.rows], positives)
        group = self.metric.removeprefix("map_")
        if group in ("head", "medium", "tail") and group not in self.groups:
            raise OptionError(f"metric {self.metric}: no {group} class has a positive in the validation part")

    def __call__(self, network: Classifier, loss: losses.Loss) -> dict[str, float]:
        logits, reasons = score_table(network, self.table, self.rows)
        targets = readable_targets(self.table, self.rows, reasons)
        if not bool(logits.isfinite().all() | (len(reasons) > 0)):
            raise NotFiniteError(
                "the network's logits are not finite on validation: try a lower --rate, or --clip 1, with another --out"
            )
        logits = logits.nan_to_num()
        own_thresholds = torch.zeros(logits.shape[1])  # a score of one half
        figures = metrics.summarise(logits, targets, own_thresholds, self.groups)
        with torch.inference_mode():
            device = network.mean.device
            value = float(loss(logits.to(device), targets.to(device)))
        return {"val_loss": value} | {f"val_{name}": figure for name, figure in figures.items()}


def readable_targets(table: LabelTable, rows: np.ndarray, unreadable: dict[int, str]) -> Tensor:
    """The labels (N, C) of some rows, unknown where the image cannot be read."""
    targets = torch.from_numpy(table.labels[rows].copy())
    targets[[row in unreadable for row in rows.tolist()]] = UNKNOWN
    return targets


def _rank(row: dict[str, float], training: Training) -> float:
    """Higher is better; what does not exist is worst."""
    value = -row["val_loss"] if training.metric == "loss" else row[f"val_{training.metric}"]
    return float(np.nan_to_num(value, nan=-np.inf))


def _optimizer(training: Training, network: Classifier) -> torch.optim.Optimizer:
    groups = parameter_groups(network, training.rate, training.rate_of_backbone(), training.weight_decay)
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.rate, momentum=0.9, nesterov=True)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=training.rate, fused=True)


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


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """The same bits again, on a GPU too; a CPU gives them anyway."""
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextmanager
def _stop_request() -> Iterator[threading.Event]:
    """Set by Ctrl-C or a polite kill, so that the step in progress ends first; a second one does not wait."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def note(*_: object) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _memory_in_words(training: Training) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        smaller = max(training.batch_size // 2, 1)
        raise TrainingError(
            f"out of memory with batches of {training.batch_size}: try --batch-size {smaller}, "
            "or a smaller --image-size"
        ) from None


@contextmanager
def _workers_in_words() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            "a process that loads images died (out of memory?): the same command goes on from the last checkpoint; "
            "--workers 0 loads images without such processes"
        ) from None
