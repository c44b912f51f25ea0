"""Training one head on features that lie in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from rarecall.data.mapped import Reader
from rarecall.data.table import LabelTable
from rarecall.inference.scoring import score_table
from rarecall.studies.plan import Protocol
from rarecall.studies.runs import Job, Run, as_run
from rarecall.training import Fitted, Training, build, conclude
from rarecall.training.step import Stepper, batches_of
from rarecall.training.validation import NotFiniteError, Validation


class Stopwatch:
    """Adds up the time spent inside named blocks."""

    def __init__(self) -> None:
        self.seconds = {"training": 0.0, "evaluation": 0.0}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[name] += perf_counter() - start


def train_head(job: Job, table: LabelTable, protocol: Protocol) -> Run:
    """Train one head; validation picks the epoch, and the test part is scored once, at the end.

    The seed decides initialisation, batch order and dropout, each from a stream of its own; the same seed
    starts every loss from the same weights and shows it the same batches. A run whose loss is no longer finite
    stops there and keeps its best epoch so far.
    """
    training = protocol.training(job.loss, rate=job.rate, seed=job.seed)
    watch = Stopwatch()
    with torch.random.fork_rng(devices=[]):
        fitted = _fit(training, table, watch)
    with watch("evaluation"):
        outcome = conclude(training, fitted, table)
    return as_run(job, training, table, outcome, watch.seconds)


def _fit(training: Training, table: LabelTable, watch: Stopwatch) -> Fitted:
    """Every epoch, of which the one that validation picks is kept; as a head that is trained alone, without I/O."""
    assert table.features is not None
    features, train_rows = Reader(table.features), table.part("train")
    labels = torch.from_numpy(table.labels[train_rows])
    network = build(training, table, None, training.seed)
    stepper, validation = Stepper(training, network, labels), Validation(training, table)
    history: list[dict[str, float]] = []
    kept, diverged = _copy(network), False
    for epoch in range(1, training.epochs + 1):
        if validation.lost_patience(history):
            break
        with watch("training"):
            mean = _train_epoch(stepper, epoch, features, train_rows, labels)
            stepper.end_epoch(lambda: score_table(network, table, train_rows)[0])
        with watch("evaluation"):
            figures = _figures(stepper, validation, table) if np.isfinite(mean) and _is_finite(network) else None
        if figures is None:
            diverged = True
            break
        history.append({"epoch": epoch, "step": epoch * stepper.steps, "train_loss": mean, **figures})
        if validation.best(history) == epoch:
            kept = _copy(network)
    network.load_state_dict(kept)
    return Fitted(network.eval(), history, validation.best(history), diverged)


def _train_epoch(stepper: Stepper, epoch: int, features: Reader, at: np.ndarray, labels: Tensor) -> float:
    """One pass over the training items, which stand `at` rows of the features; the mean of the batches' losses."""
    stepper.begin_epoch(epoch)
    total = torch.zeros(())
    step = (epoch - 1) * stepper.steps
    for rows in batches_of(stepper.training, len(labels), epoch):
        inputs = torch.from_numpy(features.rows(at[rows.numpy()]))
        total += stepper.value(step, inputs, labels[rows], rows)
        if stepper.training.clip is not None:
            stepper.gradient_norm()
        stepper.step()
        step += 1
    return float(total) / stepper.steps


def _figures(stepper: Stepper, validation: Validation, table: LabelTable) -> dict[str, float] | None:
    """What the epoch is judged by; None where the logits are not finite, as those of a head that diverged."""
    if not len(validation.rows):
        return {}
    logits, targets, _ = score_table(stepper.network, table, validation.rows)
    try:
        return validation.figure(logits, targets, stepper.loss)
    except NotFiniteError:
        return None


def _is_finite(head: torch.nn.Module) -> bool:
    """Whether every weight is a number: the mean of an epoch does not know what its last step did."""
    return all(bool(parameter.isfinite().all()) for parameter in head.parameters())


def _copy(head: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in head.state_dict().items()}
