"""What surrounds a training: the same bits on a GPU, a stop that waits for the step, and faults in words."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from rarecall.errors import TrainingError, is_out_of_memory
from rarecall.settings import Training

GRACE = 0.5  # seconds between the ends of two processes that one signal stops


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
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


def own_generators(device: torch.device) -> AbstractContextManager[None]:
    """Leave the caller's random generators as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


@contextmanager
def stop_request() -> Iterator[threading.Event]:
    """Set by Ctrl-C or a polite kill, so that the step in progress ends first; a second one does not wait."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def note(*_: object) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        if hasattr(signal, "SIGCHLD"):
            # The signal may end the workers, too. PyTorch would raise at once, in the middle of a step.
            before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def memory_in_words(training: Training) -> Iterator[None]:
    """Say which batch size to try when the memory is too small."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = max(training.batch_size // 2, 1)
        raise TrainingError(
            f"out of memory with batches of {training.batch_size}: try --batch-size {smaller}, "
            "or a smaller --image-size"
        ) from error


@contextmanager
def single_items_in_words() -> Iterator[None]:
    """Say that normalisation over a batch of one item is impossible."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TrainingError(
            "this network normalises over the batch, which takes two items or more: pass --batch-size 2 or more"
        ) from error


@contextmanager
def workers_in_words(stop_requested: threading.Event) -> Iterator[None]:
    """Say that a process that loads images died, unless it was stopped together with this one."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        if stop_requested.wait(GRACE):
            raise KeyboardInterrupt from None
        raise TrainingError(
            "a process that loads images died (out of memory?): the same command goes on from the last checkpoint; "
            "--workers 0 loads images without such processes"
        ) from error
