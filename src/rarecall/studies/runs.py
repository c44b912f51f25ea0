"""One run: a head trained with one loss, rate and seed, and the file that it becomes."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from rarecall.files import write_bytes


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
        epoch: the epoch, from 1, that validation picked; 0 if the very first one diverged.
        validation: mAP@class on validation at that epoch, from 0 to 1.
        scores: (N, C) logits of the test part.
        thresholds: (C,) fitted on validation.
        train_loss, val_map: (epochs,) the curves; shorter if the run diverged.
        diverged: whether training stopped at a number that is not finite.
        seconds: time spent in `training` and in `evaluation`.
    """

    job: Job
    epoch: int
    validation: float
    scores: Tensor
    thresholds: Tensor
    train_loss: Tensor
    val_map: Tensor
    diverged: bool
    seconds: dict[str, float]


_TENSORS = ("scores", "thresholds", "train_loss", "val_map")


def save(run: Run, folder: Path) -> None:
    """Put the run on disk in one step."""
    facts = {
        "loss": run.job.loss, "rate": run.job.rate, "seed": run.job.seed, "epoch": run.epoch,
        "validation": run.validation, "diverged": run.diverged, "seconds": run.seconds,
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
    kept = {name: facts[name] for name in ("epoch", "validation", "diverged", "seconds")}
    return Run(Job(facts["loss"], facts["rate"], facts["seed"]), **tensors, **kept)


def total_seconds(runs: list[Run]) -> dict[str, float]:
    """Time spent in training and in evaluation, over all runs."""
    return {part: sum(run.seconds[part] for run in runs) for part in ("training", "evaluation")}
