"""The runs of a study of whole networks: one after the other, each continued where it was stopped."""

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rarecall.data.table import LabelTable
from rarecall.errors import StudyError
from rarecall.listener import Listener
from rarecall.models import Backbone
from rarecall.studies import runs
from rarecall.studies.plan import Protocol
from rarecall.studies.runs import Job, Run, as_run
from rarecall.training import build, conclude, fit


class _OfOneRun(Listener):
    """Passes on a run's steps and warnings: of many runs, epochs and notes are too much."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def progress(self, what: str, done: int, total: int | None) -> None:
        self.listener.progress(what, done, total)

    def say(self, kind: str, sentence: str) -> None:
        if kind == "warning":
            self.listener.say(kind, sentence)


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
        self.listener, self.device, self.workers = _OfOneRun(listener), device, workers

    def __call__(self, jobs: Sequence[Job], protocol: Protocol, where: Path) -> Iterator[Run]:
        """Do each run and put it on disk; its checkpoints are removed then."""
        for job in jobs:
            checkpoints = self.folder / Path(job.file_name).stem
            run = self._run(job, protocol, checkpoints)
            runs.save(run, where)
            shutil.rmtree(checkpoints, ignore_errors=True)
            yield run
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _run(self, job: Job, protocol: Protocol, checkpoints: Path) -> Run:
        start = time.perf_counter()
        training = protocol.training(job.loss, rate=job.rate, seed=job.seed)
        network = build(training, self.table, self.backbone, job.seed)
        fitted = fit(
            training, self.table, network, checkpoints, self.listener, device=self.device, workers=self.workers,
            forgiving=True,
        )  # fmt: skip
        outcome = conclude(training, fitted, self.table)
        if not np.array_equal(outcome.test_targets.numpy(), self.table.labels[self.table.part("test")]):
            raise StudyError(
                f"{self.table.source}: test images that could be read before cannot be read now: check the disk"
            )
        seconds = {"training": time.perf_counter() - start, "evaluation": 0.0}
        return as_run(job, training, self.table, outcome, seconds)
