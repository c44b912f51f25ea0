"""Running a study: every loss × rate × seed under one protocol, in worker processes, resumable at any moment.

Each worker computes with one thread, so results depend neither on how many workers there are nor on how many
cores the machine has; on heads this small, two runs side by side are also faster than one run on two cores.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rarecall import processes
from rarecall.data import mapped
from rarecall.data.table import LabelTable
from rarecall.errors import StudyError
from rarecall.listener import Listener
from rarecall.models import Backbone, cores
from rarecall.preparation import Prepared
from rarecall.studies import folder, runs
from rarecall.studies import plan as plans
from rarecall.studies.heads import train_head
from rarecall.studies.networks import Finetuner
from rarecall.studies.plan import Plan, Protocol
from rarecall.studies.runs import Job, Run


@dataclass(frozen=True)
class Study:
    """A study whose runs are all finished."""

    plan: Plan
    table: LabelTable
    backbone: dict[str, Any] | None
    chosen: dict[str, float]  # the rate of each loss
    runs: dict[Job, Run]

    def tuned(self, loss: str) -> list[Run]:
        """The runs of a loss at its own rate, one for each seed."""
        return [self.runs[Job(loss, self.chosen[loss], seed)] for seed in range(self.plan.seeds)]

    def common(self, loss: str) -> list[Run]:
        """The runs of a loss at the rate that all share, one for each seed."""
        rate = self.plan.protocol.common_rate
        return [self.runs[Job(loss, rate, seed)] for seed in range(self.plan.seeds)]

    def search(self, loss: str) -> dict[float, Run]:
        """The runs that the rate was chosen among: the first seed at every rate."""
        return {rate: self.runs[Job(loss, rate, 0)] for rate in self.plan.protocol.rates}


def study(
    plan: Plan,
    prepared: Prepared,
    out: Path,
    *,
    backbone: Backbone | None = None,
    workers: int | None = None,
    listener: Listener | None = None,
    device: str = "auto",
) -> Study:
    """Do every run that is not yet in the folder.

    The first seed tries every rate of the grid; the rate with the highest metric on validation is the loss's
    own (the lower rate if equal). The other seeds run at that rate and at the common one.

    Args:
        plan: the losses, the number of seeds and the protocol.
        prepared: features, or images to fine-tune on, with labels and a complete split.
        out: the folder of the study, new or to be continued.
        backbone: what the features came from, or what is fine-tuned; part of what the study is.
        workers: processes; default one for each core. 1 stays in this process. Fine-tuning does one run after
            the other, and these are its processes that load images.
        listener: told after each run, and of each step of a fine-tuning.
        device: of a fine-tuning.

    Raises:
        StudyError: the folder holds something else, or a worker died.
    """
    listener, table = listener or Listener(), prepared.table
    with folder.STUDY.only_here(out):
        description = backbone.description if backbone else None
        where = folder.open_folder(out, plans.identity(plan, prepared, description))
        prepared.divided.parts.write(out)
        if not plan.protocol.head_only:
            assert backbone is not None
            own = Finetuner(table, backbone, out / ".training", listener, device, workers)
            return _finish(plan, table, where, description, contextlib.nullcontext(own), listener)
        return _finish(plan, table, where, description, _executor(out, table, workers or cores()), listener)


def _finish(
    plan: Plan,
    table: LabelTable,
    where: Path,
    backbone: dict[str, Any] | None,
    executor: contextlib.AbstractContextManager["Execute"],
    listener: Listener,
) -> Study:
    """Load the runs that are there and do the others."""
    done: dict[Job, Run] = {}
    protocol, losses = plan.protocol, plan.losses
    first = [Job(loss, rate, 0) for loss in losses for rate in protocol.rates]
    with executor as execute:

        def run_all(jobs: Sequence[Job], later: int) -> None:
            missing = []
            for job in jobs:
                if run := runs.load(job, where):
                    done[job] = run
                else:
                    missing.append(job)
            listener.progress("runs", len(done), len(done) + len(missing) + later)
            for run in execute(missing, protocol, where):
                done[run.job] = run
                listener.progress("runs", len(done), len(first) + later if jobs is first else len(first) + len(jobs))

        run_all(first, later=len(losses) * 2 * (plan.seeds - 1))
        chosen = {loss: max(protocol.rates, key=lambda rate: (done[Job(loss, rate, 0)].rank, -rate)) for loss in losses}
        rest = [
            Job(loss, rate, seed)
            for seed in range(1, plan.seeds)
            for loss in losses
            for rate in sorted({chosen[loss], protocol.common_rate})
        ]
        run_all(rest, later=0)
    return Study(plan, table, backbone, chosen, done)


Execute = Callable[[Sequence[Job], Protocol, Path], Iterator[Run]]  # jobs, their protocol, the folder of runs
_table: LabelTable | None = None  # of a worker process: set once, used by every run


@contextlib.contextmanager
def _executor(out: Path, table: LabelTable, workers: int) -> Iterator[Execute]:
    if table.features is None:
        raise StudyError(f"{table.source}: extract the features of its images first")
    if workers == 1:
        yield _in_process(table)
        return
    data = out / ".data"
    data.mkdir(exist_ok=True)
    children = set(multiprocessing.active_children())
    lent = mapped.Lent(table.features) if mapped.can_lend(table.features) else None
    pool = ProcessPoolExecutor(
        workers,
        processes.context(),
        initializer=_start_worker,
        initargs=(data, list(table.names), lent),
    )
    try:
        for name in ARRAYS if lent is None else ARRAYS[1:]:
            _save_array(data / f"{name}.npy", getattr(table, name))
        yield _in_pool(pool)
    finally:
        # Whatever ended the study, a run in flight is not worth waiting for: its file is not yet in place.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - children:
            child.terminate()
            child.join()
        shutil.rmtree(data, ignore_errors=True)


ARRAYS = ("features", "labels", "split")


def _save_array(path: Path, array: np.ndarray) -> None:
    """As `numpy.save`, whose error on a full disk does not say that it is full."""
    array = np.ascontiguousarray(array.astype("U5") if array.dtype == object else array)
    try:
        with path.open("wb") as file:
            np.lib.format.write_array_header_2_0(file, np.lib.format.header_data_from_array_1_0(array))
            file.write(array.view(np.uint8).data)
    except OSError as error:
        error.filename = str(path)
        raise


def _in_process(table: LabelTable) -> Execute:
    def execute(jobs: Sequence[Job], protocol: Protocol, where: Path) -> Iterator[Run]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for job in jobs:
                run = train_head(job, table, protocol)
                runs.save(run, where)
                yield run
        finally:
            torch.set_num_threads(threads)

    return execute


def _in_pool(pool: ProcessPoolExecutor) -> Execute:
    def execute(jobs: Sequence[Job], protocol: Protocol, where: Path) -> Iterator[Run]:
        with processes.starting():
            pending = {pool.submit(_work, job, protocol, where) for job in jobs}
        try:
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    run = runs.load(future.result(), where)
                    if run is None:
                        raise StudyError(f"{where}: a run that was just written cannot be read: check the disk")
                    yield run
        except BrokenProcessPool:
            raise StudyError(
                "a worker process died (out of memory?): finished runs are kept; "
                "run the same command again with --workers 1"
            ) from None

    return execute


def _start_worker(data: Path, names: list[str], lent: Any) -> None:
    global _table
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        wait_for_end([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    # One copy for all workers: the parent's own file, where that is mapped, or one that it wrote.
    arrays = {"features": lent} if lent is not None else {}
    arrays |= {name: np.load(data / f"{name}.npy", mmap_mode="c") for name in ARRAYS if name not in arrays}
    _table = LabelTable([""] * len(arrays["split"]), names, **arrays)


def _work(job: Job, protocol: Protocol, where: Path) -> Job:
    """Do a run and put it on disk, where the parent reads it: a tensor sent back would stay in shared memory."""
    assert _table is not None
    runs.save(train_head(job, _table, protocol), where)
    return job
