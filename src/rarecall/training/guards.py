"""What surrounds a training: the same bits on a GPU, a stop that waits for the step, and faults in words."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from rarecall.errors import TrainingError
from rarecall.training.config import Training


class NotFiniteError(TrainingError):
    """The loss or the logits are no longer finite numbers."""


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

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def memory_in_words(training: Training) -> Iterator[None]:
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
def workers_in_words() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            "a process that loads images died (out of memory?): the same command goes on from the last checkpoint; "
            "--workers 0 loads images without such processes"
        ) from None
