"""One run: a head trained with one loss, rate and seed, and the file that it becomes."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from rarecall.data.table import LabelTable
from rarecall.files import write_bytes
from rarecall.training import Outcome, Training
from rarecall.training.validation import Validation


@dataclass(frozen=True)
class Job:
    """A run to do."""

    loss: str
    rate: float
    seed: int

    @property
    def file_name(self) -> str:
        """A readable file name; options in the loss add a short hash to keep it unique."""
        name = re.sub(r"[^a-zA-Z0-9-]+", "_", self.loss).strip("_")
        if name != self.loss:
            name = f"{name[:40]}-{hashlib.sha256(self.loss.encode()).hexdigest()[:8]}"
        return f"{name}_rate{self.rate:g}_seed{self.seed}.safetensors"


@dataclass(frozen=True)
class Run:
    """What is kept of a finished run.

    Attributes:
        job: what was run.
        epoch: the epoch, from 1, that is kept; 0 if the very first one diverged.
        validation: mAP@class at that epoch, from 0 to 1, where choices are made; NaN without such a part.
        rank: what the protocol's metric says of that epoch, higher for better; by it rates are chosen.
        scores: (N, C) logits of the test part.
        thresholds: (C,) from which classes are decided.
        train_loss, val_map: (epochs,) the curves; shorter if the run was stopped, the second without entries where
            there is nothing to choose on.
        diverged: whether training stopped at a number that is not finite.
        seconds: time spent in `training` and in `evaluation`.
    """

    job: Job
    epoch: int
    validation: float
    rank: float
    scores: Tensor
    thresholds: Tensor
    train_loss: Tensor
    val_map: Tensor
    diverged: bool
    seconds: dict[str, float]


def as_run(job: Job, training: Training, table: LabelTable, outcome: Outcome, seconds: dict[str, float]) -> Run:
    """What is kept of a finished training."""
    history, epoch = outcome.fitted.history, outcome.fitted.epoch
    val_map = [float(np.nan_to_num(row["val_map_class"])) for row in history if "val_map_class" in row]
    validation = Validation(training, table)
    chosen_on = len(validation.rows) > 0
    return Run(
        job=job,
        epoch=epoch,
        validation=float("nan") if not chosen_on else val_map[epoch - 1] if epoch else 0.0,
        rank=validation.rank(history[epoch - 1]) if epoch and chosen_on else float("-inf"),
        scores=outcome.test_logits,
        thresholds=outcome.thresholds,
        train_loss=torch.tensor([row["train_loss"] for row in history]),
        val_map=torch.tensor(val_map),
        diverged=outcome.fitted.diverged,
        seconds=seconds,
    )


_TENSORS = ("scores", "thresholds", "train_loss", "val_map")


def save(run: Run, folder: Path) -> None:
    """Put the run on disk in one step."""
    facts = {
        "loss": run.job.loss, "rate": run.job.rate, "seed": run.job.seed, "epoch": run.epoch,
        "validation": run.validation, "rank": run.rank, "diverged": run.diverged, "seconds": run.seconds,
    }  # fmt: skip
    tensors = {name: getattr(run, name).contiguous() for name in _TENSORS}
    metadata = {"run": json.dumps(facts)}
    write_bytes(folder / run.job.file_name, serialise(tensors, metadata=metadata))


def load(job: Job, folder: Path) -> Run | None:
    """The run from disk; None if it is not there, or cannot be read and has to be done again."""
    file = folder / job.file_name
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as stored:
            facts: dict[str, Any] = json.loads(stored.metadata()["run"])
            tensors = {name: stored.get_tensor(name) for name in _TENSORS}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None
    kept = {name: facts[name] for name in ("epoch", "validation", "rank", "diverged", "seconds")}
    return Run(Job(facts["loss"], facts["rate"], facts["seed"]), **tensors, **kept)


def total_seconds(runs: list[Run]) -> dict[str, float]:
    """Time spent in training and in evaluation, over all runs."""
    return {part: sum(run.seconds[part] for run in runs) for part in ("training", "evaluation")}
