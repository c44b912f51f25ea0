"""The runs of a study of whole networks: one after the other, each continued where it was stopped."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from rarecall.data.table import LabelTable
from rarecall.models import Backbone
from rarecall.studies import runs
from rarecall.studies.plan import Finetuning
from rarecall.studies.runs import Job, Run
from rarecall.training import Listener, Outcome, build, run_training


class Finetuner:
    """Does runs by training the whole network; every run starts from the same backbone."""

    def __init__(
        self,
        table: LabelTable,
        backbone: Backbone,
        folder: Path,
        listener: Listener,
        device: str,
        workers: int | None,
    ) -> None:
        self.table, self.backbone, self.folder = table, backbone, folder
        self.listener, self.device, self.workers = listener, device, workers

    def __call__(self, jobs: Sequence[Job], protocol: Finetuning, where: Path) -> Iterator[Run]:
        """Do each run and put it on disk; its checkpoints are removed then."""
        for job in jobs:
            checkpoints = self.folder / Path(job.file_name).stem
            run = self._run(job, protocol, checkpoints)
            runs.save(run, where)
            shutil.rmtree(checkpoints, ignore_errors=True)
            yield run
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _run(self, job: Job, protocol: Finetuning, checkpoints: Path) -> Run:
        start = time.perf_counter()
        training = protocol.training(job.loss, job.rate, job.seed)
        network = build(training, self.table, self.backbone, job.seed)
        outcome = run_training(
            training, self.table, network, checkpoints, self.listener, device=self.device, workers=self.workers,
            forgiving=True,
        )  # fmt: skip
        return _as_run(job, outcome, time.perf_counter() - start)


def _as_run(job: Job, outcome: Outcome, seconds: float) -> Run:
    history = outcome.fitted.history
    val_map = [float(np.nan_to_num(row["val_map_class"])) for row in history]
    return Run(
        job=job,
        epoch=outcome.fitted.epoch,
        validation=val_map[outcome.fitted.epoch - 1] if history else 0.0,
        scores=outcome.test_logits,
        thresholds=outcome.thresholds,
        train_loss=torch.tensor([row["train_loss"] for row in history]),
        val_map=torch.tensor(val_map),
        diverged=outcome.fitted.diverged,
        seconds={"training": seconds, "evaluation": 0.0},
    )
